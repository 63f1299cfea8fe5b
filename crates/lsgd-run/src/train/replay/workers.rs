//! The workers of a replay, a thread each: Burn keeps pending BatchNorm statistics per thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use lsgd_core::{Command, Message, Mode, Snapshot, Source, Worker, WorkerId, read, write};

use crate::error::{RunError, panic_message};
use crate::task::Task;
use crate::train::mailbox::{MailExchange, Mailbox};
use crate::train::objective::TaskObjective;
use crate::train::setup::{Ready, Setup};

/// The receiver of an answer.
type Answer<T> = Sender<Result<T, RunError>>;

/// An answer that is on its way.
pub type Awaited<T> = Receiver<Result<T, RunError>>;

/// What a worker is told to do.
enum Order {
    /// Begin with these values, after so many steps.
    Begin(Arc<Snapshot>, u64, Answer<()>),
    /// Take steps until so many have been taken, or there is something to say.
    Advance(u64, Answer<Stop>),
    /// A command of its local leader.
    Take(Command, Answer<Vec<Message>>),
    Read(Answer<Arc<Snapshot>>),
}

/// Where a worker has come to.
#[derive(Debug)]
pub struct Stop {
    /// Steps taken.
    pub step: u64,
    /// What it says to its local leader there, apart from its report.
    pub messages: Vec<Message>,
    /// The running statistics in its report, if exchanges average them.
    pub buffers: Option<Arc<[f32]>>,
}

/// The threads. Dropping them ends them.
pub struct Workers {
    orders: Vec<Sender<Order>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts a thread for each of these workers, whose number among all is its place in the list.
    ///
    /// # Errors
    ///
    /// [`RunError::NoThread`].
    pub fn start<T: Task>(
        (setup, task): &Ready<T>,
        workers: &[WorkerId],
    ) -> Result<Self, RunError> {
        let mut all = Self {
            orders: Vec::new(),
            threads: Vec::new(),
        };
        for (number, id) in workers.iter().copied().enumerate() {
            let no_thread = |why: String| RunError::NoThread {
                thread: format!("worker {id}"),
                why,
            };
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(setup.settings().workers.threads)
                .build()
                .map_err(|why| no_thread(why.to_string()))?;
            let (orders, received) = channel();
            let replayed = Replayed {
                number,
                id,
                setup: setup.clone(),
                task: task.clone(),
                worker: None,
            };
            let thread = Builder::new()
                .name(format!("worker-{id}"))
                .spawn(move || pool.install(|| replayed.run(received)))
                .map_err(|why| no_thread(why.to_string()))?;
            all.orders.push(orders);
            all.threads.push(thread);
        }
        Ok(all)
    }

    /// Has a worker begin anew.
    ///
    /// # Errors
    ///
    /// [`RunError`] of the worker.
    pub fn begin(&self, worker: usize, from: Arc<Snapshot>, step: u64) -> Result<(), RunError> {
        wait(
            worker,
            &self.ask(worker, |answer| Order::Begin(from, step, answer)),
        )
    }

    /// Has a worker take steps, without waiting for it: see [`wait`].
    pub fn advance(&self, worker: usize, to: u64) -> Awaited<Stop> {
        self.ask(worker, |answer| Order::Advance(to, answer))
    }

    /// Passes a command to a worker. Returns its messages.
    ///
    /// # Errors
    ///
    /// [`RunError`] of the worker.
    pub fn take(&self, worker: usize, command: Command) -> Result<Vec<Message>, RunError> {
        wait(
            worker,
            &self.ask(worker, |answer| Order::Take(command, answer)),
        )
    }

    /// The values of a worker.
    ///
    /// # Errors
    ///
    /// [`RunError`] of the worker.
    pub fn read(&self, worker: usize) -> Result<Arc<Snapshot>, RunError> {
        wait(worker, &self.ask(worker, Order::Read))
    }

    fn ask<A>(&self, worker: usize, order: impl FnOnce(Answer<A>) -> Order) -> Awaited<A> {
        let (answer, awaited) = channel();
        if let Some(orders) = self.orders.get(worker) {
            // If the thread is gone, the answer's channel is closed.
            let _ = orders.send(order(answer));
        }
        awaited
    }
}

/// The answer of a worker.
///
/// # Errors
///
/// [`RunError`] of the worker.
pub fn wait<A>(worker: usize, awaited: &Awaited<A>) -> Result<A, RunError> {
    awaited.recv().unwrap_or_else(|_| {
        Err(RunError::WorkerPanicked {
            worker,
            message: String::from("its thread is gone"),
        })
    })
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.orders.clear();
        for thread in self.threads.drain(..) {
            // Its panic, if any, has been reported.
            let _ = thread.join();
        }
    }
}

