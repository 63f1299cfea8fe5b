//! Leader SGD whose proximal pulls go to a point between the mean and the leader (SDTL).
//!
//! ```text
//! t <- m + c (z - m)                              at an exchange; m the mean, z the leader
//! x <- x - lambda (x - z)                         at an exchange
//! x <- x - (p / tau) (x - t)                      every step
//! ```
//!
//! Each for the node's workers and for all workers, in the order of [Leader SGD](super::lsgd). With
//! c = 1 it is Leader SGD, except that between exchanges a leader is pulled to its own earlier
//! parameters.

use std::sync::Arc;

use super::lsgd::{PullSchedule, is_own};
use super::{ExchangeAt, LeaderConfig, Method, MethodError, Pull, Rule, Scoped, check_strength};
use crate::{ExchangeOutcome, RuleState, Snapshot, StateError, VectorKind};

#[derive(Debug)]
struct Plus {
    pulls: Scoped<PullSchedule>,
    leader_weight: f64,
    /// t, after the first exchange.
    targets: Scoped<Option<Arc<Snapshot>>>,
}

impl Plus {
    fn new(pulls: Scoped<PullSchedule>, leader_weight: f64) -> Self {
        Self {
            pulls,
            leader_weight,
            targets: Scoped {
                local: None,
                global: None,
            },
        }
    }
}

impl Rule for Plus {
    fn fresh(&self) -> Box<dyn Rule> {
        Box::new(Self::new(self.pulls, self.leader_weight))
    }

    fn on_exchange(&mut self, at: ExchangeAt, delivered: &ExchangeOutcome) -> Option<Pull> {
        let (mean, leader) = (delivered.mean.as_ref()?, delivered.leader.as_ref()?);
        let target = Snapshot::interpolate(mean, leader, self.leader_weight);
        *self.targets.of(at.scope) = Some(target);
        Some(Pull {
            target: Some(leader.clone()).filter(|leader| !is_own(leader, at.own))?,
            strength: self.pulls.of(at.scope).strength(at.step),
        })
    }

    fn state(&self) -> RuleState {
        let mut state = RuleState::default();
        // Only a proximal pull uses them again.
        if self.pulls.local.is_proximal() || self.pulls.global.is_proximal() {
            self.targets.save("target", &mut state);
        }
        state
    }

    fn resume(&mut self, state: &RuleState) -> Result<(), StateError> {
        self.targets = Scoped::saved("target", state);
        Ok(())
    }

    fn proximal_pulls(&self) -> [Option<Pull>; 2] {
        let Scoped { local, global } = &self.pulls;
        [
            global.proximal(&self.targets.global),
            local.proximal(&self.targets.local),
        ]
    }
}

impl Method {
    /// Leader SGD whose proximal pulls go to `m + c (z - m)`, with mean m, leader z and c =
    /// `leader_weight` in [0, 1].
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a weight outside [0, 1], and as [`lsgd`](Self::lsgd).
    pub fn lsgd_plus(config: &LeaderConfig, leader_weight: f64) -> Result<Self, MethodError> {
        config.check()?;
        check_strength("leader_weight", leader_weight)?;
        let carries = &[VectorKind::Parameters, VectorKind::Mean];
        let rule = Plus::new(config.pulls(), leader_weight);
        Ok(Self::of_exchanges(
            "lsgd_plus",
            carries,
            config.exchanges(),
            rule,
        ))
    }
}
