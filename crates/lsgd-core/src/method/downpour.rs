//! DOWNPOUR SGD (Dean et al., *Large Scale Distributed Deep Networks*, NeurIPS 2012), in the form
//! that Zhang, Choromanska and LeCun compare with (arXiv 1412.6651, section 5).
//!
//! ```text
//! centre <- centre + (x - base)      every tau of the worker's own steps
//! x      <- centre
//! base   <- centre
//! ```
//!
//! base is the centre that the worker last adopted, so that x - base is the sum of its steps since.
//! The worker keeps training while the new centre is on its way: it then moves by the difference
//! between the centre and the x that it contributed, and contributes the steps taken meanwhile the
//! next time.

use std::sync::Arc;

use super::{
    CentreReply, CentreRequest, ExchangeAt, ExchangeConfig, Method, MethodError, Pull,
    ReadParameters, Rule,
};
use crate::{ExchangeOutcome, RuleState, Snapshot, SnapshotError, StateError, VectorKind};

#[derive(Debug, Default)]
struct Downpour {
    base: Option<Arc<Snapshot>>,
    /// The worker's x when it contributed its steps, until the centre arrives.
    brought: Option<Arc<Snapshot>>,
}

impl Rule for Downpour {
    fn fresh(&self) -> Box<dyn Rule> {
        Box::new(Self::default())
    }

    fn wants_start(&self) -> bool {
        true
    }

    fn begin(&mut self, start: Arc<Snapshot>) {
        self.base = Some(start);
    }

    fn on_exchange(&mut self, _at: ExchangeAt, _delivered: &ExchangeOutcome) -> Option<Pull> {
        None
    }

    fn centre_request(&mut self, own: &mut ReadParameters) -> Result<CentreRequest, SnapshotError> {
        let Some(base) = self.base.as_ref().filter(|_| self.brought.is_none()) else {
            return Ok(CentreRequest::Pending);
        };
        let own = own()?;
        let steps = own.combined(base, |x, base| x - base);
        self.brought = Some(own);
        Ok(CentreRequest::Add(Arc::new(steps)))
    }

    fn on_centre(&mut self, own: Arc<Snapshot>, centre: Arc<Snapshot>) -> CentreReply {
        let Some(brought) = self.brought.take() else {
            return CentreReply::default();
        };
        let since = own.combined(&brought, |x, brought| x - brought);
        let target = Arc::new(centre.combined(&since, |centre, since| centre + since));
        self.base = Some(centre);
        let strength = 1.0;
        CentreReply {
            pull: Some(Pull { target, strength }),
            contribution: None,
        }
    }

    fn awaits_centre(&self) -> bool {
        self.brought.is_some()
    }

    fn state(&self) -> RuleState {
        let mut state = RuleState::default();
        for (name, vector) in [("base", &self.base), ("brought", &self.brought)] {
            let vector = vector
                .iter()
                .map(|vector| (name.to_owned(), vector.clone()));
            state.vectors.extend(vector);
        }
        state
    }

    fn resume(&mut self, state: &RuleState) -> Result<(), StateError> {
        self.base = Some(state.needed("downpour", "base")?);
        self.brought = state.vectors.get("brought").cloned();
        Ok(())
    }
}

impl Method {
    /// DOWNPOUR SGD, which is asynchronous. `exchanges.periods.local` is tau; the global period is
    /// the number of a worker's steps between merges of its node's centre with another's.
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a period or window of zero, a global period that is not a multiple of
    /// the local one, or BatchNorm statistics other than each worker's own.
    pub fn downpour(exchanges: ExchangeConfig) -> Result<Self, MethodError> {
        exchanges.check_centre("downpour")?;
        let carries = &[VectorKind::Centre];
        let rule = Downpour::default();
        Ok(Self {
            max_staleness: Self::two_periods(exchanges.periods),
            ..Self::of_exchanges("downpour", carries, exchanges, rule)
        })
    }
}
