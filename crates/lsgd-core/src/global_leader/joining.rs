//! Beginning: with all others at the start, or with what those that train have come to.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, GlobalLeader, Stage};
use crate::{Basis, Event, Mode, Offered, Phase, Snapshot, Source, Status};

impl GlobalLeader {
    /// Begins once it can.
    pub(super) fn try_to_begin(&mut self, now: Duration) {
        if matches!(self.stage, Stage::Catching { .. }) {
            return;
        }
        if self.peers.latest_round().is_some() {
            return self.catch_up(now);
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

    /// Fetches what was delivered last to the others: in `sync` in the latest round, in `async` the
    /// one of the lowest loss. If nothing has been delivered yet, begins with the initial weights.
    pub(super) fn catch_up(&mut self, now: Duration) {
        let round = self.peers.latest_round().unwrap_or(0);
        let current = |status: &Status| self.mode == Mode::Async || status.rounds == round;
        // A sum, say, is nothing to begin with, whoever claims it.
        let begins = |basis: &Basis| {
            use Source::{Centre, Mean, Worker};
            matches!(
                basis.vector.source,
                Worker { .. } | Mean { .. } | Centre { .. }
            )
        };
        let best = self
            .peers
            .running()
            .filter(|(_, status)| current(status))
            .filter_map(|(_, status)| Some((status.delivered.filter(begins)?, status)))
            .min_by(|(a, first), (b, second)| {
                let by_loss = a.vector.loss.total_cmp(&b.vector.loss);
                by_loss.then(first.node.cmp(&second.node))
            });
        if round > 0 && self.method.shares_gradients() {
            self.actions.push_back(Action::CannotJoin);
            // Said once; whoever drives it ends the run.
            self.phase = Phase::Closed;
            return;
        }
        let Some((basis, status)) = best else {
            let step = self.step_of_round(round);
            return self.begin(round, step, None, now);
        };
        // In `sync` a round names its step. If nobody could lead in the latest one, what was
        // delivered before it is all there is.
        let Basis {
            round: earlier,
            vector,
        } = basis;
        let (round, step) = match self.mode {
            Mode::Sync => (round, self.step_of_round(round)),
            Mode::Async => (earlier, status.steps / u64::from(status.workers.max(1))),
        };
        let node = status.node;
        self.stage = Stage::Catching {
            vector,
            round,
            step,
        };
        self.fetch(node, vector);
    }

    /// The parameters to begin with are there, or cannot be had; then whatever there is by now is
    /// tried.
    pub(super) fn caught(
        &mut self,
        vector: Offered,
        round: u64,
        step: u64,
        outcome: Result<Arc<Snapshot>, String>,
        now: Duration,
    ) {
        self.stage = Stage::Idle;
        match outcome {
            Ok(snapshot) => {
                let snapshot = Snapshot::of(&snapshot, vector.source);
                self.actions.push_back(Action::Publish(snapshot.clone()));
                self.delivered = Some(Basis { round, vector });
                self.begin(round, step, Some(snapshot), now);
            }
            Err(why) => {
                self.record_unfetched(vector.source, why);
                // A node that has offered waits for its round as before.
                if self.phase == Phase::Training && self.has_offered() {
                    self.meet(now);
                }
            }
        }
    }

    fn begin(&mut self, round: u64, step: u64, parameters: Option<Arc<Snapshot>>, now: Duration) {
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
        self.record(Event::Joined {
            step,
            source: parameters.as_ref().map(|snapshot| snapshot.source()),
        });
        self.actions.push_back(Action::Begin { step, parameters });
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
