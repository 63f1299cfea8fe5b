//! Starting: together with all nodes, or from the parameters of those that are training already.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use super::changes::Unsent;
use super::resuming::Common;
use super::{Action, Fetched, GlobalLeader, Stage};
use crate::{
    CheckpointRef, Event, JoinPoint, Mode, NodePhase, Snapshot, SnapshotDigest, Source, Status,
};

/// Parameters to start from.
#[derive(Debug, Clone)]
pub(super) struct JoinParameters {
    /// The exchange that delivered them.
    join_point: JoinPoint,
    snapshot: Arc<Snapshot>,
    /// Bytes transferred from other nodes to get them.
    bytes: u64,
}

/// A fetch of parameters to start from.
#[derive(Debug, Clone)]
pub(super) struct CatchUp {
    join_point: JoinPoint,
    /// The round and step of the other nodes when it was requested.
    round: u64,
    step: u64,
    /// What was fetched before, while the others moved on.
    before: Option<JoinParameters>,
}

impl CatchUp {
    /// Whether it is waiting for this vector.
    pub(super) fn wants(&self, digest: SnapshotDigest) -> bool {
        self.join_point.vector.digest == digest
    }
}

impl GlobalLeader {
    /// Starts as soon as it can.
    pub(super) fn try_to_begin(&mut self, now: Duration) {
        if matches!(self.stage, Stage::CatchingUp(_)) {
            return;
        }
        if self.peers.latest_round().is_some() {
            return match self.checkpoint_among_running() {
                Some(own) => self.begin_again(own, now),
                None => self.catch_up(None, now),
            };
        }
        let absent = self.peers.absent();
        if absent.is_empty() {
            return match self.common_checkpoint() {
                Common::None => self.begin(0, 0, None, now),
                Common::Own(own) => self.begin_again(own, now),
                // It joins them once they train.
                Common::OfOthers => {}
            };
        }
        if now >= self.began_waiting + self.config.wait {
            self.actions.push_back(Action::GiveUp(absent.clone()));
            // Reported once; the driver then ends the run.
            self.phase = NodePhase::Closed;
            return;
        }
        if self.awaited != *absent {
            self.await_nodes(absent.clone());
        }
    }

    /// Fetches the parameters that the others received last: in `sync` the newest, in `async` those
    /// with the lowest loss. If none have been delivered yet, starts from what was fetched
    /// `before`, or else from the initial weights.
    pub(super) fn catch_up(&mut self, before: Option<JoinParameters>, now: Duration) {
        let round = self.peers.latest_round().unwrap_or(0);
        if round > 0 && self.method.shares_gradients() {
            self.actions.push_back(Action::CannotJoin);
            // Reported once; the driver then ends the run.
            self.phase = NodePhase::Closed;
            return;
        }
        let Some((join_point, status)) = self.newest_join_point() else {
            let step = self.step_of_round(round);
            return self.begin(round, step, before, now);
        };
        // In `sync` a round implies its step, even if it had no leader; the newest parameters are
        // then those of an earlier round.
        let (round, step) = match self.mode {
            Mode::Sync => (round, self.step_of_round(round)),
            Mode::Async => (
                join_point.round,
                status.steps / u64::from(status.workers.max(1)),
            ),
        };
        let node = status.node;
        self.stage = Stage::CatchingUp(CatchUp {
            join_point,
            round,
            step,
            before,
        });
        self.fetch(node, join_point.vector);
    }

    /// The join point to fetch, and the status that names it: in `sync` the newest, since some
    /// nodes may have started from an older one, then the one with the lowest loss.
    fn newest_join_point(&self) -> Option<(JoinPoint, &Status)> {
        // A sum, for example, is no set of parameters, whatever a node claims.
        let begins = |join_point: &JoinPoint| {
            use Source::{Centre, Mean, Worker};
            matches!(
                join_point.vector.source,
                Worker { .. } | Mean { .. } | Centre { .. }
            )
        };
        let named = self
            .peers
            .running()
            .filter_map(|(_, status)| Some((status.join_point.filter(begins)?, status)));
        named.min_by(|(a, first), (b, second)| {
            let newest = match self.mode {
                Mode::Sync => b.round.cmp(&a.round),
                Mode::Async => Ordering::Equal,
            };
            newest
                .then(a.vector.loss.total_cmp(&b.vector.loss))
                .then(first.node.cmp(&second.node))
        })
    }

