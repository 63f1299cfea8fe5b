//! What a run writes down: records as they are in its files.

use std::time::{Duration, Instant};

use lsgd_core::{Event, Rank, Scope, SimulatedTraffic};
use serde::{Deserialize, Serialize};

use super::folder::RunFolder;
use super::lines::Lines;
use crate::cluster::Traffic;
use crate::error::TrainError;
use crate::train::{End, Score, nan_from_null};

/// `run.json`: where a run comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of this program.
    pub version: String,
    /// Commit it was built from, where it was built from a checkout.
    pub commit: Option<String>,
    /// Version of Burn.
    pub burn: String,
    /// The machine.
    pub machine: Machine,
    /// The device of each worker.
    pub devices: Vec<String>,
    /// Seed of everything random.
    pub seed: u64,
    /// Digest of the data set.
    pub data: String,
    /// Digest of the model's layout.
    pub layout: String,
    /// Trainable parameters.
    pub parameters: usize,
    /// When the run began, in RFC 3339.
    pub start: String,
    /// When it ended.
    pub end: Option<String>,
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
pub enum Metric {
    /// Some steps of a worker.
    Interval(Interval),
    /// An evaluation of all.
    Evaluation(Evaluation),
}

/// Some steps of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The worker's step at the end of the interval.
    pub step: u64,
    /// Steps that it has; none are counted twice, and those that no interval has were lost when
    /// the process was killed.
    #[serde(default)]
    pub steps: u64,
    /// Seconds of training, of the run.
    pub seconds: f64,
    /// The worker.
    pub worker: Rank,
    /// Mean training loss over the interval, in nats; NaN or infinite once the worker has diverged.
    #[serde(deserialize_with = "nan_from_null")]
    pub loss: f64,
    /// Learning rate of its last step.
    pub learning_rate: f64,
}

/// An evaluation of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Steps of a worker (in `async` the mean).
    pub step: u64,
    /// Epochs of the whole data.
    pub epoch: f64,
    /// Training examples seen by all workers, in all lives of the node.
    pub samples: u64,
    /// Seconds of training, of the run.
    pub seconds: f64,
    /// Test examples used.
    pub examples: usize,
    /// The worker with the lowest training loss, if any has a full loss window.
    pub leader: Option<WorkerScore>,
    /// The mean of all workers' parameters, with BatchNorm statistics re-estimated.
    pub replica_mean: Option<Score>,
    /// Every worker.
    pub workers: Vec<WorkerScore>,
}

/// How a worker does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerScore {
    /// The worker.
    pub worker: Rank,
    /// Its mean training loss over the loss window, in nats, once the window is full.
    pub training_loss: Option<f64>,
    /// On test examples; nothing if its parameters are not finite.
    pub test: Option<Score>,
    /// Digest of its parameters and BatchNorm statistics: equal digests mean equal bits.
    pub digest: String,
}

/// `summary.json`: what came of a run.
///
/// A node of several that was killed or stopped, and came back, has had several lives, each a
/// process. `docs/nodes.md` has what each field is of: the run, all lives of the node, or the last.
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
    /// Training examples seen by all workers, in all lives of the node.
    pub samples: u64,
    /// Epochs of the whole data.
    pub epochs: f64,
    /// Seconds from start to end, of the last life.
    pub seconds: f64,
    /// Seconds that the run has been trained: no set-up, evaluation or checkpoint, but also those in
    /// which other nodes trained without this one.
    pub training_seconds: f64,
    /// Samples a second of training, in the last life.
    pub samples_per_second: f64,
    /// Test error at the end, in percent.
    pub test_error: TestError,
    /// Lowest test error at any evaluation in all lives, of the leader or the replica mean, in percent.
    pub best_test_error: Option<f64>,
    /// Step of that evaluation.
    pub best_step: Option<u64>,
    /// Exchanges between workers.
    pub exchange: ExchangeSummary,
    /// Seconds that a worker waited for data since it last began, mean over workers.
    pub data_wait_seconds: f64,
    /// Since which step nothing was finite any more, if it ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged_since: Option<u64>,
    /// Digests of all workers' parameters at the end.
    pub digests: Vec<String>,
    /// Exchanges with other nodes, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesSummary>,
    /// Of a simulated run: what was simulated. `training_seconds`, and all seconds of its metrics and
    /// events, are then those of the virtual clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulated: Option<SimulatedSummary>,
    /// Most memory the last life's process had at any time, in bytes, where the system tells.
    pub peak_memory_bytes: Option<u64>,
}

/// Test error in percent; nothing where parameters are not finite or nobody could lead.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TestError {
    /// The leader's.
    pub leader: Option<f64>,
    /// The replica mean's.
    pub replica_mean: Option<f64>,
    /// Of the mean of all nodes' workers, at the node that evaluated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_of_all_nodes: Option<f64>,
    /// Mean over the workers.
    pub worker_mean: Option<f64>,
}

