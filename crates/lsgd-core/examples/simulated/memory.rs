//! A node in memory: workers and their local leader, driven turn by turn by the caller.

#![allow(
    dead_code,
    reason = "shared by examples and tests, each of which uses a part"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use lsgd_core::{
    Command, Event, Exchange, ExchangeOutcome, LocalLeader, Message, Mode, Next, NodeUpdate,
    Objective, Worker, WorkerId,
};

/// What lies between a worker and its local leader.
#[derive(Debug, Default)]
pub struct Queues {
    /// From the worker, oldest first.
    pub sent: VecDeque<Message>,
    /// For the worker, oldest first.
    pub commands: VecDeque<Command>,
}

/// A worker's connection that never blocks: without a command the worker says [`Next::Wait`] and
/// leaves the waiting to its driver.
#[derive(Debug, Clone)]
pub struct QueueExchange {
    id: WorkerId,
    mode: Mode,
    queues: Arc<Mutex<Queues>>,
}

impl QueueExchange {
    /// A connection with nothing in it.
    pub fn new(id: WorkerId, mode: Mode) -> Self {
        Self {
            id,
            mode,
            queues: Arc::default(),
        }
    }

    /// What has been sent in either direction and not yet taken.
    pub fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange for QueueExchange {
    fn id(&self) -> WorkerId {
        self.id
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn send(&mut self, message: Message) {
        self.queues().sent.push_back(message);
    }

    fn receive(&mut self, _waiting: bool) -> Option<Command> {
        self.queues().commands.pop_front()
    }
}

/// A worker, its connection, and what it said last.
struct WorkerSlot<M, O> {
    worker: Worker<M, O>,
    exchange: QueueExchange,
    next: Next,
}

/// The workers of a node and their local leader, without threads.
pub struct Node<M, O> {
    leader: LocalLeader,
    slots: Vec<Option<WorkerSlot<M, O>>>,
    events: Vec<Event>,
}

impl<M: Module, O: Objective<M>> Node<M, O> {
    /// Makes a worker for every rank of `leader`.
    pub fn new(leader: LocalLeader, mut make: impl FnMut(QueueExchange) -> Worker<M, O>) -> Self {
        let ids: Vec<u32> = leader.live().collect();
        let slots = ids.into_iter().map(|worker| {
            let exchange = QueueExchange::new(WorkerId::new(leader.node(), worker), leader.mode());
            Some(WorkerSlot {
                worker: make(exchange.clone()),
                exchange,
                next: Next::Continue,
            })
        });
        Self {
            slots: slots.collect(),
            leader,
            events: Vec::new(),
        }
    }

    /// Lets worker `worker` do what it can without waiting: a step, or its part of an exchange.
    /// Says whether anything came of it.
    ///
    /// # Errors
    ///
    /// What the worker's objective returns.
    pub fn turn(&mut self, worker: usize) -> Result<bool, O::Error> {
        let Some(Some(slot)) = self.slots.get_mut(worker) else {
            return Ok(false);
        };
        let moved = match slot.next {
            Next::Continue => true,
            Next::Wait => !slot.exchange.queues().commands.is_empty(),
            Next::Stop => false,
        };
        if moved {
            slot.next = match slot.next {
                Next::Continue => slot.worker.step()?,
                _ => slot.worker.exchange(),
            };
            self.carry();
        }
        Ok(moved)
    }

    /// Gives turns in order of worker id until every worker has taken `steps` steps and none is
    /// waiting. Returns `false` if all remaining workers wait for each other.
    ///
    /// # Errors
    ///
    /// What a worker's objective returns.
    pub fn run(&mut self, steps: u64) -> Result<bool, O::Error> {
        loop {
            let mut moved = false;
            for worker in 0..self.slots.len() {
                if !self.done(worker, steps) {
                    moved |= self.turn(worker)?;
                }
            }
            if !moved {
                return Ok((0..self.slots.len()).all(|worker| self.done(worker, steps)));
            }
        }
    }

    /// Whether the worker is gone, stopped, or has taken `steps` steps and waits for none.
    fn done(&self, worker: usize, steps: u64) -> bool {
        let Some(Some(slot)) = self.slots.get(worker) else {
            return true;
        };
        match slot.next {
            Next::Stop => true,
            Next::Wait => false,
            Next::Continue => slot.worker.optimizer().steps() >= steps,
        }
    }

    /// Worker `worker` dies.
    pub fn leave(&mut self, worker: usize) {
        if let Some(slot) = self.slots.get_mut(worker) {
            *slot = None;
            self.leader.leave(worker as u32);
            self.carry();
        }
    }

    /// What the node brings to the exchange with other nodes, where there are any.
    pub fn next_update(&mut self) -> Option<NodeUpdate> {
        self.leader.next_update()
    }

    /// The result of that exchange.
    pub fn adopt_global(&mut self, delivered: ExchangeOutcome) {
        self.leader.adopt_global(delivered);
        self.carry();
    }

    /// Ends the run.
    pub fn close(&mut self) {
        self.leader.close();
        self.carry();
    }

    /// The workers' leader.
    pub fn leader(&self) -> &LocalLeader {
        &self.leader
    }

    /// The workers that are left.
    pub fn workers(&self) -> impl Iterator<Item = &Worker<M, O>> {
        self.slots.iter().flatten().map(|slot| &slot.worker)
    }

    /// The remaining workers, when no longer driven.
    pub fn into_workers(self) -> impl Iterator<Item = Worker<M, O>> {
        self.slots.into_iter().flatten().map(|slot| slot.worker)
    }

    /// What worker `worker` said last.
    pub fn next(&self, worker: usize) -> Option<Next> {
        self.slots.get(worker)?.as_ref().map(|slot| slot.next)
    }

    /// What happened, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Carries messages to the leader and commands to the workers until nothing is under way.
    fn carry(&mut self) {
        for slot in self.slots.iter().flatten() {
            let sent: Vec<Message> = slot.exchange.queues().sent.drain(..).collect();
            for message in sent {
                self.leader.receive(slot.exchange.id.worker, message);
            }
        }
        while let Some((worker, command)) = self.leader.next_command() {
            if let Some(Some(slot)) = self.slots.get(worker as usize) {
                slot.exchange.queues().commands.push_back(command);
            }
        }
        while let Some(event) = self.leader.next_event() {
            self.events.push(event);
        }
    }
}