/// A worker's thread.
struct Replayed<T: Task> {
    number: usize,
    id: WorkerId,
    setup: Arc<Setup>,
    task: Arc<T>,
    worker: Option<Live<T>>,
}

/// A worker that has begun, and its mail.
type Live<T> = (Worker<<T as Task>::Module, TaskObjective<T>>, Mailbox);

impl<T: Task> Replayed<T> {
    fn run(mut self, orders: Receiver<Order>) {
        for order in orders {
            // An answer without a receiver is dropped.
            match order {
                Order::Begin(from, step, answer) => {
                    let _ = answer.send(self.caught(|own| own.begin(&from, step)));
                }
                Order::Advance(to, answer) => {
                    let _ = answer.send(self.caught(|own| own.advance(to)));
                }
                Order::Take(command, answer) => {
                    let _ = answer.send(self.caught(|own| own.take(command)));
                }
                Order::Read(answer) => {
                    let _ = answer.send(self.caught(|own| own.read()));
                }
            }
        }
    }

    /// A panic becomes an error.
    fn caught<A>(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<A, RunError>,
    ) -> Result<A, RunError> {
        let worker = self.number;
        catch_unwind(AssertUnwindSafe(|| act(self))).unwrap_or_else(|panic| {
            Err(RunError::WorkerPanicked {
                worker,
                message: panic_message(panic.as_ref()),
            })
        })
    }

    fn begin(&mut self, from: &Snapshot, step: u64) -> Result<(), RunError> {
        // The one before it ends its loader first.
        self.worker = None;
        let setup = &self.setup;
        let device = setup.devices.get(self.number).map(|d| d.device.clone());
        let training = device.unwrap_or_default().autodiff();
        let module = setup.module(self.task.as_ref(), &training)?;
        let module = write(module, &setup.layout, from);
        let module = module.map_err(|why| RunError::Unfit { why })?;
        let exchange = MailExchange::new(self.id, Mode::Async);
        let mailbox = exchange.mailbox();
        let optimizer = setup
            .leader_sgd(self.task.optimizer(), self.number, exchange)
            .clipping(self.task.gradient_clip())
            .starting_at(step);
        let objective = TaskObjective::start(setup, &self.task, self.number, training, step)?;
        let worker = Worker::new(module, optimizer, objective);
        self.worker = Some((worker, mailbox));
        Ok(())
    }

    fn own(&mut self) -> Result<&mut Live<T>, RunError> {
        self.worker
            .as_mut()
            .ok_or_else(|| RunError::WorkerPanicked {
                worker: self.number,
                message: String::from("it has not begun"),
            })
    }

    fn advance(&mut self, to: u64) -> Result<Stop, RunError> {
        let (worker, mailbox) = self.own()?;
        let (mut messages, mut buffers) = (Vec::new(), None);
        while worker.optimizer().steps() < to && messages.is_empty() {
            worker.step()?;
            (messages, buffers) = without_report(mailbox.messages());
        }
        let step = worker.optimizer().steps();
        Ok(Stop {
            step,
            messages,
            buffers,
        })
    }

    fn take(&mut self, command: Command) -> Result<Vec<Message>, RunError> {
        let (worker, mailbox) = self.own()?;
        mailbox.push([command]);
        worker.exchange();
        Ok(mailbox.messages())
    }

    fn read(&mut self) -> Result<Arc<Snapshot>, RunError> {
        let (layout, id, number) = (self.setup.layout.clone(), self.id, self.number);
        let (worker, _) = self.own()?;
        let step = worker.optimizer().steps();
        let snapshot = read(worker.module(), &layout, Source::Worker { id, step });
        let snapshot = snapshot.map_err(|why| RunError::Snapshot {
            worker: number,
            step,
            why,
        })?;
        Ok(Arc::new(snapshot))
    }
}

/// The messages that a replay depends on. Reports elect a leader, and the start of the first worker is
/// that of the centre: a replay knows both.
fn without_report(messages: Vec<Message>) -> (Vec<Message>, Option<Arc<[f32]>>) {
    let (mut others, mut reported) = (Vec::new(), None);
    for message in messages {
        match message {
            Message::Report { buffers, .. } => reported = buffers,
            Message::Begin(_) => {}
            message => others.push(message),
        }
    }
    (others, reported)
}
