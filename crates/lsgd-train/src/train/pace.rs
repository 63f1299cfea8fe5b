//! When workers pause and when the run ends: a decision at every step boundary, without a clock.
//!
//! In `sync` all workers pause after the same number of steps, so that the arithmetic of a run
//! never depends on how fast it went; a pause that the clock or a person asks for lies one step
//! ahead of the worker that is furthest. In `async` the steps of all workers are counted together
//! and each pauses at its own next boundary.

use std::fmt;

use lsgd_core::Mode;

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

/// What is known of a run's course before it begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
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

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Its budget is used up.
    Budget,
    /// Somebody asked for it.
    Interrupted,
    /// Nothing is finite any more.
    Diverged,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Budget => "budget",
            Self::Interrupted => "interrupted",
            Self::Diverged => "diverged",
        })
    }
}

/// What comes from elsewhere than the counts of steps.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Now {
    /// Seconds of training.
    pub seconds: f64,
    /// How many checkpoints people have asked for so far.
    pub checkpoints: u64,
    /// Why the run is to end before its budget is used up, if it is.
    pub end: Option<End>,
}

/// What all workers pause for.
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
pub enum Turn {
    /// Take a step.
    Step,
    /// Pause with all others.
    Pause(Pause),
}

/// The steps taken so far, and the pause that lies ahead.
#[derive(Debug)]
pub struct Pace {
    plan: Plan,
    /// Steps each worker has been granted, those before the start included.
    granted: Vec<u64>,
    /// The pause ahead: at this position, for this.
    ahead: Option<(u64, Pause)>,
    /// Workers that have come to it.
    arrived: usize,
    /// Position of the last pause.
    last: u64,
    evaluations: u64,
    checkpoints: u64,
    /// Checkpoints that people have asked for and got.
    asked: u64,
}

impl Pace {
    /// Before step `start` of every worker.
    pub fn new(plan: Plan, start: u64) -> Self {
        Self {
            granted: vec![start; plan.workers],
            plan,
            ahead: None,
            arrived: 0,
            last: start,
            evaluations: 0,
            checkpoints: 0,
            asked: 0,
        }
    }

    /// After `seconds` of training: what the clock asked for until then is done, or was missed.
    pub fn after(mut self, seconds: f64) -> Self {
        period_began(self.plan.evaluate, seconds, &mut self.evaluations);
        period_began(self.plan.checkpoint, seconds, &mut self.checkpoints);
        self
    }

    /// What worker `worker` does `now`. A worker that pauses asks again only once all have paused.
    pub fn turn(&mut self, worker: usize, now: Now) -> Turn {
        if self.arrived == 0 {
            self.look_ahead(now);
        }
        match self.ahead {
            Some((at, pause)) if self.position(worker) >= at => {
                self.arrived += 1;
                if self.arrived == self.plan.workers {
                    self.arrived = 0;
                    self.last = at;
                    self.ahead = None;
                }
                Turn::Pause(pause)
            }
            _ => {
                if let Some(granted) = self.granted.get_mut(worker) {
                    *granted += 1;
                }
                Turn::Step
            }
        }
    }

    /// Whether nobody is at a pause that others have yet to come to.
    pub fn is_even(&self) -> bool {
        self.arrived == 0
    }

    /// Steps that worker `worker` has been granted.
    pub fn steps(&self, worker: usize) -> u64 {
        self.granted.get(worker).copied().unwrap_or(0)
    }

    /// Steps of all workers.
    pub fn total(&self) -> u64 {
        self.granted.iter().sum()
    }

    /// How far the run has come for a worker: its own steps, or in `async` the mean of all.
    fn position(&self, worker: usize) -> u64 {
        match self.plan.mode {
            Mode::Sync => self.steps(worker),
            Mode::Async => self.mean(),
        }
    }

    fn mean(&self) -> u64 {
        self.total() / self.plan.workers.max(1) as u64
    }

