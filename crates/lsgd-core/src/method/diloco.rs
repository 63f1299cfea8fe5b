//! DiLoCo (arXiv 2311.08105, Algorithm 1) and SlowMo (arXiv 1910.00643, Algorithm 1): an outer
//! optimizer with a pseudo-gradient, the change of the workers' mean since the last exchange.
//!
//! ```text
//! d     <- outer - 1/W sum of the workers' x      every tau steps
//! v     <- mu v + d
//! outer <- outer - eta (d + mu v)                 with Nesterov's momentum (DiLoCo)
//! outer <- outer - eta v                          without (SlowMo)
//! x     <- outer
//! ```
//!
//! It starts with outer = x and v = 0. Without momentum and with eta = 1 it is local SGD. SlowMo
//! divides d by the learning rate and multiplies by it again, which cancels while the rate is
//! constant; here v is in units of x throughout. Every worker keeps its own outer and v and
//! computes the same values, so that only the mean is exchanged. Over several nodes, each node's
//! workers have their own outer step, which continues from the global one with its velocity.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{ExchangeAt, ExchangeConfig, Method, MethodError, Pull, Rule, Scoped};
use crate::{ExchangeOutcome, RuleState, Scope, Snapshot, StateError, VectorKind};

/// The outer optimizer: SGD with momentum, as in PyTorch, on the pseudo-gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OuterStep {
    /// eta, above 0. DiLoCo's is 0.7, SlowMo's 1.
    pub learning_rate: f64,
    /// mu, in [0, 1). DiLoCo's is 0.9; SlowMo's 0.4 to 0.8.
    pub momentum: f64,
    /// Nesterov momentum, as in DiLoCo.
    pub nesterov: bool,
}

impl OuterStep {
    /// The learning rates that lead near enough to the mean for a format for changes
    /// ([`WireFormat::Topk`](crate::WireFormat::Topk)), where there is no momentum.
    ///
    /// A change is taken from the mean, and workers begin elsewhere if the rate is not 1. At a rate of 3, from
    /// a first mean of (1, 1, 1), they begin at (3, 3, 3); if of the change of (2, 2, 2) one value crosses, an
    /// exchange without any training leads to (3, -3, -3).
    pub const NEAR_MEAN: RangeInclusive<f64> = 0.5..=1.5;
}

#[derive(Debug)]
struct Outer {
    step: OuterStep,
    state: Scoped<Option<State>>,
}

#[derive(Debug, Clone)]
struct State {
    outer: Arc<Snapshot>,
    velocity: Vec<f32>,
}

impl Outer {
    fn new(step: OuterStep) -> Self {
        Self {
            step,
            state: Scoped {
                local: None,
                global: None,
            },
        }
    }
}

impl State {
    fn at(outer: Arc<Snapshot>) -> Self {
        Self {
            velocity: vec![0.0; outer.parameters().len()],
            outer,
        }
    }

    /// The outer step toward `mean`. BatchNorm statistics have no momentum.
    fn take(&mut self, step: OuterStep, mean: &Arc<Snapshot>) {
        let OuterStep {
            learning_rate,
            momentum,
            nesterov,
        } = step;
        if momentum == 0.0 {
            self.outer = Snapshot::interpolate(&self.outer, mean, learning_rate);
            return;
        }
        let outer = self.outer.parameters().iter().zip(mean.parameters());
        let stepped = outer.zip(&self.velocity).map(|((outer, mean), v)| {
            let outer = f64::from(*outer);
            let d = outer - f64::from(*mean);
            let velocity = momentum * f64::from(*v) + d;
            let along = match nesterov {
                true => d + momentum * velocity,
                false => velocity,
            };
            ((outer - learning_rate * along) as f32, velocity as f32)
        });
        let (values, velocity): (Vec<f32>, Vec<f32>) = stepped.unzip();
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        // A step that overflows would spoil all later ones: continue from the mean instead, as at
        // the start.
        *self = match finite(&values) && finite(&velocity) {
            true => Self {
                outer: Arc::new(mean.with_parameters(values)),
                velocity,
            },
            false => Self::at(mean.clone()),
        };
    }
}

impl Rule for Outer {
    fn fresh(&self) -> Box<dyn Rule> {
        Box::new(Self::new(self.step))
    }

    fn wants_start(&self) -> bool {
        true
    }

    fn starts_from_mean(&self) -> bool {
        self.step.momentum == 0.0 && OuterStep::NEAR_MEAN.contains(&self.step.learning_rate)
    }

    fn begin(&mut self, start: Arc<Snapshot>) {
        self.state = Scoped {
            local: Some(State::at(start.clone())),
            global: Some(State::at(start)),
        };
    }

    fn on_exchange(&mut self, at: ExchangeAt, delivered: &ExchangeOutcome) -> Option<Pull> {
        let mean = delivered.mean.as_ref()?;
        let state = self.state.of(at.scope).as_mut()?;
        state.take(self.step, mean);
        let target = state.outer.clone();
        if let (Scope::Global, Some(local)) = (at.scope, &mut self.state.local) {
            // The node's workers have left the point of their last exchange.
            local.outer = target.clone();
        }
        let strength = 1.0;
        Some(Pull { target, strength })
    }

    fn state(&self) -> RuleState {
        let mut saved = RuleState::default();
        for (scope, state) in [("local", &self.state.local), ("global", &self.state.global)] {
            let Some(State { outer, velocity }) = state else {
                continue;
            };
            let velocity = Arc::new(outer.with_parameters(velocity.clone()));
            let vectors = [("outer", outer.clone()), ("velocity", velocity)];
            let named = vectors.map(|(name, vector)| (format!("{name}.{scope}"), vector));
            saved.vectors.extend(named);
        }
        saved
    }

    fn resume(&mut self, saved: &RuleState) -> Result<(), StateError> {
        let of = |scope: &str| {
            let needed = |name: &str| saved.needed("diloco", &format!("{name}.{scope}"));
            Ok(Some(State {
                outer: needed("outer")?,
                velocity: needed("velocity")?.parameters().to_vec(),
            }))
        };
        self.state = Scoped {
            local: of("local")?,
            global: of("global")?,
        };
        Ok(())
    }
}

impl Method {
    /// DiLoCo, or SlowMo, by the momentum of `step`; `name` is the method's name in configs and
    /// records.
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a learning rate that is not above 0, a momentum outside [0, 1), and as
    /// [`local_sgd`](Self::local_sgd).
    pub fn diloco(
        name: &'static str,
        exchanges: ExchangeConfig,
        step: OuterStep,
    ) -> Result<Self, MethodError> {
        exchanges.check_leaderless(name)?;
        let range = |key, value, range, fits: bool| match fits {
            true => Ok(()),
            false => Err(MethodError::Range { key, value, range }),
        };
        let OuterStep {
            learning_rate,
            momentum,
            ..
        } = step;
        let above = learning_rate > 0.0 && learning_rate.is_finite();
        range("outer_learning_rate", learning_rate, "above 0", above)?;
        let below = (0.0..1.0).contains(&momentum);
        range("outer_momentum", momentum, "in [0, 1)", below)?;
        let carries = &[VectorKind::Mean];
        Ok(Self::of_exchanges(
            name,
            carries,
            exchanges,
            Outer::new(step),
        ))
    }
}
