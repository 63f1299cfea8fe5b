//! A learning-rate range test (Smith, arXiv 1506.01186, section 3.3): one worker takes steps at rising
//! rates, and the loss says which of them teach it something.

mod curve;

use super::alone::alone;
use super::job::{Context, Job};
use crate::error::RunError;
use crate::task::Task;

pub use curve::{RateCurve, RatePoint, RateTest};

/// Tries the learning rates of `test` on worker 0 of the run that `job` describes: its device, batches and
/// optimizer, without exchanges. Nothing is written.
///
/// # Errors
///
/// [`RunError`] as at the start of a run.
pub fn find_rate<T: Task>(
    job: Job,
    test: RateTest,
    make: impl FnOnce(Context) -> Result<T, RunError>,
) -> Result<RateCurve, RunError> {
    alone(
        job,
        make,
        move |step| test.rate(step),
        |take_step| {
            let mut curve = RateCurve::default();
            for step in 0..test.steps {
                let loss = take_step()?;
                if !curve.push(test.rate(step), loss) {
                    break;
                }
            }
            Ok(curve)
        },
    )
}
