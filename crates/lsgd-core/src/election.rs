//! Who leads: a pure decision over reports.
//!
//! The leader is the worker with the lowest mean training loss over its last `loss_window` batches
//! (arXiv 1905.10395, section 3: "the best performing worker"), or with the lowest loss on a probe. An election touches no tensor, no
//! clock and no network: the same candidates always give the same leader and the same reason.

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// A worker's place in the run: worker (j, i) of the paper.
///
/// Ranks are ordered by node, then by worker; the lowest wins a tie.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct Rank {
    /// The node (the paper's group), from 0.
    pub node: u32,
    /// The worker on its node, from 0.
    pub worker: u32,
}

impl Rank {
    /// Worker `worker` of node `node`.
    pub fn new(node: u32, worker: u32) -> Self {
        Self { node, worker }
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.worker)
    }
}

/// What a worker's loss window holds; of a probe, `Filling` one of 1 until it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowLoss {
    /// Fewer batches than the window holds: no mean yet.
    Filling {
        /// Batches in the window.
        have: usize,
        /// Batches the window holds when it is full.
        need: usize,
    },
    /// Mean training loss over a full window, in nats.
    Mean(f64),
}

/// What a worker says of itself at a step boundary.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Who reports.
    pub rank: Rank,
    /// Steps it has taken.
    pub step: u64,
    /// What ranks it: its mean training loss, or its loss on the probe.
    pub loss: WindowLoss,
    /// Whether it has received the run's parameters. One that has not never leads.
    pub joined: bool,
}

/// A report, as old as it is for whoever elects.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The report.
    pub report: Report,
    /// The elector's own steps since the report came.
    pub age: u64,
}

/// Why a candidate cannot lead.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// It has not received the run's parameters.
    NotJoined,
    /// Its loss window is not full.
    WindowNotFull {
        /// Batches in the window.
        have: usize,
        /// Batches the window holds when it is full.
        need: usize,
    },
    /// Its mean loss is NaN or infinite.
    LossNotFinite,
    /// Its report is older than `max_staleness`.
    Stale {
        /// The elector's own steps since the report came.
        age: u64,
    },
}

/// Why the leader leads, or why nobody does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its loss is the lowest.
    LowestLoss {
        /// The leader's mean loss.
        loss: f64,
        /// The next best mean loss.
        next: f64,
    },
    /// Others have the same loss; it has the lowest rank among them.
    LowestRankOfTie {
        /// The loss they share.
        loss: f64,
    },
    /// It led before, and no loss is lower than its own by the margin.
    Stays {
        /// The leader's mean loss.
        loss: f64,
        /// The lowest mean loss.
        lowest: f64,
    },
    /// No other candidate may lead.
    OnlyEligible {
        /// The leader's mean loss.
        loss: f64,
    },
    /// No candidate may lead: there is no pull.
    NobodyEligible,
}

/// The outcome of an election.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Election {
    /// The leader, if anybody may lead.
    pub leader: Option<Rank>,
    /// Why.
    pub reason: Reason,
    /// Those that could not lead, and why.
    pub excluded: Vec<(Rank, Exclusion)>,
}

/// Elects the candidate with the lowest mean loss; ties go to the lowest rank.
///
/// A candidate is excluded when it has not received the run's parameters, its window is not full,
/// its loss is not finite, or its report is older than `max_staleness`. The order of `candidates`
/// does not matter.
pub fn elect(candidates: &[Candidate], max_staleness: u64) -> Election {
    elect_or_keep(candidates, max_staleness, None)
}

/// Who led before, and by how much a loss has to be lower than its own for another to lead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Incumbent {
    /// Who led.
    pub rank: Rank,
    /// The margin, as a share of its loss, in [0, 1).
    pub margin: f64,
}

/// As [`elect`], but an incumbent that may lead does so while no loss is lower than its own by the
/// margin: noise in the losses then changes leaders less often.
pub fn elect_or_keep(
    candidates: &[Candidate],
    max_staleness: u64,
    incumbent: Option<Incumbent>,
) -> Election {
    let mut excluded = Vec::new();
    let mut eligible = Vec::new();
    for candidate in candidates {
        match eligibility(candidate, max_staleness) {
            Ok(loss) => eligible.push((loss, candidate.report.rank)),
            Err(why) => excluded.push((candidate.report.rank, why)),
        }
    }
    excluded.sort_by_key(|(rank, _)| *rank);
    eligible.sort_by(|(a, first), (b, second)| a.total_cmp(b).then(first.cmp(second)));

    let kept = incumbent.and_then(|Incumbent { rank, margin }| {
        let (lowest, first) = *eligible.first()?;
        let (loss, _) = *eligible.iter().find(|(_, eligible)| *eligible == rank)?;
        let stays = first != rank && lowest > loss - margin * loss.abs();
        stays.then_some((rank, loss, lowest))
    });
    let (leader, reason) = match eligible.as_slice() {
        _ if let Some((rank, loss, lowest)) = kept => (Some(rank), Reason::Stays { loss, lowest }),
        [] => (None, Reason::NobodyEligible),
        [(loss, rank)] => (Some(*rank), Reason::OnlyEligible { loss: *loss }),
        [(loss, rank), (next, _), ..] if loss == next => {
            (Some(*rank), Reason::LowestRankOfTie { loss: *loss })
        }
        [(loss, rank), (next, _), ..] => (
            Some(*rank),
            Reason::LowestLoss {
                loss: *loss,
                next: *next,
            },
        ),
    };
    Election {
        leader,
        reason,
        excluded,
    }
}

/// The candidate's loss if it may lead.
fn eligibility(candidate: &Candidate, max_staleness: u64) -> Result<f64, Exclusion> {
    if !candidate.report.joined {
        return Err(Exclusion::NotJoined);
    }
    let loss = match candidate.report.loss {
        WindowLoss::Filling { have, need } => return Err(Exclusion::WindowNotFull { have, need }),
        WindowLoss::Mean(loss) => loss,
    };
    if !loss.is_finite() {
        return Err(Exclusion::LossNotFinite);
    }
    if candidate.age > max_staleness {
        return Err(Exclusion::Stale { age: candidate.age });
    }
    // Adding nought turns -0.0 into 0.0, which `total_cmp` would otherwise rank apart.
    Ok(loss + 0.0)
}
