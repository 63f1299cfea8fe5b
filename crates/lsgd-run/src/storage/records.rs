//! The records of a run, as they are in its files.

use std::collections::BTreeMap;
use std::fmt;

use lsgd_core::{Event, Scope, SimulatedTraffic, WorkerId};
use serde::{Deserialize, Deserializer, Serialize};

use crate::task::{Better, Metric};

/// Traffic between nodes.
#[cfg(feature = "nodes")]
pub type Traffic = lsgd_link::Traffic;

/// Traffic between nodes, in a run of another build.
#[cfg(not(feature = "nodes"))]
pub type Traffic = serde_json::Value;

/// The format of a run's files that this version writes, and the newest that it reads. Increase it with
/// every change that older versions would misread.
pub const FORMAT: u32 = 1;

/// `run.json`: the origin of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Format of the run's files, up to [`FORMAT`]. A record without one has format 1.
    #[serde(default = "first_format")]
    pub format: u32,
    /// Version of this program.
    pub version: String,
    /// Commit it was built from, if it was built from a checkout.
    pub commit: Option<String>,
    /// Version of Burn.
    pub burn: String,
    /// The machine.
    pub machine: Machine,
    /// The device of each worker.
    pub devices: Vec<String>,
    /// Random seed.
    pub seed: u64,
    /// Values that must be equal on all nodes ([`Task::agreement`](crate::Task::agreement)), such
    /// as a digest of the data.
    pub agreement: BTreeMap<String, String>,
    /// Whether its seconds are those of a simulation's clock.
    #[serde(default, skip_serializing_if = "is_false")]
    pub simulated: bool,
    /// The settings that a run keeps when it continues, by name in the config.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Digest of the model's layout.
    pub layout: String,
    /// Number of trainable parameters.
    pub parameters: usize,
    /// The task's metrics, the main one first. Empty in the record of a version that did not write
    /// them.
    #[serde(default)]
    pub metrics: Vec<MetricInfo>,
    /// The task's word for training examples, such as `images`. Absent in the record of a version that did not
    /// write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<String>,
    /// Start of the run, in RFC 3339.
    pub start: String,
    /// End of the run.
    pub end: Option<String>,
}

impl RunRecord {
    /// What its training examples are called.
    pub fn unit(&self) -> &str {
        self.examples.as_deref().unwrap_or("samples")
    }
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_false(yes: &bool) -> bool {
    !yes
}

fn is_yes(yes: &bool) -> bool {
    *yes
}

pub(super) fn first_format() -> u32 {
    1
}

/// A metric of the task, as a reader of the run's scores needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricInfo {
    /// Its name in a [`Score`].
    pub name: String,
    /// Its unit, such as `%`; empty if it has none.
    pub unit: String,
    /// Which values are better.
    pub better: Better,
}

impl From<&Metric> for MetricInfo {
    fn from(metric: &Metric) -> Self {
        Self {
            name: String::from(metric.name),
            unit: String::from(metric.unit.trim()),
            better: metric.better,
        }
    }
}

/// The machine a run was on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub architecture: String,
    /// Threads that can run at once.
    pub threads: usize,
}

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MetricRecord {
    /// Some steps of a worker.
    Interval(Interval),
    /// An evaluation of all workers.
    Evaluation(Evaluation),
}

/// Some steps of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The worker's step at the end of the interval.
    pub step: u64,
    /// Number of steps in the interval; each is counted once, and steps missing in all intervals
    /// were lost when the process was killed.
    #[serde(default)]
    pub steps: u64,
    /// Training time of the run, in seconds.
    pub seconds: f64,
    /// The worker.
    pub worker: WorkerId,
    /// Mean training loss over the interval, in nats; NaN or infinite once the worker has diverged.
    #[serde(deserialize_with = "nan_from_null")]
    pub loss: f64,
    /// Learning rate of its last step.
    pub learning_rate: f64,
}

