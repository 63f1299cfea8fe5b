//! When workers pause and when the run ends: a decision at every step boundary, without a clock.
//!
//! In `sync` all workers pause after the same number of steps, so that the arithmetic of a run
//! never depends on its speed; a pause that the clock or a user requests comes one step after the
//! worker that is furthest. In `async` the steps of all workers are counted together, and each
//! pauses at its next boundary.

use std::collections::{BTreeMap, BTreeSet};

use lsgd_core::Mode;

use crate::storage::End;

/// How often something is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Every {
    /// Only at the end.
    Never,
    /// Every so many steps of a worker, at least 1.
    Steps(u64),
    /// Every so many seconds of training.
    Seconds(f64),
}

/// The schedule of a run, known before it starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunPlan {
    /// Whether workers keep step.
    pub mode: Mode,
    /// Number of workers, at least 1.
    pub workers: usize,
    /// Budget in steps per worker (in `async`, their mean).
    pub steps: Option<u64>,
    /// Budget in seconds of training.
    pub seconds: Option<f64>,
    /// When workers are evaluated.
    pub evaluate: Every,
    /// When workers are written to disk.
    pub checkpoint: Every,
}

/// Inputs other than step counts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Now {
    /// Seconds of training.
    pub seconds: f64,
    /// Number of checkpoints requested so far.
    pub checkpoints: u64,
    /// Why the run should end before its budget is used up, if it should.
    pub end: Option<End>,
}

/// The purpose of a pause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pause {
    /// Evaluate.
    pub evaluate: bool,
    /// Write a checkpoint.
    pub checkpoint: bool,
    /// The run is over, and why.
    pub end: Option<End>,
}

impl Pause {
    fn is_due(self) -> bool {
        self.evaluate || self.checkpoint || self.end.is_some()
    }

    fn and(self, other: Self) -> Self {
        Self {
            evaluate: self.evaluate || other.evaluate,
            checkpoint: self.checkpoint || other.checkpoint,
            end: self.end.or(other.end),
        }
    }
}

/// What a worker does at a step boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAction {
    /// Take a step.
    Step,
    /// Pause with all others.
    Pause(Pause),
}

/// The steps taken so far, and the next pause.
#[derive(Debug)]
pub struct PauseSchedule {
    plan: RunPlan,
    /// Steps granted to each live worker, including those before the start.
    granted: BTreeMap<usize, u64>,
    /// The next pause: its position and purpose.
    ahead: Option<(u64, Pause)>,
    /// The workers that have reached it.
    arrived: BTreeSet<usize>,
    /// Position of the last pause.
    last: u64,
    evaluations: u64,
    checkpoints: u64,
    /// Requested checkpoints that have been written.
    asked: u64,
}

impl PauseSchedule {
    /// Before step `start` of every worker.
    pub fn new(plan: RunPlan, start: u64) -> Self {
        Self::resume(plan, vec![start; plan.workers], start, Pause::default())
    }

    /// For workers that continue after these `steps` from a pause at position `last`, where `due`
    /// has yet to be done. The end of a run is due by itself.
    pub fn resume(plan: RunPlan, steps: Vec<u64>, last: u64, due: Pause) -> Self {
        let ends = plan.steps.is_some_and(|steps| steps <= last);
        Self {
            granted: steps.into_iter().enumerate().collect(),
            plan,
            ahead: (due.is_due() && !ends).then_some((last, due)),
            arrived: BTreeSet::new(),
            last,
            evaluations: 0,
            checkpoints: 0,
            asked: 0,
        }
    }

    /// After `seconds` of training: earlier requests of the clock are done or were missed.
    pub fn after(mut self, seconds: f64) -> Self {
        period_began(self.plan.evaluate, seconds, &mut self.evaluations);
        period_began(self.plan.checkpoint, seconds, &mut self.checkpoints);
        self
    }

    /// The next action of worker `worker`. A paused worker asks again only once all have paused.
    pub fn next_action(&mut self, worker: usize, now: Now) -> NextAction {
        if self.arrived.is_empty() {
            self.look_ahead(now);
        }
        match self.ahead {
            Some((at, pause)) if self.position(worker) >= at => {
                self.arrived.insert(worker);
                self.end_pause_if_complete(at);
                NextAction::Pause(pause)
            }
            _ => {
                if let Some(granted) = self.granted.get_mut(&worker) {
                    *granted += 1;
                }
                NextAction::Step
            }
        }
    }

