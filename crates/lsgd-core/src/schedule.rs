//! When an exchange is due: pure arithmetic on step counts.
//!
//! Algorithm 1 of arXiv 1905.10395 pulls toward the local leader when `n l tau` divides the total
//! number of steps and toward the global leader when `n l tau_G` divides it. Where all workers keep
//! step (`sync`), that is every `tau` and `tau_G` steps of each; where they do not (`async`), steps
//! are counted as they come.

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

/// Counts steps as they come and says when a period is full (`async`).
///
/// Only increments count: a worker that dies or returns never moves the trigger back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trigger {
    since: u64,
}

impl Trigger {
    /// So many more steps, of any workers.
    pub fn count(&mut self, steps: u64) {
        self.since = self.since.saturating_add(steps);
    }

    /// Whether `live * period` steps came since the last exchange; if so, a new period begins and
    /// what came beyond it counts toward that.
    pub fn fire(&mut self, live: usize, period: u64) -> bool {
        let needed = (live.max(1) as u64).saturating_mul(period.max(1));
        let full = self.since >= needed;
        if full {
            // More than a whole period can have come while an exchange was under way; exchanges
            // that were missed are not made up for one after another.
            self.since %= needed;
        }
        full
    }
}
