//! What a worker minimizes: the task's loss on its own batches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use lsgd_core::{Loss, Objective};

use super::loader::{Loader, Loaders};
use super::setup::Setup;
use crate::config::Variation;
use crate::error::RunError;
use crate::learning_rate::LearningRate;
use crate::task::{StepKey, Task};

/// Number of batches prepared ahead of the worker.
const AHEAD: usize = 4;

/// A worker's batches, loss and learning rate.
#[derive(Debug)]
pub struct TaskObjective<T: Task> {
    task: Arc<T>,
    loader: Loader<T::Batch>,
    device: Device,
    rate: LearningRate,
    variation: Variation,
    seed: u64,
    /// The worker's index among the workers of all nodes.
    global_rank: u64,
    /// Batches of each step.
    accumulate: u64,
    waited: Duration,
    /// Whether the next gradients are NaN.
    spoils: bool,
}

impl<T: Task> TaskObjective<T> {
    /// Starts preparing the batches of this node's worker `worker`, whose module is on `device`,
    /// from step `start` on.
    ///
    /// # Errors
    ///
    /// [`RunError::NoThread`] if the system starts no thread for it.
    pub fn start(
        setup: &Setup,
        task: &Arc<T>,
        worker: usize,
        device: Device,
        start: u64,
    ) -> Result<Self, RunError> {
        let (global_rank, workers) = (setup.global_rank(worker) as u64, setup.all_workers() as u64);
        let batches = task.clone();
        let threads = setup.settings().workers.loaders;
        let loaders = Loaders {
            threads: threads.unwrap_or_else(|| Loaders::usual_threads(setup.workers())),
            ahead: AHEAD,
        };
        let accumulate = setup.settings().workers.accumulate;
        let (name, first) = (format!("data-{global_rank}"), start * accumulate);
        let loader = Loader::start(name, first, loaders, move |taken| {
            let number = batch_of(global_rank, workers, taken);
            batches.train_batch(number).map_err(RunError::task)
        })?;
        Ok(Self {
            task: task.clone(),
            loader,
            device,
            rate: setup.rate.clone(),
            variation: Variation::of(&setup.settings().workers, global_rank),
            seed: setup.settings().run.seed,
            global_rank,
            accumulate,
            waited: Duration::ZERO,
            spoils: false,
        })
    }

    /// Makes the next gradients NaN, all of them.
    pub fn spoil_next(&mut self) {
        self.spoils = true;
    }

    /// Time spent waiting for batches.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The share of one of a step's batches: divided by their number. Of a single one it is all, bit by bit.
    fn share(&self, of: Tensor<1>) -> Tensor<1> {
        match self.accumulate {
            1 => of,
            batches => of.div_scalar(batches as f64),
        }
    }

    /// The loss of the worker's next batch, after `taken` others.
    fn loss(&mut self, module: &T::Module, taken: u64) -> Result<Tensor<1>, RunError> {
        let began = Instant::now();
        let batch = self.loader.next()?;
        self.waited += began.elapsed();

        Ok(self.task.loss(module, batch, &self.device, self.key(taken)))
    }

    /// The seed of what is random after `taken` batches.
    fn key(&self, taken: u64) -> StepKey {
        StepKey {
            seed: self.seed,
            worker: self.global_rank,
            step: taken,
        }
    }
}

/// The number of the batch that worker `worker` out of `workers` takes after `taken` others: together they
/// take consecutive batches, none twice.
pub fn batch_of(worker: u64, workers: u64, taken: u64) -> u64 {
    taken * workers + worker
}

impl<T: Task> Objective<T::Module> for TaskObjective<T> {
    type Error = RunError;

    fn gradients(
        &mut self,
        module: &T::Module,
        step: u64,
    ) -> Result<(Loss, GradientsParams), RunError> {
        let spoils = std::mem::take(&mut self.spoils);
        let first = step * self.accumulate;
        let mut sum: Option<Tensor<1>> = None;
        let mut gradients = GradientsAccumulator::new();
        for taken in first..first + self.accumulate {
            let loss = self.loss(module, taken)?;
            // Without its graph, which the backward pass frees.
            let value = loss.clone().without_autodiff();
            sum = Some(match sum {
                Some(sum) => sum + value,
                None => value,
            });
            let loss = match (spoils, self.variation.gradient_scale) {
                (true, _) => loss.mul_scalar(f32::NAN),
                (false, 1.0) => loss,
                (false, scale) => loss.mul_scalar(scale),
            };
            // Of shares, so that the sum of the gradients is their mean.
            let part = self.share(loss).backward();
            gradients.accumulate(module, GradientsParams::from_grads(part, module));
        }
        let sum = sum.expect("a step has at least one batch");
        let gradients = gradients.grads();
        let key = self.key(first);
        let gradients = self.variation.flip_bits(module, gradients, key);
        // Not read here: on a GPU the next step would wait.
        Ok((Loss::from(self.share(sum)), gradients))
    }

    fn probe(&mut self, module: &T::Module) -> Result<Option<f64>, RunError> {
        // Without autodiff: the probe is not trained on.
        let device = self.device.clone().inner();
        self.task
            .probe(&module.valid(), &device)
            .map_err(RunError::task)
    }

    fn learning_rate(&self, step: u64) -> f64 {
        self.rate.at(step)
    }

    fn decaying(&self, factor: f64) -> Option<ModuleOptimizer> {
        self.task.optimizer_decaying(factor)
    }
}
