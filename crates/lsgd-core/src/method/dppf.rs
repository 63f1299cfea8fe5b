//! Distributed pull-push force (Dimlioglu and Choromanska, arXiv 2507.20424).
//!
//! ```text
//! x <- x - (alpha - lambda / |x - m|) (x - m)      every tau steps; m the mean
//! ```
//!
//! alpha pulls a worker to the mean of all; lambda pushes it away from there, by the same distance wherever
//! it is. Where the two are equal, at a distance of lambda / alpha, workers stay: the wider the valley in
//! which all of them can be, the flatter it is. The mean of the workers is what the method trains.
//!
//! The norm is over all trainable parameters. A worker that is at the mean, as all are before their first
//! step, has no direction to be pushed in, and stays. With lambda = 0 and alpha = 1 it is local SGD.
//!
//! Only the paper's abstract was available. It says that the push counters the pull to the consensus, and
//! that both strengths together set the valley's width; a push of constant length is what the gradient of
//! a mean distance gives. Whatever schedule the paper has for lambda, here it is constant.

use std::sync::Arc;

use super::{ExchangeAt, ExchangeConfig, Method, MethodError, Pull, Rule, Scoped, check_strength};
use crate::{ExchangeOutcome, Snapshot, VectorKind};

#[derive(Debug)]
struct PullPush {
    pulls: Scoped<f64>,
    push: f64,
    /// The worker's parameters in the exchange that is under way.
    own: Option<Arc<Snapshot>>,
}

impl Rule for PullPush {
    fn fresh(&self) -> Box<dyn Rule> {
        let (pulls, push) = (self.pulls, self.push);
        let own = None;
        Box::new(Self { pulls, push, own })
    }

    fn contribution(&mut self, own: Arc<Snapshot>) -> Arc<Snapshot> {
        self.own = Some(own.clone());
        own
    }

    fn on_exchange(&mut self, at: ExchangeAt, delivered: &ExchangeOutcome) -> Option<Pull> {
        // Where exchanges of both scopes are due, one of them delivers nothing.
        let target = delivered.mean.clone()?;
        let own = self.own.take()?;
        let distance = distance(&own, &target);
        let push = match distance > 0.0 {
            true => self.push / distance,
            false => 0.0,
        };
        let strength = *self.pulls.of(at.scope) - push;
        Some(Pull { target, strength })
    }
}

/// Between the parameters of two snapshots of one layout.
fn distance(from: &Snapshot, to: &Snapshot) -> f64 {
    let pairs = from.parameters().iter().zip(to.parameters());
    let squares = pairs.map(|(from, to)| (f64::from(*from) - f64::from(*to)).powi(2));
    squares.sum::<f64>().sqrt()
}

impl Method {
    /// Distributed pull-push force. The pulls, alpha within a node and over all nodes, are in [0, 1];
    /// `push`, lambda, is a length in parameter space, from 0.
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a pull or push outside its range, and as [`local_sgd`](Self::local_sgd).
    pub fn dppf(
        exchanges: ExchangeConfig,
        local_pull: f64,
        global_pull: f64,
        push: f64,
    ) -> Result<Self, MethodError> {
        exchanges.check_leaderless("dppf")?;
        check_strength("local_pull", local_pull)?;
        check_strength("global_pull", global_pull)?;
        if !(push.is_finite() && push >= 0.0) {
            return Err(MethodError::Range {
                key: "push",
                value: push,
                range: "a finite number from 0",
            });
        }
        let rule = PullPush {
            pulls: Scoped {
                local: local_pull,
                global: global_pull,
            },
            push,
            own: None,
        };
        let carries = &[VectorKind::Mean];
        Ok(Self::of_exchanges("dppf", carries, exchanges, rule))
    }
}
