//! The best evaluation of a run, and how many since were not.

use crate::storage::{BestScore, Evaluation};
use crate::task::Metric;

/// The best evaluation so far.
#[derive(Debug, Clone, Default)]
pub struct Best {
    score: Option<BestScore>,
    patience: Patience,
}

/// Evaluations that were due, as `budget.patience` counts them: those of an interruption would make a run
/// that continues end at another step.
#[derive(Debug, Clone, Default)]
struct Patience {
    best: Option<f64>,
    /// Evaluations since then.
    since: u64,
    /// The step of the last one.
    last: Option<u64>,
}

impl Best {
    /// That evaluation, if there was one.
    pub fn score(&self) -> Option<BestScore> {
        self.score.clone()
    }

    /// The step of that evaluation, if there was one.
    pub fn step(&self) -> Option<u64> {
        self.score.as_ref().map(|best| best.step)
    }

    /// Whether the evaluation at `step` is the one that uses `patience` up: the last of so many in a row
    /// that were due and not the best.
    pub fn exhausts(&self, patience: Option<u64>, step: u64) -> bool {
        let Patience { since, last, .. } = self.patience;
        last == Some(step) && patience.is_some_and(|most| since >= most)
    }

    /// Whether this evaluation is the best so far by the metric `by`; if so, remembers it.
    pub fn improves(&mut self, evaluation: &Evaluation, by: Option<&Metric>) -> bool {
        let Some(metric) = by else {
            return false;
        };
        let leader = evaluation
            .leader
            .as_ref()
            .and_then(|leader| leader.test.as_ref());
        let scores = leader.into_iter().chain(&evaluation.replica_mean);
        let values = scores.filter_map(|score| score.get(metric.name));
        let better = |a, b| match metric.better.is_better(b, a) {
            true => b,
            false => a,
        };
        let value = values.reduce(better);
        if evaluation.was_due {
            let Patience { best, since, last } = &mut self.patience;
            let improves = value
                .is_some_and(|value| best.is_none_or(|best| metric.better.is_better(value, best)));
            *last = Some(evaluation.step);
            (*best, *since) = match improves {
                true => (value, 0),
                false => (*best, *since + u64::from(best.is_some())),
            };
        }
        let Some(value) = value else {
            return false;
        };
        let is_better = |best: &BestScore| metric.better.is_better(value, best.value);
        let better = self.score.as_ref().is_none_or(is_better);
        if better {
            self.score = Some(BestScore {
                metric: metric.name.to_owned(),
                value,
                step: evaluation.step,
            });
        }
        better
    }
}