    /// Where a pause can be that nobody has foreseen.
    fn soonest(&self) -> u64 {
        match self.plan.mode {
            Mode::Sync => self.granted.iter().max().map_or(1, |front| front + 1),
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

    /// The next pause that step counts alone ask for.
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
        // A worker can begin beyond the end: the others came to it meanwhile.
        let end = self.plan.steps.map(|steps| steps.max(self.last));
        let at = [evaluate, checkpoint, end].into_iter().flatten().min()?;
        let pause = Pause {
            evaluate: evaluate == Some(at),
            checkpoint: checkpoint == Some(at),
            end: (end == Some(at)).then_some(End::Budget),
        };
        Some((at, pause))
    }

    /// The pause that the clock or a person asks for now.
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

/// Whether a period of seconds has begun that `seen` does not count yet.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(mode: Mode, workers: usize) -> Plan {
        Plan {
            mode,
            workers,
            steps: Some(6),
            seconds: None,
            evaluate: Every::Steps(4),
            checkpoint: Every::Never,
        }
    }

    const EVALUATE: Pause = Pause {
        evaluate: true,
        checkpoint: false,
        end: None,
    };

    const INTERRUPTED: Now = Now {
        seconds: 0.0,
        checkpoints: 0,
        end: Some(End::Interrupted),
    };

    fn at(seconds: f64) -> Now {
        Now {
            seconds,
            ..Now::default()
        }
    }

    #[test]
    fn one_worker_steps_pauses_and_ends() {
        let mut pace = Pace::new(plan(Mode::Sync, 1), 0);
        let turns: Vec<Turn> = (0..8).map(|_| pace.turn(0, at(0.0))).collect();
        let end = Pause {
            end: Some(End::Budget),
            ..Pause::default()
        };
        let mut expected = vec![Turn::Step; 4];
        expected.push(Turn::Pause(EVALUATE));
        expected.extend([Turn::Step, Turn::Step, Turn::Pause(end)]);
        assert_eq!(turns, expected);
    }

    #[test]
    fn workers_that_begin_late_keep_the_same_pauses() {
        let late = |start| {
            let mut pace = Pace::new(plan(Mode::Sync, 1), start);
            let steps = (0..9).take_while(|_| pace.turn(0, at(0.0)) == Turn::Step);
            (steps.count(), pace.steps(0))
        };
        assert_eq!(late(3), (1, 4));
        assert_eq!(late(4), (2, 6));
        assert_eq!(late(9), (0, 9));
    }

    #[test]
    fn in_sync_an_interruption_ends_all_workers_after_the_same_step() {
        let mut pace = Pace::new(plan(Mode::Sync, 2), 0);
        assert_eq!(pace.turn(0, at(0.0)), Turn::Step);
        assert_eq!(pace.turn(0, at(0.0)), Turn::Step);
        // Worker 1 is two steps behind when the interruption is seen: both end after step 3.
        for _ in 0..3 {
            assert_eq!(pace.turn(1, INTERRUPTED), Turn::Step);
        }
        let end = Turn::Pause(Pause {
            end: Some(End::Interrupted),
            ..Pause::default()
        });
        assert_eq!(pace.turn(1, INTERRUPTED), end);
        assert_eq!(pace.turn(0, INTERRUPTED), Turn::Step);
        assert_eq!(pace.turn(0, INTERRUPTED), end);
        assert_eq!([pace.steps(0), pace.steps(1)], [3, 3]);
    }

    /// Asked for once, it is written once: in `sync` of all workers after the same step.
    #[test]
    fn a_checkpoint_that_is_asked_for_comes_one_step_ahead_of_the_furthest() {
        let mut pace = Pace::new(plan(Mode::Sync, 2), 0);
        let asked = Now {
            checkpoints: 2,
            ..Now::default()
        };
        let pause = Turn::Pause(Pause {
            checkpoint: true,
            ..Pause::default()
        });
        assert_eq!(pace.turn(0, at(0.0)), Turn::Step);
        let turns = [0, 0, 1, 1, 1].map(|worker| pace.turn(worker, asked));
        assert_eq!(turns, [Turn::Step, pause, Turn::Step, Turn::Step, pause]);
        // The rest is as if nobody had asked.
        let turns = [0, 0, 0].map(|worker| pace.turn(worker, asked));
        assert_eq!(turns, [Turn::Step, Turn::Step, Turn::Pause(EVALUATE)]);
    }

