//! What workers do to each other's parameters: the methods, as equations.
//!
//! | method | at an exchange | between exchanges |
//! |---|---|---|
//! | [`sgd`](Method::sgd) | none | |
//! | [`lsgd`](Method::lsgd) | `x <- x - lambda (x - leader)`, first the local, then the global leader | `x <- x - (prox / period) (x - last leader)`, first the global, then the local one |
//! | [`local_sgd`](Method::local_sgd) | `x <- mean of all x`, of the node's or of all nodes' | |
//!
//! Every method is the same machine with another vector: a target that the exchange delivers
//! ([`Vector`]) and a strength with which a worker moves to it.

use serde::{Deserialize, Serialize};

use crate::{Mode, Periods, Vector};

/// The strengths and periods of Leader SGD (arXiv 1905.10395), with its symbols.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaderConfig {
    /// lambda, in [0, 1]: pull strength toward the local leader. Default 0.1.
    pub local_pull: f64,
    /// lambda_G, in [0, 1]: pull strength toward the global leader. Default 0.1.
    pub global_pull: f64,
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

/// A pull that is repeated: its strength at an exchange, and between exchanges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pull {
    /// Strength at an exchange.
    pub strength: f64,
    /// Strength of every step in between: `prox / period`.
    pub every_step: f64,
}

/// How old a report may be, in steps, for an election within a node and over all nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scoped {
    pub local: u64,
    pub global: u64,
}

impl Scoped {
    fn both(steps: u64) -> Self {
        Self {
            local: steps,
            global: steps,
        }
    }
}

/// A training method: which vector workers exchange, when, and how strongly they follow it.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    name: &'static str,
    pub(crate) vector: Option<Vector>,
    pub(crate) local: Pull,
    pub(crate) global: Pull,
    pub(crate) periods: Periods,
    pub(crate) loss_window: usize,
    pub(crate) max_staleness: Scoped,
    pub(crate) batch_norm: BatchNorm,
}

/// Why a method cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MethodError {
    /// A strength is not a number in [0, 1].
    #[error("{key} {value} is not in [0, 1]")]
    Strength {
        /// Which strength.
        key: &'static str,
        /// Its value.
        value: f64,
    },
    /// A period or a window is nought.
    #[error("{key} is 0; it must be at least 1")]
    Nought {
        /// Which one.
        key: &'static str,
    },
    /// The global period is not a multiple of the local one.
    #[error("global_period {global} is not a multiple of local_period {local}")]
    NotAMultiple {
        /// tau_G.
        global: u64,
        /// tau.
        local: u64,
    },
    /// The method has no leader whose statistics could be followed.
    #[error(
        "batch_norm \"leader\" needs a leader, which {method} does not have; use \"own\" or \"mean\""
    )]
    NoLeader {
        /// The method.
        method: &'static str,
    },
    /// The method needs all workers to meet.
    #[error(
        "{method} cannot run in mode \"async\": a mean of all workers needs all to meet; use \"sync\""
    )]
    NeedsMeeting {
        /// The method.
        method: &'static str,
    },
}

impl Method {
    /// Workers that never talk.
    pub fn sgd(loss_window: usize) -> Self {
        Self {
            name: "sgd",
            vector: None,
            local: NO_PULL,
            global: NO_PULL,
            periods: Periods {
                local: u64::MAX,
                global: u64::MAX,
            },
            loss_window,
            max_staleness: Scoped::both(u64::MAX),
            batch_norm: BatchNorm::Own,
        }
    }

    /// Leader SGD (arXiv 1905.10395, Algorithm 1).
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a strength outside [0, 1], a period or window of nought, or a global
    /// period that is not a multiple of the local one.
    pub fn lsgd(config: &LeaderConfig) -> Result<Self, MethodError> {
        for (key, value) in [
            ("local_pull", config.local_pull),
            ("global_pull", config.global_pull),
            ("local_prox", config.local_prox),
            ("global_prox", config.global_prox),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(MethodError::Strength { key, value });
            }
        }
        let (local, global) = (config.local_period, config.global_period);
        let periods = Periods { local, global };
        check_periods(periods)?;
        not_nought("loss_window", config.loss_window as u64)?;
        Ok(Self {
            name: "lsgd",
            vector: Some(Vector::Snapshot),
            local: Pull {
                strength: config.local_pull,
                every_step: config.local_prox / local as f64,
            },
            global: Pull {
                strength: config.global_pull,
                every_step: config.global_prox / global as f64,
            },
            periods,
            loss_window: config.loss_window,
            max_staleness: match config.max_staleness {
                Some(steps) => Scoped::both(steps),
                None => Scoped {
                    local: local.saturating_mul(2),
                    global: global.saturating_mul(2),
                },
            },
            batch_norm: config.batch_norm,
        })
    }

    /// Local SGD (arXiv 1805.09767): the workers of a node move to their mean every `tau` steps, and
    /// those of all nodes to the mean of all every `tau_G` (with `tau < tau_G` hierarchical, as in
    /// arXiv 1808.07217).
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a period or window of nought, a global period that is not a multiple of
    /// the local one, or for following a leader's statistics.
    pub fn local_sgd(
        periods: Periods,
        loss_window: usize,
        batch_norm: BatchNorm,
    ) -> Result<Self, MethodError> {
        check_periods(periods)?;
        not_nought("loss_window", loss_window as u64)?;
        if batch_norm == BatchNorm::Leader {
            return Err(MethodError::NoLeader {
                method: "local_sgd",
            });
        }
        let copy = Pull {
            strength: 1.0,
            every_step: 0.0,
        };
        Ok(Self {
            name: "local_sgd",
            vector: Some(Vector::Mean),
            local: copy,
            global: copy,
            periods,
            loss_window,
            max_staleness: Scoped::both(u64::MAX),
            batch_norm,
        })
    }

    /// The method's name in configs and records.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What an exchange carries; `None` when workers never talk.
    pub fn vector(&self) -> Option<Vector> {
        self.vector
    }

    /// When exchanges are due.
    pub fn periods(&self) -> Periods {
        self.periods
    }

    /// Whether the method can run in `mode`.
    ///
    /// # Errors
    ///
    /// [`MethodError::NeedsMeeting`] for a mean in `async`.
    pub fn check_mode(&self, mode: Mode) -> Result<(), MethodError> {
        match (self.vector, mode) {
            (Some(Vector::Mean), Mode::Async) => {
                Err(MethodError::NeedsMeeting { method: self.name })
            }
            _ => Ok(()),
        }
    }
}

const NO_PULL: Pull = Pull {
    strength: 0.0,
    every_step: 0.0,
};

fn check_periods(periods: Periods) -> Result<(), MethodError> {
    let Periods { local, global } = periods;
    not_nought("local_period", local)?;
    not_nought("global_period", global)?;
    if !global.is_multiple_of(local) {
        return Err(MethodError::NotAMultiple { global, local });
    }
    Ok(())
}

fn not_nought(key: &'static str, value: u64) -> Result<(), MethodError> {
    if value == 0 {
        return Err(MethodError::Nought { key });
    }
    Ok(())
}
