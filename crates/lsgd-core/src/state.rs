//! What workers and their leader remember between steps, apart from a module's values and the inner
//! optimizer's state: what a checkpoint has to hold for a run to continue with the same bits.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Factors, JoinPoint, Snapshot, WorkerId};

/// What a [`LeaderSgd`](crate::LeaderSgd) remembers between two steps.
#[derive(Debug, Clone, Default)]
pub struct WorkerState {
    /// Steps it has taken.
    pub step: u64,
    /// The losses in its [window](crate::LossWindow), oldest first; a diverged worker's are not
    /// finite.
    pub losses: Vec<f32>,
    /// Its last probe loss, if workers are ranked by it.
    pub probed: Option<f64>,
    /// What the [`Rule`](crate::Rule) of its method remembers.
    pub rule: RuleState,
    /// Its [factors](crate::LeaderSgd::factors), if it takes over those of leaders.
    pub factors: Option<Factors>,
}

/// What a [`MovingAverage`](crate::MovingAverage) remembers between two steps.
#[derive(Debug, Clone)]
pub struct AverageState {
    /// Steps that it has averaged.
    pub steps: u64,
    /// The averaged parameters, with the worker's own running statistics.
    pub values: Arc<Snapshot>,
}

/// What a [`Rule`](crate::Rule) remembers, by names of its own.
#[derive(Debug, Clone, Default)]
pub struct RuleState {
    /// Vectors, such as the centre or the last leader's parameters.
    pub vectors: BTreeMap<String, Arc<Snapshot>>,
    /// Numbers, such as sums since the last exchange.
    pub numbers: BTreeMap<String, Vec<f64>>,
}

/// What a [`LocalLeader`](crate::LocalLeader) remembers between two exchanges. In `async` an
/// election that is under way is not part of it: it is held again.
#[derive(Debug, Clone, Default)]
pub struct LocalLeaderState {
    /// Its counters.
    pub counters: LocalLeaderCounters,
    /// The node's centre, if the method has one.
    pub centre: Option<Arc<Snapshot>>,
}

/// The part of a [`LocalLeaderState`] that consists of numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalLeaderCounters {
    /// The last leader.
    pub leader: Option<WorkerId>,
    /// Steps of all workers since the last update for other nodes.
    pub taken: u64,
    /// Steps reported so far.
    pub steps: u64,
    /// Exchanges so far.
    pub exchanges: u64,
    /// `async`: steps counted toward the next exchange.
    pub trigger: u64,
    /// The workers, by number.
    pub members: BTreeMap<u32, MemberCounters>,
}

/// What a [`LocalLeader`](crate::LocalLeader) knows about a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCounters {
    /// The step that it reported last.
    pub reported: Option<u64>,
    /// Its step at the last delivery.
    pub delivered_at: u64,
}

/// What a [`GlobalLeader`](crate::GlobalLeader) remembers between two exchanges.
#[derive(Debug, Clone, Default)]
pub struct GlobalLeaderState {
    /// Its counters.
    pub counters: GlobalLeaderCounters,
    /// What the last exchange delivered, from which nodes join.
    pub join_point: Option<(JoinPoint, Arc<Snapshot>)>,
    /// What it has not sent of its workers' changes yet ([`WireFormat::Topk`](crate::WireFormat::Topk)).
    pub unsent: Option<Arc<Snapshot>>,
}

/// The part of a [`GlobalLeaderState`] that consists of numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalLeaderCounters {
    /// Exchanges that the node has completed; in `sync` the number of the last one.
    pub rounds: u64,
    /// A name for what the last of them delivered ([`Status::exchanged`](crate::Status::exchanged)).
    #[serde(default)]
    pub exchanged: u64,
    /// Steps of its workers at its last proposal.
    pub steps: u64,
    /// The furthest step of its workers then.
    pub step: u64,
    /// `async`: steps of all nodes counted toward the next exchange.
    pub trigger: u64,
}

/// Why a saved state does not fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StateError {
    /// The method needs a part of the state that is not there.
    #[error("it lacks {name}, which the method {method} needs")]
    Missing {
        /// The method.
        method: &'static str,
        /// The part's name.
        name: String,
    },
    /// A number is not one that the method can have saved.
    #[error("{name} is {value}, which the method {method} never saves")]
    Value {
        /// The method.
        method: &'static str,
        /// The number's name.
        name: String,
        /// The number.
        value: f64,
    },
}

impl RuleState {
    /// A vector that the method `method` needs.
    pub(crate) fn needed(
        &self,
        method: &'static str,
        name: &str,
    ) -> Result<Arc<Snapshot>, StateError> {
        let missing = || StateError::Missing {
            method,
            name: name.to_owned(),
        };
        self.vectors.get(name).cloned().ok_or_else(missing)
    }

    /// A count that the method `method` needs.
    pub(crate) fn count(&self, method: &'static str, name: &str) -> Result<u64, StateError> {
        let saved = self.numbers.get(name).and_then(|numbers| numbers.first());
        let value = *saved.ok_or_else(|| StateError::Missing {
            method,
            name: name.to_owned(),
        })?;
        let is_count = value >= 0.0 && value.fract() == 0.0 && value <= 2_f64.powi(53);
        match is_count {
            true => Ok(value as u64),
            false => Err(StateError::Value {
                method,
                name: name.to_owned(),
                value,
            }),
        }
    }
}
