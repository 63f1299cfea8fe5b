//! Which leaders turn a step toward the minimum.
//!
//! On a quadratic with minimum at the origin the Newton direction at x is `d = -x`, the gradient
//! direction `g = -grad f(x)`, and the direction with a leader z is `g + lambda (z - x)`. The
//! derivative of the cosine of its angle to d with respect to lambda, at lambda = 0, is
//! `<z - x, w> / |g|` with
//!
//! ```text
//! w = d / |d| - cos(d, g) g / |g|
//! ```
//!
//! Where g and d are not parallel, w is not zero. Then (arXiv 1905.10395 states it of the points at
//! least as good as x, for a Hessian of full rank):
//!
//! **For at least half of the points z with f(z) <= f(x), by volume, a small pull turns the step
//! toward the minimum.** Proof. With z in that ellipsoid is -z, and
//! `<z - x, w> + <-z - x, w> = 2 <d, w> = 2 |d| sin^2(d, g) > 0`: of the two at least one turns it.

use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::quadratic::{Place, Quadratic, places, quadratics};

/// The cosine of the angle between two vectors.
fn cosine(a: [f64; 3], b: [f64; 3]) -> f64 {
    let product = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}

/// The cosine of the angle between the Newton direction at x and the way from x to `to`.
fn toward_minimum(x: Place, to: Place) -> f64 {
    let way = std::array::from_fn(|i| f64::from(to[i]) - f64::from(x[i]));
    cosine(x.map(|x| -f64::from(x)), way)
}

/// A point drawn evenly from those where f is at most `height`.
fn no_worse_than(f: &Quadratic, height: f64, random: &mut impl Rng) -> Place {
    loop {
        let ball: [f64; 3] = std::array::from_fn(|_| random.random_range(-1.0..1.0));
        if ball.iter().map(|x| x * x).sum::<f64>() <= 1.0 {
            return std::array::from_fn(|i| {
                (ball[i] * (2.0 * height / f.curvature[i]).sqrt()) as f32
            });
        }
    }
}

/// Of 2000 points drawn evenly from those no worse than x, how many turn a worker's step. A step
/// of rate eta and pull p is along the direction with `lambda = p / (eta (1 - p))`, here 1/10.
#[test]
fn at_least_half_of_the_better_points_turn_the_step() {
    const RATE: f64 = 0.01;
    const PULL: f64 = 0.001;
    const POINTS: usize = 2000;
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let cases: [([f64; 3], Place); 4] = [
        ([1.0, 2.0, 4.0], [1.0, 1.0, 1.0]),
        ([10.0, 1.0, 0.2], [1.0, 2.0, 3.0]),
        ([10.0, 1.0, 0.2], [-3.0, 0.5, 4.0]),
        ([0.5, 8.0, 8.0], [5.0, -1.0, 0.1]),
    ];
    for (curvature, x) in cases {
        let f = Quadratic { curvature };
        let height = f.value(x);
        let alone = toward_minimum(x, f.stepped(x, RATE, 0.0, x));
        let turned = (0..POINTS).filter(|_| {
            let z = no_worse_than(&f, height, &mut random);
            toward_minimum(x, f.stepped(x, RATE, PULL, z)) > alone
        });
        let turned = turned.count();
        assert!(
            2 * turned >= POINTS,
            "{turned} of {POINTS} at {x:?}, {curvature:?}"
        );
    }
}

proptest! {
    /// The proof's pairs, one by one.
    #[test]
    fn of_a_point_and_its_mirror_image_one_turns_the_step(
        f in quadratics(),
        x in places(),
        z in places(),
    ) {
        let newton = x.map(|x| -f64::from(x));
        let gradient: [f64; 3] = std::array::from_fn(|i| f.curvature[i] * newton[i]);
        let alone = cosine(newton, gradient);
        let off = 1.0 - alone * alone;
        prop_assume!(off > 1e-3);
        // Onto the height of x at most, where the ellipsoid ends.
        let shrink = (f.value(x) / f.value(z)).sqrt().min(1.0);
        let z = z.map(|z| shrink * f64::from(z));
        // So small that the second order in lambda, some (lambda |z - x| / |g|)^2, is a tenth of
        // the first, which for one of the two is at least lambda |d| sin^2(d, g) / |g|.
        let size = |v: [f64; 3]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
        let reach = 2.0 * (2.0 * f.value(x) / f.lowest_curvature()).sqrt();
        let lambda = 0.1 * size(gradient) * size(newton) * off / (reach * reach);
        let turned = [1.0, -1.0].map(|side| {
            let pulled = std::array::from_fn(|i| {
                gradient[i] + lambda * (side * z[i] - f64::from(x[i]))
            });
            cosine(newton, pulled) > alone
        });
        prop_assert!(turned[0] || turned[1], "neither {z:?} nor its mirror image");
    }
}
