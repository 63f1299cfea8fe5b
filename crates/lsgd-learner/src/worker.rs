//! A worker: trains on its share of the data, one epoch at a time.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use burn::data::dataloader::Progress;
use burn::data::dataset::DatasetError;
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn_train::metric::{Adaptor, LossInput};
use burn_train::train::WorkerFailure;
use burn_train::{
    Interrupter, ItemLazy, Learner, LearnerModel, TrainLoader, TrainOutput, TrainStep,
    TrainingError,
};
use lsgd_core::{Exchange, LeaderSgd, Member, Method, Mode, Next, Report};

use crate::SetupError;
use crate::gate::EpochGate;
use crate::learner_optimizer::LearnerOptimizer;
use crate::losses::Losses;

/// Shared by all workers of a run.
pub struct Common {
    pub method: Method,
    /// Batches whose gradients are summed for a step, if more than one.
    pub accumulation: Option<usize>,
    pub interrupter: Interrupter,
    pub gate: EpochGate,
    /// The step at which all begin.
    pub start: u64,
}

/// From a worker to the thread that started it.
pub enum FromWorker<M: LearnerModel> {
    /// It has trained on a batch.
    Trained {
        worker: usize,
        output: <M as TrainStep>::Output,
        progress: Progress,
        rate: ModuleLearningRate,
    },
    /// Its epoch is over; without a standing it has failed, and its thread has ended.
    Ended(Option<EpochResult<M>>),
}

/// The state of a worker at the end of an epoch.
pub struct EpochResult<M: LearnerModel> {
    pub report: Report,
    /// Its learner, whose module lacks the running statistics.
    pub learner: Learner<M>,
    /// Its module, for validation.
    pub module: M,
}

/// A worker that trains.
pub struct WorkerLoop<M: LearnerModel> {
    number: usize,
    common: Arc<Common>,
    mode: Mode,
    batches: TrainLoader<M>,
    module: M,
    optimizer: LeaderSgd<LearnerOptimizer<M>>,
    losses: Losses,
}

