//! Beginning: with all others at the start, or with what those that train have come to.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, GlobalLeader, Stage};
use crate::{Basis, Event, Mode, Offered, Phase, Snapshot, Source, Status};

/// A fetch of the parameters that a node begins with: those delivered in a round, to nodes that
/// are at a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Catching {
    pub(super) vector: Offered,
    round: u64,
    step: u64,
    /// Whether it is fetched because the others had gone on during the fetch before.
    again: bool,
}

impl GlobalLeader {
    /// Begins once it can.
    pub(super) fn try_to_begin(&mut self, now: Duration) {
        if matches!(self.stage, Stage::Catching(_)) {
            return;
        }
        if self.peers.latest_round().is_some() {
            return self.catch_up(false, now);
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
    pub(super) fn catch_up(&mut self, again: bool, now: Duration) {
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
        self.stage = Stage::Catching(Catching {
            vector,
            round,
            step,
            again,
        });
        self.fetch(node, vector);
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
        outcome: Result<Arc<Snapshot>, String>,
        now: Duration,
    ) {
        let Catching {
            vector,
            round: delivered,
            step,
            again,
        } = catching;
        self.stage = Stage::Idle;
        match outcome {
            Ok(snapshot) => {
                let latest = match self.mode {
                    Mode::Sync => self.peers.latest_round().unwrap_or(delivered),
                    Mode::Async => delivered,
                };
                if latest > delivered && !again {
                    return self.catch_up(true, now);
                }
                let (round, step) = match latest > delivered {
                    true => (latest, self.step_of_round(latest)),
                    false => (delivered, step),
                };
                let snapshot = Snapshot::of(&snapshot, vector.source);
                self.actions.push_back(Action::Publish(snapshot.clone()));
                self.delivered = Some(Basis {
                    round: delivered,
                    vector,
                });
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