/// Exchanges between workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ExchangeSummary {
    /// How many, in all lives of the node.
    pub count: u64,
    /// Seconds a worker spent in them (reading, electing, pulling, recording) since it last began,
    /// mean over workers.
    pub seconds: f64,
    /// Seconds a worker waited in them for others since it last began, mean over workers.
    pub wait_seconds: f64,
    /// Bytes published in them, in all lives of the node.
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

    /// Counts an exchange within a node for which so many bytes were published.
    pub fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What passed between this node and the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodesSummary {
    /// Nodes of the run.
    pub nodes: u32,
    /// This one, from 1.
    pub node: u32,
    /// How many workers of all nodes are in the mean of `test_error.mean_of_all_nodes`, at the node
    /// that evaluated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers_in_mean: Option<usize>,
    /// The node's last life, which `traffic` and what follows are of.
    pub life: LifeSummary,
    /// Bytes, counted.
    pub traffic: Traffic,
    /// Share of the bytes on the links, both ways, that is no payload: keys, headers, keep-alives.
    pub protocol_share: Option<f64>,
    /// Bytes this node would have sent in data-parallel training for the same steps: a ring
    /// all-reduce of the gradients between nodes sends `2 (n - 1) / n` of the parameters a step.
    pub data_parallel_bytes: u64,
}

/// The last life of a node: since its process was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LifeSummary {
    /// Training examples seen by its workers.
    pub samples: u64,
    /// Seconds of training: no set-up, evaluation or checkpoint.
    pub training_seconds: f64,
}

/// What was simulated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimulatedSummary {
    /// Nodes, of as many workers each.
    pub nodes: u32,
    /// What passed between them.
    pub traffic: SimulatedTraffic,
}

/// A line of `events.jsonl`.
#[derive(Serialize)]
struct TimedEvent<'a, E: Serialize> {
    #[serde(flatten)]
    event: &'a E,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_by: Option<u32>,
}

/// How often it is looked whether the files are still where they were opened.
const LOOK: Duration = Duration::from_secs(1);

/// Writes metrics and events as they come: each line is with the system before the next is made, so
/// a process that is killed loses none.
#[derive(Debug)]
pub struct Recorder {
    folder: RunFolder,
    metrics: Lines,
    events: Lines,
    looked: Instant,
}

impl Recorder {
    /// Opens `metrics.jsonl` and `events.jsonl`; what stands in them stays.
    ///
    /// # Errors
    ///
    /// [`TrainError::Write`].
    pub fn open(folder: &RunFolder) -> Result<Self, TrainError> {
        Ok(Self {
            metrics: Lines::open(folder.join("metrics.jsonl"))?,
            events: Lines::open(folder.join("events.jsonl"))?,
            folder: folder.clone(),
            looked: Instant::now(),
        })
    }

    /// Adds a line to `metrics.jsonl`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Write`], and [`TrainError::Gone`] within a second of lines.
    pub fn metric(&mut self, metric: &Metric) -> Result<(), TrainError> {
        self.look()?;
        self.metrics.add(metric)
    }

    /// Adds a line to `events.jsonl`.
    ///
    /// # Errors
    ///
    /// As [`metric`](Self::metric).
    pub fn event(&mut self, event: &Event, seconds: f64) -> Result<(), TrainError> {
        self.event_of(None, event, seconds)
    }

    /// Adds a line to `events.jsonl`, where it is that of several nodes: with the one that recorded
    /// it.
    ///
    /// # Errors
    ///
    /// As [`metric`](Self::metric).
    pub fn event_of(
        &mut self,
        node: Option<u32>,
        event: &Event,
        seconds: f64,
    ) -> Result<(), TrainError> {
        self.look()?;
        self.events.add(&TimedEvent {
            event,
            seconds,
            recorded_by: node,
        })
    }

    /// Adds the line that a checkpoint was written.
    ///
    /// # Errors
    ///
    /// As [`metric`](Self::metric).
    pub fn checkpoint(&mut self, step: u64, seconds: f64) -> Result<(), TrainError> {
        self.look()?;
        // Relative to the run, which may be moved.
        let path = format!("checkpoints/step-{step}");
        let event = serde_json::json!({ "event": "checkpoint", "step": step, "path": path });
        self.own_event(&event, seconds)
    }

    /// Adds the line that a worker has diverged, since which step.
    ///
    /// # Errors
    ///
    /// [`TrainError::Write`].
    pub fn diverged(&mut self, worker: Rank, step: u64, seconds: f64) -> Result<(), TrainError> {
        let event = serde_json::json!({ "event": "diverged", "step": step, "worker": worker });
        self.own_event(&event, seconds)
    }

    /// Adds a line about something that the exchange between workers has no part in.
    fn own_event(&mut self, event: &serde_json::Value, seconds: f64) -> Result<(), TrainError> {
        self.events.add(&TimedEvent {
            event,
            seconds,
            recorded_by: None,
        })
    }

    /// Looks now and then whether lines come to where they are read: what is written to a file that
    /// was removed goes without an error.
    fn look(&mut self) -> Result<(), TrainError> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        self.folder.check()?;
        self.metrics.check()?;
        self.events.check()
    }
}
