//! The runs of a case, and what they come to together.

use super::curves::{Curve, Point};
use super::estimate::{Estimate, estimate, mean};
use super::plan::Case;

/// What the three errors of a [`Point`] are of.
pub const ERRORS: [&str; 3] = ["leader", "replica_mean", "worker_mean"];

/// A case: its runs, one a seed.
pub struct Group {
    /// Which.
    pub case: Case,
    /// Its runs.
    pub curves: Vec<Curve>,
}

/// The evaluations of a case: what had been spent, mean over seeds, and each error's estimate.
pub fn points(group: &Group) -> Vec<(Point, [Estimate; 3])> {
    let shortest = group.curves.iter().map(|curve| curve.points.len()).min();
    (0..shortest.unwrap_or(0))
        .map(|index| {
            let all: Vec<Point> = group.curves.iter().map(|c| c.points[index]).collect();
            let of = |value: &dyn Fn(&Point) -> f64| all.iter().map(value).collect::<Vec<_>>();
            let errors = [0, 1, 2].map(|which| estimate(&of(&|p| p.errors[which])));
            let point = Point {
                step: mean(&of(&|p| p.step)),
                samples: mean(&of(&|p| p.samples)),
                bytes: mean(&of(&|p| p.bytes)),
                seconds: mean(&of(&|p| p.seconds)),
                errors: errors.map(|e| e.mean),
            };
            (point, errors)
        })
        .collect()
}