/// An evaluation of all workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Steps of a worker (in `async` the mean).
    pub step: u64,
    /// Epochs of the whole data.
    pub epoch: f64,
    /// Training examples seen by all workers, in all incarnations of the node.
    pub samples: u64,
    /// Training time of the run, in seconds.
    pub seconds: f64,
    /// Held-out examples that were scored.
    pub examples: u64,
    /// Whether it was due; otherwise the run was interrupted at this step.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub was_due: bool,
    /// The worker with the lowest training loss, if any has a full loss window.
    pub leader: Option<WorkerScore>,
    /// The mean of all workers' parameters, with running statistics re-estimated.
    pub replica_mean: Option<Score>,
    /// The mean of the workers' moving averages, if they keep any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<Score>,
    /// The mean of the last replica means, if they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lawa: Option<Score>,
    /// All workers.
    pub workers: Vec<WorkerScore>,
}

impl Evaluation {
    /// A metric of the leader; `None` if there was no leader, or the task has no such metric.
    pub fn leader_metric(&self, metric: &str) -> Option<f64> {
        self.leader.as_ref()?.test.as_ref()?.get(metric)
    }
}

/// A score on held-out examples: the task's metrics, by name. NaN or infinite if the module's
/// outputs are.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Score(BTreeMap<String, f64>);

impl Score {
    /// A score with these metrics.
    pub fn new(metrics: BTreeMap<String, f64>) -> Self {
        Self(metrics)
    }

    /// The metric of this name, if there is one.
    pub fn get(&self, metric: &str) -> Option<f64> {
        self.0.get(metric).copied()
    }

    /// All metrics, by name.
    pub fn metrics(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// Whether all of them are finite.
    pub fn is_finite(&self) -> bool {
        self.0.values().all(|value| value.is_finite())
    }

    /// The mean of each metric over several scores; `None` for no scores.
    pub fn mean(scores: &[&Self]) -> Option<Self> {
        let mean = |name: &String| {
            let values = scores.iter().filter_map(|score| score.get(name));
            (name.clone(), values.sum::<f64>() / scores.len() as f64)
        };
        let first = scores.first()?;
        Some(Self(first.0.keys().map(mean).collect()))
    }
}

impl<'de> Deserialize<'de> for Score {
    fn deserialize<D: Deserializer<'de>>(metrics: D) -> Result<Self, D::Error> {
        // JSON has no NaN or infinity, so these are stored as null.
        let metrics: BTreeMap<String, Option<f64>> = BTreeMap::deserialize(metrics)?;
        let metrics = metrics.into_iter();
        Ok(Self(
            metrics
                .map(|(name, value)| (name, value.unwrap_or(f64::NAN)))
                .collect(),
        ))
    }
}

/// Reads a number that may be stored as null, since JSON has no NaN or infinity.
fn nan_from_null<'de, D: Deserializer<'de>>(number: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(number)?.unwrap_or(f64::NAN))
}

/// A worker's scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerScore {
    /// The worker.
    pub worker: WorkerId,
    /// Steps it had taken; `None` in the records of a version that did not write them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Its mean training loss over the loss window, in nats, once the window is full.
    pub training_loss: Option<f64>,
    /// On held-out examples; `None` if its parameters are not finite.
    pub test: Option<Score>,
    /// Digest of its parameters and BatchNorm statistics: equal digests mean equal bits.
    pub digest: String,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Its budget is used up.
    Budget,
    /// It was stopped by a request.
    Interrupted,
    /// All workers have diverged.
    Diverged,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Budget => "budget",
            Self::Interrupted => "interrupted",
            Self::Diverged => "diverged",
        })
    }
}

/// `summary.json`: the result of a run.
///
/// A node that was killed or stopped and rejoined has several incarnations, each a process.
/// `docs/nodes.md` says what each field covers: the run, all incarnations of the node, or the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the method.
    pub method: String,
    /// Number of workers.
    pub workers: usize,
    /// Why it ended.
    pub end: End,
    /// Steps of a worker (in `async` the mean).
    pub steps: u64,
    /// Training examples seen by all workers, in all incarnations of the node.
    pub samples: u64,
    /// Epochs of the whole data.
    pub epochs: f64,
    /// Seconds from start to end, of the last incarnation.
    pub seconds: f64,
    /// Training time of the run in seconds: without set-up, evaluation and checkpoints, but
    /// including the time in which other nodes trained without this one.
    pub training_seconds: f64,
    /// Samples per second of training, in the last incarnation.
    pub samples_per_second: f64,
    /// Scores on held-out examples at the end.
    pub test: HeldOut,
    /// The best evaluation in all incarnations, of the leader or the replica mean.
    pub best: Option<BestScore>,
    /// Exchanges between workers.
    pub exchange: ExchangeSummary,
    /// Seconds that a worker waited for data since it last started, mean over workers.
    pub data_wait_seconds: f64,
    /// The checkpoints of the last incarnation, and what they cost.
    #[serde(default)]
    pub checkpoints: CheckpointsSummary,
    /// The step since which all workers had diverged, if the run ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged_since: Option<u64>,
    /// Digests of all workers' parameters at the end.
    pub digests: Vec<String>,
    /// Exchanges with other nodes, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesSummary>,
    /// For a simulated run: what was simulated. `training_seconds`, and all seconds of its metrics
    /// and events, are then those of the virtual clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulated: Option<SimulatedSummary>,
    /// Peak memory of the last incarnation's process, in bytes, if the system tells.
    pub peak_memory_bytes: Option<u64>,
}

