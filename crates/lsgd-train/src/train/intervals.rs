//! Training losses, a few steps at a time.

use lsgd_core::Rank;

use crate::run::Interval;

/// Steps of a worker that make one line of `metrics.jsonl`.
const STEPS: u64 = 10;

/// Gathers steps into intervals.
#[derive(Debug)]
pub struct Intervals {
    workers: Vec<(Rank, Gathering)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Gathering {
    step: u64,
    steps: u64,
    loss: f64,
    rate: f64,
}

impl Intervals {
    /// For workers of these ranks.
    pub fn new(ranks: impl IntoIterator<Item = Rank>) -> Self {
        let begin = |rank| (rank, Gathering::default());
        Self {
            workers: ranks.into_iter().map(begin).collect(),
        }
    }

    /// For `workers` workers of node `node`.
    pub fn of_node(node: u32, workers: usize) -> Self {
        let rank = |worker| Rank::new(node, u32::try_from(worker).unwrap_or(u32::MAX));
        Self::new((0..workers).map(rank))
    }

    /// Adds a step; every tenth ends the worker's interval.
    pub fn add(
        &mut self,
        worker: usize,
        step: u64,
        loss: f32,
        rate: f64,
        seconds: f64,
    ) -> Option<Interval> {
        let (rank, gathering) = self.workers.get_mut(worker)?;
        gathering.step = step;
        gathering.steps += 1;
        gathering.loss += f64::from(loss);
        gathering.rate = rate;
        (gathering.steps == STEPS).then(|| gathering.end(*rank, seconds))
    }

    /// Ends the intervals that have begun.
    pub fn end(&mut self, seconds: f64) -> Vec<Interval> {
        let begun = self.workers.iter_mut();
        begun
            .filter(|(_, gathering)| gathering.steps > 0)
            .map(|(rank, gathering)| gathering.end(*rank, seconds))
            .collect()
    }
}

impl Gathering {
    fn end(&mut self, worker: Rank, seconds: f64) -> Interval {
        let Self {
            step,
            steps,
            loss,
            rate,
        } = std::mem::take(self);
        Interval {
            step,
            steps,
            seconds,
            worker,
            loss: loss / steps as f64,
            learning_rate: rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_steps_are_an_interval_and_the_rest_another() {
        let mut intervals = Intervals::of_node(0, 1);
        let ended: Vec<Interval> = (1..=12)
            .filter_map(|step| intervals.add(0, step, step as f32, 0.1, 2.0))
            .collect();
        let interval = |step, steps, loss| Interval {
            step,
            steps,
            seconds: 2.0,
            worker: Rank::new(0, 0),
            loss,
            learning_rate: 0.1,
        };
        assert_eq!(ended, [interval(10, 10, 5.5)]);
        assert_eq!(intervals.end(2.0), [interval(12, 2, 11.5)]);
        assert_eq!(intervals.end(2.0), []);
    }
}
