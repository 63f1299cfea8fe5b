//! Continuing a run: which checkpoint a node begins from, and what it remembers of the exchange.
//!
//! In `sync` nodes depend on each other only at rounds. So checkpoints of different steps fit
//! together as long as they are of one round: each node continues from its own, and the next round
//! is what it would have been.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Action, GlobalLeader};
use crate::{GlobalLeaderCounters, GlobalLeaderState, JoinPoint, Mode, Snapshot, Status, Trigger};

/// Where all nodes begin together.
pub(super) enum Common {
    /// At the beginning: no node has a checkpoint.
    None,
    /// Each at a checkpoint of its own; this node's is of this step.
    Own(u64),
    /// At checkpoints of which this node has none.
    OfOthers,
}

impl GlobalLeader {
    /// For a node that is to continue a run: it can do so from its checkpoints of these steps, of
    /// which the last [`Status::MAX_CHECKPOINTS`] count. Call it before the first action is taken.
    ///
    /// All nodes begin from the latest round that most of them have a checkpoint of, ideally all; in
    /// `async` each begins from its own newest. A node that comes to others that train already
    /// continues if it has a checkpoint of their round, in `async` if it is not too far behind;
    /// otherwise it starts from their parameters.
    pub fn continuing(mut self, mut checkpoints: Vec<u64>, now: Duration) -> Self {
        checkpoints.sort_unstable();
        if self.keeps_step() {
            // The newest of each round is enough.
            let rounds = checkpoints.iter().map(|&step| (self.round_of(step), step));
            checkpoints = rounds
                .collect::<BTreeMap<u64, u64>>()
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
                steps: self.steps,
                step: self.step,
                trigger: self.trigger.since(),
            },
            join_point: self.join_point.clone(),
        }
    }

    /// Takes up a state, after [`Action::Begin`] asked for it and before workers begin.
    pub fn resume(&mut self, state: GlobalLeaderState, now: Duration) {
        let GlobalLeaderState {
            counters,
            join_point,
        } = state;
        self.rounds = counters.rounds;
        self.steps = counters.steps;
        self.step = counters.step;
        self.trigger = Trigger::after(counters.trigger);
        if let Some((join_point, snapshot)) = join_point {
            self.set_join_point(join_point, snapshot);
        }
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
                let mut votes: BTreeMap<u64, u32> = BTreeMap::new();
                for checkpoints in others().chain([&self.checkpoints]) {
                    let rounds = checkpoints.iter().map(|&step| self.round_of(step));
                    for round in rounds.collect::<BTreeSet<u64>>() {
                        *votes.entry(round).or_default() += 1;
                    }
                }
                let most = votes.iter().max_by_key(|(round, votes)| (**votes, **round));
                most.and_then(|(&round, _)| self.newest_checkpoint_of(round))
            }
            false => self.checkpoints.last().copied(),
        };
        own.map_or(Common::OfOthers, Common::Own)
    }

    /// The checkpoint that this node begins from when others train already.
    pub(super) fn checkpoint_among_running(&self) -> Option<u64> {
        if self.keeps_step() {
            return self.newest_checkpoint_of(self.peers.latest_round()?);
        }
        let newest = *self.checkpoints.last()?;
        let steps = |status: &Status| status.steps / u64::from(status.workers.max(1));
        let furthest = self
            .peers
            .running()
            .map(|(_, status)| steps(status))
            .max()?;
        let within = self.method.max_staleness.global;
        (furthest.saturating_sub(newest) <= within).then_some(newest)
    }

    /// Whether the nodes' steps depend on each other.
    fn keeps_step(&self) -> bool {
        self.mode == Mode::Sync && self.method.exchanges()
    }

    /// Its newest checkpoint of this round.
    fn newest_checkpoint_of(&self, round: u64) -> Option<u64> {
        let of_round = |step: &&u64| self.round_of(**step) == round;
        self.checkpoints.iter().rev().find(of_round).copied()
    }

    /// `sync`: the last round at this step.
    pub(super) fn round_of(&self, step: u64) -> u64 {
        step / self.method.periods.global.max(1)
    }
}
