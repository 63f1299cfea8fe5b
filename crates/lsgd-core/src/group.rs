//! A node's workers as threads: a [`LocalLeader`] behind a lock.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Bid, Delivered, Event, Exchange, LocalLeader, Message, Mode, Order, Rank};

/// The workers of a node that run as threads of one process.
///
/// Vectors pass between them by reference. A worker whose [`Member`] is dropped, by a panic too,
/// has left: nobody waits for it. Clones are of the same group.
#[derive(Debug, Clone)]
pub struct Group {
    shared: Arc<Shared>,
}

/// A worker's connection to its [`Group`]. Where peers meet, it blocks until the meeting is over.
#[derive(Debug)]
pub struct Member {
    shared: Arc<Shared>,
    rank: Rank,
    mode: Mode,
}

struct Shared {
    state: Mutex<State>,
    orders: Condvar,
}

struct State {
    leader: LocalLeader,
    inboxes: BTreeMap<u32, VecDeque<Order>>,
    record: Box<dyn FnMut(Event) + Send>,
    bid: Box<dyn FnMut(Bid) + Send>,
}

impl Group {
    /// Opens a connection for every worker of `leader`, in rank order. `record` gets every event,
    /// in order and under the group's lock: it must be quick.
    pub fn form(
        leader: LocalLeader,
        record: impl FnMut(Event) + Send + 'static,
    ) -> (Self, Vec<Member>) {
        let (mode, node) = (leader.mode(), leader.node());
        let workers: Vec<u32> = leader.live().collect();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                inboxes: workers.iter().map(|&w| (w, VecDeque::new())).collect(),
                leader,
                record: Box::new(record),
                bid: Box::new(|_| {}),
            }),
            orders: Condvar::new(),
        });
        let members = workers
            .into_iter()
            .map(|worker| Member {
                shared: shared.clone(),
                rank: Rank::new(node, worker),
                mode,
            })
            .collect();
        (Self { shared }, members)
    }

    /// Where there are other nodes: `bid` gets every [`Bid`], in order and under the group's lock.
    pub fn on_bid(&self, bid: impl FnMut(Bid) + Send + 'static) {
        self.shared.lock().bid = Box::new(bid);
    }

    /// An exchange between nodes is over: hands on what it delivered, as
    /// [`LocalLeader::adopt_global`].
    pub fn adopt_global(&self, delivered: Delivered) {
        self.shared.drive(|leader| leader.adopt_global(delivered));
    }

    /// Ends the run for every worker: where workers meet at the next meeting (one under way is
    /// broken off), elsewhere at its next step boundary.
    pub fn close(&self) {
        self.shared.drive(LocalLeader::close);
    }
}

impl Shared {
    /// The state. A thread that panicked under the lock did so in `record`: the state itself is
    /// sound, and the others go on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the leader do something, then hands out what it orders and records what happened.
    fn drive(&self, act: impl FnOnce(&mut LocalLeader)) {
        let mut state = self.lock();
        let state = &mut *state;
        act(&mut state.leader);
        let mut ordered = false;
        while let Some((worker, order)) = state.leader.next_order() {
            if let Some(inbox) = state.inboxes.get_mut(&worker) {
                enqueue(inbox, order);
                ordered = true;
            }
        }
        if ordered {
            self.orders.notify_all();
        }
        while let Some(event) = state.leader.next_event() {
            (state.record)(event);
        }
        while let Some(bid) = state.leader.next_bid() {
            (state.bid)(bid);
        }
    }
}

/// Adds an order to those a worker has not taken yet. Of two adoptions the newer replaces the
/// older: a worker that is busy for long (in `async`) is pulled by the newest leader, once, and
/// does not keep every snapshot published meanwhile in memory.
pub(crate) fn enqueue(inbox: &mut VecDeque<Order>, order: Order) {
    let Order::Adopt(mut newest) = order else {
        inbox.push_back(order);
        return;
    };
    inbox.retain_mut(|waiting| {
        let Order::Adopt(older) = waiting else {
            return true;
        };
        newest.local = std::mem::take(&mut newest.local).or(std::mem::take(&mut older.local));
        newest.global = std::mem::take(&mut newest.global).or(std::mem::take(&mut older.global));
        newest.buffers = newest.buffers.take().or(older.buffers.take());
        false
    });
    inbox.push_back(Order::Adopt(newest));
}

impl Exchange for Member {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn send(&mut self, message: Message) {
        let worker = self.rank.worker;
        self.shared.drive(|leader| leader.receive(worker, message));
    }

    fn receive(&mut self, waiting: bool) -> Option<Order> {
        let mut state = self.shared.lock();
        loop {
            let order = state.inboxes.get_mut(&self.rank.worker)?.pop_front();
            if order.is_some() || !waiting {
                return order;
            }
            state = self
                .shared
                .orders
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let worker = self.rank.worker;
        self.shared.lock().inboxes.remove(&worker);
        self.shared.drive(|leader| leader.leave(worker));
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
