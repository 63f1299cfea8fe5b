//! A node in memory: workers and their local leader, driven turn by turn by whoever holds it.

#![allow(
    dead_code,
    reason = "shared by examples and tests, each of which uses a part"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use lsgd_core::{
    Bid, Delivered, Event, Exchange, LocalLeader, Message, Mode, Next, Objective, Order, Rank,
    Worker,
};

/// What lies between a worker and its local leader.
#[derive(Debug, Default)]
pub struct Post {
    /// From the worker, oldest first.
    pub sent: VecDeque<Message>,
    /// For the worker, oldest first.
    pub orders: VecDeque<Order>,
}

/// A worker's connection that never blocks: without an order the worker says
/// [`Next::Wait`] and leaves the waiting to whoever drives it.
#[derive(Debug, Clone)]
pub struct Line {
    rank: Rank,
    mode: Mode,
    post: Arc<Mutex<Post>>,
}

impl Line {
    /// A connection with nothing in it.
    pub fn new(rank: Rank, mode: Mode) -> Self {
        Self {
            rank,
            mode,
            post: Arc::default(),
        }
    }

    /// What has been sent and ordered and not yet taken.
    pub fn post(&self) -> MutexGuard<'_, Post> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange for Line {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn send(&mut self, message: Message) {
        self.post().sent.push_back(message);
    }

    fn receive(&mut self, _waiting: bool) -> Option<Order> {
        self.post().orders.pop_front()
    }
}

/// A worker, its connection, and what it said last.
struct Seat<M, O> {
    worker: Worker<M, O>,
    line: Line,
    next: Next,
}

/// The workers of a node and their local leader, without threads.
pub struct Node<M, O> {
    leader: LocalLeader,
    seats: Vec<Option<Seat<M, O>>>,
    events: Vec<Event>,
}

impl<M: Module, O: Objective<M>> Node<M, O> {
    /// Makes a worker for every rank of `leader`.
    pub fn new(leader: LocalLeader, mut make: impl FnMut(Line) -> Worker<M, O>) -> Self {
        let ranks: Vec<u32> = leader.live().collect();
        let seats = ranks.into_iter().map(|worker| {
            let line = Line::new(Rank::new(leader.node(), worker), leader.mode());
            Some(Seat {
                worker: make(line.clone()),
                line,
                next: Next::Continue,
            })
        });
        Self {
            seats: seats.collect(),
            leader,
            events: Vec::new(),
        }
    }

    /// Lets worker `worker` do what it can without waiting: a step, or its part of a meeting. Says
    /// whether anything came of it.
    ///
    /// # Errors
    ///
    /// What the worker's objective returns.
    pub fn turn(&mut self, worker: usize) -> Result<bool, O::Error> {
        let Some(Some(seat)) = self.seats.get_mut(worker) else {
            return Ok(false);
        };
        let moved = match seat.next {
            Next::Continue => true,
            Next::Wait => !seat.line.post().orders.is_empty(),
            Next::Stop => false,
        };
        if moved {
            seat.next = match seat.next {
                Next::Continue => seat.worker.step()?,
                _ => seat.worker.exchange(),
            };
            self.carry();
        }
        Ok(moved)
    }

    /// Gives turns in rank order until every worker has taken `steps` steps and waits for nobody.
    /// Says whether it came to that: `false` when all that are left wait for each other.
    ///
    /// # Errors
    ///
    /// What a worker's objective returns.
    pub fn run(&mut self, steps: u64) -> Result<bool, O::Error> {
        loop {
            let mut moved = false;
            for worker in 0..self.seats.len() {
                if !self.done(worker, steps) {
                    moved |= self.turn(worker)?;
                }
            }
            if !moved {
                return Ok((0..self.seats.len()).all(|worker| self.done(worker, steps)));
            }
        }
    }

    /// Whether the worker is gone, stopped, or has taken `steps` steps and waits for nobody.
    fn done(&self, worker: usize, steps: u64) -> bool {
        let Some(Some(seat)) = self.seats.get(worker) else {
            return true;
        };
        match seat.next {
            Next::Stop => true,
            Next::Wait => false,
            Next::Continue => seat.worker.optimizer().steps() >= steps,
        }
    }

    /// Worker `worker` dies.
    pub fn leave(&mut self, worker: usize) {
        if let Some(seat) = self.seats.get_mut(worker) {
            *seat = None;
            self.leader.leave(worker as u32);
            self.carry();
        }
    }

    /// What the node brings to the exchange with other nodes, where there are any.
    pub fn next_bid(&mut self) -> Option<Bid> {
        self.leader.next_bid()
    }

    /// What that exchange came to.
    pub fn adopt_global(&mut self, delivered: Delivered) {
        self.leader.adopt_global(delivered);
        self.carry();
    }

    /// Ends the run.
    pub fn close(&mut self) {
        self.leader.close();
        self.carry();
    }

    /// The workers that are left.
    pub fn workers(&self) -> impl Iterator<Item = &Worker<M, O>> {
        self.seats.iter().flatten().map(|seat| &seat.worker)
    }

    /// The workers that are left, once nobody drives them any more.
    pub fn into_workers(self) -> impl Iterator<Item = Worker<M, O>> {
        self.seats.into_iter().flatten().map(|seat| seat.worker)
    }

    /// What worker `worker` said last.
    pub fn next(&self, worker: usize) -> Option<Next> {
        self.seats.get(worker)?.as_ref().map(|seat| seat.next)
    }

    /// What happened, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Carries messages to the leader and orders to the workers until nothing is under way.
    fn carry(&mut self) {
        for seat in self.seats.iter().flatten() {
            let sent: Vec<Message> = seat.line.post().sent.drain(..).collect();
            for message in sent {
                self.leader.receive(seat.line.rank.worker, message);
            }
        }
        while let Some((worker, order)) = self.leader.next_order() {
            if let Some(Some(seat)) = self.seats.get(worker as usize) {
                seat.line.post().orders.push_back(order);
            }
        }
        while let Some(event) = self.leader.next_event() {
            self.events.push(event);
        }
    }
}
