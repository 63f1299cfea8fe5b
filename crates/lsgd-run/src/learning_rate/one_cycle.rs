//! A rate that rises once and falls once (Smith and Topin, arXiv 1708.07120).

use std::f64::consts::PI;

use crate::config::{Anneal, ScheduleConfig};

/// PyTorch's `OneCycleLR` in two phases, without its cycle of momentum.
///
/// With eta the highest rate, T the steps of the run, `pct` the peak, and d and f the divisors:
///
/// ```text
/// rise   from eta / d at step 0              to eta at step pct T - 1
/// fall   from eta at step pct T - 1          to eta / (d f) at step T - 1
/// ```
///
/// The peak need not be a whole step. Steps beyond T have the last rate.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OneCycle {
    /// First rate, highest rate, last rate.
    rates: [f64; 3],
    /// Where the rate is highest, in steps; below 0 if the rise takes less than a step.
    peak: f64,
    /// The last step.
    last: f64,
    anneal: Anneal,
}

impl OneCycle {
    /// The cycle of a run of `steps` steps.
    pub fn new(schedule: &ScheduleConfig, steps: u64) -> Self {
        let highest = schedule.learning_rate;
        let first = highest / schedule.start_divisor;
        Self {
            rates: [first, highest, first / schedule.final_divisor],
            peak: schedule.peak * steps as f64 - 1.0,
            last: steps as f64 - 1.0,
            anneal: schedule.anneal,
        }
    }

    /// The rate of the step after `step` steps.
    pub fn at(&self, step: u64) -> f64 {
        let step = (step as f64).min(self.last);
        let [first, highest, last] = self.rates;
        if step < self.peak {
            return self.between(first, highest, step / self.peak);
        }
        let length = self.last - self.peak;
        // Rounding can put a peak near 1 on the last step.
        let part = if length > 0.0 {
            (step - self.peak) / length
        } else {
            1.0
        };
        self.between(highest, last, part)
    }

    /// The first step after the peak, or the last.
    pub fn highest(&self) -> u64 {
        self.peak.ceil().clamp(0.0, self.last.max(0.0)) as u64
    }

    /// The rate at `part` of the way from `start` to `end`.
    fn between(&self, start: f64, end: f64, part: f64) -> f64 {
        match self.anneal {
            Anneal::Cosine => end + (start - end) / 2.0 * (1.0 + (PI * part).cos()),
            Anneal::Linear => (end - start) * part + start,
        }
    }
}
