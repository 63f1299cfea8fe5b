//! A worker without others, for tests of what it is to train with.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::optim::GradientsParams;
use lsgd_core::{LeaderSgd, Loss, Method, Mode, Objective, Worker, WorkerId, write};

use super::job::{Context, Job};
use super::mailbox::MailExchange;
use super::objective::TaskObjective;
use super::setup::set_up;
use crate::error::{RunError, panic_message};
use crate::task::Task;

/// Makes worker 0 of the run that `job` describes, with its device, batches and optimizer, without
/// exchanges and at other learning rates: `rate` of the step. `run` is called with what makes a step and
/// returns its loss. Nothing is written.
///
/// # Errors
///
/// [`RunError`] as at the start of a run and of its steps, and that of `run`.
pub(super) fn alone<T: Task, R: Send>(
    job: Job,
    make: impl FnOnce(Context) -> Result<T, RunError>,
    rate: impl Fn(u64) -> f64 + Send,
    run: impl FnOnce(&mut dyn FnMut() -> Result<f64, RunError>) -> Result<R, RunError> + Send,
) -> Result<R, RunError> {
    let ready = set_up(job, None, make)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(ready.0.settings().workers.threads)
        .build()
        .map_err(|why| RunError::NoThread {
            thread: String::from("worker 0"),
            why: why.to_string(),
        })?;
    let (setup, task) = &ready;
    let run = || -> Result<R, RunError> {
        let device = setup.devices[0].device.clone().autodiff();
        let module = setup.module(task.as_ref(), &device)?;
        let module = write(module, &setup.layout, &setup.initial);
        let module = module.map_err(|why| RunError::Unfit { why })?;
        let exchange = MailExchange::new(WorkerId::new(setup.node, 0), Mode::Sync);
        let optimizer = LeaderSgd::new(task.optimizer(), Method::sgd(1), exchange)
            .clipping(task.gradient_clip());
        let batches = TaskObjective::start(setup, task, 0, device, 0)?;
        let mut worker = Worker::new(module, optimizer, AtRates { batches, rate });
        run(&mut || Ok(f64::from(worker.gradient_step()?.loss.value())))
    };
    catch_unwind(AssertUnwindSafe(|| pool.install(run)))
        .unwrap_or_else(|panic| Err(setup.panicked(0, panic_message(panic.as_ref()))))
}

/// A worker's batches, with other learning rates.
struct AtRates<T: Task, F> {
    batches: TaskObjective<T>,
    rate: F,
}

impl<T: Task, F: Fn(u64) -> f64> Objective<T::Module> for AtRates<T, F> {
    type Error = RunError;

    fn gradients(
        &mut self,
        module: &T::Module,
        step: u64,
    ) -> Result<(Loss, GradientsParams), RunError> {
        self.batches.gradients(module, step)
    }

    fn learning_rate(&self, step: u64) -> f64 {
        (self.rate)(step)
    }
}
