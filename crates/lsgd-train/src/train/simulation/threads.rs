//! The workers of a simulated run, on as many threads as can compute at once.
//!
//! A worker stays on one thread: Burn keeps pending BatchNorm statistics by thread.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use lsgd_core::{LeaderSgd, Order, Snapshot, Source, Turn, Worker, read, write};
use lsgd_models::Model;

use super::line::{Line, Post};
use super::rank;
use crate::error::{TrainError, panic_message};
use crate::optimizer;
use crate::train::evaluation::{BatchScore, Score, Scratch};
use crate::train::examination::Scorers;
use crate::train::learner::Learner;
use crate::train::messages::{Paused, Times};
use crate::train::setup::Setup;

/// Where an answer goes.
type Answer<T> = Sender<Result<T, TrainError>>;

/// Something for a thread to do.
enum Job {
    /// A worker's next gradient step. Its outcome comes with the exchange.
    Step(usize),
    /// What follows the step, with what has been ordered meanwhile.
    Exchange(usize, Vec<Order>, Answer<Ended>),
    /// An order for a worker that waits.
    Obey(usize, Order, Answer<Turn>),
    /// How a worker stands.
    Stand(usize, Answer<Paused>),
    Score(
        Arc<Snapshot>,
        Vec<(usize, Range<usize>)>,
        Answer<Vec<(usize, BatchScore)>>,
    ),
    Statistics(Arc<Snapshot>, Vec<u64>, Answer<Vec<(u64, Vec<f32>)>>),
}

/// A step that is over.
pub struct Ended {
    /// What the worker told, and what it does next.
    pub turn: Turn,
    /// Steps it has taken.
    pub step: u64,
    /// Mean training loss of the step's batch.
    pub loss: f32,
}

/// The threads. Dropping them ends them.
pub struct Threads {
    jobs: Vec<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts them, and the workers of `setup`, as many a node as `per_node` says.
    ///
    /// # Errors
    ///
    /// [`TrainError`] of a worker that could not begin.
    pub fn start(setup: &Arc<Setup>, per_node: usize) -> Result<Self, TrainError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = (cores / setup.config.workers.threads).clamp(1, setup.workers().max(1));
        let mut all = Self {
            jobs: Vec::new(),
            threads: Vec::new(),
        };
        let mut ready = Vec::new();
        for number in 0..count {
            let (jobs, received) = channel();
            let (answer, answered) = channel();
            all.jobs.push(jobs);
            ready.push(answered);
            let setup = setup.clone();
            let no_thread = |why: String| TrainError::NoThread {
                thread: format!("simulation {number}"),
                why,
            };
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(setup.config.workers.threads)
                .build()
                .map_err(|why| no_thread(why.to_string()))?;
            let own = (number..setup.workers()).step_by(count).collect();
            let body = move || {
                let failed = answer.clone();
                let run = AssertUnwindSafe(|| {
                    pool.install(|| run(&setup, own, per_node, answer, received))
                });
                if let Err(panic) = catch_unwind(run) {
                    let message = panic_message(panic.as_ref());
                    let _ = failed.send(Err(TrainError::WorkerPanicked {
                        worker: number,
                        message,
                    }));
                }
            };
            let thread = Builder::new()
                .name(format!("simulation-{number}"))
                .spawn(body)
                .map_err(|why| no_thread(why.to_string()))?;
            all.threads.push(thread);
        }
        for answered in ready {
            wait(&answered)?;
        }
        Ok(all)
    }

    /// Begins a worker's next gradient step, and does not wait for it.
    pub fn step(&self, worker: usize) {
        self.send(worker, Job::Step(worker));
    }

    /// What follows a worker's step.
    ///
    /// # Errors
    ///
    /// [`TrainError`] of the step.
    pub fn exchange(&self, worker: usize, orders: Vec<Order>) -> Result<Ended, TrainError> {
        self.ask(worker, |answer| Job::Exchange(worker, orders, answer))
    }

    /// Gives an order to a worker that waits.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if its thread is gone.
    pub fn obey(&self, worker: usize, order: Order) -> Result<Turn, TrainError> {
        self.ask(worker, |answer| Job::Obey(worker, order, answer))
    }

    /// How a worker stands.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if its values cannot be read.
    pub fn stand(&self, worker: usize) -> Result<Paused, TrainError> {
        self.ask(worker, |answer| Job::Stand(worker, answer))
    }

    fn ask<T>(&self, thread: usize, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, TrainError> {
        let (answer, answered) = channel();
        self.send(thread, job(answer));
        wait(&answered)
    }

    fn send(&self, worker: usize, job: Job) {
        if let Some(jobs) = self.jobs.get(worker % self.jobs.len().max(1)) {
            // If the thread is gone, whoever waits for its answer is told.
            let _ = jobs.send(job);
        }
    }

    /// Deals batches out to the threads, and gathers what they say.
    fn deal<B: Clone, T>(
        &self,
        batches: &[B],
        job: impl Fn(Vec<B>, Answer<Vec<T>>) -> Job,
    ) -> Result<Vec<T>, TrainError> {
        let count = self.jobs.len();
        let mut awaited = Vec::new();
        for thread in 0..count {
            let own = batches
                .iter()
                .skip(thread)
                .step_by(count)
                .cloned()
                .collect();
            let (answer, answered) = channel();
            self.send(thread, job(own, answer));
            awaited.push(answered);
        }
        let mut all = Vec::new();
        for answered in awaited {
            all.extend(wait(&answered)?);
        }
        Ok(all)
    }
}

