//! The time a run has trained, and with it a worker's next turn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::pace::{Pace, Plan, Turn};

/// The [`Pace`] of a run behind a lock, with a clock that stands still while workers pause.
#[derive(Debug)]
pub struct Stopwatch {
    state: Mutex<State>,
    /// Somebody asks for the run to end.
    interrupted: Arc<AtomicBool>,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    /// When training began or went on; nothing while it pauses.
    since: Option<Instant>,
    before: Duration,
    /// A worker has failed: nobody takes another step.
    broken: bool,
}

impl Stopwatch {
    /// Standing still, before step `start` and after `before` of training.
    pub fn new(plan: Plan, start: u64, before: Duration, interrupted: Arc<AtomicBool>) -> Self {
        Self {
            state: Mutex::new(State {
                pace: Pace::new(plan, start),
                since: None,
                before,
                broken: false,
            }),
            interrupted,
        }
    }

    /// What worker `worker` does now; nothing when the run has broken off.
    pub fn turn(&self, worker: usize) -> Option<Turn> {
        let interrupted = self.interrupted.load(Ordering::Relaxed);
        let mut state = self.lock();
        let seconds = state.elapsed().as_secs_f64();
        if state.broken {
            return None;
        }
        let turn = state.pace.turn(worker, seconds, interrupted);
        // Until the last worker has come, others still train.
        if matches!(turn, Turn::Pause(_)) && state.pace.is_even() {
            state.before = state.elapsed();
            state.since = None;
        }
        Some(turn)
    }

    /// Training begins, or goes on after a pause.
    pub fn resume(&self) {
        self.lock().since = Some(Instant::now());
    }

    /// Nobody takes another step.
    pub fn break_off(&self) {
        self.lock().broken = true;
    }

    /// Time of training so far; stands still from when the last worker pauses.
    pub fn elapsed(&self) -> Duration {
        self.lock().elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn elapsed(&self) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}
