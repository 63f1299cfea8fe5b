//! A worker whose hyperparameters differ from those of the others, and which may take over its leader's.

use std::sync::Arc;

use burn::optim::ModuleOptimizer;

use super::LeaderSgd;
use crate::{ExchangeAt, ExchangeOutcome, Factors, Scope, Snapshot, Source, StateError};

/// What a follower makes of its leader's factors: a pure function of both, so that a run repeats and
/// continues with the same bits. Its results are [bounded](Factors::bounded).
pub type TakeOver = Arc<dyn Fn(ExchangeAt, Factors) -> Factors + Send + Sync>;

impl<I> LeaderSgd<I> {
    /// A worker that trains with the run's hyperparameters times `factors`. With `take_over` it makes its
    /// own of its leader's whenever it is pulled toward one; while it leads it keeps them.
    ///
    /// It only keeps account of them: whoever takes its steps, as [`Worker`](crate::Worker) does, asks for
    /// its [`factors`](Self::factors).
    #[must_use]
    pub fn varying(mut self, factors: Factors, take_over: Option<TakeOver>) -> Self {
        self.factors = factors;
        self.take_over = take_over;
        self
    }

    /// What the run's hyperparameters are multiplied by for its next step.
    pub fn factors(&self) -> Factors {
        self.factors
    }

    /// The factors that others may take over, and that a checkpoint keeps: `None` if nobody takes over any.
    pub(super) fn shared_factors(&self) -> Option<Factors> {
        self.take_over.as_ref().map(|_| self.factors)
    }

    /// Continues with saved factors. Without any it keeps those that it was given.
    pub(super) fn resume_factors(&mut self, saved: Option<Factors>) -> Result<(), StateError> {
        let Some(saved) = saved.filter(|_| self.take_over.is_some()) else {
            return Ok(());
        };
        if let Some(value) = saved.out_of_bounds() {
            return Err(StateError::Value {
                method: self.method.name(),
                name: String::from("a factor"),
                value,
            });
        }
        self.factors = saved;
        Ok(())
    }

    /// The factors of the leader that an exchange delivered, unless this worker is that.
    pub(super) fn factors_to_follow(&self, delivered: &ExchangeOutcome) -> Option<Factors> {
        let leader = delivered.leader.as_ref()?;
        let own = self.exchange.id();
        let leads = matches!(leader.source(), Source::Worker { id, .. } if id == own);
        leader.factors().filter(|_| !leads)
    }

    /// Takes over a leader's factors. Returns its own from now on; `None` if it does not.
    pub(super) fn take_over(&mut self, leaders: Factors, scope: Scope) -> Option<Factors> {
        let take_over = self.take_over.as_ref()?;
        let at = ExchangeAt {
            own: self.exchange.id(),
            step: self.step,
            scope,
        };
        self.factors = take_over(at, leaders).bounded();
        Some(self.factors)
    }

    /// Its own values, with the factors that others may take over.
    pub(super) fn with_factors(&self, own: Snapshot) -> Arc<Snapshot> {
        Arc::new(own.with_factors(self.shared_factors()))
    }
}

impl LeaderSgd {
    /// Goes on with `inner` in place of the inner optimizer, from that one's state.
    pub(crate) fn replace_inner(&mut self, inner: ModuleOptimizer) {
        self.inner = inner.load_record(self.inner.to_record());
    }
}
