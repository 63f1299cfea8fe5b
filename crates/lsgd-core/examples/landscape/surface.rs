//! The landscape: `f(x) = sin(pi r) / (pi r)` with `r = |x|`, in the plane.
//!
//! A crest at the origin, where f is 1, and around it rings of troughs and crests: trough n lies
//! between the radii 2n - 1 and 2n, and each is shallower than the one inside it.

use std::f64::consts::PI;

/// Below this radius the closed form of the gradient loses digits, and the series has none to lose.
const NEAR: f64 = 1e-4;

/// f at `x`, in [-0.2173, 1].
pub fn value([x, y]: [f64; 2]) -> f64 {
    let r = x.hypot(y);
    match r < NEAR {
        true => 1.0 - (PI * r).powi(2) / 6.0,
        false => (PI * r).sin() / (PI * r),
    }
}

/// The gradient of f at `x`: `f'(r) x / r` with `f'(r) = cos(pi r) / r - sin(pi r) / (pi r^2)`.
pub fn gradient([x, y]: [f64; 2]) -> [f64; 2] {
    let r = x.hypot(y);
    let slope_over_r = match r < NEAR {
        true => -PI * PI / 3.0,
        false => ((PI * r).cos() - (PI * r).sin() / (PI * r)) / (r * r),
    };
    [x, y].map(|coordinate| slope_over_r * coordinate)
}

/// The number of the trough that `x` lies in, from 1 at the deepest; nothing on a crest.
pub fn trough([x, y]: [f64; 2]) -> Option<u32> {
    let unit = x.hypot(y) as u32;
    (unit % 2 == 1).then_some(unit.div_ceil(2))
}

/// The radius at which trough `number` is deepest: where `tan(pi r) = pi r`.
pub fn bottom(number: u32) -> f64 {
    let (mut low, mut high) = (f64::from(2 * number - 1), f64::from(2 * number));
    while high - low > 1e-12 {
        let middle = (low + high) / 2.0;
        match gradient([middle, 0.0])[0] < 0.0 {
            true => low = middle,
            false => high = middle,
        }
    }
    (low + high) / 2.0
}
