//! SGD: workers that never talk.
//!
//! ```text
//! x <- inner optimizer(x, gradient)      every step
//! ```

use std::sync::Arc;

use super::{BatchNorm, Meeting, Method, Move, Rule, Scoped};
use crate::{Delivered, Periods};

/// Nothing is done with what exchanges deliver.
#[derive(Debug)]
pub(super) struct Stays;

impl Rule for Stays {
    fn anew(&self) -> Box<dyn Rule> {
        Box::new(Stays)
    }

    fn meet(&mut self, _at: Meeting, _delivered: &Delivered) -> Option<Move> {
        None
    }
}

impl Method {
    /// Workers that never talk.
    pub fn sgd(loss_window: usize) -> Self {
        Self {
            name: "sgd",
            vectors: &[],
            rule: Arc::new(Stays),
            periods: Periods {
                local: u64::MAX,
                global: u64::MAX,
            },
            loss_window,
            max_staleness: Scoped::both(u64::MAX),
            batch_norm: BatchNorm::Own,
            weights: None,
            margin: 0.0,
            probes: false,
        }
    }
}
