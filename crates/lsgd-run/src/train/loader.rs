//! Prepares a worker's batches ahead, on threads of their own.

use std::any::Any;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle, available_parallelism};

use crate::error::{RunError, panic_message};

/// Most loader threads that a worker has unless it is given more: each holds a batch in memory.
const USUAL_LOADERS: usize = 4;

/// How many threads prepare batches, and how far ahead.
#[derive(Debug, Clone, Copy)]
pub struct Loaders {
    /// Threads, at least one.
    pub threads: usize,
    /// Batches that wait for the worker, at most, while each thread prepares one more; rounded up to the
    /// same number for each thread.
    pub ahead: usize,
}

impl Loaders {
    /// As many threads as each of `workers` can have of this machine's processors.
    pub fn usual_threads(workers: usize) -> usize {
        let processors = available_parallelism().map_or(1, usize::from);
        (processors / workers.max(1)).clamp(1, USUAL_LOADERS)
    }
}

/// Threads that prepare one worker's batches; it gets them in the order of its steps, whatever their
/// number. Dropping it ends the threads and joins them, which takes at most the time of one batch.
///
/// The loader reads no clock: callers of [`next`](Self::next) can time the call.
#[derive(Debug)]
pub struct Loader<B> {
    name: String,
    /// Thread k prepares every n-th step from the k-th on. Empty once the loader has ended.
    threads: Vec<LoaderThread<B>>,
    /// The thread that has the next step's batch.
    turn: usize,
}

#[derive(Debug)]
struct LoaderThread<B> {
    batches: Receiver<Result<B, RunError>>,
    thread: JoinHandle<()>,
}

impl<B: Send + 'static> Loader<B> {
    /// Starts threads `name` that prepare the batches of steps `from_step`, `from_step + 1` and so on.
    ///
    /// # Errors
    ///
    /// [`RunError::NoThread`] if the system starts no thread.
    pub fn start(
        name: String,
        from_step: u64,
        loaders: Loaders,
        prepare: impl Fn(u64) -> Result<B, RunError> + Send + Sync + 'static,
    ) -> Result<Self, RunError> {
        let prepare = Arc::new(prepare);
        let count = loaders.threads.max(1);
        let mut loader = Self {
            name,
            threads: Vec::with_capacity(count),
            turn: 0,
        };
        for first in (from_step..).take(count) {
            let (sender, batches) = sync_channel(loaders.ahead.div_ceil(count));
            let prepare = prepare.clone();
            let run = move || {
                for step in (first..).step_by(count) {
                    let batch = prepare(step);
                    let failed = batch.is_err();
                    // Sending fails once the loader has been dropped.
                    if sender.send(batch).is_err() || failed {
                        return;
                    }
                }
            };
            let thread = Builder::new().name(loader.name.clone()).spawn(run);
            let thread = thread.map_err(|why| RunError::NoThread {
                thread: loader.name.clone(),
                why: why.to_string(),
            })?;
            loader.threads.push(LoaderThread { batches, thread });
        }
        Ok(loader)
    }

    /// The next step's batch; waits if it is not ready yet.
    ///
    /// # Errors
    /// If the batch could not be made, or the thread that was to make it panicked. The loader has then
    /// ended.
    #[allow(clippy::should_implement_trait, reason = "never ends, and fails")]
    pub fn next(&mut self) -> Result<B, RunError> {
        let turn = self.turn;
        let received = self.threads.get(turn).and_then(|t| t.batches.recv().ok());
        match received {
            Some(Ok(batch)) => {
                self.turn = (turn + 1) % self.threads.len();
                Ok(batch)
            }
            Some(Err(error)) => {
                self.end();
                Err(error)
            }
            None => Err(match self.end().into_iter().nth(turn).flatten() {
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
}

impl<B> Loader<B> {
    /// Ends the threads, joins them, and returns the panic of each, if any.
    fn end(&mut self) -> Vec<Option<Box<dyn Any + Send>>> {
        let threads = std::mem::take(&mut self.threads).into_iter();
        // The receivers first: a thread that is blocked on sending must find its own gone.
        let threads: Vec<JoinHandle<()>> = threads.map(|thread| thread.thread).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().err())
            .collect()
    }
}

impl<B> Drop for Loader<B> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn of(threads: usize, ahead: usize) -> Loaders {
        Loaders { threads, ahead }
    }

    #[test]
    fn batches_come_in_order_from_the_given_step() {
        for threads in [1, 2, 3, 8] {
            let mut loader = Loader::start("data-0".into(), 7, of(threads, 2), Ok).unwrap();
            let steps: Vec<u64> = (0..20).map(|_| loader.next().unwrap()).collect();
            assert_eq!(steps, (7..27).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_panic_reaches_the_consumer_after_the_good_batches() {
        for threads in [1, 2, 3] {
            let mut loader = Loader::start("data-3".into(), 0, of(threads, 4), |step| {
                assert!(step != 2, "no pixels left");
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
    }

    #[test]
    fn an_error_reaches_the_consumer_and_ends_the_thread() {
        let mut loader: Loader<u64> = Loader::start("data-0".into(), 0, of(2, 0), move |_| {
            Err(RunError::task(std::io::Error::other("unplugged")))
        })
        .unwrap();
        assert_eq!(loader.next().unwrap_err().to_string(), "unplugged");
        assert!(matches!(loader.next(), Err(RunError::LoaderEnded { .. })));
    }

    /// Dropping joins: nothing is prepared afterwards, and no more than fits was before.
    #[test]
    fn dropping_ends_the_thread() {
        for (threads, ahead) in [(1, 0), (1, 1), (1, 3), (3, 0), (3, 6)] {
            let prepared = Arc::new(AtomicU64::new(0));
            let count = Arc::clone(&prepared);
            let loaders = of(threads, ahead);
            let mut loader = Loader::start("data-0".into(), 0, loaders, move |step| {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(step)
            })
            .unwrap();
            loader.next().unwrap();
            drop(loader);
            // The threads owned the only other reference.
            assert_eq!(Arc::strong_count(&prepared), 1);
            // What waits, one that each thread holds, and the one that was taken.
            assert!(prepared.load(Ordering::SeqCst) <= (ahead + threads) as u64 + 1);
        }
    }
}
