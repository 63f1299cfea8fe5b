//! The end of a run: one node evaluates the mean of all, and none leaves while it is needed.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, Fetching, GlobalLeader, Stage};
use crate::{Offered, Phase, Snapshot, Source, Status, Vector};

impl GlobalLeader {
    /// The node has trained to its end; `sum` is that of its workers' values, if they are finite.
    /// An [`Action::Conclude`] follows once the mean of all is to be evaluated here, or is evaluated
    /// elsewhere: the others train to their end before, unless they make no progress for the limit.
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
        self.stage = Stage::Ending {
            since: now,
            settled: now,
        };
        self.enter(Phase::Done, now);
        self.advance(now);
    }

    /// The node has done what [`Action::Conclude`] asked for, and needs nothing more of the others.
    /// One that leaves before that does not call this: then another does it.
    pub fn close(&mut self, now: Duration) {
        self.stage = Stage::Idle;
        self.enter(Phase::Closed, now);
    }

    /// Whether no other node needs anything more of this one: all that are connected know that the
    /// mean of all is evaluated.
    pub fn others_are_done(&self) -> bool {
        let mut others = self.peers.up();
        others.all(|(_, status)| status.phase == Phase::Closed)
    }

    /// Once all others have trained to their end, or make no progress: the node of the lowest
    /// number that is there fetches what they have come to. If it goes before it is done, the next
    /// does.
    pub(super) fn try_to_conclude(&mut self, now: Duration) {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Ending { since, settled } => {
                if self.is_concluded() {
                    self.actions.push_back(Action::Conclude(None));
                } else if self.is_anyone(since, now, |s| {
                    matches!(s.phase, Phase::Joining | Phase::Training)
                }) {
                    let settled = now;
                    self.stage = Stage::Ending { since, settled };
                } else if self.is_anyone(settled, now, |s| {
                    s.phase == Phase::Done && s.node < self.membership.node
                }) {
                    self.stage = Stage::Ending { since, settled };
                } else {
                    self.fetch_results();
                }
            }
            Stage::Concluding(fetching) => self.conclude(fetching),
            other => self.stage = other,
        }
    }

    /// Whether another node says that the mean of all is evaluated.
    fn is_concluded(&self) -> bool {
        let mut others = self.peers.up();
        others.any(|(_, status)| status.phase == Phase::Closed)
    }

    /// Whether there is another node of which `is` is true, and which has got on with something
    /// within the limit, or else this one waits for it no longer than that, since `since`.
    fn is_anyone(&self, since: Duration, now: Duration, is: impl Fn(&Status) -> bool) -> bool {
        let limit = self.membership.limit;
        let mut others = self.peers.up();
        others.any(|(peer, status)| is(status) && now < peer.progress_at.max(since) + limit)
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
