//! The main thread's inbox.

use std::collections::{BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::messages::{Ended, Failed, FromCluster, FromWorker, PausedWorker, ToMain};

/// All messages to the main thread. It outlives a worker pool: another one follows if the node was
/// left behind.
pub struct Inbox {
    sender: Sender<ToMain>,
    receiver: Receiver<ToMain>,
    /// Messages that arrived too early, oldest first.
    deferred: VecDeque<ToMain>,
    /// The final states of workers that have left.
    left: Vec<PausedWorker>,
    /// The workers that have failed and not started again.
    failed: BTreeSet<usize>,
    /// Called for every message of a worker.
    progress: Box<dyn Fn()>,
}

impl Inbox {
    /// An empty inbox.
    pub fn new() -> Self {
        let (sender, receiver) = channel();
        Self {
            sender,
            receiver,
            deferred: VecDeque::new(),
            left: Vec::new(),
            failed: BTreeSet::new(),
            progress: Box::new(|| {}),
        }
    }

    /// A sender to this inbox.
    pub fn sender(&self) -> Sender<ToMain> {
        self.sender.clone()
    }

    /// Sets the function to call whenever a worker has made progress.
    #[cfg(feature = "nodes")]
    pub fn on_progress(&mut self, progress: impl Fn() + 'static) {
        self.progress = Box::new(progress);
    }

    /// The next message, within `timeout`.
    ///
    /// # Errors
    ///
    /// A worker that has failed.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<ToMain>, Failed> {
        match self.deferred.pop_front() {
            Some(message) => Ok(Some(message)),
            None => self.receive_within(timeout),
        }
    }

    /// The next message from other nodes, within `timeout`. Messages of workers are dropped
    /// meanwhile.
    pub fn next_from_cluster(&mut self, timeout: Duration) -> Option<FromCluster> {
        let kept = self.deferred.pop_front();
        let message = kept.map_or_else(|| self.receiver.recv_timeout(timeout), Ok);
        match message {
            Ok(ToMain::Cluster(message)) => Some(message),
            Ok(ToMain::Worker(_) | ToMain::Saved) | Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Keeps early messages for [`next`](Self::next).
    pub fn defer(&mut self, early: impl IntoIterator<Item = FromCluster>) {
        self.deferred.extend(early.into_iter().map(ToMain::Cluster));
    }

    /// The next message, however long it takes; skips what was [kept](Self::defer).
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn receive(&mut self) -> Result<ToMain, Failed> {
        loop {
            if let Some(message) = self.receive_within(Duration::MAX)? {
                return Ok(message);
            }
        }
    }

    /// The workers that have failed and not started again.
    pub fn failed(&self) -> impl Iterator<Item = usize> {
        self.failed.iter().copied()
    }

    /// Forgets the failure and the final state of a worker that starts again.
    pub fn forget(&mut self, worker: usize) {
        self.failed.remove(&worker);
        self.left.retain(|left| left.worker != worker);
    }

    /// The final states of workers that have left, ordered by number, and the other messages of an
    /// aborted run, oldest first. Workers that have not left by then are missing.
    pub fn last_words(&mut self) -> (Vec<PausedWorker>, Vec<ToMain>) {
        let mut heard: Vec<ToMain> = self.deferred.drain(..).collect();
        for message in self.receiver.try_iter() {
            match message {
                // The first error has ended the run.
                ToMain::Worker(FromWorker::Ended(ended)) => {
                    self.left.extend(ended.left.map(|left| *left));
                }
                message => heard.push(message),
            }
        }
        self.left.sort_by_key(|left| left.worker);
        (std::mem::take(&mut self.left), heard)
    }

    /// The remaining messages of workers that have ended. Messages of other nodes stay.
    pub fn rest_of_workers(&mut self) -> Vec<FromWorker> {
        let (_, heard) = self.last_words();
        let mut rest = Vec::new();
        for message in heard {
            match message {
                ToMain::Worker(message) => rest.push(message),
                ToMain::Saved => {}
                nodes => self.deferred.push_back(nodes),
            }
        }
        rest
    }

    fn receive_within(&mut self, timeout: Duration) -> Result<Option<ToMain>, Failed> {
        loop {
            // The inbox holds a sender itself, so the channel is never closed.
            let Ok(message) = self.receiver.recv_timeout(timeout) else {
                return Ok(None);
            };
            if matches!(message, ToMain::Worker(_)) {
                (self.progress)();
            }
            match message {
                ToMain::Worker(FromWorker::Ended(ended)) => {
                    let Ended {
                        worker,
                        outcome,
                        left,
                    } = ended;
                    self.left.extend(left.map(|left| *left));
                    if outcome.is_err() {
                        self.failed.insert(worker);
                    }
                    outcome.map_err(|error| Failed { worker, error })?;
                }
                message => return Ok(Some(message)),
            }
        }
    }
}
