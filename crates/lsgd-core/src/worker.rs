//! The worker: one batch, one gradient step, the pulls due.

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};

use crate::{LeaderSgd, Loss, MovingAverage, Next};

/// What a worker minimizes, and on which batches.
///
/// Supplies data, loss and schedule: everything about training that is not the method.
pub trait Objective<M> {
    /// Why a batch could not be loaded.
    type Error;

    /// The mean loss of the worker's batch number `step` (from 0), or of its several batches for that
    /// step, and the gradients of `module`. A loss that is a tensor is best left on its device: `loss.into()`.
    ///
    /// # Errors
    ///
    /// Whatever prevents the batch; the step is then not taken.
    fn gradients(&mut self, module: &M, step: u64) -> Result<(Loss, GradientsParams), Self::Error>;

    /// The loss of `module` on the probe: examples shared by all workers of a run on which none
    /// trains, by which [`Method::ranked_by_probe`](crate::Method::ranked_by_probe) ranks them.
    /// `None`, the default, if there are none: the worker then never leads.
    ///
    /// # Errors
    ///
    /// Whatever prevents the evaluation.
    fn probe(&mut self, _module: &M) -> Result<Option<f64>, Self::Error> {
        Ok(None)
    }

    /// The learning rate of step `step`, from 0, of a worker whose [factor](crate::Factors) for it is 1.
    fn learning_rate(&self, step: u64) -> f64;

    /// A new inner optimizer, with this factor for its weight decay. `None`, the default, if it has no
    /// weight decay: the factor then makes no difference.
    fn decaying(&self, _factor: f64) -> Option<ModuleOptimizer> {
        None
    }
}

/// A gradient step that was taken.
#[derive(Debug, Clone)]
pub struct GradientStep {
    /// The batch's mean loss, before the step.
    pub loss: Loss,
    /// The learning rate of the step.
    pub learning_rate: f64,
}

/// A worker as a state machine: worker (j, i) of arXiv 1905.10395, Algorithm 1.
///
/// It starts no thread and reads no clock. [`step`](Self::step) blocks only if the
/// [`Exchange`](crate::Exchange) of its optimizer does; otherwise it returns [`Next::Wait`], and
/// the driver calls [`exchange`](Self::exchange) once there is a command.
pub struct Worker<M, O> {
    /// Absent only while the optimizer has it.
    module: Option<M>,
    optimizer: LeaderSgd,
    objective: O,
    average: Option<MovingAverage>,
    /// The factor for weight decay that the inner optimizer has.
    decay: f64,
    /// Whether the last step, with its exchange, is yet to be averaged.
    owes_average: bool,
}

impl<M: Module, O: Objective<M>> Worker<M, O> {
    /// A worker about to take its first step. The inner optimizer has the weight decay of a worker whose
    /// factor for it is 1, whatever the optimizer's [factors](LeaderSgd::factors) are.
    pub fn new(module: M, optimizer: LeaderSgd, objective: O) -> Self {
        Self {
            module: Some(module),
            optimizer,
            objective,
            average: None,
            decay: 1.0,
            owes_average: false,
        }
    }

    /// Updates `average` with the module's parameters after every step and its exchange.
    #[must_use]
    pub fn averaging(mut self, average: Option<MovingAverage>) -> Self {
        self.average = average;
        self
    }

    /// One batch, one gradient step, the pulls that are due.
    ///
    /// # Errors
    ///
    /// The error of [`Objective::gradients`]; the worker is then unchanged.
    pub fn step(&mut self) -> Result<Next, O::Error> {
        self.gradient_step()?;
        Ok(self.exchange())
    }

    /// The first half of [`step`](Self::step): one batch, one gradient step, the proximal pulls.
    ///
    /// # Errors
    ///
    /// The error of [`Objective::gradients`]; the worker is then unchanged. The error of
    /// [`Objective::probe`]; the step is then taken, and its exchange has yet to come.
    pub fn gradient_step(&mut self) -> Result<GradientStep, O::Error> {
        self.optimizer.begin(present(&self.module));
        self.update_decay();
        let step = self.optimizer.steps();
        let (loss, gradients) = self.objective.gradients(present(&self.module), step)?;
        let factor = self.optimizer.factors().learning_rate;
        let learning_rate = self.objective.learning_rate(step) * factor;
        self.optimizer.observe(loss.clone());
        if let Some(module) = self.module.take() {
            self.module = Some(
                self.optimizer
                    .gradient_step(learning_rate, module, gradients),
            );
            self.owes_average = true;
        }
        if self.optimizer.wants_probe()
            && let Some(loss) = self.objective.probe(present(&self.module))?
        {
            self.optimizer.observe_probe(loss);
        }
        Ok(GradientStep {
            loss,
            learning_rate,
        })
    }

    /// Gives the inner optimizer the weight decay of the worker's factors, if they have changed. Burn's
    /// optimizers cannot change theirs, so a new one takes over the state, which passes through the host.
    fn update_decay(&mut self) {
        let factor = self.optimizer.factors().weight_decay;
        if factor == self.decay {
            return;
        }
        self.decay = factor;
        if let Some(inner) = self.objective.decaying(factor) {
            self.optimizer.replace_inner(inner);
        }
    }

    /// The second half of [`step`](Self::step): reports to the peers and handles their commands.
    pub fn exchange(&mut self) -> Next {
        let Some(module) = self.module.take() else {
            return Next::Stop;
        };
        let (module, next) = self.optimizer.exchange(module);
        if next != Next::Wait
            && std::mem::take(&mut self.owes_average)
            && let Some(average) = &mut self.average
        {
            average.update(&module);
        }
        self.module = Some(module);
        next
    }

    /// Whether it still has its module: a panic of the optimizer loses it.
    pub fn is_whole(&self) -> bool {
        self.module.is_some()
    }

    /// The current module.
    pub fn module(&self) -> &M {
        present(&self.module)
    }

    /// The average of its parameters over its steps, if it keeps one.
    pub fn average(&self) -> Option<&MovingAverage> {
        self.average.as_ref()
    }

    /// The optimizer, which knows the worker's steps, loss and id.
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
