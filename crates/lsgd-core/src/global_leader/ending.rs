//! The end of a run: one node evaluates the mean of all, and none leaves while it is needed.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, Fetching, GlobalLeader, Stage};
use crate::{Offered, Phase, Snapshot, Source, Vector};

impl GlobalLeader {
    /// The node has trained to its end; `sum` is that of its workers' values, if they are finite.
    /// An [`Action::Conclude`] follows, at the latest after the limit and the time of a fetch.
    pub fn finish(&mut self, sum: Option<Snapshot>, now: Duration) {
        let result = sum.and_then(|sum| {
            let workers = self.workers as usize;
            let sum = Arc::new(sum.with_source(Source::Final { workers }));
            let (sum, _) = self.round_for_wire(sum).ok()?;
            let offered = Offered {
                kind: Vector::Mean,
                source: sum.source(),
                loss: 0.0,
                digest: sum.digest(),
            };
            Some((offered, sum))
        });
        if let Some((_, sum)) = &result {
            self.actions.push_back(Action::Publish(sum.clone()));
        }
        self.result = result;
        self.stage = Stage::Ending { since: now };
        self.enter(Phase::Done, now);
        self.advance(now);
    }

    /// The node needs nothing more of the others.
    pub fn close(&mut self, now: Duration) {
        self.stage = Stage::Idle;
        self.enter(Phase::Closed, now);
    }

    /// Whether no other node needs anything more of this one: all that are connected have trained
    /// to their end, and the one that evaluates all has done so.
    pub fn others_are_done(&self) -> bool {
        let evaluator = self.lowest();
        self.peers.up().all(|(_, status)| match status.phase {
            Phase::Joining | Phase::Training => false,
            Phase::Done => Some(status.node) != evaluator,
            Phase::Closed => true,
        })
    }

    /// Once all others are done, or the limit has passed: the node of the lowest number fetches
    /// what they have come to.
    pub(super) fn try_to_conclude(&mut self, now: Duration) {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Ending { since } => {
                let training = |phase| matches!(phase, Phase::Joining | Phase::Training);
                let waits = self.peers.up().any(|(_, s)| training(s.phase));
                if self.lowest().is_some() {
                    self.actions.push_back(Action::Conclude(None));
                } else if waits && now < since + self.membership.limit {
                    self.stage = Stage::Ending { since };
                } else {
                    self.fetch_results();
                }
            }
            Stage::Concluding(fetching) => self.conclude(fetching),
            other => self.stage = other,
        }
    }

    /// The lowest number below this node's of one that trains or has trained.
    fn lowest(&self) -> Option<u32> {
        let running = self.peers.running().map(|(_, status)| status.node);
        running.filter(|node| *node < self.membership.node).min()
    }

    fn fetch_results(&mut self) {
        let theirs = self.peers.running().filter_map(|(_, status)| {
            let of_end = |v: &Offered| matches!(v.source, Source::Final { workers: 1.. });
            Some((status.node, status.result.filter(of_end)?))
        });
        let theirs: Vec<(u32, Offered)> = theirs.collect();
        let mut fetching = Fetching::default();
        for (node, vector) in theirs {
            fetching.want(node, vector);
            self.fetch(node, vector);
        }
        self.conclude(fetching);
    }

    /// The mean of all that could be had, in node order; this node's is the first.
    fn conclude(&mut self, fetching: Fetching) {
        if fetching.waits() {
            self.stage = Stage::Concluding(fetching);
            return;
        }
        let own = self.result.iter().map(|(_, sum)| sum);
        let theirs = fetching.wanted.values().filter_map(|w| w.got.as_ref());
        let mean = Snapshot::mean(own.chain(theirs).map(AsRef::as_ref));
        let mean = mean.ok().flatten().map(Arc::new);
        self.actions.push_back(Action::Conclude(mean));
    }
}
