//! A worker's step, and the losses of the last steps: read, checked, reported.

use std::time::Instant;

use lsgd_core::{GradientStep, Mode, Next};

use super::WorkerLoop;
use crate::error::RunError;
use crate::injection::WorkerFault;
use crate::task::Task;
use crate::train::messages::FromWorker;
use crate::train::unread_steps::ReadStep;

impl<T: Task> WorkerLoop<'_, T> {
    /// One batch, one gradient step, the pulls that are due. False when the run is over.
    pub(super) fn step(&mut self) -> Result<bool, RunError> {
        let GradientStep {
            loss,
            learning_rate,
        } = self.gradient_step()?;
        let step = self.worker.optimizer().steps();
        self.unread.push(step, loss, learning_rate);
        // Before the exchange, to which a worker that is to fail contributes nothing.
        let read = match self.reads_losses() {
            true => self.checked_steps()?,
            false => Vec::new(),
        };
        let began = Instant::now();
        let next = self.worker.exchange();
        self.exchanging += began.elapsed();
        let told = read.into_iter().all(|step| self.tell_step(step));
        Ok(told && next != Next::Stop)
    }

    /// Whether to read the losses of the last steps now.
    fn reads_losses(&self) -> bool {
        let optimizer = self.worker.optimizer();
        let is_needed = match self.setup.plan.mode {
            Mode::Sync => optimizer.is_report_due(),
            // Any step may be followed by a publication.
            Mode::Async => self.setup.settings().faults.bad_steps.is_some(),
        };
        is_needed || self.unread.is_full()
    }

    /// The last steps, with their losses, if the worker may go on after all of them.
    pub(super) fn checked_steps(&mut self) -> Result<Vec<ReadStep>, RunError> {
        let read = self.unread.read();
        for (index, step) in read.iter().enumerate() {
            if let Err(error) = self.check_loss(step) {
                read[..index].iter().for_each(|step| {
                    self.tell_step(*step);
                });
                return Err(error);
            }
        }
        Ok(read)
    }

    /// Reports the steps whose losses have not been read yet.
    pub(super) fn tell_steps(&mut self) {
        for step in self.unread.read() {
            self.tell_step(step);
        }
    }

    /// False if the receiver is gone.
    pub(super) fn tell_step(&self, step: ReadStep) -> bool {
        let ReadStep { step, loss, rate } = step;
        self.tell(FromWorker::Stepped {
            worker: self.number,
            step,
            loss,
            rate,
        })
    }

    /// One batch, one gradient step; and the fault that this worker is to have in it, if any.
    fn gradient_step(&mut self) -> Result<GradientStep, RunError> {
        match self.clock.injection().fault_of(self.number) {
            Some(WorkerFault::Panic) => panic!("chaos asked for it"),
            Some(WorkerFault::NanGradient) => self.worker.objective_mut().spoil_next(),
            None => {}
        }
        self.worker.gradient_step()
    }

    /// Fails once the loss has not been finite for `faults.bad_steps` steps.
    fn check_loss(&mut self, step: &ReadStep) -> Result<(), RunError> {
        let ReadStep { step, loss, .. } = *step;
        if loss.is_finite() {
            self.bad_since = None;
            return Ok(());
        }
        let since = *self.bad_since.get_or_insert(step);
        let most = self.setup.settings().faults.bad_steps;
        match most.is_some_and(|most| step - since + 1 >= most) {
            true => Err(RunError::WorkerDiverged {
                worker: self.number,
                since,
            }),
            false => Ok(()),
        }
    }
}
