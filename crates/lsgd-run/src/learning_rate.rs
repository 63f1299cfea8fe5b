//! The learning rate as a function of the step.

mod one_cycle;

use std::f64::consts::PI;

use crate::config::{ScheduleConfig, ScheduleKind, Span};
use crate::epoch::Epoch;
use one_cycle::OneCycle;

/// The learning rate of every step of a run, as given by `[schedule]`.
///
/// With eta the configured rate, w the steps of warm-up, T those of the run, and s the steps
/// already taken:
///
/// ```text
/// warm-up    s < w    eta (s + 1) / w
/// constant   s >= w   eta
/// steps      s >= w   eta times the factor of every drop at or before s
/// cosine     s >= w   eta (1 + cos(pi (s - w) / (T - w))) / 2, and 0 from T on
/// polynomial s >= w   eta (1 - (s - w) / (T - w))^power, and 0 from T on
/// one_cycle           rises to eta at peak T - 1, then falls until T - 1; no warm-up
/// ```
///
/// Without warm-up these are the closed forms of PyTorch's `MultiStepLR`, `CosineAnnealingLR`
/// (`eta_min = 0`, `T_max = T`), `PolynomialLR` and `OneCycleLR` (without its cycle of momentum), with
/// one scheduler step per training step. Points given in epochs are the first step at or after them
/// ([`Epoch::point`]).
#[derive(Debug, Clone, PartialEq)]
pub struct LearningRate {
    base: f64,
    warmup: u64,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Constant,
    /// First step of each drop and its factor.
    Steps(Vec<(u64, f64)>),
    /// Step at which the rate is zero.
    Cosine {
        end: u64,
    },
    /// Step at which the rate is zero, and the power of the rest.
    Polynomial {
        end: u64,
        power: f64,
    },
    OneCycle(OneCycle),
}

impl LearningRate {
    /// The learning rate of a checked `schedule`.
    ///
    /// `total_steps` are the steps of one worker in the whole run. The kinds that follow the budget read
    /// it, and a checked config has none of them without it (`budget.minutes` is refused with them);
    /// without it they have no end and are constant.
    pub fn new(schedule: &ScheduleConfig, epoch: Epoch, total_steps: Option<u64>) -> Self {
        let first_step = |epochs: Option<f64>, steps: Option<u64>| match (steps, epochs) {
            (Some(steps), _) => steps,
            (None, Some(epochs)) => epoch.point(epochs),
            (None, None) => 0,
        };
        let warmup = match schedule.warmup {
            Some(Span { epochs, steps }) => first_step(epochs, steps),
            None => 0,
        };
        let shape = match (schedule.kind, total_steps) {
            (ScheduleKind::Steps, _) => {
                let drops = schedule.drops.iter();
                Shape::Steps(
                    drops
                        .map(|drop| (first_step(drop.epochs, drop.steps), drop.factor))
                        .collect(),
                )
            }
            (ScheduleKind::Constant, _) | (_, None) => Shape::Constant,
            (ScheduleKind::Cosine, Some(end)) => Shape::Cosine { end },
            (ScheduleKind::Polynomial, Some(end)) => Shape::Polynomial {
                end,
                power: schedule.power,
            },
            (ScheduleKind::OneCycle, Some(steps)) => {
                Shape::OneCycle(OneCycle::new(schedule, steps))
            }
        };
        LearningRate {
            base: schedule.learning_rate,
            warmup,
            shape,
        }
    }

    /// The learning rate of the next step, after `step` steps.
    ///
    /// Positive, except at the end of a cosine or polynomial and beyond.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            // Divided first, so that the last step of warm-up has exactly the configured rate.
            return self.base * ((step + 1) as f64 / self.warmup as f64);
        }
        match &self.shape {
            Shape::Constant => self.base,
            Shape::Steps(drops) => drops
                .iter()
                .filter(|(at, _)| *at <= step)
                .fold(self.base, |rate, (_, factor)| rate * factor),
            Shape::Cosine { end } | Shape::Polynomial { end, .. } if step >= *end => 0.0,
            Shape::Cosine { end } => {
                let part = self.part(step, *end);
                self.base * (1.0 + (PI * part).cos()) / 2.0
            }
            Shape::Polynomial { end, power } => {
                self.base * (1.0 - self.part(step, *end)).powf(*power)
            }
            Shape::OneCycle(cycle) => cycle.at(step),
        }
    }

    /// A step from which on the rate never rises, in units of [`at`](Self::at).
    pub fn highest(&self) -> u64 {
        match &self.shape {
            Shape::OneCycle(cycle) => cycle.highest(),
            _ => self.warmup.saturating_sub(1),
        }
    }

    /// The share of the steps from the end of warm-up to `end` that have been taken before `step`, which
    /// is between the two.
    fn part(&self, step: u64, end: u64) -> f64 {
        // warmup <= step < end, so the length is not zero.
        (step - self.warmup) as f64 / (end - self.warmup) as f64
    }
}

#[cfg(test)]
mod tests;
