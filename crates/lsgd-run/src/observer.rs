//! Observers of a run.

use lsgd_core::WorkerId;

use crate::storage::{Evaluation, RunFolder};
use crate::train::Setup;

/// Follows a run from its main thread: a progress bar, a log, a dashboard, a test.
///
/// The run's records wait while a method runs, and no evaluation starts; workers continue. So it
/// should only pass on what it gets. Everything that is recorded in the run's folder needs no copy
/// here.
pub trait Observer: Send {
    /// The run starts; everything about it is in `setup`.
    fn began(&mut self, setup: &Setup, folder: &RunFolder) {
        let _ = (setup, folder);
    }

    /// Workers start at this step and training time in seconds: at the start of the run, or when
    /// the node joins one in progress.
    fn starts(&mut self, step: u64, seconds: f64) {
        let _ = (step, seconds);
    }

    /// A worker has taken a step.
    fn stepped(&mut self, step: Stepped) {
        let _ = step;
    }

    /// An election was held: its leader, if any.
    fn elected(&mut self, leader: Option<WorkerId>) {
        let _ = leader;
    }

    /// All of this node's workers have been evaluated.
    fn evaluated(&mut self, evaluation: &Evaluation) {
        let _ = evaluation;
    }

    /// A line for the user.
    fn notice(&mut self, line: &str) {
        let _ = line;
    }

    /// A line for the user, even if quiet was requested.
    fn warn(&mut self, line: &str) {
        let _ = line;
    }

    /// The run has ended without an error.
    fn ended(&mut self) {}
}

/// Ignores everything.
impl Observer for () {}

/// A step of a worker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stepped {
    /// The worker: its number on this node; in a simulation, its index among those of all nodes.
    pub worker: usize,
    /// Steps that it has taken.
    pub step: u64,
    /// Mean training loss of the batch of the step, or of its batches.
    pub loss: f32,
    /// Seconds that the run has been trained.
    pub seconds: f64,
}