impl<M> WorkerLoop<M>
where
    M: LearnerModel,
    <M as TrainStep>::Output: Adaptor<LossInput>,
{
    /// A new worker; `learner` and `batches` are on its device.
    pub fn new(
        common: Arc<Common>,
        member: Member,
        learner: Learner<M>,
        batches: TrainLoader<M>,
    ) -> Self {
        let (number, mode) = (member.id().worker as usize, member.mode());
        let (inner, module) = LearnerOptimizer::new(learner);
        Self {
            number,
            mode,
            batches,
            module,
            optimizer: LeaderSgd::new(inner, common.method.clone(), member)
                .starting_at(common.start),
            losses: Losses::new(),
            common,
        }
    }

    /// Which worker it is, from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Trains an epoch on every request, at most until the requested step, until a channel is
    /// closed or it fails. Its failure ends the training.
    pub fn run(mut self, begin: Receiver<u64>, reports: SyncSender<FromWorker<M>>) {
        for until in begin {
            let (number, common) = (self.number, self.common.clone());
            let epoch = || {
                let _within = common.gate.enter(number);
                self.epoch(until, &reports)?;
                self.result()
            };
            let result = catch_panic(number, epoch);
            let result = result.map_err(|why| common.interrupter.fail(why)).ok();
            let failed = result.is_none();
            if reports.send(FromWorker::Ended(result)).is_err() || failed {
                return;
            }
        }
    }

    fn epoch(
        &mut self,
        until: u64,
        reports: &SyncSender<FromWorker<M>>,
    ) -> Result<(), TrainingError> {
        let loader = self.batches.clone();
        let mut batches = loader.iter();
        let mut gradients = Gradients::new(self.common.accumulation);
        let mut is_empty = true;
        while let Some(batch) = batches.next() {
            is_empty = false;
            let (batch, progress) = (batch?, batches.progress());
            if gradients.complete_with(&progress) && !self.may_step() {
                break;
            }
            let (output, next) = self.train_on(batch, &progress, &mut gradients)?;
            let trained = FromWorker::Trained {
                worker: self.number,
                output,
                progress,
                rate: self.optimizer.inner().rate(),
            };
            let is_over = next == Next::Stop || self.optimizer.steps() >= until;
            if reports.send(trained).is_err() || is_over || self.common.interrupter.should_stop() {
                break;
            }
        }
        match is_empty {
            true => Err(unusable(SetupError::NoBatches {
                worker: self.number,
                items: loader.num_items(),
            })),
            false => Ok(()),
        }
    }

    /// Whether it may take its next step: not if all exchange after it and another worker has no
    /// batch for it.
    fn may_step(&self) -> bool {
        let meets = self.mode == Mode::Sync && self.reports_next();
        let next = self.optimizer.steps() + 1;
        !meets || self.common.gate.all_reach(self.number, next)
    }

    /// Whether it reports to the others after its next step.
    fn reports_next(&self) -> bool {
        let method = &self.common.method;
        let due = method.exchange_steps().due(self.optimizer.steps() + 1);
        method.exchanges() && (self.mode == Mode::Async || due.any())
    }

    /// Forward, backward, and the step and exchange if they are due. Returns what the metrics need,
    /// and whether to continue.
    fn train_on(
        &mut self,
        batch: <M as TrainStep>::Input,
        progress: &Progress,
        gradients: &mut Gradients<M>,
    ) -> Result<(<M as TrainStep>::Output, Next), TrainingError> {
        self.optimizer.begin(&self.module);
        let TrainOutput { grads, item } = TrainStep::step(&self.module, batch);
        let output = item.sync().map_err(|why| self.failure(why))?;
        self.losses.push(&output);
        let next = match gradients.add(&self.module, grads, progress) {
            Some(sum) => self.step(sum)?,
            None => Next::Continue,
        };
        Ok((output, next))
    }

    fn step(&mut self, gradients: GradientsParams) -> Result<Next, TrainingError> {
        if self.reports_next() || self.losses.is_full() {
            self.observe()?;
        }
        let rate = self.optimizer.inner_mut().next_rate();
        let module = self.module.clone();
        let module = self.optimizer.gradient_step(rate, module, gradients);
        let (module, next) = self.optimizer.exchange(module);
        self.module = module;
        Ok(next)
    }

    /// Passes new losses to the optimizer.
    fn observe(&mut self) -> Result<(), TrainingError> {
        let losses = self.losses.read().map_err(|why| self.failure(why))?;
        losses
            .into_iter()
            .for_each(|loss| self.optimizer.observe(loss));
        Ok(())
    }

    fn result(&mut self) -> Result<EpochResult<M>, TrainingError> {
        self.observe()?;
        Ok(EpochResult {
            report: self.optimizer.report(),
            learner: self.optimizer.inner().learner(),
            module: self.module.valid(),
        })
    }

    fn failure(&self, why: impl ToString) -> TrainingError {
        failure(self.number, why.to_string())
    }
}

/// Gradients of batches, summed until there are enough for a step.
struct Gradients<M> {
    /// Batches per step.
    batches: usize,
    have: usize,
    sum: GradientsAccumulator<M>,
}

impl<M: LearnerModel> Gradients<M> {
    fn new(accumulation: Option<usize>) -> Self {
        Self {
            batches: accumulation.unwrap_or(1),
            have: 0,
            sum: GradientsAccumulator::new(),
        }
    }

    /// Whether one more batch is enough: the last batch of an epoch always is.
    fn complete_with(&self, progress: &Progress) -> bool {
        self.have + 1 >= self.batches || progress.is_completed()
    }

    /// Adds the gradients of a batch; returns the sum if it is enough for a step.
    fn add(
        &mut self,
        module: &M,
        gradients: GradientsParams,
        progress: &Progress,
    ) -> Option<GradientsParams> {
        let complete = self.complete_with(progress);
        if complete && self.have == 0 {
            return Some(gradients);
        }
        self.sum.accumulate(module, gradients);
        self.have += 1;
        complete.then(|| {
            self.have = 0;
            self.sum.grads()
        })
    }
}

/// The result of `act` for worker `worker`; a panic becomes a failure of the worker.
fn catch_panic<T>(
    worker: usize,
    act: impl FnOnce() -> Result<T, TrainingError>,
) -> Result<T, TrainingError> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|panic| Err(failure(worker, panic_message(panic.as_ref()))))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked without a message".to_owned())
}

/// burn-train's error for a worker that failed.
pub fn failure(worker: usize, message: String) -> TrainingError {
    let device_id = worker;
    TrainingError::Workers(vec![WorkerFailure { device_id, message }])
}

/// burn-train's error for data that cannot be trained on.
pub fn unusable(why: SetupError) -> TrainingError {
    TrainingError::Dataset(DatasetError::new(why))
}
