//! The problem: X of as many columns as M has ranks, with `X X'` as near to `M = U U'` as can be.
//!
//! ```text
//! F(X)      = 1/4 |M - X X'|^2  =  1/4 (|U'U|^2 - 2 |U'X|^2 + |X'X|^2)
//! grad F(X) = (X X' - M) X      =  X (X'X) - U (U'X)
//! ```
//!
//! with Frobenius norms. The right sides need no matrix of M's size. F is a difference of large
//! numbers: what is below [`Completion::rounding`] of it is rounding, and may be negative.

use ndarray::Array2;
use rand::{Rng, RngExt};

/// A matrix to complete, by its factor U.
#[derive(Debug)]
pub struct Completion {
    factor: Array2<f64>,
    /// `|U'U|^2`.
    constant: f64,
}

impl Completion {
    /// M = U U' with U = `factor`.
    pub fn new(factor: Array2<f64>) -> Self {
        let constant = squares(&factor.t().dot(&factor));
        Self { factor, constant }
    }

    /// F and its gradient at `x`, which has the shape of U.
    pub fn evaluate(&self, x: &Array2<f64>) -> (f64, Array2<f64>) {
        let own = x.t().dot(x);
        let cross = self.factor.t().dot(x);
        let value = (self.constant - 2.0 * squares(&cross) + squares(&own)) / 4.0;
        (value, x.dot(&own) - self.factor.dot(&cross))
    }

    /// What F is at a solution, but for its sign: a rounding of its largest term.
    pub fn rounding(&self) -> f64 {
        self.constant * f64::EPSILON
    }
}

/// The squared Frobenius norm.
fn squares(matrix: &Array2<f64>) -> f64 {
    matrix.iter().map(|x| x * x).sum()
}

/// A matrix of independent N(0, 1), by Box and Muller.
pub fn normal(shape: (usize, usize), random: &mut impl Rng) -> Array2<f64> {
    Array2::from_shape_simple_fn(shape, || {
        // In (0, 1], of which there is a logarithm.
        let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
    })
}
