//! Electing the leader: a pure function of reports.
//!
//! The leader is the worker with the lowest mean training loss over its last `loss_window` batches
//! (arXiv 1905.10395, section 3: "the best performing worker"), or with the lowest probe loss. An
//! election touches no tensor, clock or network: the same candidates always give the same leader
//! and the same reason.

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Identifies a worker in the run: worker (j, i) of the paper.
///
/// Ids are ordered by node, then by worker; the lowest wins a tie.
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
pub struct WorkerId {
    /// The node (the paper's group), from 0.
    pub node: u32,
    /// The worker on its node, from 0.
    pub worker: u32,
}

impl WorkerId {
    /// Worker `worker` of node `node`.
    pub fn new(node: u32, worker: u32) -> Self {
        Self { node, worker }
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.worker)
    }
}

/// The mean over a worker's loss window. For a probe loss that has not been measured yet, `Filling`
/// a window of 1.
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

/// A worker's state at a step boundary, as it reports it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Who reports.
    pub id: WorkerId,
    /// Steps it has taken.
    pub step: u64,
    /// The loss that ranks it: its mean training loss, or its probe loss.
    pub loss: WindowLoss,
    /// Whether it has received the run's parameters. A worker that has not never leads.
    pub joined: bool,
}

/// A report and its age at the node that holds the election.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The report.
    pub report: Report,
    /// Steps that the electing node has taken since the report arrived.
    pub age: u64,
}

/// Why a candidate is not eligible.
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
        /// Steps that the electing node has taken since the report arrived.
        age: u64,
    },
}

/// Why the leader was elected, or why none was.
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
    /// Others have the same loss; it has the lowest id among them.
    LowestIdOfTie {
        /// The loss they share.
        loss: f64,
    },
    /// It was the leader, and no other loss is lower than its own by the margin.
    Stays {
        /// The leader's mean loss.
        loss: f64,
        /// The lowest mean loss.
        lowest: f64,
    },
    /// It is the only eligible candidate.
    OnlyEligible {
        /// The leader's mean loss.
        loss: f64,
    },
    /// No candidate is eligible: there is no pull.
    NoneEligible,
}

/// The outcome of an election.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Election {
    /// The leader, if any candidate was eligible.
    pub leader: Option<WorkerId>,
    /// Why.
    pub reason: Reason,
    /// The candidates that were not eligible, and why.
    pub excluded: Vec<(WorkerId, Exclusion)>,
}

/// Elects the candidate with the lowest mean loss; ties go to the lowest id.
///
/// A candidate is excluded when it has not received the run's parameters, its window is not full,
/// its loss is not finite, or its report is older than `max_staleness`. The order of `candidates`
/// does not matter.
pub fn elect(candidates: &[Candidate], max_staleness: u64) -> Election {
    elect_or_keep(candidates, max_staleness, None)
}

/// The previous leader, and the margin by which a loss must be lower to replace it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Incumbent {
    /// Who led.
    pub id: WorkerId,
    /// The margin, as a fraction of its loss, in [0, 1).
    pub margin: f64,
}

/// Like [`elect`], but an eligible incumbent stays leader unless some loss is lower than its own by
/// the margin. This keeps noise in the losses from changing the leader often.
pub fn elect_or_keep(
    candidates: &[Candidate],
    max_staleness: u64,
    incumbent: Option<Incumbent>,
) -> Election {
    let mut excluded = Vec::new();
    let mut eligible = Vec::new();
    for candidate in candidates {
        match eligibility(candidate, max_staleness) {
            Ok(loss) => eligible.push((loss, candidate.report.id)),
            Err(why) => excluded.push((candidate.report.id, why)),
        }
    }
    excluded.sort_by_key(|(id, _)| *id);
    eligible.sort_by(|(a, first), (b, second)| a.total_cmp(b).then(first.cmp(second)));

    let kept = incumbent.and_then(|Incumbent { id, margin }| {
        let (lowest, first) = *eligible.first()?;
        let (loss, _) = *eligible.iter().find(|(_, eligible)| *eligible == id)?;
        let stays = first != id && lowest > loss - margin * loss.abs();
        stays.then_some((id, loss, lowest))
    });
    let (leader, reason) = match eligible.as_slice() {
        _ if let Some((id, loss, lowest)) = kept => (Some(id), Reason::Stays { loss, lowest }),
        [] => (None, Reason::NoneEligible),
        [(loss, id)] => (Some(*id), Reason::OnlyEligible { loss: *loss }),
        [(loss, id), (next, _), ..] if loss == next => {
            (Some(*id), Reason::LowestIdOfTie { loss: *loss })
        }
        [(loss, id), (next, _), ..] => (
            Some(*id),
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

/// The eligible candidates whose mean loss exceeds the lowest by at most `margin` times the lowest's
/// magnitude, in order of id, each with its loss. With a margin of 0 these are the leader and whoever ties
/// with it; with an infinite one, all that are eligible.
pub fn within(candidates: &[Candidate], max_staleness: u64, margin: f64) -> Vec<(WorkerId, f64)> {
    let eligible = candidates.iter().filter_map(|candidate| {
        let loss = eligibility(candidate, max_staleness).ok()?;
        Some((candidate.report.id, loss))
    });
    let mut within = keep_within(eligible.collect(), margin);
    within.sort_by_key(|(id, _)| *id);
    within
}

/// Those of `ranked` whose loss exceeds the lowest by at most `margin` times the lowest's magnitude.
pub(crate) fn keep_within<T>(mut ranked: Vec<(T, f64)>, margin: f64) -> Vec<(T, f64)> {
    let lowest = ranked
        .iter()
        .map(|(_, loss)| *loss)
        .fold(f64::INFINITY, f64::min);
    // Infinity times a lowest loss of zero is not a number.
    let allowed = match margin.is_infinite() {
        true => f64::INFINITY,
        false => margin * lowest.abs(),
    };
    ranked.retain(|(_, loss)| loss - lowest <= allowed);
    ranked
}

/// The candidate's loss, if it is eligible.
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
    // Adding zero turns -0.0 into 0.0, which `total_cmp` would otherwise order differently.
    Ok(loss + 0.0)
}
