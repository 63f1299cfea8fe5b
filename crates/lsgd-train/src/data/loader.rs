//! Preparing a worker's batches ahead, on a thread of its own.

use std::any::Any;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::{Batch, DataError, Dataset, Stream};
use crate::error::panic_message;

/// A thread that prepares one worker's batches in the order of its steps. Dropping it ends the
/// thread and waits for its end, at most the time of one batch.
///
/// The loader reads no clock: whoever calls [`next`](Self::next) can time the call.
#[derive(Debug)]
pub struct Loader {
    name: String,
    batches: Option<Receiver<Result<Batch, DataError>>>,
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    /// Starts the thread `data-WORKER` at step `from_step` of worker `worker` of `workers`. Up to
    /// `ahead` batches wait for the worker, while one more is being prepared.
    ///
    /// # Errors
    /// If `worker` is not below `workers`, if the stream is not over as many examples as the data
    /// set has, or if the system gives no thread.
    pub fn start(
        dataset: Arc<Dataset>,
        stream: Stream,
        worker: usize,
        workers: usize,
        from_step: u64,
        ahead: usize,
    ) -> Result<Self, DataError> {
        if worker >= workers {
            return Err(DataError::Worker { worker, workers });
        }
        dataset.check(&stream)?;
        Self::spawn(format!("data-{worker}"), from_step, ahead, move |step| {
            dataset.train_batch(&stream, Stream::batch_of(worker, workers, step))
        })
    }

    /// The next step's batch; waits if it is not ready yet.
    ///
    /// # Errors
    /// If the batch could not be made, or the thread panicked. The loader has then ended.
    #[allow(clippy::should_implement_trait, reason = "never ends, and fails")]
    pub fn next(&mut self) -> Result<Batch, DataError> {
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
                Some(panic) => DataError::LoaderPanicked {
                    thread: self.name.clone(),
                    message: panic_message(panic.as_ref()),
                },
                None => DataError::LoaderEnded {
                    thread: self.name.clone(),
                },
            }),
        }
    }

    fn spawn(
        name: String,
        from_step: u64,
        ahead: usize,
        mut prepare: impl FnMut(u64) -> Result<Batch, DataError> + Send + 'static,
    ) -> Result<Self, DataError> {
        let (sender, batches) = sync_channel(ahead);
        let run = move || {
            for step in from_step.. {
                let batch = prepare(step);
                let failed = batch.is_err();
                // Sending fails when the loader was dropped.
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
            Err(source) => Err(DataError::LoaderStart {
                thread: name,
                source,
            }),
        }
    }

    /// Ends the thread, waits for it, and returns what it panicked with.
    fn end(&mut self) -> Option<Box<dyn Any + Send>> {
        // First the receiver: a thread that waits to send must find it gone.
        drop(self.batches.take());
        self.thread.take()?.join().err()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::data::error::io;

    fn batch(step: u64) -> Batch {
        Batch {
            images: vec![step as f32],
            labels: vec![step as i32],
            shape: [1; 4],
        }
    }

    #[test]
    fn batches_come_in_order_from_the_given_step() {
        let mut loader = Loader::spawn("data-0".into(), 7, 2, |step| Ok(batch(step))).unwrap();
        let labels: Vec<i32> = (0..5).map(|_| loader.next().unwrap().labels[0]).collect();
        assert_eq!(labels, [7, 8, 9, 10, 11]);
    }

    #[test]
    fn a_panic_reaches_the_consumer_after_the_good_batches() {
        let mut loader = Loader::spawn("data-3".into(), 0, 4, |step| {
            assert!(step < 2, "no pixels left");
            Ok(batch(step))
        })
        .unwrap();
        assert_eq!(loader.next().unwrap().labels, [0]);
        assert_eq!(loader.next().unwrap().labels, [1]);
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
        let fail = || std::io::Error::other("unplugged");
        let mut loader = Loader::spawn("data-0".into(), 0, 0, move |_| {
            Err(io(Path::new("/disk"))(fail()))
        })
        .unwrap();
        assert_eq!(loader.next().unwrap_err().to_string(), "/disk: unplugged");
        assert!(matches!(loader.next(), Err(DataError::LoaderEnded { .. })));
    }

    /// Dropping joins: nothing is prepared afterwards, and no more than what fits was before.
    #[test]
    fn dropping_ends_the_thread() {
        for ahead in [0, 1, 3] {
            let prepared = Arc::new(AtomicU64::new(0));
            let count = Arc::clone(&prepared);
            let mut loader = Loader::spawn("data-0".into(), 0, ahead, move |step| {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(batch(step))
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