    /// The parameters to start from have arrived, or cannot be fetched; in that case it retries
    /// with the current join point.
    ///
    /// In `sync` the others may have moved on meanwhile. Their newer parameters are then fetched,
    /// once: a node whose fetches take longer than a round starts in the latest round with the
    /// parameters that it has, as it would otherwise never start.
    pub(super) fn on_caught_up(
        &mut self,
        catch_up: CatchUp,
        outcome: Result<Fetched, String>,
        now: Duration,
    ) {
        let CatchUp {
            join_point,
            round,
            step,
            before,
        } = catch_up;
        self.stage = Stage::Idle;
        let fetched = match outcome {
            Ok(Fetched { snapshot, crossed }) => {
                let of_this = match crossed {
                    true => self.config.wire.bytes_of(&snapshot),
                    false => 0,
                };
                let of_before = before.as_ref().map_or(0, |before| before.bytes);
                Some(JoinParameters {
                    join_point,
                    snapshot: Snapshot::of(&snapshot, join_point.vector.source),
                    bytes: of_before + of_this,
                })
            }
            Err(why) => {
                self.record_unfetched(join_point.vector.source, why);
                None
            }
        };
        let first = before.is_none();
        let Some(parameters) = fetched.or(before) else {
            // A node that has proposed keeps waiting for its round.
            if self.phase == NodePhase::Training && self.has_proposed() {
                self.await_proposals(now);
            }
            return;
        };
        let latest = match self.mode {
            Mode::Sync => self.peers.latest_round().unwrap_or(round).max(round),
            Mode::Async => round,
        };
        if latest == round {
            return self.begin(round, step, Some(parameters), now);
        }
        match first {
            true => self.catch_up(Some(parameters), now),
            false => self.begin(latest, self.step_of_round(latest), Some(parameters), now),
        }
    }

    fn begin(&mut self, round: u64, step: u64, parameters: Option<JoinParameters>, now: Duration) {
        self.start(round, step);
        let bytes = parameters.as_ref().map_or(0, |given| given.bytes);
        let parameters = parameters.map(|given| {
            self.set_join_point(given.join_point, given.snapshot.clone());
            given.snapshot
        });
        self.record(Event::Joined {
            step,
            source: parameters.as_ref().map(|snapshot| snapshot.source()),
            bytes,
            digest: parameters.as_ref().map(|snapshot| snapshot.digest().into()),
        });
        self.actions.push_back(Action::Begin {
            step,
            parameters,
            trained: self.trained,
            resumes: false,
        });
        self.broadcast(now, false);
    }

    /// Continues from this checkpoint of its own.
    fn begin_again(&mut self, own: CheckpointRef, now: Duration) {
        let CheckpointRef { step, exchanged } = own;
        self.start(self.round_of(step), step);
        self.checkpoints.push(own);
        self.is_loading = true;
        self.exchanged = exchanged;
        self.expect_continuing();
        self.actions.push_back(Action::Begin {
            step,
            parameters: None,
            trained: self.trained,
            resumes: true,
        });
        self.broadcast(now, false);
    }

    fn start(&mut self, round: u64, step: u64) {
        self.await_nodes(Default::default());
        self.stage = Stage::Idle;
        self.rounds = round;
        self.step = step;
        self.workers = self.config.workers;
        self.steps = step.saturating_mul(u64::from(self.workers));
        self.own.clear();
        self.unsent = Unsent::default();
        // Proposals of an earlier incarnation are dropped; in `async` their count continues.
        self.proposals = [None, None];
        self.phase = NodePhase::Training;
        // From now on it is the others' state that it begins from.
        self.checkpoints.clear();
        self.is_loading = false;
        self.exchanged = 0;
    }

    fn step_of_round(&self, round: u64) -> u64 {
        self.method.exchange_steps.step_of_global(round)
    }

    fn await_nodes(&mut self, nodes: std::collections::BTreeSet<u32>) {
        if self.awaited != nodes {
            self.awaited = nodes.clone();
            self.actions.push_back(Action::Await(nodes));
        }
    }
}
