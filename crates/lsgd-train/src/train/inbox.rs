//! What the main thread is sent.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::messages::{FromNodes, FromWorker, Paused, ToMain};
use crate::error::TrainError;

/// The main thread's only source of news. It outlives the workers: others come after them when the
/// node is left behind.
pub struct Inbox {
    sender: Sender<ToMain>,
    receiver: Receiver<ToMain>,
    /// What came while an answer was awaited, oldest first.
    aside: VecDeque<ToMain>,
    /// Where workers stood that have left.
    left: Vec<Paused>,
    /// Told of every sign of life of a worker.
    progress: Box<dyn Fn()>,
}

impl Inbox {
    /// With nothing in it.
    pub fn new() -> Self {
        let (sender, receiver) = channel();
        Self {
            sender,
            receiver,
            aside: VecDeque::new(),
            left: Vec::new(),
            progress: Box::new(|| {}),
        }
    }

    /// Where to send.
    pub fn sender(&self) -> Sender<ToMain> {
        self.sender.clone()
    }

    /// Lets `progress` know whenever a worker got on with something.
    pub fn on_progress(&mut self, progress: impl Fn() + 'static) {
        self.progress = Box::new(progress);
    }

    /// What comes next, within `patience`.
    ///
    /// # Errors
    ///
    /// [`TrainError`] of a worker that has failed.
    pub fn next(&mut self, patience: Duration) -> Result<Option<ToMain>, TrainError> {
        match self.aside.pop_front() {
            Some(message) => Ok(Some(message)),
            None => self.receive(patience),
        }
    }

    /// What comes next from other nodes, within `patience`. What workers say meanwhile is lost.
    pub fn next_from_nodes(&mut self, patience: Duration) -> Option<FromNodes> {
        let kept = self.aside.pop_front();
        let message = kept.map_or_else(|| self.receiver.recv_timeout(patience), Ok);
        match message {
            Ok(ToMain::Nodes(message)) => Some(message),
            Ok(ToMain::Worker(_)) | Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Keeps what came too early for [`next`](Self::next).
    pub fn keep(&mut self, early: Vec<FromNodes>) {
        self.aside.extend(early.into_iter().map(ToMain::Nodes));
    }

    /// What comes next from a worker that is to answer. What other nodes send, and what happens
    /// between workers, is kept for [`next`](Self::next).
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn answer(&mut self) -> Result<FromWorker, TrainError> {
        loop {
            match self.receive(Duration::MAX)? {
                Some(ToMain::Worker(FromWorker::Event(event, seconds))) => {
                    let event = FromWorker::Event(event, seconds);
                    self.aside.push_back(ToMain::Worker(event));
                }
                Some(ToMain::Worker(answer)) => return Ok(answer),
                nodes => self.aside.extend(nodes),
            }
        }
    }

    /// Where workers stood that have left, by number, and what else there is to hear of a run that has
    /// broken off, oldest first. Whoever has not left by then is not heard.
    pub fn last_words(&mut self) -> (Vec<Paused>, Vec<ToMain>) {
        let mut heard: Vec<ToMain> = self.aside.drain(..).collect();
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

    /// What workers have sent that are gone, and nobody has heard yet. What other nodes have sent stays.
    pub fn rest_of_workers(&mut self) -> Vec<FromWorker> {
        let (_, heard) = self.last_words();
        let mut rest = Vec::new();
        for message in heard {
            match message {
                ToMain::Worker(news) => rest.push(news),
                nodes => self.aside.push_back(nodes),
            }
        }
        rest
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<ToMain>, TrainError> {
        loop {
            // It holds a sender itself, so there is always one.
            let Ok(message) = self.receiver.recv_timeout(patience) else {
                return Ok(None);
            };
            if matches!(message, ToMain::Worker(_)) {
                (self.progress)();
            }
            match message {
                ToMain::Worker(FromWorker::Ended(ended)) => {
                    self.left.extend(ended.left.map(|left| *left));
                    ended.outcome?;
                }
                message => return Ok(Some(message)),
            }
        }
    }
}
