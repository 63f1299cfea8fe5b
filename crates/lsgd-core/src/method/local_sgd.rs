//! Local SGD (arXiv 1805.09767).
//!
//! ```text
//! x <- 1/W sum of the workers' x      every tau steps
//! ```
//!
//! In its asynchronous form, this project's, workers come to a running mean one by one, each every tau of its
//! own steps. The mean takes the worker's x in place of one of W equal shares of what it was, and the worker
//! goes on from the mean:
//!
//! ```text
//! mean <- mean + 1/W (x - mean)
//! x    <- mean
//! ```

use super::mixing::Shares;
use super::{ExchangeAt, ExchangeConfig, Method, MethodError, Pull, Rule};
use crate::{ExchangeOutcome, VectorKind};

#[derive(Debug)]
pub(super) struct ToMean;

impl Rule for ToMean {
    fn fresh(&self) -> Box<dyn Rule> {
        Box::new(ToMean)
    }

    fn starts_from_mean(&self) -> bool {
        true
    }

    fn on_exchange(&mut self, _at: ExchangeAt, delivered: &ExchangeOutcome) -> Option<Pull> {
        let target = delivered.mean.clone()?;
        let strength = 1.0;
        Some(Pull { target, strength })
    }
}

impl Method {
    /// Local SGD (arXiv 1805.09767): the workers of a node move to their mean every `tau` steps,
    /// and those of all nodes to the global mean every `tau_G` (hierarchical if `tau < tau_G`, as
    /// in arXiv 1808.07217).
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a period or window of zero, a global period that is not a multiple of
    /// the local one, or for following a leader's statistics.
    pub fn local_sgd(exchanges: ExchangeConfig) -> Result<Self, MethodError> {
        exchanges.check_leaderless("local_sgd")?;
        let carries = &[VectorKind::Mean];
        Ok(Self::of_exchanges("local_sgd", carries, exchanges, ToMean))
    }

    /// Local SGD, asynchronous, with `workers` workers per node. `exchanges.periods.local` is tau; the global
    /// period is the number of a worker's steps between merges of its node's running mean with another's.
    ///
    /// # Errors
    ///
    /// As [`downpour`](Self::downpour).
    pub fn local_sgd_async(exchanges: ExchangeConfig, workers: u32) -> Result<Self, MethodError> {
        exchanges.check_centre("local_sgd")?;
        let centre = 1.0 / f64::from(workers.max(1));
        // What is left of the worker's distance to the mean once both have moved.
        let worker = 1.0 - centre;
        Ok(Self::mixing(
            "local_sgd",
            exchanges,
            Shares { worker, centre },
        ))
    }
}
