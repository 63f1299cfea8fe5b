//! Beginning: with all others at the start, or with what those that train have come to.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use super::{Action, Fetched, GlobalLeader, Stage};
use crate::{Basis, Event, Mode, Phase, Snapshot, SnapshotDigest, Source, Status};

/// Parameters to begin with.
#[derive(Debug, Clone)]
pub(super) struct Parameters {
    /// The exchange that delivered them.
    basis: Basis,
    snapshot: Arc<Snapshot>,
    /// Bytes that came from other nodes until they were there.
    bytes: u64,
}

/// A fetch of parameters to begin with.
#[derive(Debug, Clone)]
pub(super) struct Catching {
    basis: Basis,
    /// The round and the step that the others were at when it was asked for.
    round: u64,
    step: u64,
    /// What was fetched before, while the others went on.
    before: Option<Parameters>,
}

impl Catching {
    /// Whether it is for this vector.
    pub(super) fn wants(&self, digest: SnapshotDigest) -> bool {
        self.basis.vector.digest == digest
    }
}

impl GlobalLeader {
    /// Begins once it can.
    pub(super) fn try_to_begin(&mut self, now: Duration) {
        if matches!(self.stage, Stage::Catching(_)) {
            return;
        }
        if self.peers.latest_round().is_some() {
            return self.catch_up(None, now);
        }
        let absent = self.peers.absent();
        if absent.is_empty() {
            return self.begin(0, 0, None, now);
        }
        if now >= self.began_waiting + self.membership.wait {
            self.actions.push_back(Action::GiveUp(absent.clone()));
            // Said once; whoever drives it ends the run.
            self.phase = Phase::Closed;
            return;
        }
        if self.awaited != *absent {
            self.await_nodes(absent.clone());
        }
    }

    /// Fetches what was delivered last to the others: in `sync` the newest, in `async` that of the lowest
    /// loss. If nothing has been delivered yet, begins with what was fetched `before`, or else with the
    /// initial weights.
    pub(super) fn catch_up(&mut self, before: Option<Parameters>, now: Duration) {
        let round = self.peers.latest_round().unwrap_or(0);
        if round > 0 && self.method.shares_gradients() {
            self.actions.push_back(Action::CannotJoin);
            // Said once; whoever drives it ends the run.
            self.phase = Phase::Closed;
            return;
        }
        let Some((basis, status)) = self.newest_basis() else {
            let step = self.step_of_round(round);
            return self.begin(round, step, before, now);
        };
        // In `sync` a round names its step, also if nobody could lead in it, and what was delivered
        // before it is all there is.
        let (round, step) = match self.mode {
            Mode::Sync => (round, self.step_of_round(round)),
            Mode::Async => (basis.round, status.steps / u64::from(status.workers.max(1))),
        };
        let node = status.node;
        self.stage = Stage::Catching(Catching {
            basis,
            round,
            step,
            before,
        });
        self.fetch(node, basis.vector);
    }

    /// What a node that begins fetches, and the status that names it: in `sync` the newest, as some may
    /// have begun with an older one, then that of the lowest loss.
    fn newest_basis(&self) -> Option<(Basis, &Status)> {
        // A sum, say, is nothing to begin with, whoever claims it.
        let begins = |basis: &Basis| {
            use Source::{Centre, Mean, Worker};
            matches!(
                basis.vector.source,
                Worker { .. } | Mean { .. } | Centre { .. }
            )
        };
        let named = self
            .peers
            .running()
            .filter_map(|(_, status)| Some((status.delivered.filter(begins)?, status)));
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

    /// The parameters to begin with are there, or cannot be had; then whatever there is by now is
    /// tried.
    ///
    /// In `sync` the others may have gone on meanwhile. What they have come to since is fetched
    /// then, once: a node whose fetches take longer than a round begins in the latest one with the
    /// parameters that it has, or it never would.
    pub(super) fn caught(
        &mut self,
        catching: Catching,
        outcome: Result<Fetched, String>,
        now: Duration,
    ) {
        let Catching {
            basis,
            round,
            step,
            before,
        } = catching;
        self.stage = Stage::Idle;
        let fetched = match outcome {
            Ok(Fetched { snapshot, crossed }) => {
                let of_this = match crossed {
                    true => self.membership.wire.bytes_of(&snapshot),
                    false => 0,
                };
                let of_before = before.as_ref().map_or(0, |before| before.bytes);
                Some(Parameters {
                    basis,
                    snapshot: Snapshot::of(&snapshot, basis.vector.source),
                    bytes: of_before + of_this,
                })
            }
            Err(why) => {
                self.record_unfetched(basis.vector.source, why);
                None
            }
        };
        let first = before.is_none();
        let Some(parameters) = fetched.or(before) else {
            // A node that has offered waits for its round as before.
            if self.phase == Phase::Training && self.has_offered() {
                self.meet(now);
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

    fn begin(&mut self, round: u64, step: u64, parameters: Option<Parameters>, now: Duration) {
        self.await_nodes(Default::default());
        self.stage = Stage::Idle;
        self.rounds = round;
        self.step = step;
        self.workers = self.membership.workers;
        self.steps = step.saturating_mul(u64::from(self.workers));
        self.own.clear();
        // Offers of a life before are no offers of this one; in `async` their count goes on.
        self.offers = [None, None];
        self.phase = Phase::Training;
        let bytes = parameters.as_ref().map_or(0, |given| given.bytes);
        let parameters = parameters.map(|given| {
            self.actions
                .push_back(Action::Publish(given.snapshot.clone()));
            self.delivered = Some(given.basis);
            given.snapshot
        });
        self.record(Event::Joined {
            step,
            source: parameters.as_ref().map(|snapshot| snapshot.source()),
            bytes,
        });
        self.actions.push_back(Action::Begin {
            step,
            parameters,
            trained: self.trained,
        });
        self.tell(now, false);
    }

    fn step_of_round(&self, round: u64) -> u64 {
        round.saturating_mul(self.method.periods.global)
    }

    fn await_nodes(&mut self, nodes: std::collections::BTreeSet<u32>) {
        if self.awaited != nodes {
            self.awaited = nodes.clone();
            self.actions.push_back(Action::Await(nodes));
        }
    }
}
