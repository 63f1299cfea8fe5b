//! A worker's thread: batch, forward, backward, step, exchange, report; and evaluations at pauses.

mod steps;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use lsgd_core::{
    Command, Exchange, LeaderSgd, Member, Message, Mode, Source, Worker, WorkerId,
    decode_optimizer, encode_optimizer, read, write,
};

use super::averages;
use super::evaluation::Scratch;
use super::messages::{Ended, FromWorker, PausedWorker, Start, Times, ToMain, ToWorker};
use super::objective::TaskObjective;
use super::pause_schedule::{NextAction, Pause};
use super::setup::Setup;
use super::training_clock::{Leave, TrainingClock};
use super::unread_steps::{UnreadSteps, read_every};
use crate::device::DeviceError;
use crate::error::{RunError, panic_message};
use crate::storage::LoadedWorker;
use crate::task::Task;

/// The inputs of a worker's thread.
pub struct Assignment<T> {
    /// The setup shared by all workers.
    pub setup: Arc<Setup>,
    /// The task.
    pub task: Arc<T>,
    /// Where all workers start.
    pub start: Start,
    /// Connection to the other workers.
    pub member: Member,
    /// When to pause and stop.
    pub clock: Arc<TrainingClock>,
    /// Commands at pauses.
    pub commands: Receiver<ToWorker>,
    /// To the main thread.
    pub reports: Sender<ToMain>,
}

impl<T> Assignment<T> {
    fn worker(&self) -> usize {
        self.member.id().worker as usize
    }
}

/// Starts the thread `worker-K`. Its last message is [`FromWorker::Ended`], even after a panic.
///
/// # Errors
///
/// [`RunError::NoThread`] if the system starts none.
pub fn spawn<T: Task>(assignment: Assignment<T>) -> Result<JoinHandle<()>, RunError> {
    let worker = assignment.worker();
    let no_thread = |why: String| RunError::NoThread {
        thread: format!("worker {worker}"),
        why,
    };
    // All work of a worker runs in its own thread pool: its bits do not depend on other workers,
    // and `workers.threads` limits its share of the machine.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(assignment.setup.settings().workers.threads)
        .thread_name(move |thread| format!("worker-{worker}-{thread}"))
        .build()
        .map_err(|why| no_thread(why.to_string()))?;
    Builder::new()
        .name(format!("worker-{worker}"))
        .spawn(move || {
            let reports = assignment.reports.clone();
            let ended = pool.install(|| run(assignment));
            // If the receiver is gone, the run is over for another reason.
            let _ = reports.send(ToMain::Worker(FromWorker::Ended(ended)));
        })
        .map_err(|why| no_thread(why.to_string()))
}

/// Runs `act`; a panic becomes the error that `failed` makes of its message.
fn catch_panic<T>(
    failed: impl FnOnce(String) -> RunError,
    act: impl FnOnce() -> Result<T, RunError>,
) -> Result<T, RunError> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|panic| Err(failed(panic_message(panic.as_ref()))))
}

/// Trains until the run is over, for this worker or for all. If the run is aborted, the worker
/// returns its final state.
fn run<T: Task>(assignment: Assignment<T>) -> Ended {
    let worker = assignment.worker();
    let (setup, task) = (assignment.setup.clone(), assignment.task.clone());
    let clock = assignment.clock.clone();
    let failed = |message| setup.panicked(worker, message);
    let mut worker_loop = match catch_panic(failed, || WorkerLoop::new(&setup, &task, assignment)) {
        Ok(worker_loop) => worker_loop,
        Err(error) => {
            return Ended {
                worker,
                outcome: Err(error),
                left: None,
            };
        }
    };
    let outcome = catch_panic(failed, || worker_loop.train());
    // A device that has failed may not give them up either; the first error is the one to report.
    let _ = catch_panic(failed, || {
        worker_loop.tell_steps();
        Ok(())
    });
    let is_asked = outcome.is_err() || clock.leaves() == Some(Leave::Saved);
    // Values that cannot be read are lost; the error that ended the run is the one to report.
    let left = (is_asked && worker_loop.worker.is_whole())
        .then(|| catch_panic(failed, || worker_loop.paused(Pause::default())).ok());
    Ended {
        worker,
        outcome,
        left: left.flatten().map(Box::new),
    }
}

