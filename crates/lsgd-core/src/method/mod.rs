//! The training methods, each in its own file with its update equation.
//!
//! | method | an exchange carries | workers then |
//! |---|---|---|
//! | [`sgd`](Method::sgd) | nothing | |
//! | [`data_parallel`](Method::data_parallel) | the mean gradient, every step | take their step with it |
//! | [`local_sgd`](Method::local_sgd) | the mean | move to it |
//! | [`easgd`](Method::easgd) | the mean | are pulled to a centre, which is pulled to the mean |
//! | [`local_sgd_async`](Method::local_sgd_async) | the centre, to one worker at a time | move to it, and it by 1/W to them |
//! | [`easgd_async`](Method::easgd_async) | the centre, likewise | are pulled to it, and it to them |
//! | [`downpour`](Method::downpour) | the centre, likewise | add their steps to it and move to it |
//! | [`grawa`](Method::grawa) | a weighted mean | are pulled to it |
//! | [`leader_filter`](Method::leader_filter) | the mean of the leader and those nearly as good | move to it |
//! | [`dppf`](Method::dppf) | the mean | are pulled to it, and pushed from it |
//! | [`diloco`](Method::diloco) | the mean | take an outer step with momentum |
//! | [`lsgd`](Method::lsgd) | the leader | are pulled to it, also between exchanges |
//! | [`lsgd_plus`](Method::lsgd_plus) | the leader and the mean | are pulled to the leader, between exchanges to a point between the two |
//! | [`leader_mean`](Method::leader_mean) | the leader and the mean | move to a point between the two |
//!
//! All methods share one mechanism: a [`Method`] says what an exchange carries and when, a [`Rule`]
//! what a worker does with it, as pulls `x <- x - strength (x - target)`.

mod data_parallel;
mod diloco;
mod downpour;
mod dppf;
mod easgd;
mod error;
mod grawa;
mod leader_filter;
mod leader_mean;
mod local_sgd;
mod lsgd;
mod lsgd_plus;
mod mixing;
mod rule;
mod scoped;
mod sgd;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use diloco::OuterStep;
pub use error::MethodError;
pub use grawa::WeightPer;
pub use lsgd::{FinalPull, LeaderConfig};
pub use rule::{CentreReply, CentreRequest, ExchangeAt, Pull, ReadParameters, Rule};
pub(crate) use scoped::Scoped;

use crate::{
    ExchangeSteps, Incumbent, Layout, Mode, Periods, Source, VectorKind, WireFormat, WorkerId,
};

/// What an exchange does with BatchNorm's running statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchNorm {
    /// Every worker keeps its own.
    Own,
    /// They are pulled toward the leader's like parameters.
    Leader,
    /// They become the mean over the workers.
    Mean,
}

/// Settings shared by all methods with exchanges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExchangeConfig {
    /// tau and tau_G: steps of a worker between exchanges within a node, and over all nodes.
    pub periods: Periods,
    /// Number of batches whose mean training loss ranks a worker, at least 1.
    pub loss_window: usize,
    /// What an exchange does with BatchNorm's running statistics.
    pub batch_norm: BatchNorm,
}

impl ExchangeConfig {
    fn check(&self) -> Result<(), MethodError> {
        let Periods { local, global } = self.periods;
        non_zero("local_period", local)?;
        non_zero("global_period", global)?;
        if !global.is_multiple_of(local) {
            return Err(MethodError::NotAMultiple { global, local });
        }
        non_zero("loss_window", self.loss_window as u64)
    }

    /// For a method without a leader.
    fn check_leaderless(&self, method: &'static str) -> Result<(), MethodError> {
        self.check()?;
        match self.batch_norm {
            BatchNorm::Leader => Err(MethodError::NoLeader { method }),
            BatchNorm::Own | BatchNorm::Mean => Ok(()),
        }
    }

