//! What a leader's parameters are worth that are some steps old.
//!
//! Nothing in (1) of [`one_step`](crate::one_step) asks of the target that it is new.

use lsgd_core::LeaderConfig;
use proptest::prelude::*;

use crate::quadratic::{Place, Quadratic, place, places, quadratics};
use crate::setting::{Point, adopt, config, lsgd, snapshot, worker_with_exchange};

/// Steps between exchanges.
const PERIOD: u64 = 8;

/// f of a worker at x after the exchange that delivers `old`, which itself does not pull, and after
/// each step up to the next one; every one of these pulls by `pull` to `old`.
fn values_between_exchanges(f: &Quadratic, x: Place, rate: f64, pull: f64, old: Place) -> Vec<f64> {
    let (mut worker, exchange) = worker_with_exchange(lsgd(LeaderConfig {
        local_pull: 0.0,
        local_prox: pull * PERIOD as f64,
        local_period: PERIOD,
        global_period: PERIOD,
        ..config()
    }));
    let command = adopt(Some(snapshot(1, PERIOD, &old)), None);
    exchange.queues().commands.push_back(command);
    let mut at = Point::at(&x);
    let mut values = Vec::new();
    for _ in 0..PERIOD {
        let gradients = at.gradients(&f.gradient(place(&at)));
        at = worker.step(rate, at, gradients);
        values.push(f.value(place(&at)));
    }
    values
}

proptest! {
    /// For convex f, 0 <= eta <= 1/L and lambda in [0, 1]: however old the snapshot s, a step with
    /// a pull to it takes the worker nearer to the set where f <= f(s), and keeps it there:
    ///
    /// ```text
    /// max(0, f(x+) - f(s)) <= (1 - lambda) max(0, f(x) - f(s))
    /// ```
    ///
    /// Proof. `f(x+) <= (1 - lambda) f(x') + lambda f(s)` by convexity, and `f(x') <= f(x)`.
    #[test]
    fn an_old_leader_still_pulls_to_its_own_height(
        f in quadratics(),
        x in places(),
        other in places(),
        apart in 0.02..=1.0_f32,
        share in prop_oneof![Just(0.0), 0.0..=1.0],
        pull in 0.0..=0.125,
    ) {
        // Near x too, where f is all but straight and the bound all but reached.
        let old: Place = std::array::from_fn(|i| x[i] + apart * (other[i] - x[i]));
        let rate = share / f.highest_curvature();
        let height = f.value(old);
        let rounding = 1e-5 * (f.value(x) + height);
        let values = values_between_exchanges(&f, x, rate, pull, old);
        for pair in values.windows(2) {
            let [before, after] = [pair[0], pair[1]].map(|value| (value - height).max(0.0));
            let bound = (1.0 - pull) * before + rounding;
            prop_assert!(after <= bound, "{after} above {bound}");
        }
    }

    /// What age costs. The leader is at z now, and the snapshot s is what it was k gradient steps
    /// before. On a quadratic with eta < 1/L every coordinate of s was multiplied by at least
    /// `1 - L eta` a step, so that `f(s) - f* <= (f(z) - f*) / (1 - L eta)^2k`, and by (1)
    ///
    /// ```text
    /// f(x+) - f* <= (1 - lambda) (1 - m eta) (f(x) - f*) + lambda (f(z) - f*) / (1 - L eta)^2k
    /// ```
    #[test]
    fn age_costs_at_most_what_the_leader_won_since(
        f in quadratics(),
        x in places(),
        old in places(),
        share in 0.0..=0.5_f64,
        pull in 0.0..=1.0,
        age in 0..6,
    ) {
        let rate = share / f.highest_curvature();
        let now = (0..age).fold(old, |z, _| f.descended(z, rate));
        let rounding = 1e-5 * (f.value(x) + f.value(old));
        let height = f.value(now) / (1.0 - share).powi(2 * age);
        prop_assert!(f.value(old) <= height + rounding);
        let after = f.value(f.stepped(x, rate, pull, old));
        let kept = (1.0 - pull) * (1.0 - f.lowest_curvature() * rate);
        let bound = kept * f.value(x) + pull * height;
        prop_assert!(after <= bound + rounding, "{after} above {bound}");
    }
}
