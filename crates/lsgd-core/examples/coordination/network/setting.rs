//! What a run in memory consists of.

use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{Layout, Method, Mode, WireFormat};

use super::Planted;

/// What the nodes of a run are, and what lies between them.
#[derive(Debug, Clone)]
pub struct Setting {
    /// How many.
    pub nodes: u32,
    /// Whether they wait for each other.
    pub mode: Mode,
    /// What they do to each other's parameters.
    pub method: Method,
    /// The format of values between nodes.
    pub wire: WireFormat,
    /// What the workers train.
    pub layout: Arc<Layout>,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Share of statuses that get lost.
    pub loss: f64,
    /// Least and longest time that a message takes.
    pub delay: [Duration; 2],
    /// What a step of a worker takes, in the mean.
    pub step: Duration,
    /// What else goes wrong.
    pub harshness: Harshness,
}

/// What goes wrong besides loss and delay; nothing by default.
#[derive(Debug, Clone, Default)]
pub struct Harshness {
    /// Share of statuses that arrive twice.
    pub duplicates: f64,
    /// Share of statuses that arrive once more, seconds later and whoever the sender is by then.
    pub replays: f64,
    /// Share of vectors that workers come with in which a value is not finite.
    pub spoilt: f64,
    /// Share of exchanges after which a node writes a checkpoint.
    pub checkpoints: f64,
    /// Of each node's clock: how fast it runs, and what it shows at the start. Exact if empty.
    pub clocks: Vec<Clock>,
    /// Whether what happens is kept for [auditors](super::Sight).
    pub observed: bool,
    /// What the network itself does wrong, so that auditors have something to find.
    pub planted: Option<Planted>,
}

/// A clock that differs from the network's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clock {
    /// Its seconds in a second.
    pub rate: f64,
    /// What it shows at the start.
    pub ahead: Duration,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            rate: 1.0,
            ahead: Duration::ZERO,
        }
    }
}

impl Clock {
    /// What it shows at this time of the network's.
    pub fn at(&self, time: Duration) -> Duration {
        let passed = match self.rate {
            1.0 => time,
            rate => time.mul_f64(rate),
        };
        self.ahead + passed
    }

    /// The network's time at which it shows this.
    pub fn when(&self, shown: Duration) -> Duration {
        let passed = shown.saturating_sub(self.ahead);
        match self.rate {
            1.0 => passed,
            rate => passed.div_f64(rate),
        }
    }
}
