//! `examples/landscape`.

use crate::methods::{self, ITERATIONS, PULL, RATE, STARTS, WORKERS};
use crate::surface;

/// Central differences, on the axes and off them, and on both sides of where the series takes over.
#[test]
fn gradient_is_the_slope() {
    let points = [
        [3e-5, -4e-5],
        [9e-5, 9e-5],
        [0.3, 0.0],
        [0.0, -1.43],
        [-6.0, -4.0],
        [20.0, 11.0],
    ];
    for point in points {
        for axis in 0..2 {
            let step = 1e-5;
            let [ahead, behind] = [step, -step].map(|step| {
                let mut moved = point;
                moved[axis] += step;
                surface::value(moved)
            });
            let slope = (ahead - behind) / (2.0 * step);
            let gradient = surface::gradient(point)[axis];
            assert!(
                (gradient - slope).abs() < 1e-9,
                "{point:?}: {gradient}, not {slope}"
            );
        }
    }
    assert_eq!(surface::value([0.0, 0.0]), 1.0);
    assert_eq!(surface::gradient([0.0, 0.0]), [0.0, 0.0]);
}

/// The bottoms are the solutions of `tan(pi r) = pi r`, and lie in their troughs.
#[test]
fn bottoms_are_stationary() {
    for (number, expected) in [(1, 1.430_297), (2, 3.470_890), (3, 5.481_537)] {
        let bottom = surface::bottom(number);
        assert!((bottom - expected).abs() < 1e-6, "{bottom}, not {expected}");
        assert_eq!(surface::trough([0.0, -bottom]), Some(number));
        assert_eq!(surface::trough([bottom + 1.0, 0.0]), None);
    }
}

/// The equations above [`methods::leader`], in `f64`.
fn equations() -> Vec<[[f64; 2]; WORKERS]> {
    let mut at = STARTS;
    let mut places = vec![at];
    for _ in 0..ITERATIONS {
        let values = at.map(surface::value);
        let best = (0..WORKERS).min_by(|a, b| values[*a].total_cmp(&values[*b]));
        let best = best.expect("there are workers");
        for place in &mut at {
            let gradient = surface::gradient(*place);
            (0..2).for_each(|axis| place[axis] -= RATE * gradient[axis]);
        }
        let leader = at[best];
        for place in &mut at {
            (0..2).for_each(|axis| place[axis] -= PULL * (place[axis] - leader[axis]));
        }
        places.push(at);
    }
    places
}

/// Until all have the same f in `f32`, and rounding decides who leads.
#[test]
fn the_crates_workers_follow_the_equations_within_rounding() {
    let trace = methods::leader().expect("runs");
    let expected = equations();
    assert_eq!(trace.moments.len(), expected.len());
    let told_apart = trace.moments.iter().zip(&expected).take(70);
    for (iteration, (moment, expected)) in told_apart.enumerate() {
        for (at, expected) in moment.at.iter().zip(expected) {
            let apart = (at[0] - expected[0]).hypot(at[1] - expected[1]);
            assert!(
                apart < 1e-5,
                "iteration {iteration}: {at:?}, not {expected:?}"
            );
        }
    }
}

/// What `docs/experiments.md` says.
#[test]
fn lgd_ends_in_the_deepest_trough_and_eagd_in_the_second() {
    let traces = [
        (methods::leader().expect("runs"), 1),
        (methods::elastic(), 2),
    ];
    for (trace, number) in traces {
        let end = trace.moments.last().expect("moments");
        let bottom = surface::value([surface::bottom(number), 0.0]);
        for place in end.at {
            let method = trace.method;
            assert_eq!(surface::trough(place), Some(number), "{method}: {place:?}");
            let above = surface::value(place) - bottom;
            assert!(
                (0.0..1e-4).contains(&above),
                "{method}: {above} above the bottom"
            );
        }
    }
}
