//! Leader SGD whose pulls between exchanges go to a point between the mean and the leader (SDTL).
//!
//! ```text
//! t <- m + c (z - m)                              at an exchange; m the mean, z the leader
//! x <- x - lambda (x - z)                         at an exchange
//! x <- x - (p / tau) (x - t)                      every step
//! ```
//!
//! Each for the node's and for all workers, in the order of [Leader SGD](super::lsgd). With c = 1
//! it is Leader SGD, except that a leader's t between exchanges is its own old place.

use std::sync::Arc;

use super::lsgd::{Pull, is_own};
use super::{LeaderConfig, Meeting, Method, MethodError, Move, Rule, Scoped, check_strength};
use crate::{Delivered, Snapshot, Vector};

#[derive(Debug)]
struct Plus {
    pulls: Scoped<Pull>,
    leader_weight: f64,
    /// t, once there was an exchange.
    targets: Scoped<Option<Arc<Snapshot>>>,
}

impl Plus {
    fn new(pulls: Scoped<Pull>, leader_weight: f64) -> Self {
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
    fn anew(&self) -> Box<dyn Rule> {
        Box::new(Self::new(self.pulls, self.leader_weight))
    }

    fn meet(&mut self, at: Meeting, delivered: &Delivered) -> Option<Move> {
        let (mean, leader) = (delivered.mean.as_ref()?, delivered.leader.as_ref()?);
        let target = Snapshot::between(mean, leader, self.leader_weight);
        *self.targets.of(at.scope) = Some(target);
        Some(Move {
            target: Some(leader.clone()).filter(|leader| !is_own(leader, at.own))?,
            strength: self.pulls.of(at.scope).strength(at.step),
        })
    }

    fn between(&self) -> [Option<Move>; 2] {
        let Scoped { local, global } = &self.pulls;
        [
            global.between(&self.targets.global),
            local.between(&self.targets.local),
        ]
    }
}

impl Method {
    /// Leader SGD whose pulls between exchanges go to `m + c (z - m)`, with mean m, leader z and
    /// c = `leader_weight` in [0, 1].
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a weight outside [0, 1], and as [`lsgd`](Self::lsgd).
    pub fn lsgd_plus(config: &LeaderConfig, leader_weight: f64) -> Result<Self, MethodError> {
        config.check()?;
        check_strength("leader_weight", leader_weight)?;
        let carries = &[Vector::Snapshot, Vector::Mean];
        let rule = Plus::new(config.pulls(), leader_weight);
        Ok(Self::of_meetings(
            "lsgd_plus",
            carries,
            config.meetings(),
            rule,
        ))
    }
}