    /// Whether no worker waits at a pause for the others.
    pub fn is_even(&self) -> bool {
        self.arrived.is_empty()
    }

    /// Steps granted to worker `worker`.
    pub fn steps(&self, worker: usize) -> u64 {
        self.granted.get(&worker).copied().unwrap_or(0)
    }

    /// Steps of all live workers.
    pub fn total(&self) -> u64 {
        self.granted.values().sum()
    }

    /// Number of live workers.
    pub fn live(&self) -> usize {
        self.granted.len()
    }

    /// Whether a worker waits for the others at a pause.
    pub fn has_arrived(&self, worker: usize) -> bool {
        self.arrived.contains(&worker)
    }

    /// A worker that has failed starts again after `step` steps.
    pub fn restart(&mut self, worker: usize, step: u64) {
        self.granted.insert(worker, step);
    }

    /// A worker does not come back: the others pause without it.
    pub fn leave_out(&mut self, worker: usize) {
        self.granted.remove(&worker);
        if let Some((at, _)) = self.ahead {
            self.end_pause_if_complete(at);
        }
    }

    /// The pause at `at` is complete once all live workers have arrived.
    fn end_pause_if_complete(&mut self, at: u64) {
        if !self.arrived.is_empty() && self.arrived.len() >= self.live() {
            self.arrived.clear();
            self.last = at;
            self.ahead = None;
        }
    }

    /// The position of a worker in the run: its own steps, or in `async` the mean of all.
    fn position(&self, worker: usize) -> u64 {
        match self.plan.mode {
            Mode::Sync => self.steps(worker),
            Mode::Async => self.mean(),
        }
    }

    fn mean(&self) -> u64 {
        self.total() / self.live().max(1) as u64
    }

    /// The earliest position of an unplanned pause.
    fn soonest(&self) -> u64 {
        match self.plan.mode {
            Mode::Sync => self.granted.values().max().map_or(1, |front| front + 1),
            Mode::Async => self.mean(),
        }
    }

    fn look_ahead(&mut self, now: Now) {
        if self.ahead.is_none() {
            self.ahead = self.by_steps();
        }
        let unforeseen = self.unforeseen(now);
        if !unforeseen.is_due() {
            return;
        }
        let soonest = self.soonest();
        self.ahead = match self.ahead {
            Some((at, pause)) if at <= soonest => Some((at, pause.and(unforeseen))),
            _ => Some((soonest, unforeseen)),
        };
    }

    /// The next pause by step counts alone.
    fn by_steps(&self) -> Option<(u64, Pause)> {
        let next = |every| match every {
            Every::Steps(period) => {
                let period = period.max(1);
                Some((self.last / period + 1) * period)
            }
            Every::Never | Every::Seconds(_) => None,
        };
        let evaluate = next(self.plan.evaluate);
        let checkpoint = next(self.plan.checkpoint);
        // A worker may start beyond the end, if the others have reached it meanwhile.
        let end = self.plan.steps.map(|steps| steps.max(self.last));
        let at = [evaluate, checkpoint, end].into_iter().flatten().min()?;
        let pause = Pause {
            evaluate: evaluate == Some(at),
            checkpoint: checkpoint == Some(at),
            end: (end == Some(at)).then_some(End::Budget),
        };
        Some((at, pause))
    }

    /// The pause that the clock or a user requests now.
    fn unforeseen(&mut self, now: Now) -> Pause {
        let out_of_time = self
            .plan
            .seconds
            .is_some_and(|budget| now.seconds >= budget);
        let asked = now.checkpoints > self.asked;
        self.asked = now.checkpoints;
        let due = period_began(self.plan.checkpoint, now.seconds, &mut self.checkpoints);
        Pause {
            evaluate: period_began(self.plan.evaluate, now.seconds, &mut self.evaluations),
            checkpoint: asked || due,
            end: now.end.or(out_of_time.then_some(End::Budget)),
        }
    }
}

/// Whether a new period of seconds has started since `seen`.
fn period_began(every: Every, seconds: f64, seen: &mut u64) -> bool {
    let Every::Seconds(period) = every else {
        return false;
    };
    let now = (seconds / period) as u64;
    let began = now > *seen;
    *seen = now;
    began
}

#[cfg(test)]
mod tests;