/// A worker, its connections, and its times.
struct WorkerLoop<'a, T: Task> {
    number: usize,
    worker: Worker<T::Module, TaskObjective<T>>,
    setup: &'a Setup,
    task: &'a T,
    device: Device,
    clock: Arc<TrainingClock>,
    commands: Receiver<ToWorker>,
    reports: Sender<ToMain>,
    unread: UnreadSteps,
    exchanging: Duration,
    waited: Arc<AtomicU64>,
    /// Its times before the run continued.
    before: Times,
    /// The first of the last losses, none of which was finite.
    bad_since: Option<u64>,
}

/// The optimizer of a worker that continues as a checkpoint has it.
fn resume<M: Module>(
    setup: &Setup,
    inner: ModuleOptimizer,
    exchange: TimedMember,
    worker: usize,
    module: &M,
    saved: LoadedWorker,
) -> Result<LeaderSgd, RunError> {
    let layout = &setup.layout;
    let damaged = |why: String| RunError::Unresumable { worker, why };
    let inner = match saved.optimizer {
        Some(bytes) => {
            let record = decode_optimizer(bytes, module, layout);
            inner.load_record(record.map_err(|why| damaged(why.to_string()))?)
        }
        None => inner,
    };
    setup
        .leader_sgd(inner, worker, exchange)
        .resuming(&saved.state, layout.clone())
        .map_err(|why| damaged(why.to_string()))
}

impl<'a, T: Task> WorkerLoop<'a, T> {
    fn new(
        setup: &'a Setup,
        task: &'a Arc<T>,
        assignment: Assignment<T>,
    ) -> Result<Self, RunError> {
        let number = assignment.worker();
        let Assignment {
            start,
            member,
            clock,
            commands,
            reports,
            ..
        } = assignment;
        let device = setup.devices.get(number).map(|d| d.device.clone());
        let device = device.ok_or(DeviceError::NoBackend)?;
        let training = device.clone().autodiff();
        // A module of its own: clones of a Burn module share BatchNorm's running statistics.
        let module = setup.module(task.as_ref(), &training)?;
        let saved = start
            .resumed
            .as_ref()
            .and_then(|saved| saved.worker(number));
        let parameters = match &saved {
            Some(saved) => &saved.values,
            None => start.parameters.as_ref().unwrap_or(&setup.initial),
        };
        let module =
            write(module, &setup.layout, parameters).map_err(|why| RunError::Unfit { why })?;
        let step = saved.as_ref().map_or(start.step, |saved| saved.state.step);
        let objective = TaskObjective::start(setup, task, number, training, step)?;
        let exchange = TimedMember {
            member,
            waited: Arc::default(),
        };
        let waited = exchange.waited.clone();
        let times = saved.as_ref().map(|saved| saved.times).unwrap_or_default();
        let gpu = setup.devices.get(number).is_some_and(|device| device.gpu);
        let every = read_every(gpu, setup.plan.mode, setup.method.periods().local);
        let average = saved.as_ref().and_then(|saved| saved.average.as_ref());
        let average = averages::of_worker(setup, &module, average)?;
        let optimizer = match saved {
            Some(saved) => resume(setup, task.optimizer(), exchange, number, &module, saved)?,
            None => setup
                .leader_sgd(task.optimizer(), number, exchange)
                .starting_at(start.step),
        };
        let optimizer = optimizer
            .reading_losses_every(every)
            .clipping(task.gradient_clip());
        Ok(Self {
            before: times.into(),
            bad_since: None,
            number,
            worker: Worker::new(module, optimizer, objective).averaging(average),
            setup,
            task,
            device,
            clock,
            commands,
            reports,
            unread: UnreadSteps::new(every),
            exchanging: Duration::ZERO,
            waited,
        })
    }

