//! In `sync`, never two outcomes of one round in one connected part, unless its membership changed
//! in that round.
//!
//! Two nodes are in one part in a round if each counted the other's proposal. They must then have
//! counted the same proposals, but for nodes that one of the two is not connected to or has not yet
//! heard to have come as far, and those that one of them lost or found, or that began again, since it
//! ended the round before. The same proposals must have had the same outcome, unless one of the two could not fetch a
//! vector. Rounds only go up.

use std::collections::BTreeMap;
use std::time::Duration;

use lsgd_core::{ExchangeOutcome, Mode, SnapshotDigest, Source};

use super::formula::bits;
use super::views::{NodeView, Views};
use crate::network::{Seen, Setting, Sight};

/// How a node ended a round.
#[derive(Debug, Clone)]
struct Ended {
    node: u32,
    incarnation: u64,
    counted: Vec<(u32, u64)>,
    /// Nodes that it is connected to and had to wait for.
    waited_for: Vec<u32>,
    /// What it could not have: vectors, and sums of nodes.
    failed: (Vec<SnapshotDigest>, Vec<u32>),
    outcome: Vec<(Source, Vec<u32>)>,
    since: Duration,
    at: Duration,
}

/// Rounds that nodes of one part ended differently, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Splits {
    /// Pairs of nodes that counted each other in a round.
    pub pairs: u64,
    /// Of these, pairs that counted different proposals.
    pub counted: u64,
    /// Pairs with different outcomes, as one could not fetch a vector.
    pub unfetched: u64,
    /// Pairs with different outcomes.
    pub outcomes: u64,
}

pub struct Elections {
    mode: Mode,
    period: u64,
    rounds: BTreeMap<u64, Vec<Ended>>,
    /// In which incarnation and at which step each node last had a delivery or began.
    last: Vec<(u64, u64)>,
    pub splits: Splits,
}

impl Elections {
    pub fn new(setting: &Setting) -> Self {
        Self {
            mode: setting.mode,
            period: setting.method.periods().global,
            rounds: BTreeMap::new(),
            last: vec![(0, 0); setting.nodes as usize],
            splits: Splits::default(),
        }
    }

    pub fn see(&mut self, sight: &Sight, views: &Views) -> Result<(), String> {
        if self.mode == Mode::Async {
            return Ok(());
        }
        match &sight.what {
            Seen::Delivered(step, delivered) => {
                self.go_up(sight, *step, 1)?;
                let view = views.node(sight.node);
                let ended = ended(sight, view, delivered);
                self.check(step / self.period, ended, views)
            }
            Seen::Began { step, .. } => self.go_up(sight, *step, 0),
            _ => Ok(()),
        }
    }

    /// Within one process, steps only go up.
    fn go_up(&mut self, sight: &Sight, step: u64, least: u64) -> Result<(), String> {
        let (incarnation, before) = self.last[sight.node as usize];
        self.last[sight.node as usize] = (sight.incarnation, step);
        match incarnation == sight.incarnation && step < before + least {
            true => Err(format!("is at step {step} after step {before}")),
            false => Ok(()),
        }
    }

    fn check(&mut self, round: u64, ended: Ended, views: &Views) -> Result<(), String> {
        let others = self.rounds.entry(round).or_default();
        others.retain(|other| other.node != ended.node);
        for other in others
            .iter()
            .filter(|other| counts_each_other(&ended, other))
        {
            self.splits.pairs += 1;
            let differs = ended.counted != other.counted;
            self.splits.counted += u64::from(differs);
            let unexplained = unexplained(&ended, other, views);
            if !unexplained.is_empty() {
                return Err(format!(
                    "round {round}: counts {:?} where node {} counts {:?}, though nothing happened to {unexplained:?}",
                    ended.counted, other.node, other.counted
                ));
            }
            if ended.outcome == other.outcome {
                continue;
            }
            let unfetched = ended.failed != other.failed;
            self.splits.outcomes += 1;
            self.splits.unfetched += u64::from(unfetched && !differs);
            if !differs && !unfetched {
                return Err(format!(
                    "round {round}: {:?}, but node {} has {:?} from the same offers",
                    ended.outcome, other.node, other.outcome
                ));
            }
        }
        others.push(ended);
        // Nobody can be this far behind and count others that are not.
        let old = round.saturating_sub(64);
        self.rounds = self.rounds.split_off(&old);
        Ok(())
    }
}

fn ended(sight: &Sight, view: &NodeView, delivered: &ExchangeOutcome) -> Ended {
    let counted = view.counted.iter().flatten();
    let connected = view.peers.iter().filter(|(_, peer)| peer.up);
    let waited_for = connected.filter(|(node, _)| !view.behind.contains(node));
    Ended {
        node: sight.node,
        incarnation: sight.incarnation,
        counted: counted.map(|c| (c.node, c.incarnation)).collect(),
        waited_for: waited_for.map(|(node, _)| *node).collect(),
        failed: (
            view.failed.iter().copied().collect(),
            view.missing.iter().copied().collect(),
        ),
        outcome: delivered
            .vectors()
            .map(|vector| (vector.source(), bits(vector.parameters())))
            .collect(),
        since: view.since,
        at: sight.at,
    }
}

fn counts_each_other(one: &Ended, other: &Ended) -> bool {
    one.counted.contains(&(other.node, other.incarnation))
        && other.counted.contains(&(one.node, one.incarnation))
}

/// The nodes that only one of the two counted, though the other had to wait for it, neither saw it come or
/// go meanwhile, and it did not begin again, of which a message may have been lost.
fn unexplained(one: &Ended, other: &Ended, views: &Views) -> Vec<u32> {
    let (since, until) = (one.since.min(other.since), one.at.max(other.at));
    let changed = |at: u32, node: u32| {
        let mut changes = views.node(at).changes.iter().rev();
        changes.any(|(when, of)| *of == node && (since..=until).contains(when))
    };
    let only = |a: &Ended, b: &Ended| -> Vec<u32> {
        let missing = a
            .counted
            .iter()
            .filter(|counted| !b.counted.contains(counted));
        let missing = missing.map(|(node, _)| *node);
        let missing = missing.filter(|node| b.waited_for.contains(node));
        missing
            .filter(|&node| ![a.node, b.node, node].iter().any(|&at| changed(at, node)))
            .collect()
    };
    let mut differing = only(one, other);
    differing.extend(only(other, one));
    differing
}
