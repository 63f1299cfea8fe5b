//! Training losses, summed over a few steps.

use lsgd_core::WorkerId;

use crate::observer::Stepped;
use crate::storage::Interval;

/// Steps of a worker per line of `metrics.jsonl`.
pub const STEPS: u64 = 10;

/// Gathers steps into intervals.
#[derive(Debug)]
pub struct Intervals {
    workers: Vec<(WorkerId, Gathering)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Gathering {
    step: u64,
    steps: u64,
    loss: f64,
    rate: f64,
}

impl Intervals {
    /// For workers with these ids.
    pub fn new(ids: impl IntoIterator<Item = WorkerId>) -> Self {
        let begin = |id| (id, Gathering::default());
        Self {
            workers: ids.into_iter().map(begin).collect(),
        }
    }

    /// For `workers` workers of node `node`.
    pub fn of_node(node: u32, workers: usize) -> Self {
        let id = |worker| WorkerId::new(node, u32::try_from(worker).unwrap_or(u32::MAX));
        Self::new((0..workers).map(id))
    }

    /// Adds a step; every tenth ends the worker's interval.
    pub fn add(&mut self, stepped: Stepped, rate: f64) -> Option<Interval> {
        let (id, gathering) = self.workers.get_mut(stepped.worker)?;
        gathering.step = stepped.step;
        gathering.steps += 1;
        gathering.loss += f64::from(stepped.loss);
        gathering.rate = rate;
        (gathering.steps == STEPS).then(|| gathering.end(*id, stepped.seconds))
    }

    /// The id of a worker.
    pub fn id(&self, worker: usize) -> Option<WorkerId> {
        self.workers.get(worker).map(|(id, _)| *id)
    }

    /// Ends the unfinished intervals.
    pub fn end(&mut self, seconds: f64) -> Vec<Interval> {
        let begun = self.workers.iter_mut();
        begun
            .filter(|(_, gathering)| gathering.steps > 0)
            .map(|(id, gathering)| gathering.end(*id, seconds))
            .collect()
    }
}

impl Gathering {
    fn end(&mut self, worker: WorkerId, seconds: f64) -> Interval {
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
        let stepped = |step| Stepped {
            worker: 0,
            step,
            loss: step as f32,
            seconds: 2.0,
        };
        let ended: Vec<Interval> = (1..=12)
            .filter_map(|step| intervals.add(stepped(step), 0.1))
            .collect();
        let interval = |step, steps, loss| Interval {
            step,
            steps,
            seconds: 2.0,
            worker: WorkerId::new(0, 0),
            loss,
            learning_rate: 0.1,
        };
        assert_eq!(ended, [interval(10, 10, 5.5)]);
        assert_eq!(intervals.end(2.0), [interval(12, 2, 11.5)]);
        assert_eq!(intervals.end(2.0), []);
    }
}
