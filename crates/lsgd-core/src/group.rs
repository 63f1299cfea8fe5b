//! A node's workers as threads: a [`LocalLeader`] behind a lock.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{
    Command, Event, Exchange, ExchangeOutcome, LocalLeader, LocalLeaderState, Message, Mode,
    NodeUpdate, RestartPoint, WorkerId,
};

/// The workers of a node that run as threads of one process.
///
/// Vectors pass between them by reference. A worker whose [`Member`] is dropped, even by a panic,
/// has left, and the others do not wait for it. Clones share the group.
#[derive(Debug, Clone)]
pub struct Group {
    shared: Arc<Shared>,
}

/// A worker's connection to its [`Group`]. In `sync` it blocks until the exchange is over.
#[derive(Debug)]
pub struct Member {
    shared: Arc<Shared>,
    id: WorkerId,
    mode: Mode,
}

struct Shared {
    state: Mutex<State>,
    commands: Condvar,
}

struct State {
    leader: LocalLeader,
    /// Whether a worker whose [`Member`] is dropped has left.
    leaves: bool,
    inboxes: BTreeMap<u32, VecDeque<Command>>,
    record: Box<dyn FnMut(Event) + Send>,
    on_update: Box<dyn FnMut(NodeUpdate) + Send>,
}

impl Group {
    /// Opens a connection for every worker of `leader`, in order of id. `record` is called with
    /// every event, in order and under the group's lock: it must return quickly.
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
                leaves: true,
                record: Box::new(record),
                on_update: Box::new(|_| {}),
            }),
            commands: Condvar::new(),
        });
        let members = workers
            .into_iter()
            .map(|worker| Member {
                shared: shared.clone(),
                id: WorkerId::new(node, worker),
                mode,
            })
            .collect();
        (Self { shared }, members)
    }

    /// With several nodes: `on_update` is called with every [`NodeUpdate`], in order and under the
    /// group's lock.
    pub fn on_update(&self, on_update: impl FnMut(NodeUpdate) + Send + 'static) {
        self.shared.lock().on_update = Box::new(on_update);
    }

    /// An exchange between nodes is over: passes its outcome on, as [`LocalLeader::adopt_global`]
    /// does.
    pub fn adopt_global(&self, delivered: ExchangeOutcome) {
        self.shared.drive(|leader| leader.adopt_global(delivered));
    }

    /// From now on a worker whose [`Member`] is dropped has not left: whoever supervises it calls
    /// [`restart`](Self::restart) or [`leave`](Self::leave).
    pub fn supervise(&self) {
        self.shared.lock().leaves = false;
    }

    /// Worker `worker` has failed and starts again, as [`LocalLeader::restart`] says, with this
    /// connection; `None` if it cannot.
    pub fn restart(&self, worker: u32) -> Option<(Member, RestartPoint)> {
        let mut state = self.shared.lock();
        // Whatever the failed worker had not taken is not for this one.
        state.inboxes.insert(worker, VecDeque::new());
        let (node, mode) = (state.leader.node(), state.leader.mode());
        drop(state);
        let mut point = None;
        self.shared.drive(|leader| point = leader.restart(worker));
        let Some(point) = point else {
            self.shared.lock().inboxes.remove(&worker);
            return None;
        };
        let member = Member {
            shared: self.shared.clone(),
            id: WorkerId::new(node, worker),
            mode,
        };
        Some((member, point))
    }

    /// Worker `worker` has left: the others do not wait for it.
    pub fn leave(&self, worker: u32) {
        self.shared.drive(|leader| leader.leave(worker));
    }

    /// What the group's leader remembers between exchanges, as [`LocalLeader::state`].
    pub fn state(&self) -> LocalLeaderState {
        self.shared.lock().leader.state()
    }

    /// Ends the run for every worker: in `sync` at the next exchange (one under way is aborted),
    /// otherwise at its next step boundary.
    pub fn close(&self) {
        self.shared.drive(LocalLeader::close);
    }
}

impl Shared {
    /// The state. A thread that panicked under the lock did so in `record`: the state itself is
    /// consistent, and the others continue.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act` on the leader, then hands out its commands, events and updates.
    fn drive(&self, act: impl FnOnce(&mut LocalLeader)) {
        let mut state = self.lock();
        let state = &mut *state;
        act(&mut state.leader);
        let mut ordered = false;
        while let Some((worker, command)) = state.leader.next_command() {
            if let Some(inbox) = state.inboxes.get_mut(&worker) {
                enqueue(inbox, command);
                ordered = true;
            }
        }
        if ordered {
            self.commands.notify_all();
        }
        while let Some(event) = state.leader.next_event() {
            (state.record)(event);
        }
        while let Some(update) = state.leader.next_update() {
            (state.on_update)(update);
        }
    }
}

/// Adds a command to those that a worker has not taken yet. A newer delivery replaces an older one:
/// a worker that is busy for long (in `async`) is pulled once, by the newest leader, and does not
/// keep every snapshot published meanwhile in memory.
pub(crate) fn enqueue(inbox: &mut VecDeque<Command>, command: Command) {
    let Command::Adopt(mut newest) = command else {
        inbox.push_back(command);
        return;
    };
    inbox.retain_mut(|waiting| {
        let Command::Adopt(older) = waiting else {
            return true;
        };
        newest.local = std::mem::take(&mut newest.local).or(std::mem::take(&mut older.local));
        newest.global = std::mem::take(&mut newest.global).or(std::mem::take(&mut older.global));
        newest.buffers = newest.buffers.take().or(older.buffers.take());
        false
    });
    inbox.push_back(Command::Adopt(newest));
}

impl Exchange for Member {
    fn id(&self) -> WorkerId {
        self.id
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn send(&mut self, message: Message) {
        let worker = self.id.worker;
        self.shared.drive(|leader| leader.receive(worker, message));
    }

    fn receive(&mut self, waiting: bool) -> Option<Command> {
        let mut state = self.shared.lock();
        loop {
            let command = state.inboxes.get_mut(&self.id.worker)?.pop_front();
            if command.is_some() || !waiting {
                return command;
            }
            state = self
                .shared
                .commands
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let worker = self.id.worker;
        let mut state = self.shared.lock();
        state.inboxes.remove(&worker);
        let leaves = state.leaves;
        drop(state);
        if leaves {
            self.shared.drive(|leader| leader.leave(worker));
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
