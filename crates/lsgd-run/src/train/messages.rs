//! Messages between the node's main thread, its workers' threads, and the exchange with other
//! nodes.

use std::ops::Add;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lsgd_core::{AverageState, Event, Report, Snapshot, WindowLoss, WorkerState};

use super::pause_schedule::Pause;
use crate::error::RunError;
use crate::storage::{SavedRun, SavedTimes, SavedWorker, Traffic};
use crate::task::Sums;

/// From a worker's thread, or the exchange between workers, to the main thread.
#[derive(Debug)]
pub enum FromWorker {
    /// The worker has its model and waits for the start.
    Ready,
    /// The worker has taken a step.
    Stepped {
        /// The worker.
        worker: usize,
        /// Steps it has taken.
        step: u64,
        /// Mean training loss of the step's batch.
        loss: f32,
        /// Learning rate of the step.
        rate: f64,
    },
    /// The worker is paused, and waits for commands.
    Paused(Box<PausedWorker>),
    /// Scores of parts of the held-out examples, by their numbers.
    Scores {
        /// The subject of the command.
        subject: usize,
        /// The scores.
        scores: Vec<(usize, Sums)>,
    },
    /// Running statistics of training batches, by batch number.
    Statistics(Vec<(u64, Vec<f32>)>),
    /// An event of the exchange between workers, and the training time in seconds.
    Event(Event, f64),
    /// A worker's thread has ended.
    Ended(Ended),
}

/// A worker that has failed.
#[derive(Debug)]
pub struct Failed {
    /// The worker.
    pub worker: usize,
    /// Its error.
    pub error: RunError,
}

impl From<Failed> for RunError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// How a worker's thread ended.
#[derive(Debug)]
pub struct Ended {
    /// The worker.
    pub worker: usize,
    /// Its error, if it failed.
    pub outcome: Result<(), RunError>,
    /// Its final state, if the run was aborted and its values can still be read.
    pub left: Option<Box<PausedWorker>>,
}

/// A message to the main thread.
#[derive(Debug)]
pub enum ToMain {
    /// From a worker, or the exchange between workers.
    Worker(FromWorker),
    /// From the exchange with other nodes.
    Cluster(FromCluster),
    /// The thread that writes checkpoints has got further.
    Saved,
}

/// From the exchange with other nodes to the main thread.
#[derive(Debug)]
#[cfg_attr(not(feature = "nodes"), allow(dead_code, reason = "there are none"))]
pub enum FromCluster {
    /// Start workers; stop those that are training already.
    Begin(Start),
    /// Start workers as the node's own checkpoint of this step has them.
    Resume {
        /// The step.
        step: u64,
    },
    /// An event for the record.
    Event(Event),
    /// A line for the user.
    Notice(String),
    /// The bytes exchanged with other nodes so far.
    Traffic(Traffic),
    /// The run is over on all nodes: the mean over all workers, for this node to evaluate, or
    /// `None` if another node has done so.
    Concluded(Option<Arc<Snapshot>>),
    /// The run cannot continue.
    Failed(RunError),
}

/// Where workers start.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Steps that each worker has taken before.
    pub step: u64,
    /// The parameters; the initial weights if there are none.
    pub parameters: Option<Arc<Snapshot>>,
    /// How long the run has been trained before.
    pub trained: Duration,
    /// The checkpoint that they continue from, which has the rest of their state.
    pub resumed: Option<Arc<SavedRun>>,
}

impl Start {
    /// Where each worker of a node of `workers` starts: the steps that it has taken before.
    pub fn steps(&self, workers: usize) -> Vec<u64> {
        (0..workers).map(|worker| self.step_of(worker)).collect()
    }

    /// The steps that a worker has taken before.
    pub fn step_of(&self, worker: usize) -> u64 {
        match &self.resumed {
            Some(saved) => saved.step_of(worker),
            None => self.step,
        }
    }
}

/// A worker at a pause, or when it left.
#[derive(Debug)]
pub struct PausedWorker {
    /// The worker.
    pub worker: usize,
    /// The purpose of the pause; empty when it left.
    pub pause: Pause,
    /// Its values.
    pub snapshot: Arc<Snapshot>,
    /// Its report.
    pub report: Report,
    /// Its training loss.
    pub loss: WindowLoss,
    /// Its optimizer's state.
    pub state: WorkerState,
    /// The inner optimizer's state, encoded; empty in a simulation.
    pub optimizer: Arc<Vec<u8>>,
    /// Its moving average, if it keeps one.
    pub average: Option<AverageState>,
    /// Its times.
    pub times: Times,
    /// When it stopped training.
    pub since: Instant,
}

impl PausedWorker {
    /// The values of its moving average, if it keeps one.
    pub fn averaged(&self) -> Option<Arc<Snapshot>> {
        self.average.as_ref().map(|average| average.values.clone())
    }

    /// What a checkpoint keeps of it beside its values.
    pub fn saved(&self) -> (usize, SavedWorker) {
        let saved = SavedWorker {
            state: self.state.clone(),
            optimizer: self.optimizer.clone(),
            times: self.times.into(),
            average: self.average.clone(),
        };
        (self.worker, saved)
    }
}

/// A worker's times since it last started, or since the run began if it continues.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// Waiting for batches.
    pub data_wait: Duration,
    /// In exchanges: reading, electing, pulling, recording.
    pub exchange: Duration,
    /// In exchanges, waiting for other workers.
    pub exchange_wait: Duration,
}

impl From<Times> for SavedTimes {
    fn from(times: Times) -> Self {
        Self {
            data_wait: times.data_wait.as_secs_f64(),
            exchange: times.exchange.as_secs_f64(),
            exchange_wait: times.exchange_wait.as_secs_f64(),
        }
    }
}

impl From<SavedTimes> for Times {
    /// Seconds that are no time count as none.
    fn from(saved: SavedTimes) -> Self {
        let time = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Self {
            data_wait: time(saved.data_wait),
            exchange: time(saved.exchange),
            exchange_wait: time(saved.exchange_wait),
        }
    }
}

impl Add for Times {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            data_wait: self.data_wait + other.data_wait,
            exchange: self.exchange + other.exchange,
            exchange_wait: self.exchange_wait + other.exchange_wait,
        }
    }
}

/// From the main thread to a worker that is ready or paused.
#[derive(Debug)]
pub enum ToWorker {
    /// Continue training.
    Resume,
    /// Score these values on parts of the held-out examples.
    Score {
        /// Identifies the scores; returned with them.
        subject: usize,
        /// The values.
        snapshot: Arc<Snapshot>,
        /// Numbers of the parts.
        parts: Vec<usize>,
    },
    /// Running statistics of these values on training batches.
    Statistics {
        /// The values.
        snapshot: Arc<Snapshot>,
        /// Numbers of the training batches.
        batches: Vec<u64>,
    },
}
