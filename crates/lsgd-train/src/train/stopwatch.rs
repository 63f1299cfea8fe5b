//! The time a run has trained, and with it a worker's next turn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::messages::Start;
use super::pace::{End, Now, Pace, Plan, Turn};
use super::requests::Requests;

/// The [`Pace`] of a run behind a lock, with a clock that stands still while workers pause.
#[derive(Debug)]
pub struct Stopwatch {
    state: Mutex<State>,
    requests: Arc<Requests>,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    /// When training began or went on; nothing while it pauses.
    since: Option<Instant>,
    before: Duration,
    /// Whether the last pause is the one that ends the run.
    ends: bool,
    /// Nothing is finite any more: the run ends at the next pause.
    diverged: bool,
    /// The crew is to leave: nobody takes another step.
    leaves: Option<Leave>,
}

/// How workers leave before the run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// As they are needed no more.
    Empty,
    /// Handing over what they have, to be saved.
    Saved,
}

impl Stopwatch {
    /// Standing still, where workers begin.
    pub fn new(plan: Plan, start: &Start, requests: Arc<Requests>) -> Self {
        Self {
            state: Mutex::new(State {
                pace: Pace::new(plan, start.step).after(start.trained.as_secs_f64()),
                since: None,
                before: start.trained,
                ends: false,
                diverged: false,
                leaves: None,
            }),
            requests,
        }
    }

    /// What worker `worker` does now; nothing when it is to leave.
    pub fn turn(&self, worker: usize) -> Option<Turn> {
        let mut state = self.lock();
        if state.leaves.is_some() {
            return None;
        }
        let now = Now {
            seconds: state.elapsed().as_secs_f64(),
            checkpoints: self.requests.checkpoints(),
            end: match (state.diverged, self.requests.ends()) {
                (true, _) => Some(End::Diverged),
                (false, true) => Some(End::Interrupted),
                (false, false) => None,
            },
        };
        let turn = state.pace.turn(worker, now);
        // Until the last worker has come, others still train.
        if let Turn::Pause(pause) = turn
            && state.pace.is_even()
        {
            state.before = state.elapsed();
            state.since = None;
            state.ends = pause.end.is_some();
        }
        Some(turn)
    }

    /// Training begins, or goes on after a pause.
    pub fn resume(&self) {
        self.lock().since = Some(Instant::now());
    }

    /// Nothing is finite any more: the run ends at the next pause.
    pub fn diverged(&self) {
        self.lock().diverged = true;
    }

    /// Something is finite after all: the run goes on.
    pub fn recovered(&self) {
        let mut state = self.lock();
        (state.diverged, state.ends) = (false, false);
    }

    /// Nobody takes another step; what was said first holds.
    pub fn leave(&self, how: Leave) {
        self.lock().leaves.get_or_insert(how);
    }

    /// How workers leave, if they are to.
    pub fn leaves(&self) -> Option<Leave> {
        self.lock().leaves
    }

    /// Whether an evaluation is to begin, or go on: not if it delays the end that somebody asks for.
    pub fn evaluates(&self) -> bool {
        let state = self.lock();
        let is_in_the_way = match state.ends {
            true => self.requests.ends_soon(),
            false => self.requests.ends(),
        };
        state.leaves.is_none() && !is_in_the_way
    }

    /// Time that the run has been trained so far; stands still from when the last worker pauses.
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
