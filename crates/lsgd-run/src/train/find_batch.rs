//! How fast a worker trains with batches of some size, and which size is enough.

use std::fmt;
use std::time::Instant;

use super::alone::alone;
use super::job::{Context, Job};
use crate::error::RunError;
use crate::task::Task;

/// Steps before the clock starts: kernels are compiled and buffers grow in the first.
const WARM_UP: u64 = 2;

/// A size is enough if its pace is at least this share of the best.
const ENOUGH: f64 = 0.95;

/// How fast a worker trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Examples of a batch.
    pub batch_size: u64,
    /// Examples of a step: of all batches that are accumulated.
    pub step_size: u64,
    /// Seconds of a step, with its batches and the reading of its loss: the median.
    pub step_seconds: f64,
}

impl Pace {
    /// Examples a second.
    pub fn samples_per_second(&self) -> f64 {
        self.step_size as f64 / self.step_seconds
    }
}

/// Measures `steps` steps of worker 0 of the run that `job` describes: its device, batches and optimizer,
/// without exchanges, at a learning rate of 0. Nothing is written.
///
/// # Errors
///
/// [`RunError`] as at the start of a run and of its steps.
pub fn pace<T: Task>(
    job: Job,
    steps: u64,
    make: impl FnOnce(Context) -> Result<T, RunError>,
) -> Result<Pace, RunError> {
    let accumulate = job.settings.workers.accumulate.max(1);
    let mut batch_size = 0;
    let make = |run: Context| {
        let task = make(run)?;
        batch_size = task.batch_size() as u64;
        Ok(task)
    };
    let mut seconds = alone(
        job,
        make,
        |_| 0.0,
        |take_step| {
            let mut seconds = Vec::new();
            for step in 0..WARM_UP + steps.max(1) {
                let begin = Instant::now();
                take_step()?;
                if step >= WARM_UP {
                    seconds.push(begin.elapsed().as_secs_f64());
                }
            }
            Ok(seconds)
        },
    )?;
    seconds.sort_by(f64::total_cmp);
    Ok(Pace {
        batch_size,
        step_size: batch_size.saturating_mul(accumulate),
        step_seconds: seconds[seconds.len() / 2],
    })
}

impl fmt::Display for Pace {
    /// A row below [`Paces::HEAD`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, per_second) = (1e3 * self.step_seconds, self.samples_per_second());
        write!(
            f,
            "{:>10}  {millis:>9.1}  {per_second:>9.0}",
            self.batch_size
        )
    }
}

/// The paces of rising batch sizes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Paces(Vec<Pace>);

impl Paces {
    /// The head of a table of paces.
    pub const HEAD: &'static str = "batch size  ms a step  samples/s";

    /// Adds the pace of a larger size.
    pub fn push(&mut self, pace: Pace) {
        self.0.push(pace);
    }

    /// The smallest size that is nearly as fast as the fastest. Of two that are equally fast the smaller
    /// takes more steps with the same examples, which mostly learns more.
    pub fn suggestion(&self) -> Option<Pace> {
        let paces = self.0.iter().map(Pace::samples_per_second);
        let best = paces.fold(0.0, f64::max);
        let enough = |pace: &&Pace| pace.samples_per_second() >= ENOUGH * best;
        self.0.iter().find(enough).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(batch_size: u64, step_seconds: f64) -> Pace {
        Pace {
            batch_size,
            step_size: batch_size,
            step_seconds,
        }
    }

    #[test]
    fn the_smallest_size_that_is_nearly_fastest_is_enough() {
        let times = [(8, 0.02), (16, 0.022), (32, 0.041), (64, 0.08), (128, 0.17)];
        let mut found = Paces::default();
        assert_eq!(found.suggestion(), None);
        for (size, seconds) in times {
            found.push(pace(size, seconds));
        }
        assert_eq!(found.suggestion().unwrap().batch_size, 32);
    }

    #[test]
    fn examples_of_all_batches_of_a_step_count() {
        let step_size = 32;
        let pace = Pace {
            step_size,
            ..pace(8, 0.5)
        };
        assert_eq!(pace.to_string(), "         8      500.0         64");
    }
}
