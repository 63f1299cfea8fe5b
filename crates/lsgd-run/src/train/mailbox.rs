//! The connection between a worker and whoever drives it step by step: a simulation, a replay.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lsgd_core::{Command, Exchange, Message, Mode, WorkerId};

/// A worker's end, which never blocks.
pub struct MailExchange {
    id: WorkerId,
    mode: Mode,
    mailbox: Mailbox,
}

/// The other end, of whoever drives it.
#[derive(Debug, Clone, Default)]
pub struct Mailbox(Arc<Mutex<Queues>>);

#[derive(Debug, Default)]
struct Queues {
    messages: Vec<Message>,
    commands: VecDeque<Command>,
}

impl MailExchange {
    /// An empty connection of worker `id`.
    pub fn new(id: WorkerId, mode: Mode) -> Self {
        let mailbox = Mailbox::default();
        Self { id, mode, mailbox }
    }

    /// The other end.
    pub fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }
}

impl Mailbox {
    /// Adds commands for the worker.
    pub fn push(&self, commands: impl IntoIterator<Item = Command>) {
        self.open().commands.extend(commands);
    }

    /// Takes the worker's messages since the last call.
    pub fn messages(&self) -> Vec<Message> {
        std::mem::take(&mut self.open().messages)
    }

    fn open(&self) -> MutexGuard<'_, Queues> {
        // Consistent after every statement, so a panic elsewhere does no harm.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange for MailExchange {
    fn id(&self) -> WorkerId {
        self.id
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn send(&mut self, message: Message) {
        self.mailbox.open().messages.push(message);
    }

    fn receive(&mut self, _waiting: bool) -> Option<Command> {
        self.mailbox.open().commands.pop_front()
    }
}
