//! When an exchange is due: pure arithmetic on step counts.
//!
//! Algorithm 1 of arXiv 1905.10395 pulls toward the local leader when `n l tau` divides the total
//! number of steps and toward the global leader when `n l tau_G` divides it. In `sync` that is
//! every `tau` and `tau_G` steps of each worker; in `async` steps are counted as they arrive.

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