    /// For a method whose workers access a centre one by one.
    fn check_centre(&self, method: &'static str) -> Result<(), MethodError> {
        self.check()?;
        match self.batch_norm {
            BatchNorm::Own => Ok(()),
            BatchNorm::Leader | BatchNorm::Mean => Err(MethodError::OwnStatisticsOnly { method }),
        }
    }
}

/// A training method: what exchanges carry, when they are due, and how workers apply them.
#[derive(Debug, Clone)]
pub struct Method {
    name: &'static str,
    vectors: &'static [VectorKind],
    rule: Arc<dyn Rule>,
    pub(crate) exchange_steps: ExchangeSteps,
    pub(crate) loss_window: usize,
    pub(crate) max_staleness: Scoped<u64>,
    pub(crate) batch_norm: BatchNorm,
    /// The parameters that share a weight, if workers are weighted in a mean.
    weights: Option<WeightPer>,
    /// By how much another's loss must be lower than the leader's, as a fraction of it.
    margin: f64,
    /// Whether workers are ranked by their probe loss.
    probes: bool,
    /// A mean is over those workers alone whose loss exceeds the lowest by at most this fraction of it.
    filter_margin: Option<f64>,
}

impl Method {
    fn of_exchanges(
        name: &'static str,
        vectors: &'static [VectorKind],
        exchanges: ExchangeConfig,
        rule: impl Rule + 'static,
    ) -> Self {
        Self {
            name,
            vectors,
            rule: Arc::new(rule),
            exchange_steps: ExchangeSteps::every(exchanges.periods),
            loss_window: exchanges.loss_window,
            // During a synchronous exchange no worker steps, so no report is old.
            max_staleness: Scoped::both(u64::MAX),
            batch_norm: exchanges.batch_norm,
            weights: None,
            margin: 0.0,
            probes: false,
            filter_margin: None,
        }
    }

    /// Keeps a leader until another's loss is lower by this fraction of its own.
    ///
    /// # Errors
    ///
    /// [`MethodError::Range`] for a margin outside [0, 1).
    pub fn with_margin(mut self, margin: f64) -> Result<Self, MethodError> {
        let (key, value, range) = ("margin", margin, "in [0, 1)");
        match (0.0..1.0).contains(&margin) {
            true => self.margin = margin,
            false => return Err(MethodError::Range { key, value, range }),
        }
        Ok(self)
    }

    /// Ranks workers by their loss on a [probe](crate::Objective::probe) instead of their training
    /// loss.
    pub fn ranked_by_probe(mut self) -> Self {
        self.probes = true;
        self
    }

    /// Whether workers are ranked by their probe loss.
    pub fn probes(&self) -> bool {
        self.probes
    }

    /// By how much another's loss must be lower than a leader's, as a fraction of it.
    pub fn margin(&self) -> f64 {
        self.margin
    }

    /// The incumbent of an election after `leader` led; only a margin above 0 makes a difference.
    pub(crate) fn incumbent(&self, leader: Option<WorkerId>) -> Option<Incumbent> {
        let margin = self.margin;
        leader.map(|id| Incumbent { id, margin })
    }

    /// In `async` a report or a proposal is too old after two periods.
    fn two_periods(Periods { local, global }: Periods) -> Scoped<u64> {
        Scoped {
            local: local.saturating_mul(2),
            global: global.saturating_mul(2),
        }
    }

