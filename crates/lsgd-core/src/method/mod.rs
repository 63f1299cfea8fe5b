//! What workers do to each other's parameters: the methods, each in a file of its own with its
//! update as an equation.
//!
//! | method | an exchange carries | and workers then do |
//! |---|---|---|
//! | [`sgd`](Method::sgd) | nothing | |
//! | [`data_parallel`](Method::data_parallel) | the mean gradient, every step | take their step with it |
//! | [`local_sgd`](Method::local_sgd) | the mean | move to it |
//! | [`easgd`](Method::easgd) | the mean | are pulled to a centre, which is pulled to the mean |
//! | [`easgd_async`](Method::easgd_async) | the centre, to workers one by one | are pulled to it, and it to them |
//! | [`downpour`](Method::downpour) | the centre, likewise | bring it their steps and move to it |
//! | [`grawa`](Method::grawa) | a weighted mean | are pulled to it |
//! | [`diloco`](Method::diloco) | the mean | take an outer step with momentum along it |
//! | [`lsgd`](Method::lsgd) | the leader | are pulled to it, between exchanges too |
//! | [`lsgd_plus`](Method::lsgd_plus) | the leader and the mean | are pulled to the leader, between exchanges to a point between the two |
//! | [`leader_mean`](Method::leader_mean) | the leader and the mean | move to a point between the two |
//!
//! Every method is the same machine: a [`Method`] says what an exchange carries and when, a
//! [`Rule`] what a worker does with it, as moves `x <- x - strength (x - target)`.

mod data_parallel;
mod diloco;
mod downpour;
mod easgd;
mod error;
mod grawa;
mod leader_mean;
mod local_sgd;
mod lsgd;
mod lsgd_plus;
mod sgd;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use diloco::OuterStep;
pub use error::MethodError;
pub use grawa::WeightPer;
pub use lsgd::{FinalPull, LeaderConfig};

use crate::{
    Delivered, Incumbent, Layout, Mode, Periods, Rank, Refusal, Scope, Snapshot, Source, Vector,
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

/// What all methods have in common whose workers meet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeetingConfig {
    /// tau and tau_G: steps of a worker between meetings within a node, and of all nodes.
    pub periods: Periods,
    /// Batches whose mean training loss ranks a worker, at least 1.
    pub loss_window: usize,
    /// What a meeting does with BatchNorm's running statistics.
    pub batch_norm: BatchNorm,
}

impl MeetingConfig {
    fn check(&self) -> Result<(), MethodError> {
        let Periods { local, global } = self.periods;
        not_nought("local_period", local)?;
        not_nought("global_period", global)?;
        if !global.is_multiple_of(local) {
            return Err(MethodError::NotAMultiple { global, local });
        }
        not_nought("loss_window", self.loss_window as u64)
    }

    /// For a method that has no leader.
    fn check_leaderless(&self, method: &'static str) -> Result<(), MethodError> {
        self.check()?;
        match self.batch_norm {
            BatchNorm::Leader => Err(MethodError::NoLeader { method }),
            BatchNorm::Own | BatchNorm::Mean => Ok(()),
        }
    }

    /// For a method whose workers come to a centre one by one.
    fn check_unmet(&self, method: &'static str) -> Result<(), MethodError> {
        self.check()?;
        match self.batch_norm {
            BatchNorm::Own => Ok(()),
            BatchNorm::Leader | BatchNorm::Mean => Err(MethodError::OnlyOwn { method }),
        }
    }
}

/// A move of a worker's parameters: `x <- x - strength (x - target)`.
///
/// A strength of 1 lands exactly on the target and one of 0 leaves the bits alone.
#[derive(Debug, Clone)]
pub struct Move {
    /// Where to.
    pub target: Arc<Snapshot>,
    /// How far, in [0, 1].
    pub strength: f64,
}

/// Where a worker is when an exchange has delivered something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meeting {
    /// The worker.
    pub own: Rank,
    /// The steps it has taken.
    pub step: u64,
    /// Which exchange: its node's, or that of all nodes.
    pub scope: Scope,
}

