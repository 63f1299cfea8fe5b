//! DiLoCo (arXiv 2311.08105, Algorithm 1) and SlowMo (arXiv 1910.00643, Algorithm 1): an outer
//! optimizer whose gradient is how far the workers' mean has come since the last exchange.
//!
//! ```text
//! d     <- outer - 1/W sum of the workers' x      every tau steps
//! v     <- mu v + d
//! outer <- outer - eta (d + mu v)                 with Nesterov's momentum (DiLoCo)
//! outer <- outer - eta v                          without (SlowMo)
//! x     <- outer
//! ```
//!
//! It begins with outer = x and v = 0. Without momentum and with eta = 1 it is local SGD. SlowMo
//! divides d by the learning rate and multiplies by it again, which is the same while that does not
//! change; here v is in units of x throughout. Every worker keeps outer and v for itself and comes
//! to the same ones, so that only the mean crosses between them. Over several nodes each node's
//! workers have an outer step of their own, which goes on from where all meet, with its velocity.

use std::sync::Arc;

use super::{Meeting, MeetingConfig, Method, MethodError, Move, Rule, Scoped};
use crate::{Delivered, Scope, Snapshot, Vector};

/// The outer optimizer: SGD with momentum, as PyTorch's, with the mean's way as gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OuterStep {
    /// eta, above 0. DiLoCo's is 0.7, SlowMo's 1.
    pub rate: f64,
    /// mu, in [0, 1). DiLoCo's is 0.9; SlowMo's 0.4 to 0.8.
    pub momentum: f64,
    /// Nesterov's momentum, as DiLoCo has it.
    pub nesterov: bool,
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
            rate,
            momentum,
            nesterov,
        } = step;
        if momentum == 0.0 {
            self.outer = Snapshot::between(&self.outer, mean, rate);
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
            ((outer - rate * along) as f32, velocity as f32)
        });
        let (values, velocity): (Vec<f32>, Vec<f32>) = stepped.unzip();
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        // A step too large to be finite would spoil all that follow it: then the mean is where to go
        // on from, as at the start.
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
    fn anew(&self) -> Box<dyn Rule> {
        Box::new(Self::new(self.step))
    }

    fn wants_start(&self) -> bool {
        true
    }

    fn begin(&mut self, start: Arc<Snapshot>) {
        self.state = Scoped {
            local: Some(State::at(start.clone())),
            global: Some(State::at(start)),
        };
    }

    fn meet(&mut self, at: Meeting, delivered: &Delivered) -> Option<Move> {
        let mean = delivered.mean.as_ref()?;
        let state = self.state.of(at.scope).as_mut()?;
        state.take(self.step, mean);
        let target = state.outer.clone();
        if let (Scope::Global, Some(local)) = (at.scope, &mut self.state.local) {
            // The node's workers have left where their last exchange had put them.
            local.outer = target.clone();
        }
        let strength = 1.0;
        Some(Move { target, strength })
    }
}

impl Method {
    /// DiLoCo, or SlowMo, by the momentum of `step`; `name` is what it is called in configs and
    /// records.
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a rate that is not above 0, a momentum outside [0, 1), and as
    /// [`local_sgd`](Self::local_sgd).
    pub fn diloco(
        name: &'static str,
        meetings: MeetingConfig,
        step: OuterStep,
    ) -> Result<Self, MethodError> {
        meetings.check_leaderless(name)?;
        let range = |key, value, range, fits: bool| match fits {
            true => Ok(()),
            false => Err(MethodError::Range { key, value, range }),
        };
        let OuterStep { rate, momentum, .. } = step;
        let above = rate > 0.0 && rate.is_finite();
        range("outer_rate", rate, "above 0", above)?;
        let below = (0.0..1.0).contains(&momentum);
        range("outer_momentum", momentum, "in [0, 1)", below)?;
        let carries = &[Vector::Mean];
        Ok(Self::of_meetings(name, carries, meetings, Outer::new(step)))
    }
}
