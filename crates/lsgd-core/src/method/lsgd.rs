//! Leader SGD (arXiv 1905.10395, Algorithm 1).
//!
//! ```text
//! x <- x - (p2 / tau_G) (x - last global leader)      every step
//! x <- x - (p1 / tau) (x - last local leader)         every step
//! x <- x - lambda (x - local leader)                  at a local exchange
//! x <- x - lambda_G (x - global leader)               at a global exchange, after the local one
//! ```
//!
//! The strengths are not multiplied by the learning rate. The pulls of every step wait for a first
//! leader. A leader is pulled to itself by nothing: a single worker's bits are those of its inner
//! optimizer.

use std::sync::Arc;

use super::{
    BatchNorm, Meeting, MeetingConfig, Method, MethodError, Move, Rule, Scoped, check_strength,
    not_nought,
};
use crate::{Delivered, Periods, Rank, Snapshot, Source, Vector};

/// Where the pulls of exchanges go: by half a cosine, as a learning rate may. A trial of this project;
/// in the paper strengths stay as they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FinalPull {
    /// The strength that they come to, in [0, 1].
    pub strength: f64,
    /// The step of a worker at which they do, at least 1.
    pub steps: u64,
}

/// The strengths and periods of Leader SGD (arXiv 1905.10395), with its symbols.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaderConfig {
    /// lambda, in [0, 1]: pull strength toward the local leader. Default 0.1.
    pub local_pull: f64,
    /// lambda_G, in [0, 1]: pull strength toward the global leader. Default 0.1.
    pub global_pull: f64,
    /// Where `local_pull` and `global_pull` go over the run; `None`: they stay. Default `None`.
    pub final_pull: Option<FinalPull>,
    /// tau, at least 1: steps of a worker between local exchanges. Default 16.
    pub local_period: u64,
    /// tau_G, a multiple of `local_period`: steps of a worker between global exchanges. Default 64.
    pub global_period: u64,
    /// p1, in [0, 1]: `local_prox / local_period` is the pull of every step toward the last local
    /// leader. Default 0.
    pub local_prox: f64,
    /// p2, in [0, 1]: `global_prox / global_period` is the pull of every step toward the last
    /// global leader. Default 0.
    pub global_prox: f64,
    /// Batches whose mean training loss ranks a worker, at least 1. Default 16.
    pub loss_window: usize,
    /// A report older than this many steps cannot lead. Default twice the period, local or global.
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
            not_nought("final_pull.steps", last.steps)?;
        }
        self.meetings().check()
    }

    pub(super) fn meetings(&self) -> MeetingConfig {
        MeetingConfig {
            periods: Periods {
                local: self.local_period,
                global: self.global_period,
            },
            loss_window: self.loss_window,
            batch_norm: self.batch_norm,
        }
    }

    pub(super) fn pulls(&self) -> Scoped<Pull> {
        Scoped {
            local: Pull {
                first: self.local_pull,
                last: self.final_pull,
                every_step: self.local_prox / self.local_period as f64,
            },
            global: Pull {
                first: self.global_pull,
                last: self.final_pull,
                every_step: self.global_prox / self.global_period as f64,
            },
        }
    }
}

/// A pull that is repeated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pull {
    /// Strength at the first exchange: lambda or lambda_G.
    first: f64,
    /// Where it goes.
    last: Option<FinalPull>,
    /// Strength of every step in between: `prox / period`.
    every_step: f64,
}

impl Pull {
    /// The strength of an exchange at step `step`.
    pub fn strength(&self, step: u64) -> f64 {
        let Some(FinalPull { strength, steps }) = self.last else {
            return self.first;
        };
        let done = (step as f64 / steps as f64).min(1.0);
        let left = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        strength + (self.first - strength) * left
    }

    /// The move to a target between exchanges, if there is one.
    pub fn between(&self, target: &Option<Arc<Snapshot>>) -> Option<Move> {
        let target = target.clone().filter(|_| self.every_step != 0.0)?;
        let strength = self.every_step;
        Some(Move { target, strength })
    }
}

/// Whether a leader's parameters are those of worker `own`.
pub(super) fn is_own(leader: &Snapshot, own: Rank) -> bool {
    matches!(leader.source(), Source::Worker { rank, .. } if rank == own)
}

#[derive(Debug)]
struct ToLeader {
    pulls: Scoped<Pull>,
    /// The leaders last received; none where this worker leads.
    leaders: Scoped<Option<Arc<Snapshot>>>,
}

impl ToLeader {
    fn new(pulls: Scoped<Pull>) -> Self {
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
    fn anew(&self) -> Box<dyn Rule> {
        Box::new(Self::new(self.pulls))
    }

    fn meet(&mut self, at: Meeting, delivered: &Delivered) -> Option<Move> {
        let leader = delivered.leader.as_ref()?;
        let other = Some(leader.clone()).filter(|leader| !is_own(leader, at.own));
        *self.leaders.of(at.scope) = other.clone();
        Some(Move {
            target: other?,
            strength: self.pulls.of(at.scope).strength(at.step),
        })
    }

    fn between(&self) -> [Option<Move>; 2] {
        let Scoped { local, global } = &self.pulls;
        [
            global.between(&self.leaders.global),
            local.between(&self.leaders.local),
        ]
    }
}

impl Method {
    /// Leader SGD (arXiv 1905.10395, Algorithm 1).
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a strength outside [0, 1], a period or window of nought, or a global
    /// period that is not a multiple of the local one.
    pub fn lsgd(config: &LeaderConfig) -> Result<Self, MethodError> {
        config.check()?;
        let carries = &[Vector::Snapshot];
        let rule = ToLeader::new(config.pulls());
        Ok(Self {
            max_staleness: match config.max_staleness {
                Some(steps) => Scoped::both(steps),
                None => Self::two_periods(config.meetings().periods),
            },
            ..Self::of_meetings("lsgd", carries, config.meetings(), rule)
        })
    }
}
