//! `examples/matrix_completion`.

use ndarray::{Array2, array};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::completion::{Completion, normal};
use crate::completion_methods::{ITERATIONS, Method, Moment, PENALTY, WORKERS, run};

/// `1/4 |U U' - X X'|^2`, as it is written.
fn by_definition(u: &Array2<f64>, x: &Array2<f64>) -> f64 {
    let apart = u.dot(&u.t()) - x.dot(&x.t());
    apart.iter().map(|entry| entry * entry).sum::<f64>() / 4.0
}

/// Neither F nor its gradient, by central differences, differs from the definition.
#[test]
fn value_and_gradient_are_those_of_the_definition() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (u, x) = (normal((7, 3), &mut random), normal((7, 3), &mut random));
    let problem = Completion::new(u.clone());
    let (value, gradient) = problem.evaluate(&x);
    assert!((value - by_definition(&u, &x)).abs() < 1e-10 * value);
    for ((row, column), slope) in gradient.indexed_iter() {
        let step = 1e-5;
        let [ahead, behind] = [step, -step].map(|step| {
            let mut moved = x.clone();
            moved[(row, column)] += step;
            by_definition(&u, &moved)
        });
        let difference = (ahead - behind) / (2.0 * step);
        assert!(
            (slope - difference).abs() < 1e-5,
            "{slope}, not {difference}"
        );
    }
    let (at_solution, gradient) = problem.evaluate(&u);
    assert!(at_solution.abs() < 10.0 * problem.rounding());
    assert!(gradient.iter().all(|slope| slope.abs() < 1e-10));
}

/// Mean, variance and fourth moment of N(0, 1), each within five of its own standard deviations.
#[test]
fn starts_are_normal() {
    let draws = normal((100, 1000), &mut ChaCha8Rng::seed_from_u64(2));
    let count = draws.len() as f64;
    for (power, moment, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (4, 3.0, 96.0)] {
        let mean = draws.iter().map(|x: &f64| x.powi(power)).sum::<f64>() / count;
        let deviation = (variance / count).sqrt();
        assert!(
            (mean - moment).abs() < 5.0 * deviation,
            "power {power}: {mean}"
        );
    }
}

/// One iteration of two numbers: `F(x) = (1 - x^2)^2 / 4`, from 2 and 1/2, of which 1/2 leads.
#[test]
fn an_iteration_is_that_of_the_equations() {
    let rate = 0.1;
    let strength = PENALTY * rate;
    let problem = Completion::new(array![[1.0]]);
    let starts = [array![[2.0]], array![[0.5]]];
    let value = |x: f64| (1.0 - x * x).powi(2) / 4.0;
    // The gradients are x^3 - x: 6 and -3/8. The centre begins at 5/4.
    let ends = [
        (Method::Gd, [1.4, 0.5375]),
        (Method::Lgd, [1.4 - strength * 1.5, 0.5375]),
        (
            Method::Eagd,
            [1.4 - strength * 0.75, 0.5375 + strength * 0.75],
        ),
    ];
    for (method, ends) in ends {
        let moments = run(method, &problem, &starts, rate);
        assert_eq!(moments.len(), ITERATIONS + 1);
        let expected = ends.map(value);
        let Moment { best, mean } = moments[1];
        let name = method.name();
        assert!(
            (best - expected[0].min(expected[1])).abs() < 1e-12,
            "{name}: {best}"
        );
        let expected = (expected[0] + expected[1]) / 2.0;
        assert!(
            (mean - expected).abs() < 1e-12,
            "{name}: {mean}, not {expected}"
        );
    }
}

/// What `docs/experiments.md` says, of one instance of rank 1 and a tenth of the rows.
#[test]
fn all_but_eagd_come_to_a_solution() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let shape = (100, 1);
    let problem = Completion::new(normal(shape, &mut random));
    let starts: Vec<_> = (0..WORKERS).map(|_| normal(shape, &mut random)).collect();
    for method in Method::ALL {
        let moments = run(method, &problem, &starts, 5e-3);
        let end = moments.last().expect("moments").best.abs();
        let solved = end < 10.0 * problem.rounding();
        assert_eq!(solved, method != Method::Eagd, "{}: {end}", method.name());
        assert!(solved || end > 1e-4, "{end}");
    }
}
