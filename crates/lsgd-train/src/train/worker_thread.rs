//! A worker's thread: batch, forward, backward, step, exchange, report; and tasks at pauses.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use lsgd_core::{
    Exchange, LeaderSgd, Member, Message, Mode, Next, Order, Rank, Source, Worker, read, write,
};
use lsgd_models::Model;

use super::evaluation::Scratch;
use super::learner::Learner;
use super::messages::{Ended, FromWorker, Paused, Start, Task, Times, ToMain};
use super::pace::{Pause, Turn};
use super::setup::Setup;
use super::stopwatch::{Leave, Stopwatch};
use crate::device::DeviceError;
use crate::error::{TrainError, panic_message};
use crate::optimizer;

/// What a worker's thread starts with.
pub struct Assignment {
    /// What all share.
    pub setup: Arc<Setup>,
    /// Where all begin.
    pub start: Start,
    /// Connection to the other workers.
    pub member: Member,
    /// When to pause and stop.
    pub stopwatch: Arc<Stopwatch>,
    /// What to do while others wait, too.
    pub tasks: Receiver<Task>,
    /// To the main thread.
    pub reports: Sender<ToMain>,
}

impl Assignment {
    fn worker(&self) -> usize {
        self.member.rank().worker as usize
    }
}

/// Starts the thread `worker-K`. The last it sends is [`FromWorker::Ended`], after a panic too.
///
/// # Errors
///
/// [`TrainError::NoThread`] when the system gives none.
pub fn spawn(assignment: Assignment) -> Result<JoinHandle<()>, TrainError> {
    let worker = assignment.worker();
    let no_thread = |why: String| TrainError::NoThread {
        thread: format!("worker {worker}"),
        why,
    };
    // All of a worker runs in a pool of its own: its bits do not depend on other workers, and
    // `workers.threads` is what it takes of the machine.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(assignment.setup.config.workers.threads)
        .thread_name(move |thread| format!("worker-{worker}-{thread}"))
        .build()
        .map_err(|why| no_thread(why.to_string()))?;
    Builder::new()
        .name(format!("worker-{worker}"))
        .spawn(move || {
            let reports = assignment.reports.clone();
            let ended = pool.install(|| run(assignment));
            // If nobody listens any more, the run is over for another reason.
            let _ = reports.send(ToMain::Worker(FromWorker::Ended(ended)));
        })
        .map_err(|why| no_thread(why.to_string()))
}

/// Does something for worker `worker`; a panic is an error of the worker.
fn caught<T>(worker: usize, act: impl FnOnce() -> Result<T, TrainError>) -> Result<T, TrainError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        Err(TrainError::WorkerPanicked {
            worker,
            message: panic_message(panic.as_ref()),
        })
    })
}

/// Trains until the run is over, for this worker or for all. If the run breaks off, the worker hands
/// over what it has.
fn run(assignment: Assignment) -> Ended {
    let worker = assignment.worker();
    let (setup, stopwatch) = (assignment.setup.clone(), assignment.stopwatch.clone());
    let mut trainee = match caught(worker, || Trainee::new(&setup, assignment)) {
        Ok(trainee) => trainee,
        Err(error) => {
            return Ended {
                outcome: Err(error),
                left: None,
            };
        }
    };
    let outcome = caught(worker, || trainee.train());
    let is_asked = outcome.is_err() || stopwatch.leaves() == Some(Leave::Saved);
    // What cannot be read is lost; the error that ended the run is the one to tell.
    let left = (is_asked && trainee.worker.is_whole())
        .then(|| caught(worker, || trainee.paused(Pause::default())).ok());
    Ended {
        outcome,
        left: left.flatten().map(Box::new),
    }
}

/// A worker, its connections, and where its time goes.
struct Trainee<'a> {
    number: usize,
    worker: Worker<Model, Learner>,
    setup: &'a Setup,
    device: Device,
    stopwatch: Arc<Stopwatch>,
    tasks: Receiver<Task>,
    reports: Sender<ToMain>,
    exchanging: Duration,
    waited: Arc<AtomicU64>,
}

