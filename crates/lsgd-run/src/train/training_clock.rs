//! The training time of a run, and with it a worker's next action.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::messages::Start;
use super::pause_schedule::{NextAction, Now, Pause, PauseSchedule, RunPlan};
use super::requests::Requests;
use crate::injection::Injection;
use crate::storage::End;

/// The [`PauseSchedule`] of a run behind a lock, with a clock that is stopped while workers pause.
#[derive(Debug)]
pub struct TrainingClock {
    state: Mutex<State>,
    requests: Arc<Requests>,
}

#[derive(Debug)]
struct State {
    schedule: PauseSchedule,
    /// When training started or resumed; `None` while it pauses.
    since: Option<Instant>,
    before: Duration,
    /// Whether the last pause is the one that ends the run.
    ends: bool,
    /// All workers have diverged: the run ends at the next pause.
    diverged: bool,
    /// The workers have to leave: none takes another step.
    leaves: Option<Leave>,
}

/// How workers leave before the run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// They are no longer needed.
    Empty,
    /// Their values are to be saved.
    Saved,
}

impl TrainingClock {
    /// A stopped clock at the start.
    pub fn new(plan: RunPlan, start: &Start, requests: Arc<Requests>) -> Self {
        let owed = start.resumed.as_ref();
        let owed = owed.is_some_and(|saved| saved.owes_evaluation());
        let due = Pause {
            evaluate: owed,
            checkpoint: owed,
            end: None,
        };
        let steps = start.steps(plan.workers);
        let schedule = PauseSchedule::resume(plan, steps, start.step, due);
        Self {
            state: Mutex::new(State {
                schedule: schedule.after(start.trained.as_secs_f64()),
                since: None,
                before: start.trained,
                ends: false,
                diverged: false,
                leaves: None,
            }),
            requests,
        }
    }

    /// The next action of worker `worker`; `None` if it has to leave.
    pub fn next_action(&self, worker: usize) -> Option<NextAction> {
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
        let next_action = state.schedule.next_action(worker, now);
        // Until the last worker has paused, others still train.
        if let NextAction::Pause(pause) = next_action {
            state.ends = pause.end.is_some();
            if state.schedule.is_even() {
                state.before = state.elapsed();
                state.since = None;
            }
        }
        Some(next_action)
    }

    /// A worker that has failed starts again after `step` steps.
    pub fn restart(&self, worker: usize, step: u64) {
        self.lock().schedule.restart(worker, step);
    }

    /// Whether a worker waits at a pause.
    pub fn is_paused(&self, worker: usize) -> bool {
        let state = self.lock();
        state.since.is_none() || state.schedule.has_arrived(worker)
    }

    /// A worker does not come back.
    pub fn leave_out(&self, worker: usize) {
        let mut state = self.lock();
        let waited = !state.schedule.is_even();
        state.schedule.leave_out(worker);
        if waited && state.schedule.is_even() {
            // The others were waiting for it alone, at a pause.
            state.before = state.elapsed();
            state.since = None;
        }
    }

    /// Training starts, or resumes after a pause.
    pub fn resume(&self) {
        self.lock().since = Some(Instant::now());
    }

    /// All workers have diverged: the run ends at the next pause.
    pub fn diverged(&self) {
        self.lock().diverged = true;
    }

    /// A worker has recovered: the run continues.
    pub fn recovered(&self) {
        let mut state = self.lock();
        (state.diverged, state.ends) = (false, false);
    }

    /// No worker takes another step; the first call counts. The clock stops, so that no later event
    /// of these workers is recorded as later than their end.
    pub fn leave(&self, how: Leave) {
        let mut state = self.lock();
        state.leaves.get_or_insert(how);
        state.before = state.elapsed();
        state.since = None;
    }

    /// How workers leave, if they have to.
    pub fn leaves(&self) -> Option<Leave> {
        self.lock().leaves
    }

    /// Whether an evaluation should start or continue: not if it would delay a requested end.
    pub fn evaluates(&self) -> bool {
        let state = self.lock();
        let is_in_the_way = match state.ends {
            true => self.requests.ends_soon() || self.requests.ends_to_resume(),
            false => self.requests.ends(),
        };
        state.leaves.is_none() && !is_in_the_way
    }

    /// The faults that the node is to inject into itself.
    pub fn injection(&self) -> &Injection {
        self.requests.injection()
    }

    /// How long the run has been trained; stopped while all workers pause.
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

#[cfg(test)]
mod tests {
    use lsgd_core::Mode;

    use super::super::pause_schedule::Every;
    use super::*;

    /// A worker that is still in a step when its pool is to leave reports nothing later than what is
    /// recorded as the end.
    #[test]
    fn the_clock_stands_still_once_workers_leave() {
        let plan = RunPlan {
            mode: Mode::Async,
            workers: 2,
            steps: None,
            seconds: None,
            evaluate: Every::Never,
            checkpoint: Every::Never,
        };
        let start = Start {
            step: 3,
            parameters: None,
            trained: Duration::from_secs(1800),
            resumed: None,
        };
        let clock = TrainingClock::new(plan, &start, Arc::default());
        clock.resume();
        assert_eq!(clock.next_action(0), Some(NextAction::Step));
        let running = clock.elapsed();
        while clock.elapsed() == running {}
        clock.leave(Leave::Empty);
        let left = clock.elapsed();
        assert!(left > running && running >= start.trained);
        let until = Instant::now() + Duration::from_millis(1);
        while Instant::now() < until {}
        assert_eq!(clock.elapsed(), left);
        assert_eq!(clock.next_action(1), None);
    }
}
