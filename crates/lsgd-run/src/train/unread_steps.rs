//! A worker's last steps, whose losses are still on its device.

use lsgd_core::{Loss, Mode};

use super::intervals;

/// Steps whose losses have not been read, oldest first.
#[derive(Debug)]
pub struct UnreadSteps {
    every: usize,
    steps: Vec<(u64, Loss, f64)>,
}

/// A step whose loss has been read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadStep {
    /// Steps that the worker has taken with it.
    pub step: u64,
    /// The batch's mean loss.
    pub loss: f32,
    /// The learning rate.
    pub rate: f64,
}

impl UnreadSteps {
    /// None yet; losses are to be read after every `every` steps at least.
    pub fn new(every: usize) -> Self {
        Self {
            every,
            steps: Vec::new(),
        }
    }

    /// Adds a step.
    pub fn push(&mut self, step: u64, loss: Loss, rate: f64) {
        self.steps.push((step, loss, rate));
    }

    /// Whether it is time to read them, whoever else needs them.
    pub fn is_full(&self) -> bool {
        self.steps.len() >= self.every
    }

    /// Reads the losses of all: at most one blocking read.
    pub fn read(&mut self) -> Vec<ReadStep> {
        let steps = std::mem::take(&mut self.steps);
        let losses = Loss::read_all(steps.iter().map(|(_, loss, _)| loss));
        let read = steps.into_iter().zip(losses);
        read.map(|((step, _, rate), loss)| ReadStep { step, loss, rate })
            .collect()
    }
}

/// After how many steps of a worker its losses are read, if nothing else needs them before.
///
/// On a CPU a read costs nothing. On a GPU it waits for the step, so that the next one begins late. In
/// `sync` an exchange needs the losses anyway; in `async`, where every step reports, a report may lack
/// those of a quarter of the period `tau`.
pub fn read_every(gpu: bool, mode: Mode, tau: u64) -> usize {
    match (gpu, mode) {
        (false, _) => 1,
        (true, Mode::Sync) => intervals::STEPS as usize,
        (true, Mode::Async) => (tau / 4).clamp(1, intervals::STEPS) as usize,
    }
}

#[cfg(test)]
mod tests;
