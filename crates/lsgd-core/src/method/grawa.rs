//! Gradient-based weighted averaging: MGRAWA and, layer by layer, LGRAWA (Dimlioglu and Choromanska,
//! arXiv 2403.04206).
//!
//! ```text
//! w <- 1 / (mean norm of the worker's gradients since the last exchange)
//! m <- sum of the workers' w x / sum of their w      every tau steps
//! x <- x - lambda (x - m)
//! ```
//!
//! With one w for the whole model, or with one for each layer and m then layer by layer: tensors of
//! one module, a weight and its bias, are a layer. The smaller a worker's gradients, the flatter the
//! place where it is, and the more it counts. The abstract of the paper was at hand, its algorithm was
//! not: that norms are averaged over the period, and not taken of its last batch, was chosen here.
//!
//! With gradients of one norm everywhere and lambda = 1 it is local SGD.

use std::sync::Arc;

use super::{Meeting, MeetingConfig, Method, MethodError, Move, Rule, Scoped, check_strength};
use crate::{Delivered, Snapshot, Vector};

/// Keeps a weight finite where there is no gradient at all.
const LEAST_NORM: f64 = 1e-12;

/// What shares a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightPer {
    /// All parameters: MGRAWA.
    Model,
    /// Those of a layer: LGRAWA.
    Layer,
}

#[derive(Debug)]
struct ToWeightedMean {
    per: WeightPer,
    pulls: Scoped<f64>,
    /// Sums of the gradients' norms since the last exchange.
    norms: Vec<f64>,
    steps: u64,
}

impl ToWeightedMean {
    fn new(per: WeightPer, pulls: Scoped<f64>) -> Self {
        Self {
            per,
            pulls,
            norms: Vec::new(),
            steps: 0,
        }
    }
}

impl Rule for ToWeightedMean {
    fn anew(&self) -> Box<dyn Rule> {
        Box::new(Self::new(self.per, self.pulls))
    }

    fn wants_gradients(&self) -> bool {
        true
    }

    fn observe(&mut self, squares: &[f64]) {
        let norms: Vec<f64> = match self.per {
            WeightPer::Model => vec![squares.iter().sum::<f64>().sqrt()],
            WeightPer::Layer => squares.iter().map(|square| square.sqrt()).collect(),
        };
        self.norms.resize(norms.len(), 0.0);
        for (sum, norm) in self.norms.iter_mut().zip(norms) {
            *sum += norm;
        }
        self.steps += 1;
    }

    fn bring(&mut self, own: Arc<Snapshot>) -> Arc<Snapshot> {
        let steps = self.steps as f64;
        let weight = |norm: f64| (1.0 / (norm / steps).max(LEAST_NORM)) as f32;
        let weights: Vec<f32> = self.norms.drain(..).map(weight).collect();
        self.steps = 0;
        Arc::new(own.weighted(weights))
    }

    fn meet(&mut self, at: Meeting, delivered: &Delivered) -> Option<Move> {
        Some(Move {
            target: delivered.mean.clone()?,
            strength: *self.pulls.of(at.scope),
        })
    }
}

impl Method {
    /// MGRAWA or LGRAWA. The pulls are in [0, 1].
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a pull outside [0, 1], and as [`local_sgd`](Self::local_sgd).
    pub fn grawa(
        meetings: MeetingConfig,
        per: WeightPer,
        local_pull: f64,
        global_pull: f64,
    ) -> Result<Self, MethodError> {
        let name = match per {
            WeightPer::Model => "grawa",
            WeightPer::Layer => "grawa_layers",
        };
        meetings.check_leaderless(name)?;
        check_strength("local_pull", local_pull)?;
        check_strength("global_pull", global_pull)?;
        let pulls = Scoped {
            local: local_pull,
            global: global_pull,
        };
        let carries = &[Vector::Mean];
        let rule = ToWeightedMean::new(per, pulls);
        let mut method = Self::of_meetings(name, carries, meetings, rule);
        method.weights = Some(per);
        Ok(method)
    }
}
