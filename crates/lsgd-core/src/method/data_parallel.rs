//! Data parallel SGD: all workers take every step with the mean of their gradients.
//!
//! ```text
//! x <- inner optimizer(x, 1/W sum of the workers' gradients)      every step
//! ```
//!
//! Workers that start equal, with equal optimizers, stay equal: W workers with batch B act as one
//! with batch W B. A node cannot start from a gradient, so in a run over several nodes one that was
//! away cannot rejoin.

use super::sgd::Independent;
use super::{BatchNorm, ExchangeConfig, Method, MethodError};
use crate::{Periods, VectorKind};

impl Method {
    /// Data parallel SGD. A mean gradient that includes a value which is not finite is rejected,
    /// and no worker then takes the step.
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a window of zero, or for following a leader's statistics.
    pub fn data_parallel(loss_window: usize, batch_norm: BatchNorm) -> Result<Self, MethodError> {
        let every_step = ExchangeConfig {
            periods: Periods {
                local: 1,
                global: 1,
            },
            loss_window,
            batch_norm,
        };
        every_step.check_leaderless("data_parallel")?;
        let carries = &[VectorKind::Gradient];
        Ok(Self::of_exchanges(
            "data_parallel",
            carries,
            every_step,
            Independent,
        ))
    }
}
