//! Data parallel SGD: all workers take every step with the mean of their gradients.
//!
//! ```text
//! x <- inner optimizer(x, 1/W sum of the workers' gradients)      every step
//! ```
//!
//! Workers that begin alike, with optimizers that begin alike, stay alike: W workers of batch B are
//! one of batch W B. A gradient is no place to begin at, so in a run over several nodes a node that
//! was away cannot come back.

use super::sgd::Stays;
use super::{BatchNorm, MeetingConfig, Method, MethodError};
use crate::{Periods, Vector};

impl Method {
    /// Data parallel SGD. The mean gradient of what is finite and not is refused, and nobody then
    /// takes the step.
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a window of nought, or for following a leader's statistics.
    pub fn data_parallel(loss_window: usize, batch_norm: BatchNorm) -> Result<Self, MethodError> {
        let every_step = MeetingConfig {
            periods: Periods {
                local: 1,
                global: 1,
            },
            loss_window,
            batch_norm,
        };
        every_step.check_leaderless("data_parallel")?;
        let carries = &[Vector::Gradient];
        Ok(Self::of_meetings(
            "data_parallel",
            carries,
            every_step,
            Stays,
        ))
    }
}
