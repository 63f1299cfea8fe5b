//! Leader filter: every worker moves to the mean of the leader and of those that are nearly as good. An
//! experiment of this project, not from a paper.
//!
//! ```text
//! A <- { i : loss_i - loss_z <= filter_margin |loss_z| }      z the worker of the lowest loss
//! x <- 1/|A| sum of the x_i with i in A                       every tau steps
//! ```
//!
//! With a margin of 0 all workers copy the leader (or the mean of those that tie with it); with an infinite
//! one it is local SGD over the workers that are eligible to lead. A worker that has diverged, or whose loss
//! is not finite, has no part in the mean, and moves to it.
//!
//! Over several nodes each node offers the mean of its own best workers, with the lowest loss among them, and
//! the same margin decides which nodes count, each by the number of workers in its mean.

use super::local_sgd::ToMean;
use super::{ExchangeConfig, Method, MethodError};
use crate::VectorKind;

impl Method {
    /// Every worker moves to the mean of those whose loss exceeds the lowest by at most `filter_margin`
    /// times its magnitude, from 0; infinity is allowed.
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a margin that is negative or not a number, and as [`local_sgd`](Self::local_sgd).
    pub fn leader_filter(
        exchanges: ExchangeConfig,
        filter_margin: f64,
    ) -> Result<Self, MethodError> {
        exchanges.check_leaderless("leader_filter")?;
        if filter_margin.is_nan() || filter_margin < 0.0 {
            return Err(MethodError::Range {
                key: "filter_margin",
                value: filter_margin,
                range: "a number from 0",
            });
        }
        let carries = &[VectorKind::Mean];
        Ok(Self {
            filter_margin: Some(filter_margin),
            ..Self::of_exchanges("leader_filter", carries, exchanges, ToMean)
        })
    }
}
