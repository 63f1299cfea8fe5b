//! The worker: one batch, one gradient step, the pulls due.

use burn::module::Module;
use burn::optim::GradientsParams;

use crate::{LeaderSgd, Next};

/// What a worker minimizes, and on which batches.
///
/// Where to put data, loss and schedule: everything about training that is not the method.
pub trait Objective<M> {
    /// Why a batch could not be had.
    type Error;

    /// The mean loss of the worker's batch number `step` (from 0) and the gradients of `module`.
    ///
    /// # Errors
    ///
    /// Whatever keeps a batch from being had; the step is then not taken.
    fn gradients(&mut self, module: &M, step: u64) -> Result<(f32, GradientsParams), Self::Error>;

    /// The loss of `module` on the probe: examples that all workers of a run have in common and none
    /// trains on, by which [`Method::ranked_by_probe`](crate::Method::ranked_by_probe) ranks them.
    /// `None`, as by default, where there are none: the worker then never leads.
    ///
    /// # Errors
    ///
    /// Whatever keeps the examples from being had.
    fn probe(&mut self, _module: &M) -> Result<Option<f64>, Self::Error> {
        Ok(None)
    }

    /// The learning rate of step `step`, from 0.
    fn learning_rate(&self, step: u64) -> f64;
}

/// A worker as a state machine: worker (j, i) of arXiv 1905.10395, Algorithm 1.
///
/// It starts no thread and reads no clock. [`step`](Self::step) blocks only if the
/// [`Exchange`](crate::Exchange) of its optimizer does; with one that does not, it returns
/// [`Next::Wait`] and whoever drives it calls [`exchange`](Self::exchange) once there is an order.
pub struct Worker<M, O> {
    /// Absent only while the optimizer has it.
    module: Option<M>,
    optimizer: LeaderSgd,
    objective: O,
}

impl<M: Module, O: Objective<M>> Worker<M, O> {
    /// A worker about to take its first step.
    pub fn new(module: M, optimizer: LeaderSgd, objective: O) -> Self {
        Self {
            module: Some(module),
            optimizer,
            objective,
        }
    }

    /// One batch, one gradient step, the pulls due.
    ///
    /// # Errors
    ///
    /// What [`Objective::gradients`] returns; the worker is then as it was.
    pub fn step(&mut self) -> Result<Next, O::Error> {
        self.gradient_step()?;
        Ok(self.exchange())
    }

    /// The first half of [`step`](Self::step): one batch, one gradient step, the proximal pulls.
    /// Returns the batch's mean loss.
    ///
    /// # Errors
    ///
    /// What [`Objective::gradients`] returns; the worker is then as it was. What
    /// [`Objective::probe`] returns; the step is then taken, and its exchange is still to come.
    pub fn gradient_step(&mut self) -> Result<f32, O::Error> {
        let step = self.optimizer.steps();
        let (loss, gradients) = self.objective.gradients(present(&self.module), step)?;
        let rate = self.objective.learning_rate(step);
        self.optimizer.observe(loss);
        if let Some(module) = self.module.take() {
            self.module = Some(self.optimizer.gradient_step(rate, module, gradients));
        }
        if self.optimizer.wants_probe()
            && let Some(loss) = self.objective.probe(present(&self.module))?
        {
            self.optimizer.observe_probe(loss);
        }
        Ok(loss)
    }

    /// The second half of [`step`](Self::step): tells the peers and does what they order.
    pub fn exchange(&mut self) -> Next {
        let Some(module) = self.module.take() else {
            return Next::Stop;
        };
        let (module, next) = self.optimizer.exchange(module);
        self.module = Some(module);
        next
    }

    /// Whether it has its module: the optimizer takes that with it if it panics.
    pub fn is_whole(&self) -> bool {
        self.module.is_some()
    }

    /// The module as it is.
    pub fn module(&self) -> &M {
        present(&self.module)
    }

    /// The optimizer, which knows the worker's steps, loss and rank.
    pub fn optimizer(&self) -> &LeaderSgd {
        &self.optimizer
    }

    /// The objective.
    pub fn objective_mut(&mut self) -> &mut O {
        &mut self.objective
    }
}

fn present<M>(module: &Option<M>) -> &M {
    module
        .as_ref()
        .expect("only absent while the optimizer has it")
}
