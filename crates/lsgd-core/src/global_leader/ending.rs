//! The end of a run: one node evaluates the mean over all workers, and no node leaves while another
//! needs it.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, Fetching, GlobalLeader, Stage};
use crate::{NodePhase, Snapshot, Source, Status, VectorKind, VectorRef};

impl GlobalLeader {
    /// The node has trained to its end; `sum` is the sum of its workers' values, if they are
    /// finite. An [`Action::Conclude`] follows once the mean over all workers is to be evaluated
    /// here or has been evaluated elsewhere. Until then the node waits for the others to finish,
    /// unless they make no progress for the limit.
    pub fn finish(&mut self, sum: Option<Snapshot>, now: Duration) {
        let result = sum.and_then(|sum| {
            let workers = self.workers as usize;
            let sum = Arc::new(sum.with_source(Source::Final { workers }));
            let (sum, _) = self.round_for_wire(sum).ok()?;
            let vector = VectorRef {
                kind: VectorKind::Mean,
                source: sum.source(),
                loss: 0.0,
                digest: sum.digest(),
                factors: None,
            };
            Some((vector, sum))
        });
        if let Some((_, sum)) = &result {
            self.actions.push_back(Action::Publish(sum.clone()));
        }
        self.result = result;
        self.stage = Stage::Ending {
            since: now,
            settled: now,
        };
        self.enter(NodePhase::Done, now);
        self.advance(now);
    }

    /// The node has done what [`Action::Conclude`] asked for, and needs nothing more from the
    /// others. A node that leaves earlier must not call this; another then takes over.
    pub fn close(&mut self, now: Duration) {
        self.stage = Stage::Idle;
        self.enter(NodePhase::Closed, now);
    }

    /// Whether no other node needs this one any more: all connected nodes know that the mean has
    /// been evaluated.
    pub fn others_are_done(&self) -> bool {
        let mut others = self.peers.up();
        others.all(|(_, status)| status.phase == NodePhase::Closed)
    }

    /// Once all others have finished or stalled, the connected node with the lowest number fetches
    /// their results. If it leaves before it is done, the next one takes over.
    pub(super) fn try_to_conclude(&mut self, now: Duration) {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Ending { since, settled } => {
                if self.is_concluded() {
                    self.actions.push_back(Action::Conclude(None));
                } else if self.is_anyone(since, now, |s| {
                    matches!(s.phase, NodePhase::Joining | NodePhase::Training)
                }) {
                    let settled = now;
                    self.stage = Stage::Ending { since, settled };
                } else if self.is_anyone(settled, now, |s| {
                    s.phase == NodePhase::Done && s.node < self.config.node
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

    /// Whether another node reports that the mean has been evaluated.
    fn is_concluded(&self) -> bool {
        let mut others = self.peers.up();
        others.any(|(_, status)| status.phase == NodePhase::Closed)
    }

    /// Whether another node satisfies `is` and has made progress within the limit, counted from
    /// `since` at the earliest.
    fn is_anyone(&self, since: Duration, now: Duration, is: impl Fn(&Status) -> bool) -> bool {
        let limit = self.config.limit;
        let mut others = self.peers.up();
        others.any(|(peer, status)| is(status) && now < peer.progress_at.max(since) + limit)
    }

    fn fetch_results(&mut self) {
        let theirs = self.peers.running().filter_map(|(_, status)| {
            let of_end = |v: &VectorRef| matches!(v.source, Source::Final { workers: 1.. });
            Some((status.node, status.result.filter(of_end)?))
        });
        let theirs: Vec<(u32, VectorRef)> = theirs.collect();
        let mut fetching = Fetching::default();
        for (node, vector) in theirs {
            fetching.request(node, vector);
            self.fetch(node, vector);
        }
        self.conclude(fetching);
    }

    /// Evaluates the mean of all sums that could be fetched, in node order after this node's own.
    fn conclude(&mut self, fetching: Fetching) {
        if fetching.waits() {
            self.stage = Stage::Concluding(fetching);
            return;
        }
        let own = self.result.iter().map(|(_, sum)| sum);
        let theirs = fetching.pending.values().filter_map(|w| w.got.as_ref());
        let mean = Snapshot::mean(own.chain(theirs).map(AsRef::as_ref));
        let mean = mean.ok().flatten().map(Arc::new);
        self.actions.push_back(Action::Conclude(mean));
    }
}
