//! SGD: independent workers, without communication.
//!
//! ```text
//! x <- inner optimizer(x, gradient)      every step
//! ```

use std::sync::Arc;

use super::{BatchNorm, ExchangeAt, Method, Pull, Rule, Scoped};
use crate::{ExchangeOutcome, ExchangeSteps, Periods};

/// Ignores exchanges.
#[derive(Debug)]
pub(super) struct Independent;

impl Rule for Independent {
    fn fresh(&self) -> Box<dyn Rule> {
        Box::new(Independent)
    }

    fn on_exchange(&mut self, _at: ExchangeAt, _delivered: &ExchangeOutcome) -> Option<Pull> {
        None
    }
}

impl Method {
    /// Independent workers, without communication.
    pub fn sgd(loss_window: usize) -> Self {
        Self {
            name: "sgd",
            vectors: &[],
            rule: Arc::new(Independent),
            exchange_steps: ExchangeSteps::every(Periods {
                local: u64::MAX,
                global: u64::MAX,
            }),
            loss_window,
            max_staleness: Scoped::both(u64::MAX),
            batch_norm: BatchNorm::Own,
            weights: None,
            margin: 0.0,
            probes: false,
            filter_margin: None,
        }
    }
}
