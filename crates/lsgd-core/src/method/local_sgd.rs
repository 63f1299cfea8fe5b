//! Local SGD (arXiv 1805.09767).
//!
//! ```text
//! x <- 1/W sum of the workers' x      every tau steps
//! ```

use super::{ExchangeAt, ExchangeConfig, Method, MethodError, Pull, Rule};
use crate::{ExchangeOutcome, VectorKind};

#[derive(Debug)]
struct ToMean;

impl Rule for ToMean {
    fn fresh(&self) -> Box<dyn Rule> {
        Box::new(ToMean)
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
}