    /// The method's name in configs and records.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The vectors that an exchange carries; empty if workers do not communicate.
    pub fn vectors(&self) -> &'static [VectorKind] {
        self.vectors
    }

    /// tau and tau_G.
    pub fn periods(&self) -> Periods {
        self.exchange_steps.periods()
    }

    /// When exchanges are due in `sync`.
    pub fn exchange_steps(&self) -> &ExchangeSteps {
        &self.exchange_steps
    }

    /// Exchanges after these steps in place of every tau (`sync`): in ascending order, not 0.
    ///
    /// # Errors
    ///
    /// [`MethodError::Steps`] if they are not in order.
    pub fn with_exchanges_after(mut self, steps: Vec<u64>) -> Result<Self, MethodError> {
        self.exchange_steps =
            ExchangeSteps::after(self.periods(), steps).ok_or(MethodError::Steps)?;
        Ok(self)
    }

    /// A new worker's rule.
    pub fn rule(&self) -> Box<dyn Rule> {
        self.rule.fresh()
    }

    /// Whether workers communicate at all.
    pub fn exchanges(&self) -> bool {
        !self.vectors.is_empty()
    }

    /// Whether an exchange delivers a leader's parameters.
    pub fn elects(&self) -> bool {
        self.vectors.contains(&VectorKind::Parameters)
    }

    /// Whether an exchange depends on which workers have the lowest losses.
    pub fn ranks(&self) -> bool {
        self.elects() || self.filter_margin.is_some()
    }

    /// If a mean is over the best workers alone: by how much their loss may exceed the lowest, as a fraction
    /// of it.
    pub fn filter_margin(&self) -> Option<f64> {
        self.filter_margin
    }

    /// The kind of vector that exchanges average, if any.
    pub fn averages(&self) -> Option<VectorKind> {
        let mean = |vector: &&VectorKind| matches!(vector, VectorKind::Mean | VectorKind::Gradient);
        self.vectors.iter().find(mean).copied()
    }

    /// Whether a mean is weighted.
    pub(crate) fn has_weights(&self) -> bool {
        self.weights.is_some()
    }

    /// Number of [weights](crate::Snapshot::weights) of a vector of `layout` from `source`.
    pub fn weights_of(&self, source: Source, layout: &Layout) -> usize {
        match (self.weights, source) {
            (Some(WeightPer::Model), Source::Sum { .. }) => 1,
            (Some(WeightPer::Layer), Source::Sum { .. }) => layout.layers().len(),
            _ => 0,
        }
    }

    /// Whether workers share gradients rather than parameters.
    pub fn shares_gradients(&self) -> bool {
        self.averages() == Some(VectorKind::Gradient)
    }

    /// Whether each node has a centre that its workers access one by one.
    pub fn has_centre(&self) -> bool {
        self.vectors.contains(&VectorKind::Centre)
    }

    /// Whether the method can run in `mode`.
    ///
    /// # Errors
    ///
    /// [`MethodError::NeedsSync`] for a mean in `async`, [`MethodError::NeedsAsync`] for a centre
    /// in `sync`.
    pub fn check_mode(&self, mode: Mode) -> Result<(), MethodError> {
        let method = self.name;
        match mode {
            Mode::Async if self.averages().is_some() => Err(MethodError::NeedsSync { method }),
            Mode::Sync if self.has_centre() => Err(MethodError::NeedsAsync { method }),
            _ => Ok(()),
        }
    }

    /// Whether vectors can cross between nodes in this format.
    ///
    /// # Errors
    ///
    /// [`MethodError::NotFromMean`] for a format for changes, and a method that does not begin from a mean.
    pub fn check_wire(&self, wire: WireFormat) -> Result<(), MethodError> {
        let averages = self.averages() == Some(VectorKind::Mean);
        let begins_there = averages && !self.elects() && self.filter_margin.is_none();
        match wire {
            WireFormat::Topk if !begins_there || !self.rule.starts_from_mean() => {
                let method = self.name;
                Err(MethodError::NotFromMean { method })
            }
            _ => Ok(()),
        }
    }
}

/// Checks that a strength or a fraction is in [0, 1].
fn check_strength(key: &'static str, value: f64) -> Result<(), MethodError> {
    match (0.0..=1.0).contains(&value) {
        true => Ok(()),
        false => Err(MethodError::Strength { key, value }),
    }
}

fn non_zero(key: &'static str, value: u64) -> Result<(), MethodError> {
    match value {
        0 => Err(MethodError::Zero { key }),
        _ => Ok(()),
    }
}
