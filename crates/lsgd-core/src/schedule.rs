//! When an exchange is due: pure arithmetic on step counts.
//!
//! Algorithm 1 of arXiv 1905.10395 pulls toward the local leader when `n l tau` divides the total
//! number of steps and toward the global leader when `n l tau_G` divides it. In `sync` that is
//! every `tau` and `tau_G` steps of each worker; in `async` steps are counted as they arrive.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Which exchanges are due at a step boundary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// The exchange within the node.
    pub local: bool,
    /// The exchange between nodes, after the local one.
    pub global: bool,
}

impl Due {
    /// Whether any exchange is due.
    pub fn any(self) -> bool {
        self.local || self.global
    }
}

/// The periods tau and tau_G, in steps of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Periods {
    /// tau: at least 1.
    pub local: u64,
    /// tau_G: a multiple of `local`.
    pub global: u64,
}

impl Periods {
    /// What is due when every worker has taken `step` steps (`sync`). Nothing is due at step 0.
    pub fn due(self, step: u64) -> Due {
        let divides = |period: u64| step > 0 && step.is_multiple_of(period.max(1));
        Due {
            local: divides(self.local),
            global: divides(self.global),
        }
    }

    /// Local exchanges per global one.
    fn locals(self) -> u64 {
        (self.global / self.local.max(1)).max(1)
    }
}

/// The exchanges of a `sync` run: after every tau steps, or after steps that are given.
///
/// Of given steps each is that of a local exchange; every `global / local`-th of them, and the last, is that
/// of a global one too. Nothing is due after the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeSteps {
    periods: Periods,
    given: Option<Arc<[u64]>>,
}

impl ExchangeSteps {
    /// Exchanges after every tau and every tau_G steps.
    pub fn every(periods: Periods) -> Self {
        let given = None;
        Self { periods, given }
    }

    /// Exchanges after these steps, in ascending order and not 0; `None` if they are not.
    pub fn after(periods: Periods, steps: Vec<u64>) -> Option<Self> {
        let ascending = steps.first() != Some(&0) && steps.is_sorted_by(|a, b| a < b);
        ascending.then(|| Self {
            periods,
            given: Some(steps.into()),
        })
    }

    /// tau and tau_G, from which given steps may depart.
    pub fn periods(&self) -> Periods {
        self.periods
    }

    /// The steps that were given.
    pub fn given(&self) -> Option<&[u64]> {
        self.given.as_deref()
    }

    /// The most steps between two global exchanges, or, of a node that is alone, two local ones.
    pub fn longest_gap(&self, alone: bool) -> u64 {
        let Some(given) = &self.given else {
            return if alone {
                self.periods.local
            } else {
                self.periods.global
            };
        };
        let is_counted = |step: &&u64| alone || self.due(**step).global;
        let mut last = 0;
        let gaps = given.iter().filter(is_counted).map(|step| {
            let gap = step - last;
            last = *step;
            gap
        });
        gaps.max().unwrap_or(0)
    }

    /// What is due when every worker has taken `step` steps.
    pub fn due(&self, step: u64) -> Due {
        let Some(given) = &self.given else {
            return self.periods.due(step);
        };
        match given.binary_search(&step) {
            Ok(_) => Due {
                local: true,
                global: self.global_until(step) > self.global_until(step - 1),
            },
            Err(_) => Due::default(),
        }
    }

    /// Number of global exchanges within the first `step` steps: the round that the last of them was.
    pub fn global_until(&self, step: u64) -> u64 {
        let Some(given) = &self.given else {
            return step / self.periods.global.max(1);
        };
        let local = given.partition_point(|exchange| *exchange <= step);
        match local == given.len() {
            true => (local as u64).div_ceil(self.periods.locals()),
            false => local as u64 / self.periods.locals(),
        }
    }

    /// The steps before global exchange `round`, counted from 1; 0 for round 0. A round that given steps do
    /// not reach is taken for the last.
    pub fn step_of_global(&self, round: u64) -> u64 {
        let Some(given) = &self.given else {
            return round.saturating_mul(self.periods.global);
        };
        let local = round.saturating_mul(self.periods.locals());
        let local = usize::try_from(local)
            .unwrap_or(usize::MAX)
            .min(given.len());
        let place = local.checked_sub(1);
        place
            .and_then(|place| given.get(place))
            .copied()
            .unwrap_or(0)
    }
}

/// Counts steps as they arrive and fires when a period is full (`async`).
///
/// Only increments count: a worker that dies or returns never moves the trigger back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trigger {
    since: u64,
}

impl Trigger {
    /// A trigger that has counted this many steps since the last exchange.
    pub fn after(since: u64) -> Self {
        Self { since }
    }

    /// Steps counted since the last exchange.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// Counts this many more steps, of any workers.
    pub fn count(&mut self, steps: u64) {
        self.since = self.since.saturating_add(steps);
    }

    /// Whether `live * period` steps have arrived since the last exchange. If so, a new period
    /// starts, and surplus steps count toward it.
    pub fn fire(&mut self, live: usize, period: u64) -> bool {
        let needed = (live.max(1) as u64).saturating_mul(period.max(1));
        let full = self.since >= needed;
        if full {
            // More than a whole period may have passed during an exchange; missed exchanges are
            // skipped.
            self.since %= needed;
        }
        full
    }
}
