//! Leader mean: every worker moves to a point between the mean and the leader. An experiment of
//! this project, not from a paper.
//!
//! ```text
//! x <- m + c (z - m)      every tau steps; m the mean, z the leader
//! ```
//!
//! With c = 0 it is local SGD; with c = 1 all workers copy the leader.

use super::{ExchangeAt, ExchangeConfig, Method, MethodError, Pull, Rule, check_strength};
use crate::{ExchangeOutcome, Snapshot, VectorKind};

#[derive(Debug, Clone, Copy)]
struct ToPointBetween {
    leader_weight: f64,
}

impl Rule for ToPointBetween {
    fn fresh(&self) -> Box<dyn Rule> {
        Box::new(*self)
    }

    fn on_exchange(&mut self, _at: ExchangeAt, delivered: &ExchangeOutcome) -> Option<Pull> {
        let (mean, leader) = (delivered.mean.as_ref()?, delivered.leader.as_ref()?);
        Some(Pull {
            target: Snapshot::interpolate(mean, leader, self.leader_weight),
            strength: 1.0,
        })
    }
}

impl Method {
    /// Every worker moves to `m + c (z - m)`, with mean m, leader z and c = `leader_weight` in
    /// [0, 1].
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a weight outside [0, 1], a period or window of zero, or a global period
    /// that is not a multiple of the local one.
    pub fn leader_mean(exchanges: ExchangeConfig, leader_weight: f64) -> Result<Self, MethodError> {
        exchanges.check()?;
        check_strength("leader_weight", leader_weight)?;
        let carries = &[VectorKind::Parameters, VectorKind::Mean];
        let rule = ToPointBetween { leader_weight };
        Ok(Self::of_exchanges("leader_mean", carries, exchanges, rule))
    }
}
