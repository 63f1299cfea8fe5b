//! Leader SGD (arXiv 1905.10395, Algorithm 1).
//!
//! ```text
//! x <- x - (p2 / tau_G) (x - last global leader)      every step
//! x <- x - (p1 / tau) (x - last local leader)         every step
//! x <- x - lambda (x - local leader)                  at a local exchange
//! x <- x - lambda_G (x - global leader)               at a global exchange, after the local one
//! ```
//!
//! The strengths are not multiplied by the learning rate. The proximal pulls start after the first
//! exchange. A leader is not pulled to itself: a single worker has the same bits as its inner
//! optimizer alone.

use std::sync::Arc;

use super::{
    BatchNorm, ExchangeAt, ExchangeConfig, Method, MethodError, Pull, Rule, Scoped, check_strength,
    non_zero,
};
use crate::{
    ExchangeOutcome, Periods, RuleState, Snapshot, Source, StateError, VectorKind, WorkerId,
};

/// Anneals the pulls of exchanges along half a cosine, like a learning rate. An experiment of this
/// project; in the paper strengths are constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FinalPull {
    /// The final strength, in [0, 1].
    pub strength: f64,
    /// The worker's step at which it is reached, at least 1.
    pub steps: u64,
}

/// The strengths and periods of Leader SGD (arXiv 1905.10395), with its symbols.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaderConfig {
    /// lambda, in [0, 1]: pull strength toward the local leader. Default 0.1.
    pub local_pull: f64,
    /// lambda_G, in [0, 1]: pull strength toward the global leader. Default 0.1.
    pub global_pull: f64,
    /// Anneals `local_pull` and `global_pull` over the run; `None`: constant. Default `None`.
    pub final_pull: Option<FinalPull>,
    /// tau, at least 1: steps of a worker between local exchanges. Default 16.
    pub local_period: u64,
    /// tau_G, a multiple of `local_period`: steps of a worker between global exchanges. Default 64.
    pub global_period: u64,
    /// p1, in [0, 1]: `local_prox / local_period` is the strength of the pull toward the last local
    /// leader at every step. Default 0.
    pub local_prox: f64,
    /// p2, in [0, 1]: `global_prox / global_period` is the strength of the pull toward the last
    /// global leader at every step. Default 0.
    pub global_prox: f64,
    /// Number of batches whose mean training loss ranks a worker, at least 1. Default 16.
    pub loss_window: usize,
    /// A report older than this many steps is not eligible. Default twice the period, local or
    /// global.
    pub max_staleness: Option<u64>,
    /// What an exchange does with BatchNorm's running statistics. Default `Own`.
    pub batch_norm: BatchNorm,
}

impl Default for LeaderConfig {
    fn default() -> Self {
        Self {
            local_pull: 0.1,
            global_pull: 0.1,
            final_pull: None,
            local_period: 16,
            global_period: 64,
            local_prox: 0.0,
            global_prox: 0.0,
            loss_window: 16,
            max_staleness: None,
            batch_norm: BatchNorm::Own,
        }
    }
}

impl LeaderConfig {
    pub(super) fn check(&self) -> Result<(), MethodError> {
        check_strength("local_pull", self.local_pull)?;
        check_strength("global_pull", self.global_pull)?;
        check_strength("local_prox", self.local_prox)?;
        check_strength("global_prox", self.global_prox)?;
        if let Some(last) = self.final_pull {
            check_strength("final_pull", last.strength)?;
            non_zero("final_pull.steps", last.steps)?;
        }
        self.exchanges().check()
    }

    pub(super) fn exchanges(&self) -> ExchangeConfig {
        ExchangeConfig {
            periods: Periods {
                local: self.local_period,
                global: self.global_period,
            },
            loss_window: self.loss_window,
            batch_norm: self.batch_norm,
        }
    }

