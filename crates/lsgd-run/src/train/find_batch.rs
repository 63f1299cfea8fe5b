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
    /// Seconds of a step, with its batch and the reading of its loss: the median.
    pub step_seconds: f64,
}

impl Pace {
    /// Examples a second.
    pub fn samples_per_second(&self) -> f64 {
        self.batch_size as f64 / self.step_seconds
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
        step_seconds: seconds[seconds.len() / 2],
    })
}

/// The paces of rising batch sizes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Paces {
    paces: Vec<Pace>,
    /// The size that the device had no memory for.
    too_large: Option<u64>,
}

impl Paces {
    /// Adds the pace of a larger size.
    pub fn push(&mut self, pace: Pace) {
        self.paces.push(pace);
    }

    /// Says that the device has no memory for a size.
    pub fn end(&mut self, too_large: u64) {
        self.too_large = Some(too_large);
    }

    /// The smallest size that is nearly as fast as the fastest. Of two that are equally fast the smaller
    /// takes more steps with the same examples, which mostly learns more.
    pub fn suggestion(&self) -> Option<Pace> {
        let paces = self.paces.iter().map(Pace::samples_per_second);
        let best = paces.fold(0.0, f64::max);
        let enough = |pace: &&Pace| pace.samples_per_second() >= ENOUGH * best;
        self.paces.iter().find(enough).copied()
    }
}

impl fmt::Display for Paces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "batch size  ms a step  samples/s")?;
        for pace in &self.paces {
            let Pace {
                batch_size,
                step_seconds,
            } = *pace;
            let (millis, per_second) = (1e3 * step_seconds, pace.samples_per_second());
            writeln!(f, "{batch_size:>10}  {millis:>9.1}  {per_second:>9.0}")?;
        }
        if let Some(size) = self.too_large {
            writeln!(f, "{size:>10}  no memory")?;
        }
        match self.suggestion() {
            Some(pace) => write!(f, "enough: {}", pace.batch_size),
            None => write!(f, "no size that was tried fits this device"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paces(of: &[(u64, f64)]) -> Paces {
        let mut paces = Paces::default();
        for (batch_size, step_seconds) in of {
            paces.push(Pace {
                batch_size: *batch_size,
                step_seconds: *step_seconds,
            });
        }
        paces
    }

    #[test]
    fn the_smallest_size_that_is_nearly_fastest_is_enough() {
        let found = paces(&[
            (8, 0.02),
            (16, 0.022),
            (32, 0.0410),
            (64, 0.08),
            (128, 0.17),
        ]);
        assert_eq!(found.suggestion().unwrap().batch_size, 32);
        assert_eq!(paces(&[]).suggestion(), None);
    }

    #[test]
    fn a_size_without_memory_is_told() {
        let mut found = paces(&[(8, 0.5)]);
        found.end(16);
        let expected = "batch size  ms a step  samples/s\n         8      500.0         16\n        16  no memory\nenough: 8";
        assert_eq!(found.to_string(), expected);
    }
}
