//! Where workers learn whether all of them will take part in an exchange, before any waits there.
//!
//! Shares of the training data may have different numbers of batches. A worker at the end of its
//! epoch waits for the next epoch; one that went on to an exchange would wait for it, and neither
//! would ever continue.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The gate before an exchange, for all workers of a run.
#[derive(Debug)]
pub struct EpochGate {
    positions: Mutex<Vec<Position>>,
    changed: Condvar,
}

/// The position of a worker.
#[derive(Debug, Clone, Default)]
struct Position {
    /// The last step with an exchange that it has a batch for.
    reached: u64,
    /// Whether its epoch is over.
    ended: bool,
}

impl EpochGate {
    /// For this many workers, none of which has begun its epoch.
    pub fn new(workers: usize) -> Self {
        let positions = vec![
            Position {
                reached: 0,
                ended: true,
            };
            workers
        ];
        Self {
            positions: Mutex::new(positions),
            changed: Condvar::new(),
        }
    }

    /// Starts an epoch for all workers. Call it while no worker is within one.
    pub fn begin(&self) {
        for position in self.lock().iter_mut() {
            position.ended = false;
        }
    }

    /// Whether every worker has a batch for step `step`, at which all exchange; waits until that is
    /// known. A worker that gets `true` takes that step.
    pub fn all_reach(&self, worker: usize, step: u64) -> bool {
        let mut positions = self.lock();
        let before = std::mem::replace(&mut positions[worker].reached, step);
        self.changed.notify_all();
        loop {
            if positions.iter().all(|position| position.reached >= step) {
                return true;
            }
            if positions.iter().any(|p| p.ended && p.reached < step) {
                positions[worker].reached = before;
                return false;
            }
            positions = self
                .changed
                .wait(positions)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The epoch of `worker` ends when the returned value is dropped, also by a panic.
    pub fn enter(&self, worker: usize) -> Within<'_> {
        Within { gate: self, worker }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Position>> {
        self.positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker within its epoch.
#[derive(Debug)]
pub struct Within<'a> {
    gate: &'a EpochGate,
    worker: usize,
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        self.gate.lock()[self.worker].ended = true;
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps that each of two workers takes in two epochs, with these numbers of batches per
    /// epoch and an exchange every `period` steps.
    fn steps(batches: [u64; 2], period: u64) -> [u64; 2] {
        let gate = EpochGate::new(2);
        let mut taken = [0_u64; 2];
        for _ in 0..2 {
            gate.begin();
            std::thread::scope(|scope| {
                for (worker, taken) in taken.iter_mut().enumerate() {
                    let gate = &gate;
                    scope.spawn(move || {
                        let _within = gate.enter(worker);
                        for _ in 0..batches[worker] {
                            let next = *taken + 1;
                            if next.is_multiple_of(period) && !gate.all_reach(worker, next) {
                                return;
                            }
                            *taken = next;
                        }
                    });
                }
            });
        }
        taken
    }

    #[test]
    fn an_epoch_ends_for_all_at_the_meeting_that_one_would_miss() {
        assert_eq!(steps([5, 5], 1), [10, 10]);
        assert_eq!(steps([5, 7], 1), [10, 10]);
        // One stops before the exchange at 8 in the first epoch, and before that at 16 in the
        // second.
        assert_eq!(steps([7, 9], 4), [14, 15]);
        assert_eq!(steps([0, 9], 4), [0, 3]);
    }
}
