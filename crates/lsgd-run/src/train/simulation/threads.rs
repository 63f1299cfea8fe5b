//! The workers of a simulated run, on as many threads as can run at once.
//!
//! A worker stays on one thread: Burn keeps pending BatchNorm statistics per thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use lsgd_core::{Command, GradientStep, Snapshot, Source, Worker, WorkerTurn, read, write};

use super::worker_id;
use crate::error::{RunError, panic_message};
use crate::task::{Metric, Sums, Task};
use crate::train::averages;
use crate::train::evaluation::{Scored, Scratch, score_of};
use crate::train::evaluation_pass::Evaluator;
use crate::train::mailbox::{MailExchange, Mailbox};
use crate::train::messages::{PausedWorker, Times};
use crate::train::objective::TaskObjective;
use crate::train::setup::{Ready, Setup};

/// The receiver of an answer.
type Answer<T> = Sender<Result<T, RunError>>;

/// A job for a thread.
enum ThreadJob {
    /// A worker's next gradient step. Its outcome is returned by the exchange.
    Step(usize),
    /// The exchange after the step, with the commands that have arrived meanwhile.
    Exchange(usize, Vec<Command>, Answer<SimStep>),
    /// A command for a worker that waits.
    Handle(usize, Command, Answer<WorkerTurn>),
    /// The state of a worker.
    Pause(usize, Answer<PausedWorker>),
    Score(Arc<Snapshot>, Vec<usize>, Answer<Vec<(usize, Sums)>>),
    Statistics(Arc<Snapshot>, Vec<u64>, Answer<Vec<(u64, Vec<f32>)>>),
}

/// The outcome of a step.
pub struct SimStep {
    /// The worker's messages, and what it does next.
    pub turn: WorkerTurn,
    /// Steps it has taken.
    pub step: u64,
    /// The loss of the last of them, and its learning rate.
    pub taken: (f32, f64),
}

/// The threads. Dropping them ends them.
pub struct Threads {
    jobs: Vec<Sender<ThreadJob>>,
    threads: Vec<JoinHandle<()>>,
    metrics: &'static [Metric],
}

