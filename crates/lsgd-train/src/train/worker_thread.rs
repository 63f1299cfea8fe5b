//! A worker's thread: batch, forward, backward, step, exchange, report; and tasks at pauses.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use lsgd_core::{
    Exchange, LeaderSgd, Member, Message, Mode, Next, Order, Rank, Source, Worker, read, write,
};
use lsgd_models::Model;

use super::evaluation::Scratch;
use super::learner::Learner;
use super::messages::{FromWorker, Paused, Start, Task, Times, ToMain};
use super::pace::{Pause, Turn};
use super::setup::Setup;
use super::stopwatch::Stopwatch;
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
            let run = AssertUnwindSafe(|| pool.install(|| run(assignment)));
            let outcome = catch_unwind(run).unwrap_or_else(|panic| {
                Err(TrainError::WorkerPanicked {
                    worker,
                    message: panic_message(panic.as_ref()),
                })
            });
            // If nobody listens any more, the run is over for another reason.
            let _ = reports.send(ToMain::Worker(FromWorker::Ended(outcome)));
        })
        .map_err(|why| no_thread(why.to_string()))
}

/// Trains until the run is over. Returns early, without an error, when the main thread or the
/// group has ended the run for all.
fn run(assignment: Assignment) -> Result<(), TrainError> {
    let worker_number = assignment.worker();
    let Assignment {
        setup,
        start,
        member,
        stopwatch,
        tasks,
        reports,
    } = assignment;
    let Some(device) = setup.devices.get(worker_number).map(|d| d.device.clone()) else {
        return Ok(());
    };
    let training = device.clone().autodiff();
    // A model of its own: clones of a Burn module share BatchNorm's running statistics.
    let model = setup.model.init(&training)?;
    let parameters = start.parameters.as_ref().unwrap_or(&setup.initial);
    let model = write(model, &setup.layout, parameters).map_err(|why| TrainError::Unfit { why })?;
    let learner = Learner::start(&setup, worker_number, training, start.step)?;
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
    let mut trainee = Trainee {
        number: worker_number,
        worker: Worker::new(model, optimizer, learner),
        setup: &setup,
        device,
        exchanging: Duration::ZERO,
        waited,
    };
    let _ = reports.send(ToMain::Worker(FromWorker::Ready));
    if !trainee.pause(&tasks, &reports)? {
        return Ok(());
    }
    while let Some(turn) = stopwatch.turn(worker_number) {
        let goes_on = match turn {
            Turn::Step => trainee.step(&reports)?,
            Turn::Pause(pause) => {
                let paused = FromWorker::Paused(Box::new(trainee.paused(pause)?));
                reports.send(ToMain::Worker(paused)).is_ok() && trainee.pause(&tasks, &reports)?
            }
        };
        if !goes_on {
            break;
        }
    }
    Ok(())
}

/// A worker and where its time goes.
struct Trainee<'a> {
    number: usize,
    worker: Worker<Model, Learner>,
    setup: &'a Setup,
    device: burn::tensor::Device,
    exchanging: Duration,
    waited: Arc<AtomicU64>,
}

impl Trainee<'_> {
    /// One batch, one gradient step, the pulls due. False when the run is over.
    fn step(&mut self, reports: &Sender<ToMain>) -> Result<bool, TrainError> {
        let rate = self.setup.rate.at(self.worker.optimizer().steps());
        let loss = self.worker.gradient_step()?;
        let began = Instant::now();
        let next = self.worker.exchange();
        self.exchanging += began.elapsed();
        let told = reports.send(ToMain::Worker(FromWorker::Stepped {
            worker: self.number,
            step: self.worker.optimizer().steps(),
            loss,
            rate,
        }));
        Ok(told.is_ok() && next != Next::Stop)
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
    fn pause(&self, tasks: &Receiver<Task>, reports: &Sender<ToMain>) -> Result<bool, TrainError> {
        let Setup {
            model,
            layout,
            dataset,
            stream,
            ..
        } = self.setup;
        let mut scratch = Scratch::new(model, layout, self.device.clone());
        for task in tasks {
            let report = match task {
                Task::Resume => return Ok(true),
                Task::Score {
                    subject,
                    snapshot,
                    batches,
                } => FromWorker::Scores {
                    subject,
                    scores: scratch.score(&snapshot, dataset, &batches)?,
                },
                Task::Statistics { snapshot, batches } => {
                    let statistics = scratch.statistics(&snapshot, dataset, stream, &batches)?;
                    FromWorker::Statistics(statistics)
                }
            };
            if reports.send(ToMain::Worker(report)).is_err() {
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
