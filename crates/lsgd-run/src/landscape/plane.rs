//! The plane through three points of parameter space.

/// A place in the plane: distances from the first of the three points, along both axes.
pub type Place = (f64, f64);

/// Flattest triangle that spans a plane: its height over its longest side. Rounding the parameters alone
/// gives points of one line such a height.
const FLATTEST: f64 = 1e-4;

/// Why three points span no plane, by their indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flat {
    /// These two are the same.
    Same(usize, usize),
    /// All three lie on one line.
    Line,
}

/// The plane through the points `a`, `b` and `c`, with orthonormal axes by Gram and Schmidt
/// (arXiv 1802.10026, appendix A.2):
///
/// ```text
/// u = (b - a) / d              d = |b - a|
/// v = (c - a - p u) / h        p = (c - a) . u,   h = |c - a - p u|
/// ```
///
/// `a` is at (0, 0), `b` at (d, 0) and `c` at (p, h). Axes are not stored: a place is a combination of the
/// three points, which gives the three points themselves bit for bit. Sums are of `f64`.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    points: [&'a [f32]; 3],
    d: f64,
    p: f64,
    h: f64,
}

impl<'a> Plane<'a> {
    /// The plane through three points with equally many values, all finite.
    ///
    /// # Errors
    ///
    /// [`Flat`] if they span none.
    pub fn through(points: [&'a [f32]; 3]) -> Result<Self, Flat> {
        let [a, b, c] = points;
        let distance = |one: &[f32], other: &[f32]| dot(one, other, one, other).sqrt();
        let (d, e, f) = (distance(b, a), distance(c, a), distance(c, b));
        let longest = d.max(e).max(f);
        for (length, (one, other)) in [(d, (0, 1)), (e, (0, 2)), (f, (1, 2))] {
            if length <= FLATTEST * longest {
                return Err(Flat::Same(one, other));
            }
        }
        let p = dot(b, a, c, a) / d;
        let across = values(points).map(|[a, b, c]| c - a - p / d * (b - a));
        let h = norm(across);
        // Twice the area is the same over any side.
        match d * h <= FLATTEST * longest * longest {
            true => Err(Flat::Line),
            false => Ok(Self { points, d, p, h }),
        }
    }

    /// Where the three points are.
    pub fn corners(&self) -> [Place; 3] {
        [(0.0, 0.0), (self.d, 0.0), (self.p, self.h)]
    }

    /// Both axes as sums of the three points, multiplied by these.
    pub fn axes(&self) -> [[f64; 3]; 2] {
        let Self { d, p, h, .. } = *self;
        let across = p / (d * h);
        [
            [-1.0 / d, 1.0 / d, 0.0],
            [across - 1.0 / h, -across, 1.0 / h],
        ]
    }

    /// The parameters at a place.
    pub fn at(&self, place: Place) -> Vec<f32> {
        self.mixed(place, self.points)
    }

    /// Other values of the three points, mixed in the same proportion.
    pub fn mixed(&self, (x, y): Place, [a, b, c]: [&[f32]; 3]) -> Vec<f32> {
        let t = y / self.h;
        let s = (x - t * self.p) / self.d;
        match (s, t) {
            (0.0, 0.0) => a.to_vec(),
            (1.0, 0.0) => b.to_vec(),
            (0.0, 1.0) => c.to_vec(),
            _ => {
                let mix = |[a, b, c]: [f64; 3]| (a + s * (b - a) + t * (c - a)) as f32;
                values([a, b, c]).map(mix).collect()
            }
        }
    }

    /// Where the point of the plane is that is nearest to `point`, and how far from it.
    pub fn nearest(&self, point: &[f32]) -> (Place, f64) {
        let Self { points, d, p, h } = *self;
        let [a, b, c] = points;
        let x = dot(point, a, b, a) / d;
        let y = (dot(point, a, c, a) - p * x) / h;
        let away = values(points).zip(point).map(|([a, b, c], point)| {
            let u = (b - a) / d;
            let v = (c - a - p * u) / h;
            f64::from(*point) - a - x * u - y * v
        });
        ((x, y), norm(away))
    }
}

/// The values of three points, one after another.
fn values([a, b, c]: [&[f32]; 3]) -> impl Iterator<Item = [f64; 3]> {
    let triples = a.iter().zip(b).zip(c);
    triples.map(|((a, b), c)| [*a, *b, *c].map(f64::from))
}

/// `(a - b) . (c - d)`
fn dot(a: &[f32], b: &[f32], c: &[f32], d: &[f32]) -> f64 {
    let (first, second) = (a.iter().zip(b), c.iter().zip(d));
    let products = first.zip(second).map(|((a, b), (c, d))| {
        let (first, second) = (f64::from(*a) - f64::from(*b), f64::from(*c) - f64::from(*d));
        first * second
    });
    products.sum()
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plane_by_hand() {
        let (a, b, c) = ([1.0, 1.0, 1.0], [4.0, 1.0, 1.0], [2.0, 3.0, 1.0]);
        let plane = Plane::through([&a, &b, &c]).unwrap();
        assert_eq!(plane.corners(), [(0.0, 0.0), (3.0, 0.0), (1.0, 2.0)]);
        assert_eq!(plane.at((1.5, -1.0)), [2.5, 0.0, 1.0]);
        assert_eq!(plane.nearest(&[3.0, 2.0, 6.0]), ((2.0, 1.0), 5.0));
        assert_eq!(plane.mixed((3.0, 0.0), [&[0.5], &[0.25], &[8.0]]), [0.25]);
        let [u, v] = plane.axes();
        let axis = |of: [f64; 3]| {
            let value = |[a, b, c]: [f64; 3]| of[0] * a + of[1] * b + of[2] * c;
            values([&a, &b, &c]).map(value).collect::<Vec<_>>()
        };
        for (found, expected) in [(axis(u), [1.0, 0.0, 0.0]), (axis(v), [0.0, 1.0, 0.0])] {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-15, "{found} {expected}");
            }
        }
    }

    #[test]
    fn three_points_that_span_no_plane() {
        let through = |a: [f32; 3], b: [f32; 3], c: [f32; 3]| {
            Plane::through([&a, &b, &c]).map(|plane| plane.corners())
        };
        let (a, b, c) = ([1.0, 2.0, 3.0], [2.0, 2.5, -1.0], [0.0, 1.0, 1.0]);
        assert_eq!(through(a, a, c), Err(Flat::Same(0, 1)));
        assert_eq!(through(a, b, a), Err(Flat::Same(0, 2)));
        assert_eq!(through(a, b, b), Err(Flat::Same(1, 2)));
        assert_eq!(through(a, a, a), Err(Flat::Same(0, 1)));
        let half = [1.5, 2.25, 1.0];
        for (a, b, c) in [(a, b, half), (half, a, b), (a, half, b)] {
            assert_eq!(through(a, b, c), Err(Flat::Line));
        }
    }

    /// The mean of two workers, rounded, is between them as far as any picture can show.
    #[test]
    fn a_rounded_mean_spans_no_plane() {
        let a: Vec<f32> = (0..500).map(|i| (f64::from(i)).sin() as f32).collect();
        let b: Vec<f32> = (0..500)
            .map(|i| (f64::from(i) * 1.001).sin() as f32)
            .collect();
        let mean: Vec<f32> = a.iter().zip(&b).map(|(a, b)| (a + b) / 2.0).collect();
        let plane = Plane::through([&a, &b, &mean]);
        assert_eq!(plane.map(|plane| plane.corners()), Err(Flat::Line));
    }

    const LENGTH: usize = 7;

    fn vector() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-8.0f32..8.0, LENGTH)
    }

    fn distance(one: &[f32], other: &[f32]) -> f64 {
        dot(one, other, one, other).sqrt()
    }

    proptest! {
        #[test]
        fn the_three_points_are_in_it_bit_for_bit(a in vector(), b in vector(), c in vector()) {
            let points = [&a[..], &b, &c];
            let Ok(plane) = Plane::through(points) else { return Ok(()) };
            for (place, point) in plane.corners().into_iter().zip(points) {
                prop_assert_eq!(plane.at(place), point);
                let ((x, y), away) = plane.nearest(point);
                prop_assert!(away < 1e-9, "{}", away);
                prop_assert!((x - place.0).hypot(y - place.1) < 1e-9);
            }
        }

        #[test]
        fn distances_are_kept(
            a in vector(), b in vector(), c in vector(),
            places in prop::array::uniform4(-20.0f64..20.0),
        ) {
            let Ok(plane) = Plane::through([&a, &b, &c]) else { return Ok(()) };
            // A flat triangle enlarges the rounding of the parameters.
            let [_, _, (_, height)] = plane.corners();
            prop_assume!(height > 0.5);
            let [x, y, z, w] = places;
            let (one, other) = (plane.at((x, y)), plane.at((z, w)));
            let expected = (x - z).hypot(y - w);
            prop_assert!((distance(&one, &other) - expected).abs() < 1e-3);
            let ((found_x, found_y), away) = plane.nearest(&one);
            prop_assert!(away < 1e-3 && (found_x - x).hypot(found_y - y) < 1e-3);
        }

        /// Pythagoras, for any point of the plane: the nearest is at a right angle.
        #[test]
        fn the_nearest_is_at_a_right_angle(
            a in vector(), b in vector(), c in vector(), point in vector(),
        ) {
            let Ok(plane) = Plane::through([&a, &b, &c]) else { return Ok(()) };
            let [_, (d, _), (p, h)] = plane.corners();
            prop_assume!(d > 0.5 && h > 0.5);
            let ((x, y), away) = plane.nearest(&point);
            for (corner, (cx, cy)) in [&a, &b, &c].into_iter().zip([(0.0, 0.0), (d, 0.0), (p, h)]) {
                let direct = distance(&point, corner);
                let around = (x - cx).hypot(y - cy).hypot(away);
                prop_assert!((direct - around).abs() < 1e-6, "{} {}", direct, around);
            }
        }

        #[test]
        fn axes_are_orthonormal(a in vector(), b in vector(), c in vector()) {
            let Ok(plane) = Plane::through([&a, &b, &c]) else { return Ok(()) };
            let [_, (d, _), (_, h)] = plane.corners();
            prop_assume!(d > 0.5 && h > 0.5);
            let axes = plane.axes().map(|of| {
                let value = |[a, b, c]: [f64; 3]| of[0] * a + of[1] * b + of[2] * c;
                values([&a, &b, &c]).map(value).collect::<Vec<f64>>()
            });
            let product = |i: usize, j: usize| -> f64 {
                axes[i].iter().zip(&axes[j]).map(|(one, other)| one * other).sum()
            };
            prop_assert!((product(0, 0) - 1.0).abs() < 1e-9);
            prop_assert!((product(1, 1) - 1.0).abs() < 1e-9);
            prop_assert!(product(0, 1).abs() < 1e-9);
        }
    }
}
