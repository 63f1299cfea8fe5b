//! Gradient-based weighted averaging: MGRAWA and, layer by layer, LGRAWA (Dimlioglu and
//! Choromanska, arXiv 2403.04206).
//!
//! ```text
//! w <- 1 / (mean norm of the worker's gradients since the last exchange)
//! m <- sum of the workers' w x / sum of their w      every tau steps
//! x <- x - lambda (x - m)
//! ```
//!
//! There is one w for the whole model, or one for each layer, in which case m is computed layer by
//! layer. The tensors of one module, such as a weight and its bias, form a layer. The smaller a
//! worker's gradients, the flatter its surroundings and the more it counts. Only the abstract of
//! the paper was available: averaging norms over the period, rather than using the last batch, is
//! this project's choice.
//!
//! If all gradients have the same norm and lambda = 1, it is local SGD.

use std::sync::Arc;

use super::{ExchangeAt, ExchangeConfig, Method, MethodError, Pull, Rule, Scoped, check_strength};
use crate::{ExchangeOutcome, RuleState, Snapshot, StateError, VectorKind};

/// Keeps a weight finite if there is no gradient.
const MIN_NORM: f64 = 1e-12;

/// The parameters that share a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightPer {
    /// All parameters: MGRAWA.
    Model,
    /// The parameters of a layer: LGRAWA.
    Layer,
}

#[derive(Debug)]
struct ToWeightedMean {
    per: WeightPer,
    pulls: Scoped<f64>,
    /// Sums of the gradient norms since the last exchange.
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
    fn fresh(&self) -> Box<dyn Rule> {
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

    fn contribution(&mut self, own: Arc<Snapshot>) -> Arc<Snapshot> {
        let steps = self.steps as f64;
        let weight = |norm: f64| (1.0 / (norm / steps).max(MIN_NORM)) as f32;
        let weights: Vec<f32> = self.norms.drain(..).map(weight).collect();
        self.steps = 0;
        Arc::new(own.weighted(weights))
    }

    fn on_exchange(&mut self, at: ExchangeAt, delivered: &ExchangeOutcome) -> Option<Pull> {
        Some(Pull {
            target: delivered.mean.clone()?,
            strength: *self.pulls.of(at.scope),
        })
    }

    fn state(&self) -> RuleState {
        let mut state = RuleState::default();
        let norms = self.norms.clone();
        state.numbers.insert(String::from("norms"), norms);
        let steps = vec![self.steps as f64];
        state.numbers.insert(String::from("steps"), steps);
        state
    }

    fn resume(&mut self, state: &RuleState) -> Result<(), StateError> {
        self.steps = state.count("grawa", "steps")?;
        self.norms = state.numbers.get("norms").cloned().unwrap_or_default();
        Ok(())
    }
}

impl Method {
    /// MGRAWA or LGRAWA. The pulls are in [0, 1].
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a pull outside [0, 1], and as [`local_sgd`](Self::local_sgd).
    pub fn grawa(
        exchanges: ExchangeConfig,
        per: WeightPer,
        local_pull: f64,
        global_pull: f64,
    ) -> Result<Self, MethodError> {
        let name = match per {
            WeightPer::Model => "grawa",
            WeightPer::Layer => "grawa_layers",
        };
        exchanges.check_leaderless(name)?;
        check_strength("local_pull", local_pull)?;
        check_strength("global_pull", global_pull)?;
        let pulls = Scoped {
            local: local_pull,
            global: global_pull,
        };
        let carries = &[VectorKind::Mean];
        let rule = ToWeightedMean::new(per, pulls);
        let mut method = Self::of_exchanges(name, carries, exchanges, rule);
        method.weights = Some(per);
        Ok(method)
    }
}