    /// Trains until the run is over. Returns early, without an error, if the main thread or the
    /// group has ended it.
    fn train(&mut self) -> Result<(), RunError> {
        if !self.tell(FromWorker::Ready) || !self.pause()? {
            return Ok(());
        }
        let clock = self.clock.clone();
        let mut began = Instant::now();
        while let Some(next_action) = clock.next_action(self.number) {
            let goes_on = match next_action {
                NextAction::Step => {
                    clock.injection().wait_for_pace(began);
                    began = Instant::now();
                    self.step()?
                }
                NextAction::Pause(pause) => {
                    // What is saved or scored is not that of a worker that is to fail.
                    for step in self.checked_steps()? {
                        self.tell_step(step);
                    }
                    let paused = self.paused(pause)?;
                    self.tell(FromWorker::Paused(Box::new(paused))) && self.pause()?
                }
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// False if the receiver is gone.
    fn tell(&self, message: FromWorker) -> bool {
        self.reports.send(ToMain::Worker(message)).is_ok()
    }

    fn paused(&mut self, pause: Pause) -> Result<PausedWorker, RunError> {
        let since = Instant::now();
        let report = self.worker.optimizer().report();
        let source = Source::Worker {
            id: report.id,
            step: report.step,
        };
        let unread = |why| RunError::Snapshot {
            worker: self.number,
            step: report.step,
            why,
        };
        let snapshot = read(self.worker.module(), &self.setup.layout, source).map_err(unread)?;
        let average = self.worker.average();
        let average = average.map(|average| average.state(&snapshot));
        let average = average.transpose().map_err(unread)?;
        let exchange_wait = Duration::from_nanos(self.waited.load(Ordering::Relaxed));
        let times = Times {
            data_wait: self.worker.objective_mut().waited(),
            exchange: self.exchanging.saturating_sub(exchange_wait),
            exchange_wait,
        };
        let optimizer = self.worker.optimizer();
        let inner = encode_optimizer(optimizer.inner_record(), &self.setup.layout);
        Ok(PausedWorker {
            worker: self.number,
            pause,
            snapshot: Arc::new(snapshot),
            report,
            loss: optimizer.loss(),
            state: optimizer.state(),
            optimizer: Arc::new(inner.map_err(|why| RunError::Unsaved {
                worker: self.number,
                step: report.step,
                why,
            })?),
            average,
            times: self.before + times,
            since,
        })
    }

    /// Handles commands until it resumes. False when the run is over.
    fn pause(&self) -> Result<bool, RunError> {
        let mut scratch = Scratch::new(self.setup, self.task, self.device.clone());
        for command in &self.commands {
            let evaluates = || self.clock.evaluates();
            let report = match command {
                ToWorker::Resume => return Ok(true),
                ToWorker::Score {
                    subject,
                    snapshot,
                    parts,
                } => {
                    let parts = parts.into_iter().take_while(|_| evaluates());
                    FromWorker::Scores {
                        subject,
                        scores: scratch.score(&snapshot, parts)?,
                    }
                }
                ToWorker::Statistics { snapshot, batches } => {
                    let batches = batches.into_iter().take_while(|_| evaluates());
                    let statistics = scratch.statistics(&snapshot, batches)?;
                    FromWorker::Statistics(statistics)
                }
            };
            if !self.tell(report) {
                break;
            }
        }
        Ok(false)
    }
}

/// A [`Member`] that measures how long it waits for others.
struct TimedMember {
    member: Member,
    /// Nanoseconds.
    waited: Arc<AtomicU64>,
}

impl Exchange for TimedMember {
    fn id(&self) -> WorkerId {
        self.member.id()
    }

    fn mode(&self) -> Mode {
        self.member.mode()
    }

    fn send(&mut self, message: Message) {
        self.member.send(message);
    }

    fn receive(&mut self, waiting: bool) -> Option<Command> {
        let began = Instant::now();
        let command = self.member.receive(waiting);
        if waiting {
            let waited = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.waited.fetch_add(waited, Ordering::Relaxed);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_its_worker() {
        let error = |message| RunError::WorkerPanicked { worker: 3, message };
        let failed = catch_panic(error, || -> Result<(), _> { panic!("no memory left") });
        let text = failed.unwrap_err().to_string();
        assert!(
            text.starts_with("worker 3 panicked: no memory left"),
            "{text}"
        );
        assert_eq!(catch_panic(error, || Ok(7)).unwrap(), 7);
    }
}