/// Scores on held-out examples; `None` if parameters are not finite or no worker was eligible.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// The leader's.
    pub leader: Option<Score>,
    /// The replica mean's.
    pub replica_mean: Option<Score>,
    /// The mean over all nodes' workers, at the node that evaluated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_of_all_nodes: Option<Score>,
    /// Mean over the workers.
    pub worker_mean: Option<Score>,
    /// That of the mean of the workers' moving averages, if they keep any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<Score>,
    /// That of the mean of the last replica means, if they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lawa: Option<Score>,
}

/// The best evaluation of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestScore {
    /// The metric that determines the best.
    pub metric: String,
    /// Its value.
    pub value: f64,
    /// Step of the evaluation.
    pub step: u64,
}

/// Exchanges between workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ExchangeSummary {
    /// Number of exchanges, in all incarnations of the node.
    pub count: u64,
    /// Seconds that a worker spent in them (reading, electing, pulling, recording) since it last
    /// started, mean over workers.
    pub seconds: f64,
    /// Seconds that a worker waited in them for others since it last started, mean over workers.
    pub wait_seconds: f64,
    /// Bytes published in them, in all incarnations of the node.
    pub bytes: u64,
}

impl ExchangeSummary {
    /// Counts an event, if it is an exchange within a node.
    pub fn count(&mut self, event: &Event) {
        if let Event::Exchange {
            bytes,
            scope: Scope::Local,
            ..
        } = event
        {
            self.add(*bytes);
        }
    }

    /// Counts an exchange within a node, with the bytes published for it.
    pub fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What checkpoints cost, which a thread of its own writes. Nothing of it is known of a simulated run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckpointsSummary {
    /// How many were written.
    pub written: u64,
    /// Seconds that writing one took, while training went on: the mean. `None` if there was none.
    pub write_seconds: Option<f64>,
    /// Seconds that no worker trained for the sake of one, to copy its state and to compute the
    /// replica mean: the mean over the pauses without an evaluation. `None` if there was none.
    pub pause_seconds: Option<f64>,
}

/// Traffic between this node and the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodesSummary {
    /// Number of nodes.
    pub nodes: u32,
    /// This node, from 1.
    pub node: u32,
    /// Number of workers in the mean of `test.mean_of_all_nodes`, at the node that evaluated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers_in_mean: Option<usize>,
    /// The node's last incarnation, which `traffic` and the following fields cover.
    pub incarnation: IncarnationSummary,
    /// Bytes, by peer and kind.
    pub traffic: Traffic,
    /// Fraction of the bytes on the links, both ways, that is not payload: keys, headers,
    /// keep-alives.
    pub protocol_share: Option<f64>,
    /// Bytes that this node would have sent in data-parallel training for the same steps: a ring
    /// all-reduce of the gradients between nodes sends `2 (n - 1) / n` of the parameters per step.
    pub data_parallel_bytes: u64,
}

/// The last incarnation of a node: since its process was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct IncarnationSummary {
    /// Training examples seen by its workers.
    pub samples: u64,
    /// Training time in seconds: without set-up, evaluation and checkpoints.
    pub training_seconds: f64,
}

/// The simulated nodes and their traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimulatedSummary {
    /// Number of nodes, with equally many workers.
    pub nodes: u32,
    /// Traffic between them.
    pub traffic: SimulatedTraffic,
}