    pub(super) fn pulls(&self) -> Scoped<PullSchedule> {
        Scoped {
            local: PullSchedule {
                first: self.local_pull,
                last: self.final_pull,
                every_step: self.local_prox / self.local_period as f64,
            },
            global: PullSchedule {
                first: self.global_pull,
                last: self.final_pull,
                every_step: self.global_prox / self.global_period as f64,
            },
        }
    }
}

/// The strength of a pull over the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PullSchedule {
    /// Strength at the first exchange: lambda or lambda_G.
    first: f64,
    /// The final strength, if it is annealed.
    last: Option<FinalPull>,
    /// Strength of the proximal pull at every step: `prox / period`.
    every_step: f64,
}

impl PullSchedule {
    /// The strength of an exchange at step `step`.
    pub fn strength(&self, step: u64) -> f64 {
        let Some(FinalPull { strength, steps }) = self.last else {
            return self.first;
        };
        let done = (step as f64 / steps as f64).min(1.0);
        let left = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        strength + (self.first - strength) * left
    }

    /// Whether there is a pull at every step.
    pub fn is_proximal(&self) -> bool {
        self.every_step != 0.0
    }

    /// The proximal pull toward a target, if there is one.
    pub fn proximal(&self, target: &Option<Arc<Snapshot>>) -> Option<Pull> {
        let target = target.clone().filter(|_| self.is_proximal())?;
        let strength = self.every_step;
        Some(Pull { target, strength })
    }
}

/// Whether a leader's parameters are those of worker `own`.
pub(super) fn is_own(leader: &Snapshot, own: WorkerId) -> bool {
    matches!(leader.source(), Source::Worker { id, .. } if id == own)
}

#[derive(Debug)]
struct ToLeader {
    pulls: Scoped<PullSchedule>,
    /// The last leaders; `None` where this worker leads.
    leaders: Scoped<Option<Arc<Snapshot>>>,
}

impl ToLeader {
    fn new(pulls: Scoped<PullSchedule>) -> Self {
        Self {
            pulls,
            leaders: Scoped {
                local: None,
                global: None,
            },
        }
    }
}

impl Rule for ToLeader {
    fn fresh(&self) -> Box<dyn Rule> {
        Box::new(Self::new(self.pulls))
    }

    fn on_exchange(&mut self, at: ExchangeAt, delivered: &ExchangeOutcome) -> Option<Pull> {
        let leader = delivered.leader.as_ref()?;
        let other = Some(leader.clone()).filter(|leader| !is_own(leader, at.own));
        *self.leaders.of(at.scope) = other.clone();
        Some(Pull {
            target: other?,
            strength: self.pulls.of(at.scope).strength(at.step),
        })
    }

    fn state(&self) -> RuleState {
        let mut state = RuleState::default();
        // Only a proximal pull uses them again.
        if self.pulls.local.is_proximal() || self.pulls.global.is_proximal() {
            self.leaders.save("leader", &mut state);
        }
        state
    }

    fn resume(&mut self, state: &RuleState) -> Result<(), StateError> {
        self.leaders = Scoped::saved("leader", state);
        Ok(())
    }

    fn proximal_pulls(&self) -> [Option<Pull>; 2] {
        let Scoped { local, global } = &self.pulls;
        [
            global.proximal(&self.leaders.global),
            local.proximal(&self.leaders.local),
        ]
    }
}

impl Method {
    /// Leader SGD (arXiv 1905.10395, Algorithm 1).
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a strength outside [0, 1], a period or window of zero, or a global
    /// period that is not a multiple of the local one.
    pub fn lsgd(config: &LeaderConfig) -> Result<Self, MethodError> {
        config.check()?;
        let carries = &[VectorKind::Parameters];
        let rule = ToLeader::new(config.pulls());
        Ok(Self {
            max_staleness: match config.max_staleness {
                Some(steps) => Scoped::both(steps),
                None => Self::two_periods(config.exchanges().periods),
            },
            ..Self::of_exchanges("lsgd", carries, config.exchanges(), rule)
        })
    }
}
