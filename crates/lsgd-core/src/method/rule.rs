//! What a worker does with what exchanges deliver: one [`Rule`] a method.

use std::fmt;
use std::sync::Arc;

use crate::{ExchangeOutcome, RuleState, Scope, Snapshot, SnapshotError, StateError, WorkerId};

/// A pull of a worker's parameters: `x <- x - strength (x - target)`.
///
/// A strength of 1 lands exactly on the target, and a strength of 0 leaves the bits unchanged. A negative
/// one pushes away from the target.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Where to.
    pub target: Arc<Snapshot>,
    /// The strength: in [0, 1], or any number where workers are also pushed ([`Method::dppf`](crate::Method::dppf)).
    pub strength: f64,
}

/// The worker's situation when an exchange has delivered something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeAt {
    /// The worker.
    pub own: WorkerId,
    /// The steps it has taken.
    pub step: u64,
    /// Within the node or over all nodes.
    pub scope: Scope,
}

/// Reads the worker's current parameters.
pub type ReadParameters<'a> = dyn FnMut() -> Result<Arc<Snapshot>, SnapshotError> + 'a;

/// A worker's request to its node's centre, every tau of its steps.
#[derive(Debug, Clone)]
pub enum CentreRequest {
    /// None: it still waits for the centre.
    Pending,
    /// It requests the centre.
    Read,
    /// It adds this to the centre, and requests the result.
    Add(Arc<Snapshot>),
}

/// What a worker does when its node's centre arrives.
#[derive(Debug, Clone, Default)]
pub struct CentreReply {
    /// It moves.
    pub pull: Option<Pull>,
    /// It adds this to the centre.
    pub contribution: Option<Arc<Snapshot>>,
}

/// How a worker applies what exchanges deliver: the equations of a method.
///
/// It may keep state; every worker has its own rule. Rules that receive the same deliveries reach
/// the same state, so it is not exchanged.
pub trait Rule: fmt::Debug + Send + Sync {
    /// A rule of the same method for another worker, in its initial state.
    fn fresh(&self) -> Box<dyn Rule>;

    /// Whether [`begin`](Self::begin) should be called.
    fn wants_start(&self) -> bool {
        false
    }

    /// Called once, before the first step, with the parameters that the worker starts from.
    fn begin(&mut self, _start: Arc<Snapshot>) {}

    /// Whether [`observe`](Self::observe) should be called.
    fn wants_gradients(&self) -> bool {
        false
    }

    /// Called once for every step, in their order, with the squared norm of each layer's gradient: at the
    /// latest before [`contribution`](Self::contribution), since norms stay on the device until then.
    fn observe(&mut self, _squares: &[f64]) {}

    /// The worker's contribution to a mean: its own parameters, unless workers are weighted.
    fn contribution(&mut self, own: Arc<Snapshot>) -> Arc<Snapshot> {
        own
    }

    /// The pull for an exchange's outcome.
    fn on_exchange(&mut self, at: ExchangeAt, delivered: &ExchangeOutcome) -> Option<Pull>;

    /// For methods with a centre: the worker's request to it. `own` reads the worker's parameters.
    ///
    /// # Errors
    ///
    /// The error of `own`.
    fn centre_request(
        &mut self,
        _own: &mut ReadParameters,
    ) -> Result<CentreRequest, SnapshotError> {
        Ok(CentreRequest::Pending)
    }

    /// For methods with a centre: the worker's reaction to it. `own` are the worker's parameters.
    fn on_centre(&mut self, _own: Arc<Snapshot>, _centre: Arc<Snapshot>) -> CentreReply {
        CentreReply::default()
    }

    /// For methods with a centre: whether the worker waits for it.
    fn awaits_centre(&self) -> bool {
        false
    }

    /// Whether the pull over all nodes leads to what was delivered, or near it: a change from there is then
    /// what the worker has learned since, and a few values of it say most.
    fn starts_from_mean(&self) -> bool {
        false
    }

    /// What it remembers between two steps; nothing by default.
    fn state(&self) -> RuleState {
        RuleState::default()
    }

    /// Continues from what [`state`](Self::state) returned, in place of [`begin`](Self::begin).
    ///
    /// # Errors
    ///
    /// [`StateError`] if that lacks what the rule needs.
    fn resume(&mut self, _state: &RuleState) -> Result<(), StateError> {
        Ok(())
    }

    /// The pulls after every gradient step, in this order.
    fn proximal_pulls(&self) -> [Option<Pull>; 2] {
        [None, None]
    }
}