/// Reads a worker's parameters.
pub type Own<'a> = dyn FnMut() -> Result<Arc<Snapshot>, Refusal> + 'a;

/// What a worker says to its node's centre, every tau of its steps.
#[derive(Debug, Clone)]
pub enum Visit {
    /// Nothing: it waits to be told the centre since the last visit.
    Stay,
    /// It asks for the centre.
    Ask,
    /// It adds this to the centre, and asks for what that comes to.
    Bring(Arc<Snapshot>),
}

/// What a worker does when it is told its node's centre.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// It moves.
    pub go: Option<Move>,
    /// It adds this to the centre.
    pub bring: Option<Arc<Snapshot>>,
}

/// What a worker does with what exchanges deliver: the equations of a method.
///
/// It may remember what was delivered; every worker has a rule of its own. All workers of a run
/// come to the same state if they are delivered the same, so nobody sends it.
pub trait Rule: fmt::Debug + Send + Sync {
    /// The rule of another worker, which nothing has been delivered to.
    fn anew(&self) -> Box<dyn Rule>;

    /// Whether it wants to know the parameters a worker begins with.
    fn wants_start(&self) -> bool {
        false
    }

    /// Told the parameters that the worker begins with, once, before its first step.
    fn begin(&mut self, _start: Arc<Snapshot>) {}

    /// Whether it wants to know the gradients of every step.
    fn wants_gradients(&self) -> bool {
        false
    }

    /// Told the squared norm of each layer's gradient, before every step.
    fn observe(&mut self, _squares: &[f64]) {}

    /// What the worker brings to a mean: its own parameters, unless workers count differently.
    fn bring(&mut self, own: Arc<Snapshot>) -> Arc<Snapshot> {
        own
    }

    /// What the worker does, now that an exchange has delivered something.
    fn meet(&mut self, at: Meeting, delivered: &Delivered) -> Option<Move>;

    /// Where the method has a centre: what the worker says to it, which is where `own` reads.
    ///
    /// # Errors
    ///
    /// That of `own`.
    fn visit(&mut self, _own: &mut Own) -> Result<Visit, Refusal> {
        Ok(Visit::Stay)
    }

    /// Where the method has a centre: what the worker, which is at `own`, does when it is told it.
    fn told(&mut self, _own: Arc<Snapshot>, _centre: Arc<Snapshot>) -> Told {
        Told::default()
    }

    /// What it does after every gradient step, in this order.
    fn between(&self) -> [Option<Move>; 2] {
        [None, None]
    }
}

/// Something for a node's workers, and for those of all nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scoped<T> {
    pub local: T,
    pub global: T,
}

impl<T: Copy> Scoped<T> {
    fn both(value: T) -> Self {
        Self {
            local: value,
            global: value,
        }
    }
}

impl<T> Scoped<T> {
    fn of(&mut self, scope: Scope) -> &mut T {
        match scope {
            Scope::Local => &mut self.local,
            Scope::Global => &mut self.global,
        }
    }
}

/// A training method: what exchanges carry, when they are due, and what workers do with it.
#[derive(Debug, Clone)]
pub struct Method {
    name: &'static str,
    vectors: &'static [Vector],
    rule: Arc<dyn Rule>,
    pub(crate) periods: Periods,
    pub(crate) loss_window: usize,
    pub(crate) max_staleness: Scoped<u64>,
    pub(crate) batch_norm: BatchNorm,
    /// Where workers count differently in a mean, what shares a weight.
    weights: Option<WeightPer>,
    /// By how much another's loss has to be lower than the leader's, as a share of it.
    margin: f64,
    /// Whether workers are ranked by their loss on a probe.
    probes: bool,
}

