//! Prepares a worker's batches ahead, on a separate thread.

use std::any::Any;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::error::{RunError, panic_message};

/// A thread that prepares one worker's batches in the order of its steps. Dropping it ends the
/// thread and joins it, which takes at most the time of one batch.
///
/// The loader reads no clock: callers of [`next`](Self::next) can time the call.
#[derive(Debug)]
pub struct Loader<B> {
    name: String,
    batches: Option<Receiver<Result<B, RunError>>>,
    thread: Option<JoinHandle<()>>,
}

impl<B: Send + 'static> Loader<B> {
    /// The next step's batch; waits if it is not ready yet.
    ///
    /// # Errors
    /// If the batch could not be made, or the thread panicked. The loader has then ended.
    #[allow(clippy::should_implement_trait, reason = "never ends, and fails")]
    pub fn next(&mut self) -> Result<B, RunError> {
        let received = self
            .batches
            .as_ref()
            .and_then(|batches| batches.recv().ok());
        match received {
            Some(Ok(batch)) => Ok(batch),
            Some(Err(error)) => {
                self.end();
                Err(error)
            }
            None => Err(match self.end() {
                Some(panic) => RunError::LoaderPanicked {
                    thread: self.name.clone(),
                    message: panic_message(panic.as_ref()),
                },
                None => RunError::LoaderEnded {
                    thread: self.name.clone(),
                },
            }),
        }
    }

    /// Starts the thread `name`, which prepares the batches of steps `from_step`, `from_step + 1` and so
    /// on. Up to `ahead` batches wait for the worker, while one more is being prepared.
    ///
    /// # Errors
    ///
    /// [`RunError::NoThread`] if the system starts no thread.
    pub fn start(
        name: String,
        from_step: u64,
        ahead: usize,
        mut prepare: impl FnMut(u64) -> Result<B, RunError> + Send + 'static,
    ) -> Result<Self, RunError> {
        let (sender, batches) = sync_channel(ahead);
        let run = move || {
            for step in from_step.. {
                let batch = prepare(step);
                let failed = batch.is_err();
                // Sending fails once the loader has been dropped.
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        };
        match Builder::new().name(name.clone()).spawn(run) {
            Ok(thread) => Ok(Self {
                name,
                batches: Some(batches),
                thread: Some(thread),
            }),
            Err(why) => Err(RunError::NoThread {
                thread: name,
                why: why.to_string(),
            }),
        }
    }
}

impl<B> Loader<B> {
    /// Ends the thread, joins it, and returns its panic, if any.
    fn end(&mut self) -> Option<Box<dyn Any + Send>> {
        // The receiver first: a thread that is blocked on sending must find it gone.
        drop(self.batches.take());
        self.thread.take()?.join().err()
    }
}

impl<B> Drop for Loader<B> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn batches_come_in_order_from_the_given_step() {
        let mut loader = Loader::start("data-0".into(), 7, 2, Ok).unwrap();
        let steps: Vec<u64> = (0..5).map(|_| loader.next().unwrap()).collect();
        assert_eq!(steps, [7, 8, 9, 10, 11]);
    }

    #[test]
    fn a_panic_reaches_the_consumer_after_the_good_batches() {
        let mut loader = Loader::start("data-3".into(), 0, 4, |step| {
            assert!(step < 2, "no pixels left");
            Ok(step)
        })
        .unwrap();
        assert_eq!(loader.next().unwrap(), 0);
        assert_eq!(loader.next().unwrap(), 1);
        let error = loader.next().unwrap_err().to_string();
        assert_eq!(
            error,
            "the thread data-3 panicked while preparing batches: no pixels left"
        );
        let error = loader.next().unwrap_err().to_string();
        assert_eq!(
            error,
            "the thread data-3 has ended after an error; no batches are left"
        );
    }

    #[test]
    fn an_error_reaches_the_consumer_and_ends_the_thread() {
        let mut loader: Loader<u64> = Loader::start("data-0".into(), 0, 0, move |_| {
            Err(RunError::task(std::io::Error::other("unplugged")))
        })
        .unwrap();
        assert_eq!(loader.next().unwrap_err().to_string(), "unplugged");
        assert!(matches!(loader.next(), Err(RunError::LoaderEnded { .. })));
    }

    /// Dropping joins: nothing is prepared afterwards, and no more than fits was before.
    #[test]
    fn dropping_ends_the_thread() {
        for ahead in [0, 1, 3] {
            let prepared = Arc::new(AtomicU64::new(0));
            let count = Arc::clone(&prepared);
            let mut loader = Loader::start("data-0".into(), 0, ahead, move |step| {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(step)
            })
            .unwrap();
            loader.next().unwrap();
            drop(loader);
            // The thread owned the only other reference.
            assert_eq!(Arc::strong_count(&prepared), 1);
            assert!(prepared.load(Ordering::SeqCst) <= ahead as u64 + 2);
        }
    }
}
