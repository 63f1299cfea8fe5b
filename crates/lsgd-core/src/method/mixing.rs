//! Workers that mix with their node's centre one by one, each every tau of its own steps: asynchronous
//! EASGD and asynchronous local SGD, which differ in the shares alone.
//!
//! ```text
//! d      <- x - centre
//! x      <- x - worker_share d
//! centre <- centre + centre_share d
//! ```
//!
//! The worker asks for the centre and trains on until it arrives; x is the worker's position then.

use std::sync::Arc;

use super::{
    CentreReply, CentreRequest, ExchangeAt, ExchangeConfig, Method, Pull, ReadParameters, Rule,
};
use crate::{ExchangeOutcome, RuleState, Snapshot, SnapshotError, StateError, VectorKind};

/// How far a worker and the centre move toward each other, as shares of the distance between them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    pub worker: f64,
    pub centre: f64,
}

#[derive(Debug)]
struct Mixing {
    method: &'static str,
    shares: Shares,
    /// Whether it waits for the centre.
    asked: bool,
}

impl Rule for Mixing {
    fn fresh(&self) -> Box<dyn Rule> {
        Box::new(Self {
            asked: false,
            ..*self
        })
    }

    fn on_exchange(&mut self, _at: ExchangeAt, _delivered: &ExchangeOutcome) -> Option<Pull> {
        None
    }

    fn centre_request(
        &mut self,
        _own: &mut ReadParameters,
    ) -> Result<CentreRequest, SnapshotError> {
        Ok(match std::mem::replace(&mut self.asked, true) {
            true => CentreRequest::Pending,
            false => CentreRequest::Read,
        })
    }

    fn on_centre(&mut self, own: Arc<Snapshot>, centre: Arc<Snapshot>) -> CentreReply {
        self.asked = false;
        let share = self.shares.centre;
        let addition = own.combined(&centre, |x, centre| share * (x - centre));
        CentreReply {
            pull: Some(Pull {
                target: centre,
                strength: self.shares.worker,
            }),
            contribution: Some(Arc::new(addition)),
        }
    }

    fn awaits_centre(&self) -> bool {
        self.asked
    }

    fn state(&self) -> RuleState {
        let mut state = RuleState::default();
        let asked = vec![f64::from(u8::from(self.asked))];
        state.numbers.insert(String::from("asked"), asked);
        state
    }

    fn resume(&mut self, state: &RuleState) -> Result<(), StateError> {
        self.asked = state.count(self.method, "asked")? > 0;
        Ok(())
    }
}

impl Method {
    /// A method whose workers mix with the centre.
    pub(super) fn mixing(name: &'static str, exchanges: ExchangeConfig, shares: Shares) -> Self {
        let carries = &[VectorKind::Centre];
        let rule = Mixing {
            method: name,
            shares,
            asked: false,
        };
        Self {
            max_staleness: Self::two_periods(exchanges.periods),
            ..Self::of_exchanges(name, carries, exchanges, rule)
        }
    }
}