impl Method {
    fn of_meetings(
        name: &'static str,
        vectors: &'static [Vector],
        meetings: MeetingConfig,
        rule: impl Rule + 'static,
    ) -> Self {
        Self {
            name,
            vectors,
            rule: Arc::new(rule),
            periods: meetings.periods,
            loss_window: meetings.loss_window,
            // In a meeting nobody steps, so no report is old.
            max_staleness: Scoped::both(u64::MAX),
            batch_norm: meetings.batch_norm,
            weights: None,
            margin: 0.0,
            probes: false,
        }
    }

    /// With leaders that stay until another's loss is lower by this share of theirs.
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

    /// With workers ranked by their loss on a [probe](crate::Objective::probe) instead of that of their
    /// last training batches.
    pub fn ranked_by_probe(mut self) -> Self {
        self.probes = true;
        self
    }

    /// Whether workers are ranked by their loss on a probe.
    pub fn probes(&self) -> bool {
        self.probes
    }

    /// By how much another's loss has to be lower than a leader's, as a share of it.
    pub fn margin(&self) -> f64 {
        self.margin
    }

    /// Who stays leader, of one that led before.
    pub(crate) fn incumbent(&self, leader: Option<Rank>) -> Option<Incumbent> {
        let rank = leader.filter(|_| self.margin > 0.0)?;
        let margin = self.margin;
        Some(Incumbent { rank, margin })
    }

    /// Of what comes at any time: a report, or an offer, is too old after two periods.
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

    /// What an exchange carries; nothing when workers never talk.
    pub fn vectors(&self) -> &'static [Vector] {
        self.vectors
    }

    /// When exchanges are due.
    pub fn periods(&self) -> Periods {
        self.periods
    }

    /// The rule of a worker that begins.
    pub fn rule(&self) -> Box<dyn Rule> {
        self.rule.anew()
    }

    /// Whether workers ever talk.
    pub fn exchanges(&self) -> bool {
        !self.vectors.is_empty()
    }

    /// Whether an exchange delivers a leader's parameters.
    pub fn elects(&self) -> bool {
        self.vectors.contains(&Vector::Snapshot)
    }

    /// What an exchange delivers the mean of, if of anything.
    pub fn averages(&self) -> Option<Vector> {
        let mean = |vector: &&Vector| matches!(vector, Vector::Mean | Vector::Gradient);
        self.vectors.iter().find(mean).copied()
    }

    /// Number of [weights](Snapshot::weights) that a vector of `layout` from `source` has.
    pub fn weights_of(&self, source: Source, layout: &Layout) -> usize {
        match (self.weights, source) {
            (Some(WeightPer::Model), Source::Sum { .. }) => 1,
            (Some(WeightPer::Layer), Source::Sum { .. }) => layout.layers().len(),
            _ => 0,
        }
    }

    /// Whether workers share gradients and not parameters.
    pub fn shares_gradients(&self) -> bool {
        self.averages() == Some(Vector::Gradient)
    }

    /// Whether each node has a centre, to which its workers come one by one.
    pub fn has_centre(&self) -> bool {
        self.vectors.contains(&Vector::Centre)
    }

    /// Whether the method can run in `mode`.
    ///
    /// # Errors
    ///
    /// [`MethodError::NeedsMeeting`] for a mean in `async`, [`MethodError::NeverMeets`] for a centre in
    /// `sync`.
    pub fn check_mode(&self, mode: Mode) -> Result<(), MethodError> {
        let method = self.name;
        match mode {
            Mode::Async if self.averages().is_some() => Err(MethodError::NeedsMeeting { method }),
            Mode::Sync if self.has_centre() => Err(MethodError::NeverMeets { method }),
            _ => Ok(()),
        }
    }
}

/// A strength, or a share, in [0, 1].
fn check_strength(key: &'static str, value: f64) -> Result<(), MethodError> {
    match (0.0..=1.0).contains(&value) {
        true => Ok(()),
        false => Err(MethodError::Strength { key, value }),
    }
}

fn not_nought(key: &'static str, value: u64) -> Result<(), MethodError> {
    match value {
        0 => Err(MethodError::Nought { key }),
        _ => Ok(()),
    }
}