impl Threads {
    /// Starts the threads and the workers of a run, `per_node` on each node.
    ///
    /// # Errors
    ///
    /// [`RunError`] of a worker that could not start.
    pub fn start<T: Task>((setup, task): &Ready<T>, per_node: usize) -> Result<Self, RunError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = (cores / setup.settings().workers.threads).clamp(1, setup.workers().max(1));
        let mut all = Self {
            jobs: Vec::new(),
            threads: Vec::new(),
            metrics: setup.facts.metrics,
        };
        let mut ready = Vec::new();
        for number in 0..count {
            let (jobs, received) = channel();
            let (answer, answered) = channel();
            all.jobs.push(jobs);
            ready.push(answered);
            let (setup, task) = (setup.clone(), task.clone());
            let no_thread = |why: String| RunError::NoThread {
                thread: format!("simulation {number}"),
                why,
            };
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(setup.settings().workers.threads)
                .build()
                .map_err(|why| no_thread(why.to_string()))?;
            let own = (number..setup.workers()).step_by(count).collect();
            let body = move || {
                let failed = answer.clone();
                let run = AssertUnwindSafe(|| {
                    pool.install(|| run(&setup, &task, own, per_node, answer, received))
                });
                if let Err(panic) = catch_unwind(run) {
                    let message = panic_message(panic.as_ref());
                    let _ = failed.send(Err(RunError::WorkerPanicked {
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

    /// Starts a worker's next gradient step, without waiting for it.
    pub fn step(&self, worker: usize) {
        self.send(worker, ThreadJob::Step(worker));
    }

    /// The exchange after a worker's step.
    ///
    /// # Errors
    ///
    /// [`RunError`] of the step.
    pub fn exchange(&self, worker: usize, commands: Vec<Command>) -> Result<SimStep, RunError> {
        self.ask(worker, |answer| {
            ThreadJob::Exchange(worker, commands, answer)
        })
    }

    /// Passes a command to a worker that waits.
    ///
    /// # Errors
    ///
    /// [`RunError`] if its thread is gone.
    pub fn handle(&self, worker: usize, command: Command) -> Result<WorkerTurn, RunError> {
        self.ask(worker, |answer| ThreadJob::Handle(worker, command, answer))
    }

    /// The state of a worker.
    ///
    /// # Errors
    ///
    /// [`RunError`] if its values cannot be read.
    pub fn pause(&self, worker: usize) -> Result<PausedWorker, RunError> {
        self.ask(worker, |answer| ThreadJob::Pause(worker, answer))
    }

    fn ask<T>(
        &self,
        thread: usize,
        job: impl FnOnce(Answer<T>) -> ThreadJob,
    ) -> Result<T, RunError> {
        let (answer, answered) = channel();
        self.send(thread, job(answer));
        wait(&answered)
    }

    fn send(&self, worker: usize, job: ThreadJob) {
        if let Some(jobs) = self.jobs.get(worker % self.jobs.len().max(1)) {
            // If the thread is gone, its answer channel is closed.
            let _ = jobs.send(job);
        }
    }

    /// Distributes parts or batches over the threads, and collects their answers.
    fn deal<B: Clone, T>(
        &self,
        all: &[B],
        job: impl Fn(Vec<B>, Answer<Vec<T>>) -> ThreadJob,
    ) -> Result<Vec<T>, RunError> {
        let count = self.jobs.len();
        let mut awaited = Vec::new();
        for thread in 0..count {
            let own = all.iter().skip(thread).step_by(count).cloned().collect();
            let (answer, answered) = channel();
            self.send(thread, job(own, answer));
            awaited.push(answered);
        }
        let mut answers = Vec::new();
        for answered in awaited {
            answers.extend(wait(&answered)?);
        }
        Ok(answers)
    }
}

/// The answer; an error if the thread is gone.
fn wait<T>(answered: &Receiver<Result<T, RunError>>) -> Result<T, RunError> {
    answered.recv().unwrap_or_else(|_| {
        Err(RunError::WorkerPanicked {
            worker: 0,
            message: String::from("its thread is gone"),
        })
    })
}

impl Evaluator for &Threads {
    fn score(
        &mut self,
        subjects: &[Arc<Snapshot>],
        parts: &[usize],
    ) -> Result<Vec<Option<Scored>>, RunError> {
        let score = |subject: &Arc<Snapshot>| {
            let job = |own, answer| ThreadJob::Score(subject.clone(), own, answer);
            Ok(score_of(self.deal(parts, job)?, self.metrics))
        };
        subjects.iter().map(score).collect()
    }

    fn statistics(
        &mut self,
        snapshot: &Arc<Snapshot>,
        batches: std::ops::Range<u64>,
    ) -> Result<Vec<(u64, Vec<f32>)>, RunError> {
        let batches: Vec<u64> = batches.collect();
        self.deal(&batches, |own, answer| {
            ThreadJob::Statistics(snapshot.clone(), own, answer)
        })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.jobs.clear();
        for thread in self.threads.drain(..) {
            // Its panic, if any, has been reported.
            let _ = thread.join();
        }
    }
}

/// A worker and its connection to the simulation.
struct SimWorker<T: Task> {
    number: usize,
    worker: Worker<T::Module, TaskObjective<T>>,
    mailbox: Mailbox,
    /// The outcome of its last gradient step, until the exchange.
    stepped: Option<Result<GradientStep, RunError>>,
}

impl<T: Task> SimWorker<T> {
    fn new(setup: &Setup, task: &Arc<T>, number: usize, per_node: usize) -> Result<Self, RunError> {
        let device = setup.devices.get(number).map(|d| d.device.clone());
        let training = device.unwrap_or_default().autodiff();
        // A module of its own: clones of a Burn module share BatchNorm's running statistics.
        let module = setup.module(task.as_ref(), &training)?;
        let module = write(module, &setup.layout, &setup.initial);
        let module = module.map_err(|why| RunError::Unfit { why })?;
        let average = averages::of_worker(setup, &module, None)?;
        let exchange = MailExchange::new(worker_id(number, per_node), setup.plan.mode);
        let mailbox = exchange.mailbox();
        let optimizer = setup
            .leader_sgd(task.optimizer(), number, exchange)
            .clipping(task.gradient_clip());
        let objective = TaskObjective::start(setup, task, number, training, 0)?;
        Ok(Self {
            number,
            worker: Worker::new(module, optimizer, objective).averaging(average),
            mailbox,
            stepped: None,
        })
    }

    fn exchange(&mut self, commands: Vec<Command>) -> Result<SimStep, RunError> {
        // An exchange follows a step.
        let stepped = self.stepped.take().transpose()?;
        let taken = stepped.map_or((f32::NAN, f64::NAN), |stepped| {
            (stepped.loss.value(), stepped.learning_rate)
        });
        let turn = self.turn(commands);
        Ok(SimStep {
            turn,
            step: self.worker.optimizer().steps(),
            taken,
        })
    }

    fn turn(&mut self, commands: impl IntoIterator<Item = Command>) -> WorkerTurn {
        self.mailbox.push(commands);
        let next = self.worker.exchange();
        let messages = self.mailbox.messages();
        WorkerTurn { messages, next }
    }

    fn pause(&self, setup: &Setup) -> Result<PausedWorker, RunError> {
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
        let snapshot = read(self.worker.module(), &setup.layout, source).map_err(unread)?;
        let average = self.worker.average();
        let average = average.map(|average| average.state(&snapshot));
        Ok(PausedWorker {
            worker: self.number,
            pause: Default::default(),
            snapshot: Arc::new(snapshot),
            report,
            loss: self.worker.optimizer().loss(),
            state: self.worker.optimizer().state(),
            optimizer: Arc::default(),
            average: average.transpose().map_err(unread)?,
            times: Times::default(),
            since: Instant::now(),
        })
    }
}

/// The body of a thread: handles jobs until there are no more.
fn run<T: Task>(
    setup: &Setup,
    task: &Arc<T>,
    own: Vec<usize>,
    per_node: usize,
    ready: Answer<()>,
    jobs: Receiver<ThreadJob>,
) {
    let made: Result<Vec<SimWorker<T>>, RunError> = own
        .into_iter()
        .map(|number| SimWorker::new(setup, task, number, per_node))
        .collect();
    let mut sim_workers = match made {
        Ok(sim_workers) => sim_workers,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let _ = ready.send(Ok(()));
    let device = setup.devices.first().map(|d| d.device.clone());
    let mut scratch = Scratch::new(setup, task.as_ref(), device.unwrap_or_default());
    for job in jobs {
        let sim_workers = &mut sim_workers;
        // An answer without a receiver is dropped.
        match job {
            ThreadJob::Step(number) => {
                if let Some(sim_worker) = of(sim_workers, number) {
                    let stepped = sim_worker.worker.gradient_step();
                    sim_worker.stepped = Some(stepped);
                }
            }
            ThreadJob::Exchange(number, commands, answer) => {
                let _ = of(sim_workers, number).map(|t| answer.send(t.exchange(commands)));
            }
            ThreadJob::Handle(number, command, answer) => {
                let _ = of(sim_workers, number).map(|t| answer.send(Ok(t.turn([command]))));
            }
            ThreadJob::Pause(number, answer) => {
                if let Some(sim_worker) = of(sim_workers, number) {
                    let _ = answer.send(sim_worker.pause(setup));
                }
            }
            ThreadJob::Score(snapshot, parts, answer) => {
                let _ = answer.send(scratch.score(&snapshot, parts));
            }
            ThreadJob::Statistics(snapshot, batches, answer) => {
                let _ = answer.send(scratch.statistics(&snapshot, batches));
            }
        }
    }
}

fn of<T: Task>(sim_workers: &mut [SimWorker<T>], number: usize) -> Option<&mut SimWorker<T>> {
    sim_workers
        .iter_mut()
        .find(|sim_worker| sim_worker.number == number)
}