impl<'a> Trainee<'a> {
    fn new(setup: &'a Setup, assignment: Assignment) -> Result<Self, TrainError> {
        let number = assignment.worker();
        let Assignment {
            start,
            member,
            stopwatch,
            tasks,
            reports,
            ..
        } = assignment;
        let device = setup.devices.get(number).map(|d| d.device.clone());
        let device = device.ok_or(DeviceError::NoBackend)?;
        let training = device.clone().autodiff();
        // A model of its own: clones of a Burn module share BatchNorm's running statistics.
        let model = setup.model.init(&training)?;
        let parameters = start.parameters.as_ref().unwrap_or(&setup.initial);
        let model =
            write(model, &setup.layout, parameters).map_err(|why| TrainError::Unfit { why })?;
        let learner = Learner::start(setup, number, training, start.step)?;
        let exchange = TimedMember {
            member,
            waited: Arc::default(),
        };
        let waited = exchange.waited.clone();
        let optimizer = LeaderSgd::new(
            optimizer::inner(&setup.config.optimizer),
            setup.method.clone(),
            exchange,
        )
        .starting_at(start.step);
        Ok(Self {
            number,
            worker: Worker::new(model, optimizer, learner),
            setup,
            device,
            stopwatch,
            tasks,
            reports,
            exchanging: Duration::ZERO,
            waited,
        })
    }

    /// Until the run is over. Returns early, without an error, when the main thread or the group has
    /// ended it for all.
    fn train(&mut self) -> Result<(), TrainError> {
        if !self.tell(FromWorker::Ready) || !self.pause()? {
            return Ok(());
        }
        while let Some(turn) = self.stopwatch.turn(self.number) {
            let goes_on = match turn {
                Turn::Step => self.step()?,
                Turn::Pause(pause) => {
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

    /// False when nobody listens any more.
    fn tell(&self, message: FromWorker) -> bool {
        self.reports.send(ToMain::Worker(message)).is_ok()
    }

    /// One batch, one gradient step, the pulls due. False when the run is over.
    fn step(&mut self) -> Result<bool, TrainError> {
        let rate = self.setup.rate.at(self.worker.optimizer().steps());
        let loss = self.worker.gradient_step()?;
        let began = Instant::now();
        let next = self.worker.exchange();
        self.exchanging += began.elapsed();
        let told = self.tell(FromWorker::Stepped {
            worker: self.number,
            step: self.worker.optimizer().steps(),
            loss,
            rate,
        });
        Ok(told && next != Next::Stop)
    }

    fn paused(&mut self, pause: Pause) -> Result<Paused, TrainError> {
        let report = self.worker.optimizer().report();
        let source = Source::Worker {
            rank: report.rank,
            step: report.step,
        };
        let snapshot = read(self.worker.module(), &self.setup.layout, source).map_err(|why| {
            TrainError::Snapshot {
                worker: self.number,
                step: report.step,
                why,
            }
        })?;
        let exchange_wait = Duration::from_nanos(self.waited.load(Ordering::Relaxed));
        Ok(Paused {
            worker: self.number,
            pause,
            snapshot: Arc::new(snapshot),
            report,
            loss: self.worker.optimizer().loss(),
            times: Times {
                data_wait: self.worker.objective_mut().waited(),
                exchange: self.exchanging.saturating_sub(exchange_wait),
                exchange_wait,
            },
        })
    }

    /// Does tasks until told to resume. False when the run is over.
    fn pause(&self) -> Result<bool, TrainError> {
        let Setup {
            model,
            layout,
            dataset,
            stream,
            ..
        } = self.setup;
        let mut scratch = Scratch::new(model, layout, self.device.clone());
        for task in &self.tasks {
            let evaluates = || self.stopwatch.evaluates();
            let report = match task {
                Task::Resume => return Ok(true),
                Task::Score {
                    subject,
                    snapshot,
                    batches,
                } => {
                    let batches = batches.iter().take_while(|_| evaluates());
                    FromWorker::Scores {
                        subject,
                        scores: scratch.score(&snapshot, dataset, batches)?,
                    }
                }
                Task::Statistics { snapshot, batches } => {
                    let batches = batches.into_iter().take_while(|_| evaluates());
                    let statistics = scratch.statistics(&snapshot, dataset, stream, batches)?;
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

/// A [`Member`] that counts how long it waits for others.
struct TimedMember {
    member: Member,
    /// Nanoseconds.
    waited: Arc<AtomicU64>,
}

impl Exchange for TimedMember {
    fn rank(&self) -> Rank {
        self.member.rank()
    }

    fn mode(&self) -> Mode {
        self.member.mode()
    }

    fn send(&mut self, message: Message) {
        self.member.send(message);
    }

    fn receive(&mut self, waiting: bool) -> Option<Order> {
        let began = Instant::now();
        let order = self.member.receive(waiting);
        if waiting {
            let waited = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.waited.fetch_add(waited, Ordering::Relaxed);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_its_worker() {
        let failed = caught(3, || -> Result<(), _> { panic!("no memory left") });
        let text = failed.unwrap_err().to_string();
        assert!(
            text.starts_with("worker 3 panicked: no memory left"),
            "{text}"
        );
        assert_eq!(caught(3, || Ok(7)).unwrap(), 7);
    }
}
