//! What passes between the node's main thread, its workers' threads, and the exchange with other
//! nodes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{Event, Report, Snapshot, WindowLoss};

use super::evaluation::BatchScore;
use super::pace::Pause;
use crate::error::TrainError;

/// From a worker's thread, or the exchange between workers, to the main thread.
#[derive(Debug)]
pub enum FromWorker {
    /// The worker has its model and waits to begin.
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
    /// The worker pauses, and waits for tasks.
    Paused(Box<Paused>),
    /// Scores of test batches, by batch number.
    Scores {
        /// As the task said.
        subject: usize,
        /// The scores.
        scores: Vec<(usize, BatchScore)>,
    },
    /// BatchNorm statistics of training batches, by batch number.
    Statistics(Vec<(u64, Vec<f32>)>),
    /// The exchange between workers did something, this long into training.
    Event(Event, f64),
    /// A worker's thread is over.
    Ended(Ended),
}

/// How a worker's thread came to its end.
#[derive(Debug)]
pub struct Ended {
    /// Whether it did what it was asked to.
    pub outcome: Result<(), TrainError>,
    /// Where it stood, if the run broke off and its values can still be read.
    pub left: Option<Box<Paused>>,
}

/// What the main thread is sent.
#[derive(Debug)]
pub enum ToMain {
    /// By a worker, or the exchange between workers.
    Worker(FromWorker),
    /// By the exchange with other nodes.
    Nodes(FromNodes),
}

/// From the exchange with other nodes to the main thread.
#[derive(Debug)]
pub enum FromNodes {
    /// Workers are to begin; those that train already are stopped first.
    Begin(Start),
    /// Something for the record.
    Event(Event),
    /// A line for whoever watches.
    Notice(String),
    /// The run is over for all nodes: the mean of all their workers, for this node to evaluate, or
    /// nothing if another has done so.
    Concluded(Option<Arc<Snapshot>>),
    /// There is no run.
    Failed(TrainError),
}

/// Where workers begin.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Steps taken before, by a worker.
    pub step: u64,
    /// The parameters; the initial weights if there are none.
    pub parameters: Option<Arc<Snapshot>>,
    /// How long the run has been trained before.
    pub trained: Duration,
}

/// A worker at a pause, or where it left.
#[derive(Debug)]
pub struct Paused {
    /// The worker.
    pub worker: usize,
    /// What the pause is for; nothing where it left.
    pub pause: Pause,
    /// Its values.
    pub snapshot: Arc<Snapshot>,
    /// How it does.
    pub report: Report,
    /// Its training loss.
    pub loss: WindowLoss,
    /// Where its time went.
    pub times: Times,
}

/// Where a worker's time went since it last began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// Waiting for batches.
    pub data_wait: Duration,
    /// In exchanges: reading, electing, pulling, recording.
    pub exchange: Duration,
    /// In exchanges, waiting for others at a meeting.
    pub exchange_wait: Duration,
}

/// From the main thread to a worker that is ready or pauses.
#[derive(Debug)]
pub enum Task {
    /// Train on.
    Resume,
    /// Score these values on test examples, in batches.
    Score {
        /// What the scores are of; comes back with them.
        subject: usize,
        /// The values.
        snapshot: Arc<Snapshot>,
        /// Batch numbers and the examples of each.
        batches: Vec<(usize, Range<usize>)>,
    },
    /// BatchNorm statistics of these values on training batches.
    Statistics {
        /// The values.
        snapshot: Arc<Snapshot>,
        /// Numbers of the training batches.
        batches: Vec<u64>,
    },
}
