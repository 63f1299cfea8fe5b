//! What one step does to f.
//!
//! Let f be m-strongly convex with an L-Lipschitz gradient and minimum f\*, 0 < eta <= 1/L, and
//! lambda in [0, 1]. A worker at x steps to `x' = x - eta grad f(x)` and is then pulled to
//! `x+ = x' - lambda (x' - t)`. For every target t, whether it leads or not,
//!
//! ```text
//! f(x+) - f* <= (1 - lambda) (1 - m eta) (f(x) - f*) + lambda (f(t) - f*)
//!               - m/2 lambda (1 - lambda) |x' - t|^2                                 (1)
//! ```
//!
//! Proof. By the Lipschitz gradient `f(x') <= f(x) - eta (1 - L eta / 2) |grad f(x)|^2`, which is
//! at most `f(x) - eta/2 |grad f(x)|^2`, and by strong convexity `|grad f(x)|^2 >= 2 m (f(x) -
//! f*)`: together `f(x') - f* <= (1 - m eta) (f(x) - f*)`. As `x+ = (1 - lambda) x' + lambda t`,
//! strong convexity between x' and t gives the rest.

use proptest::prelude::*;

use crate::quadratic::{Place, Quadratic, distance_squared, places, quadratics};

/// The right side of (1).
fn bound(f: &Quadratic, x: Place, rate: f64, pull: f64, target: Place) -> f64 {
    let m = f.lowest_curvature();
    let apart = distance_squared(f.descended(x, rate), target);
    (1.0 - pull) * (1.0 - m * rate) * f.value(x) + pull * f.value(target)
        - m / 2.0 * pull * (1.0 - pull) * apart
}

/// What `f32` makes of values like those of f at `x` and `y`.
fn rounding(f: &Quadratic, x: Place, y: Place) -> f64 {
    1e-5 * (f.value(x) + f.value(y))
}

proptest! {
    /// Algorithm 1: the leader z takes its own gradient step before others are pulled to it. By (1)
    /// with `t = z - eta grad f(z)`, and because `f(t) - f* <= (1 - m eta) (f(z) - f*)`,
    ///
    /// ```text
    /// f(x+) - f* <= (1 - m eta) ((f(x) - f*) - lambda (f(x) - f(z)))
    /// ```
    ///
    /// which a leader, with f(z) <= f(x), makes no worse than the gradient step's own bound.
    #[test]
    fn a_pull_to_a_leader_costs_nothing(
        f in quadratics(),
        x in places(),
        z in places(),
        share in 0.01..=1.0,
        pull in 0.0..=1.0,
    ) {
        let (x, z) = if f.value(z) <= f.value(x) { (x, z) } else { (z, x) };
        let rate = share / f.highest_curvature();
        let after = f.value(f.stepped(x, rate, pull, f.descended(z, rate)));
        let rounding = rounding(&f, x, z);
        let bound = bound(&f, x, rate, pull, f.descended(z, rate));
        prop_assert!(after <= bound + rounding, "{after} above {bound}");
        let kept = 1.0 - f.lowest_curvature() * rate;
        let with_leader = kept * (f.value(x) - pull * (f.value(x) - f.value(z)));
        prop_assert!(after <= with_leader + rounding, "{after} above {with_leader}");
        let alone = kept * f.value(x);
        prop_assert!(after <= alone + rounding, "{after} above {alone}");
    }

    /// The form in which the paper states its step, with gradient and pull both taken at x:
    /// `x+ = x - eta grad f(x) - lambda (x - z)`. It is the sequential step with the rate
    /// `eta / (1 - lambda)`, so that (1) says for `eta <= (1 - lambda) / L`
    ///
    /// ```text
    /// f(x+) - f* <= (1 - m eta) (f(x) - f*) - lambda (f(x) - f(z))
    /// ```
    #[test]
    fn a_step_with_gradient_and_pull_at_one_place(
        f in quadratics(),
        x in places(),
        z in places(),
        share in 0.01..=1.0,
        pull in 0.0..=0.9,
    ) {
        let rate = share * (1.0 - pull) / f.highest_curvature();
        let gradient = f.gradient(x);
        let both: Place = std::array::from_fn(|i| {
            let apart = x[i] - z[i];
            x[i] - rate as f32 * gradient[i] - pull as f32 * apart
        });
        let after = f.stepped(x, rate / (1.0 - pull), pull, z);
        let same = distance_squared(after, both).sqrt();
        prop_assert!(same <= 1e-5, "{after:?}, not {both:?}");
        let kept = 1.0 - f.lowest_curvature() * rate;
        let bound = kept * f.value(x) - pull * (f.value(x) - f.value(z));
        let (after, rounding) = (f.value(after), rounding(&f, x, z));
        prop_assert!(after <= bound + rounding, "{after} above {bound}");
    }

    /// (1) cannot be improved: with m = L it is an equality both without a gradient step and with
    /// one of rate 1/L.
    #[test]
    fn the_bound_is_reached(
        m in 0.1..10.0,
        x in places(),
        z in places(),
        whole in prop::bool::ANY,
        pull in 0.0..=1.0,
    ) {
        let f = Quadratic { curvature: [m; 3] };
        let rate = if whole { 1.0 / m } else { 0.0 };
        let after = f.value(f.stepped(x, rate, pull, z));
        let bound = bound(&f, x, rate, pull, z);
        prop_assert!((after - bound).abs() <= rounding(&f, x, z), "{after}, not {bound}");
    }
}
