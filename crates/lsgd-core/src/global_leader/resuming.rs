//! Continuing a run: which checkpoint a node begins from, and what it remembers of the exchange.
//!
//! In `sync` nodes depend on each other only at rounds. So checkpoints of different steps fit
//! together as long as they are of one round, which delivered the same to all nodes (a leader may die
//! when some have its vector and others not yet): each node continues from its own, and the next
//! round is what it would have been.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::changes::Unsent;
use super::{Action, GlobalLeader};
use crate::{
    CheckpointRef, GlobalLeaderCounters, GlobalLeaderState, JoinPoint, Mode, NodePhase, Snapshot,
    Status, Trigger,
};

/// A round, and what it delivered ([`Status::exchanged`]).
type Outcome = (u64, u64);

/// Where all nodes begin together.
pub(super) enum Common {
    /// At the beginning: no node has a checkpoint.
    None,
    /// Each at a checkpoint of its own; this node's is this.
    Own(CheckpointRef),
    /// At checkpoints of which this node has none.
    OfOthers,
}

impl GlobalLeader {
    /// For a node that is to continue a run: it can do so from these checkpoints, of which the last
    /// [`Status::MAX_CHECKPOINTS`] count. Call it before the first action is taken.
    ///
    /// All nodes begin from the latest round that most of them have a checkpoint of, ideally all, and
    /// that delivered the same to them; in `async` each begins from its own newest. A node that comes to
    /// others that train already continues if it has a checkpoint of their round, which delivered the
    /// same to it, in `async` if it is not too far behind; otherwise it starts from their parameters.
    pub fn continuing(mut self, mut checkpoints: Vec<CheckpointRef>, now: Duration) -> Self {
        checkpoints.sort_unstable();
        if self.keeps_step() {
            // A node that has joined has another history until the next exchange.
            checkpoints.retain(|own| own.exchanged != 0 || self.round_of(own.step) == 0);
            // The newest of each round is enough.
            let rounds = checkpoints
                .iter()
                .map(|&own| (self.round_of(own.step), own));
            checkpoints = rounds
                .collect::<BTreeMap<u64, CheckpointRef>>()
                .into_values()
                .collect();
        }
        let surplus = checkpoints.len().saturating_sub(Status::MAX_CHECKPOINTS);
        self.checkpoints = checkpoints.split_off(surplus);
        if !self.checkpoints.is_empty() {
            self.broadcast(now, false);
        }
        self
    }

    /// What it remembers between two exchanges. In `sync`, call it while all workers are at a step
    /// boundary.
    pub fn state(&self) -> GlobalLeaderState {
        GlobalLeaderState {
            counters: GlobalLeaderCounters {
                rounds: self.rounds,
                exchanged: self.exchanged,
                steps: self.steps,
                step: self.step,
                trigger: self.trigger.since(),
            },
            join_point: self.join_point.clone(),
            unsent: self.unsent.settled().cloned(),
        }
    }

    /// Takes up a state, after [`Action::Begin`] asked for it and before workers begin.
    pub fn resume(&mut self, state: GlobalLeaderState, now: Duration) {
        let GlobalLeaderState {
            counters,
            join_point,
            unsent,
        } = state;
        self.rounds = counters.rounds;
        self.exchanged = counters.exchanged;
        self.steps = counters.steps;
        self.step = counters.step;
        self.trigger = Trigger::after(counters.trigger);
        self.unsent = Unsent::of(unsent);
        if let Some((join_point, snapshot)) = join_point {
            self.set_join_point(join_point, snapshot);
        }
        self.checkpoints.clear();
        self.is_loading = false;
        self.broadcast(now, false);
    }

    /// The exchange that nodes join from, and what it delivered.
    pub(super) fn set_join_point(&mut self, join_point: JoinPoint, snapshot: Arc<Snapshot>) {
        self.actions.push_back(Action::Publish(snapshot.clone()));
        self.join_point = Some((join_point, snapshot));
    }

    /// The checkpoint that this node begins from when no node trains yet.
    pub(super) fn common_checkpoint(&self) -> Common {
        let others = || self.peers.up().map(|(_, status)| &status.checkpoints);
        let nobody = self.checkpoints.is_empty() && others().all(Vec::is_empty);
        if nobody {
            return Common::None;
        }
        let own = match self.keeps_step() {
            true => {
                let mut votes: BTreeMap<Outcome, u32> = BTreeMap::new();
                for checkpoints in others().chain([&self.checkpoints]) {
                    let outcomes = checkpoints.iter().map(|&saved| self.outcome(saved));
                    for outcome in outcomes.collect::<BTreeSet<Outcome>>() {
                        *votes.entry(outcome).or_default() += 1;
                    }
                }
                let most = votes
                    .iter()
                    .max_by_key(|(outcome, votes)| (**votes, **outcome));
                most.and_then(|(&outcome, _)| self.newest_checkpoint_after(outcome))
            }
            false => self.checkpoints.last().copied(),
        };
        own.map_or(Common::OfOthers, Common::Own)
    }

    /// The checkpoint that this node begins from when others train already.
    pub(super) fn checkpoint_among_running(&self) -> Option<CheckpointRef> {
        if self.keeps_step() {
            let latest = self.peers.latest_round()?;
            let running = self.peers.running().map(|(_, status)| status);
            return running
                .filter(|status| status.rounds == latest)
                .find_map(|status| self.newest_checkpoint_after((latest, status.exchanged)));
        }
        let newest = *self.checkpoints.last()?;
        let steps = |status: &Status| status.steps / u64::from(status.workers.max(1));
        let furthest = self
            .peers
            .running()
            .map(|(_, status)| steps(status))
            .max()?;
        let within = self.method.max_staleness.global;
        (furthest.saturating_sub(newest.step) <= within).then_some(newest)
    }

    /// Nodes begin one after another, and the first may come to the next round before the last has
    /// begun: it waits there for those that can continue where it is.
    pub(super) fn expect_continuing(&mut self) {
        if self.phase != NodePhase::Training || !self.keeps_step() {
            return;
        }
        let rounds = self.method.exchange_steps.clone();
        let (round, exchanged) = (self.rounds, self.exchanged);
        self.peers.expect(round + 1, |status| {
            let mut checkpoints = status.checkpoints.iter();
            checkpoints
                .any(|own| rounds.global_until(own.step) == round && own.exchanged == exchanged)
        });
    }

    /// Whether the nodes' steps depend on each other.
    fn keeps_step(&self) -> bool {
        self.mode == Mode::Sync && self.method.exchanges()
    }

    /// Its newest checkpoint after this outcome.
    fn newest_checkpoint_after(&self, outcome: Outcome) -> Option<CheckpointRef> {
        let mut newest_first = self.checkpoints.iter().rev().copied();
        newest_first.find(|&own| self.outcome(own) == outcome)
    }

    fn outcome(&self, checkpoint: CheckpointRef) -> Outcome {
        (self.round_of(checkpoint.step), checkpoint.exchanged)
    }

    /// `sync`: the last round at this step.
    pub(super) fn round_of(&self, step: u64) -> u64 {
        self.method.exchange_steps.global_until(step)
    }
}
