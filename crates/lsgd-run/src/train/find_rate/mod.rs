//! A learning-rate range test (Smith, arXiv 1506.01186, section 3.3): one worker takes steps at rising
//! rates, and the loss says which of them teach it something.

mod curve;

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::optim::GradientsParams;
use lsgd_core::{LeaderSgd, Loss, Method, Mode, Objective, Worker, WorkerId, write};

use super::job::{Context, Job};
use super::mailbox::MailExchange;
use super::objective::TaskObjective;
use super::setup::set_up;
use crate::error::{RunError, panic_message};
use crate::task::Task;

pub use curve::{RateCurve, RatePoint, RateTest};

/// Tries the learning rates of `test` on worker 0 of the run that `job` describes: its device, batches and
/// optimizer, without exchanges. Nothing is written.
///
/// # Errors
///
/// [`RunError`] as at the start of a run.
pub fn find_rate<T: Task>(
    job: Job,
    test: RateTest,
    make: impl FnOnce(Context) -> Result<T, RunError>,
) -> Result<RateCurve, RunError> {
    let ready = set_up(job, None, make)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(ready.0.settings().workers.threads)
        .build()
        .map_err(|why| RunError::NoThread {
            thread: String::from("worker 0"),
            why: why.to_string(),
        })?;
    let (setup, task) = &ready;
    let run = || -> Result<RateCurve, RunError> {
        let device = setup.devices[0].device.clone().autodiff();
        let module = setup.module(task.as_ref(), &device)?;
        let module = write(module, &setup.layout, &setup.initial);
        let module = module.map_err(|why| RunError::Unfit { why })?;
        let alone = MailExchange::new(WorkerId::new(setup.node, 0), Mode::Sync);
        let optimizer =
            LeaderSgd::new(task.optimizer(), Method::sgd(1), alone).clipping(task.gradient_clip());
        let batches = TaskObjective::start(setup, task, 0, device, 0)?;
        let mut worker = Worker::new(module, optimizer, Rising { batches, test });
        let mut curve = RateCurve::default();
        for _ in 0..test.steps {
            let step = worker.gradient_step()?;
            if !curve.push(step.learning_rate, f64::from(step.loss.value())) {
                break;
            }
        }
        Ok(curve)
    };
    catch_unwind(AssertUnwindSafe(|| pool.install(run)))
        .unwrap_or_else(|panic| Err(setup.panicked(0, panic_message(panic.as_ref()))))
}

/// A worker's batches, with the learning rates of the test.
struct Rising<T: Task> {
    batches: TaskObjective<T>,
    test: RateTest,
}

impl<T: Task> Objective<T::Module> for Rising<T> {
    type Error = RunError;

    fn gradients(
        &mut self,
        module: &T::Module,
        step: u64,
    ) -> Result<(Loss, GradientsParams), RunError> {
        self.batches.gradients(module, step)
    }

    fn learning_rate(&self, step: u64) -> f64 {
        self.test.rate(step)
    }
}