    #[test]
    fn in_async_the_budget_is_a_mean() {
        let mut pace = Pace::new(
            Plan {
                evaluate: Every::Never,
                ..plan(Mode::Async, 2)
            },
            0,
        );
        // Worker 0 alone takes all twelve steps of the two workers' budget of six each.
        for _ in 0..12 {
            assert_eq!(pace.turn(0, at(0.0)), Turn::Step);
        }
        assert!(matches!(pace.turn(0, at(0.0)), Turn::Pause(_)));
        assert!(matches!(pace.turn(1, at(0.0)), Turn::Pause(_)));
        assert_eq!(pace.total(), 12);
    }

    #[test]
    fn the_clock_asks_once_a_period() {
        let mut pace = Pace::new(
            Plan {
                steps: None,
                seconds: Some(10.0),
                evaluate: Every::Seconds(2.0),
                ..plan(Mode::Async, 1)
            },
            0,
        );
        assert_eq!(pace.turn(0, at(1.9)), Turn::Step);
        assert_eq!(pace.turn(0, at(4.5)), Turn::Pause(EVALUATE));
        assert_eq!(pace.turn(0, at(5.9)), Turn::Step);
        let end = Pause {
            end: Some(End::Budget),
            ..EVALUATE
        };
        assert_eq!(pace.turn(0, at(10.0)), Turn::Pause(end));
    }

    /// What periods asked for while a node was away is not made up for.
    #[test]
    fn the_clock_goes_on_where_it_was() {
        let plan = Plan {
            steps: None,
            seconds: Some(10.0),
            evaluate: Every::Seconds(2.0),
            checkpoint: Every::Seconds(3.0),
            ..plan(Mode::Async, 1)
        };
        let mut pace = Pace::new(plan, 7).after(6.5);
        assert_eq!(pace.turn(0, at(6.5)), Turn::Step);
        assert_eq!(pace.turn(0, at(7.9)), Turn::Step);
        assert_eq!(pace.turn(0, at(8.0)), Turn::Pause(EVALUATE));
        let mut late = Pace::new(plan, 7).after(12.0);
        let end = Pause {
            end: Some(End::Budget),
            ..Pause::default()
        };
        assert_eq!(late.turn(0, at(12.0)), Turn::Pause(end));
    }

    proptest! {
        /// Whatever the order in which workers come and whenever somebody interrupts, all attend
        /// the same pauses; in sync each after the same step, and nobody waits for ever.
        #[test]
        fn all_attend_the_same_pauses(
            order in prop::collection::vec(0usize..3, 0..200),
            interrupt_after in 0usize..250,
            save_after in 0usize..250,
            sync in any::<bool>(),
        ) {
            let mode = if sync { Mode::Sync } else { Mode::Async };
            let mut pace = Pace::new(Plan { steps: Some(20), ..plan(mode, 3) }, 0);
            let mut attended: Vec<Vec<(u64, Pause)>> = vec![Vec::new(); 3];
            let mut waiting = [false; 3];
            let rest = (0..).map(|turn| turn % 3);
            for (count, worker) in order.into_iter().chain(rest).enumerate() {
                prop_assert!(count < 1000, "the run does not end");
                if waiting[worker] {
                    continue;
                }
                let now = Now {
                    seconds: 0.0,
                    checkpoints: u64::from(count >= save_after),
                    end: (count >= interrupt_after).then_some(End::Interrupted),
                };
                if let Turn::Pause(pause) = pace.turn(worker, now) {
                    attended[worker].push((pace.steps(worker), pause));
                    waiting[worker] = true;
                }
                if waiting == [true; 3] {
                    if pace_is_over(&attended[0]) {
                        break;
                    }
                    waiting = [false; 3];
                }
            }
            for worker in 1..3 {
                prop_assert_eq!(attended[0].len(), attended[worker].len());
                for (first, other) in attended[0].iter().zip(&attended[worker]) {
                    prop_assert_eq!(first.1, other.1);
                    prop_assert!(!sync || first.0 == other.0);
                }
            }
            prop_assert!(pace.total() <= 60);
        }
    }

    fn pace_is_over(attended: &[(u64, Pause)]) -> bool {
        attended
            .last()
            .is_some_and(|(_, pause)| pause.end.is_some())
    }
}
