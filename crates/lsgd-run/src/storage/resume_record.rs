//! What a checkpoint's `state.json` says about continuing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lsgd_core::{
    GlobalLeaderCounters, GlobalLeaderState, JoinPoint, LocalLeaderCounters, Snapshot, Source,
    Status, VectorKind, VectorRef,
};
use serde::{Deserialize, Serialize};

use crate::config::MAX_MEANS;

/// Lengths of a run's records, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordLengths {
    /// Of `metrics.jsonl`.
    pub metrics: u64,
    /// Of `events.jsonl`.
    pub events: u64,
}

/// A worker's times, in seconds since the run began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedTimes {
    /// Waiting for batches.
    pub data_wait: f64,
    /// In exchanges.
    pub exchange: f64,
    /// In exchanges, waiting for other workers.
    pub exchange_wait: f64,
}

/// The part of a checkpoint's `state.json` that a run continues from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResumeRecord {
    /// Whether an evaluation was due at this step.
    pub evaluates: bool,
    /// Seconds of training.
    pub seconds: f64,
    /// Lengths of the records when the workers paused.
    pub records: RecordLengths,
    /// Lengths of the records once the evaluation was in them.
    #[serde(default)]
    pub evaluated: Option<RecordLengths>,
    /// Counters of the node's leader.
    pub exchange: LocalLeaderCounters,
    /// What the node remembers of the exchange with others.
    #[serde(default)]
    pub cluster: Option<ClusterRecord>,
    /// The node's centre.
    #[serde(default)]
    pub centre: Option<SavedVector>,
    /// The replica means of the last evaluations, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub window: Vec<WindowRecord>,
    /// The workers that it had then.
    pub workers: Vec<WorkerRecord>,
}

/// Longest training time that is read, in seconds: thirty years.
const MAX_SECONDS: f64 = 1e9;

/// Greatest count that is read, as of another node's status: sums of such counts do not overflow.
const MAX_COUNT: u64 = Status::MAX_COUNT;

impl ResumeRecord {
    /// Checks that it fits a checkpoint of this step, of a run of `all` workers.
    pub(super) fn check(&self, step: u64, all: usize) -> Result<(), String> {
        if !(0.0..=MAX_SECONDS).contains(&self.seconds) {
            return Err(format!("seconds is {:e}", self.seconds));
        }
        if let Some(count) = self.counts().find(|count| *count > MAX_COUNT) {
            return Err(format!(
                "it counts to {count}, beyond what any run comes to"
            ));
        }
        let means = self.window.len();
        if means as u64 > MAX_MEANS {
            return Err(format!("its window has {means} means, over {MAX_MEANS}"));
        }
        let numbers: BTreeSet<usize> = self.workers.iter().map(|worker| worker.worker).collect();
        let fits = numbers.len() == self.workers.len() && !numbers.is_empty();
        if !fits || numbers.last().is_some_and(|last| *last >= all) {
            return Err(format!("its workers are {numbers:?}, of {all}"));
        }
        let steps = self.workers.iter().map(|worker| u128::from(worker.step));
        let mean = steps.sum::<u128>() / self.workers.len() as u128;
        if mean != u128::from(step) {
            return Err(format!("its workers' mean step is {mean}, not {step}"));
        }
        match self.evaluated {
            Some(evaluated)
                if evaluated.metrics < self.records.metrics
                    || evaluated.events < self.records.events =>
            {
                Err(String::from("its records become shorter by an evaluation"))
            }
            _ => Ok(()),
        }
    }

    /// Everything that it counts.
    fn counts(&self) -> impl Iterator<Item = u64> {
        let exchange = &self.exchange;
        let members = exchange.members.values();
        let members = members.flat_map(|m| [m.reported.unwrap_or(0), m.delivered_at]);
        let workers = self.workers.iter();
        let workers = workers.flat_map(|w| [w.step, w.averaged.unwrap_or(0)]);
        let cluster = self.cluster.iter().flat_map(|cluster| {
            let GlobalLeaderCounters {
                rounds,
                steps,
                step,
                trigger,
                // A name, which may be any number.
                exchanged: _,
            } = cluster.counters;
            let round = cluster.join_point.as_ref().map_or(0, |point| point.round);
            [rounds, steps, step, trigger, round]
        });
        [
            exchange.taken,
            exchange.steps,
            exchange.exchanges,
            exchange.trigger,
        ]
        .into_iter()
        .chain(members)
        .chain(workers)
        .chain(cluster)
    }
}

/// A worker in `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// Its number.
    pub worker: usize,
    /// Steps it has taken.
    pub step: u64,
    /// Vectors of its rule, by name.
    pub vectors: BTreeMap<String, SavedVector>,
    /// Names of its rule's numbers.
    pub numbers: Vec<String>,
    /// Its times.
    pub times: SavedTimes,
    /// Steps in its moving average, `worker-K-ema.safetensors`, if it keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub averaged: Option<u64>,
}

/// A replica mean in `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowRecord {
    /// The step of its evaluation.
    pub step: u64,
    /// The vector.
    pub mean: SavedVector,
}

/// What a node remembers of the exchange with others, in `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Its counters.
    pub counters: GlobalLeaderCounters,
    /// Where nodes join.
    pub join_point: Option<JoinPointRecord>,
    /// What the node has not sent of its workers' changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsent: Option<SavedVector>,
}

/// The exchange from which nodes join, and what it delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinPointRecord {
    /// Its round.
    pub round: u64,
    /// The kind of the vector.
    pub kind: VectorKind,
    /// The loss that it was elected by.
    pub loss: f64,
    /// The vector.
    pub delivered: SavedVector,
}

impl ClusterRecord {
    pub(super) fn of(state: &GlobalLeaderState) -> Self {
        let join_point = state.join_point.as_ref();
        let join_point = join_point.map(|(join_point, delivered)| JoinPointRecord {
            round: join_point.round,
            kind: join_point.vector.kind,
            loss: join_point.vector.loss,
            delivered: SavedVector {
                source: join_point.vector.source,
                ..SavedVector::of(delivered)
            },
        });
        Self {
            counters: state.counters,
            join_point,
            unsent: state.unsent.as_ref().map(|unsent| SavedVector::of(unsent)),
        }
    }

    /// The state again, with what was delivered, and what was not sent.
    pub(super) fn state(
        &self,
        delivered: Option<Arc<Snapshot>>,
        unsent: Option<Arc<Snapshot>>,
    ) -> GlobalLeaderState {
        let join_point = self.join_point.as_ref().zip(delivered);
        let join_point = join_point.map(|(record, delivered)| {
            let vector = VectorRef {
                kind: record.kind,
                source: record.delivered.source,
                loss: record.loss,
                digest: delivered.digest(),
                factors: None,
            };
            let round = record.round;
            (JoinPoint { round, vector }, delivered)
        });
        GlobalLeaderState {
            counters: self.counters,
            join_point,
            unsent,
        }
    }
}

/// A vector in `state.safetensors`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedVector {
    /// Its digest, by which it is named there.
    pub digest: String,
    /// Its origin.
    pub source: Source,
}

impl SavedVector {
    /// Names a vector.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self {
            digest: snapshot.digest().to_string(),
            source: snapshot.source(),
        }
    }
}