/// What was answered; an error if the thread is gone.
fn wait<T>(answered: &Receiver<Result<T, TrainError>>) -> Result<T, TrainError> {
    answered.recv().unwrap_or_else(|_| {
        Err(TrainError::WorkerPanicked {
            worker: 0,
            message: String::from("its thread is gone"),
        })
    })
}

impl Scorers for &Threads {
    fn score(
        &mut self,
        subjects: &[Arc<Snapshot>],
        batches: &[(usize, Range<usize>)],
    ) -> Result<Vec<Option<Score>>, TrainError> {
        let score = |subject: &Arc<Snapshot>| {
            let job = |own, answer| Job::Score(subject.clone(), own, answer);
            Ok(Score::of(self.deal(batches, job)?))
        };
        subjects.iter().map(score).collect()
    }

    fn statistics(
        &mut self,
        snapshot: &Arc<Snapshot>,
        batches: Range<u64>,
    ) -> Result<Vec<(u64, Vec<f32>)>, TrainError> {
        let batches: Vec<u64> = batches.collect();
        self.deal(&batches, |own, answer| {
            Job::Statistics(snapshot.clone(), own, answer)
        })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.jobs.clear();
        for thread in self.threads.drain(..) {
            // Its panic, if it had one, has been reported.
            let _ = thread.join();
        }
    }
}

/// A worker and what lies between it and the simulation.
struct Trainee {
    number: usize,
    worker: Worker<Model, Learner>,
    post: Post,
    /// What came of its last gradient step, until the exchange.
    stepped: Option<Result<f32, TrainError>>,
}

impl Trainee {
    fn new(setup: &Setup, number: usize, per_node: usize) -> Result<Self, TrainError> {
        let device = setup.devices.get(number).map(|d| d.device.clone());
        let training = device.unwrap_or_default().autodiff();
        // A model of its own: clones of a Burn module share BatchNorm's running statistics.
        let model = setup.model.init(&training)?;
        let model = write(model, &setup.layout, &setup.initial);
        let model = model.map_err(|why| TrainError::Unfit { why })?;
        let line = Line::new(rank(number, per_node), setup.plan.mode);
        let post = line.post();
        let inner = optimizer::inner(&setup.config.optimizer);
        let optimizer = LeaderSgd::new(inner, setup.method.clone(), line);
        let learner = Learner::start(setup, number, training, 0)?;
        Ok(Self {
            number,
            worker: Worker::new(model, optimizer, learner),
            post,
            stepped: None,
        })
    }

    fn exchange(&mut self, orders: Vec<Order>) -> Result<Ended, TrainError> {
        let loss = self.stepped.take().unwrap_or(Ok(f32::NAN))?;
        let turn = self.turn(orders);
        Ok(Ended {
            turn,
            step: self.worker.optimizer().steps(),
            loss,
        })
    }

    fn turn(&mut self, orders: impl IntoIterator<Item = Order>) -> Turn {
        self.post.order(orders);
        let next = self.worker.exchange();
        let said = self.post.said();
        Turn { said, next }
    }

    fn stand(&self, setup: &Setup) -> Result<Paused, TrainError> {
        let report = self.worker.optimizer().report();
        let source = Source::Worker {
            rank: report.rank,
            step: report.step,
        };
        let snapshot = read(self.worker.module(), &setup.layout, source);
        let snapshot = snapshot.map_err(|why| TrainError::Snapshot {
            worker: self.number,
            step: report.step,
            why,
        })?;
        Ok(Paused {
            worker: self.number,
            pause: Default::default(),
            snapshot: Arc::new(snapshot),
            report,
            loss: self.worker.optimizer().loss(),
            times: Times::default(),
        })
    }
}

/// A thread: does jobs until there are no more.
fn run(setup: &Setup, own: Vec<usize>, per_node: usize, ready: Answer<()>, jobs: Receiver<Job>) {
    let made: Result<Vec<Trainee>, TrainError> = own
        .into_iter()
        .map(|number| Trainee::new(setup, number, per_node))
        .collect();
    let mut trainees = match made {
        Ok(trainees) => trainees,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let _ = ready.send(Ok(()));
    let device = setup.devices.first().map(|d| d.device.clone());
    let mut scratch = Scratch::new(&setup.model, &setup.layout, device.unwrap_or_default());
    for job in jobs {
        let trainees = &mut trainees;
        // An answer that nobody waits for any more is lost.
        match job {
            Job::Step(number) => {
                if let Some(trainee) = of(trainees, number) {
                    let stepped = trainee.worker.gradient_step();
                    trainee.stepped = Some(stepped.map_err(TrainError::from));
                }
            }
            Job::Exchange(number, orders, answer) => {
                let _ = of(trainees, number).map(|t| answer.send(t.exchange(orders)));
            }
            Job::Obey(number, order, answer) => {
                let _ = of(trainees, number).map(|t| answer.send(Ok(t.turn([order]))));
            }
            Job::Stand(number, answer) => {
                if let Some(trainee) = of(trainees, number) {
                    let _ = answer.send(trainee.stand(setup));
                }
            }
            Job::Score(snapshot, batches, answer) => {
                let _ = answer.send(scratch.score(&snapshot, &setup.dataset, &batches));
            }
            Job::Statistics(snapshot, batches, answer) => {
                let Setup {
                    dataset, stream, ..
                } = setup;
                let _ = answer.send(scratch.statistics(&snapshot, dataset, stream, batches));
            }
        }
    }
}

fn of(trainees: &mut [Trainee], number: usize) -> Option<&mut Trainee> {
    trainees.iter_mut().find(|trainee| trainee.number == number)
}
