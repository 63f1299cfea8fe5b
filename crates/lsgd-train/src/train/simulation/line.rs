//! What lies between a simulated worker and the simulation.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lsgd_core::{Exchange, Message, Mode, Order, Rank};

/// A worker's connection, which never blocks.
pub struct Line {
    rank: Rank,
    mode: Mode,
    post: Post,
}

/// The simulation's end of it.
#[derive(Debug, Clone, Default)]
pub struct Post(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    said: Vec<Message>,
    orders: VecDeque<Order>,
}

impl Line {
    /// That of worker `rank`, with nothing on it.
    pub fn new(rank: Rank, mode: Mode) -> Self {
        let post = Post::default();
        Self { rank, mode, post }
    }

    /// The other end.
    pub fn post(&self) -> Post {
        self.post.clone()
    }
}

impl Post {
    /// Orders for the worker.
    pub fn order(&self, orders: impl IntoIterator<Item = Order>) {
        self.open().orders.extend(orders);
    }

    /// What the worker has said since it was asked last.
    pub fn said(&self) -> Vec<Message> {
        std::mem::take(&mut self.open().said)
    }

    fn open(&self) -> MutexGuard<'_, Held> {
        // Whole after every statement, so a panic elsewhere does not make it wrong.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.post.open().said.push(message);
    }

    fn receive(&mut self, _waiting: bool) -> Option<Order> {
        self.post.open().orders.pop_front()
    }
}
