//! Strongly convex quadratics, and one step of a worker on one.

use proptest::prelude::*;

use lsgd_core::LeaderConfig;

use crate::setting::{Point, adopt, config, lsgd, snapshot, worker_with_exchange};

/// A place in the space of the quadratics.
pub type Place = [f32; 3];

/// `f(x) = 1/2 sum a_i x_i^2` with a_i > 0: its minimum is 0, at the origin.
///
/// Neither f nor a step of SGD or of a pull knows directions, so that axes along the eigenvectors
/// of the Hessian are as good as any.
#[derive(Debug, Clone, Copy)]
pub struct Quadratic {
    pub curvature: [f64; 3],
}

impl Quadratic {
    pub fn value(&self, x: Place) -> f64 {
        let terms = self.curvature.iter().zip(x);
        terms.map(|(a, x)| 0.5 * a * f64::from(x).powi(2)).sum()
    }

    pub fn gradient(&self, x: Place) -> Place {
        std::array::from_fn(|i| (self.curvature[i] * f64::from(x[i])) as f32)
    }

    /// m: the strong convexity.
    pub fn lowest_curvature(&self) -> f64 {
        self.curvature.into_iter().fold(f64::INFINITY, f64::min)
    }

    /// L: the Lipschitz constant of the gradient.
    pub fn highest_curvature(&self) -> f64 {
        self.curvature.into_iter().fold(0.0, f64::max)
    }

    /// x after a gradient step.
    pub fn descended(&self, x: Place, rate: f64) -> Place {
        let gradient = self.gradient(x);
        std::array::from_fn(|i| x[i] - rate as f32 * gradient[i])
    }

    /// x after a step of [`LeaderSgd`](lsgd_core::LeaderSgd): the gradient step, then the pull of
    /// `pull` to `leader`.
    pub fn stepped(&self, x: Place, rate: f64, pull: f64, leader: Place) -> Place {
        let (mut worker, exchange) = worker_with_exchange(lsgd(LeaderConfig {
            local_pull: pull,
            ..config()
        }));
        let command = adopt(Some(snapshot(1, 1, &leader)), None);
        exchange.queues().commands.push_back(command);
        let at = Point::at(&x);
        let gradients = at.gradients(&self.gradient(x));
        place(&worker.step(rate, at, gradients))
    }
}

pub fn place(point: &Point) -> Place {
    let values = point.values();
    values.try_into().expect("three coordinates")
}

/// Curvatures from 1/10 to 10.
pub fn quadratics() -> impl Strategy<Value = Quadratic> {
    prop::array::uniform3(0.1..10.0).prop_map(|curvature| Quadratic { curvature })
}

pub fn places() -> impl Strategy<Value = Place> {
    prop::array::uniform3(-10.0_f32..10.0)
}

pub fn distance_squared(x: Place, y: Place) -> f64 {
    let apart = x.iter().zip(y).map(|(x, y)| f64::from(*x) - f64::from(y));
    apart.map(|apart| apart * apart).sum()
}
