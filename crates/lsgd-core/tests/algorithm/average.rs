//! Moving averages of parameters, against `tests/reference/average.py`.

use burn::module::Module;
use lsgd_core::{
    AverageState, Layout, LocalLeader, Method, Mode, MovingAverage, SnapshotError, Source, read,
};
use serde::Deserialize;

use crate::memory::Node;
use crate::setting::{Bowl, Halves, Place, Point, bits, bowl_worker, exchanges, sgd};

#[derive(Debug, Deserialize)]
struct Reference {
    /// The first is where it begins.
    points: Vec<Vec<f32>>,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    decay: f64,
    averages: Vec<Vec<f64>>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../reference/average.json")).expect("as the script wrote it")
}

fn state<M: Module>(average: &MovingAverage, module: &M) -> AverageState {
    let source = Source::Mean { workers: 1 };
    let own = read(module, &Layout::of(module), source).expect("of its own layout");
    average.state(&own).expect("of its own layout")
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let error = (f64::from(*found) - expected).abs();
        assert!(
            error < 2e-6 * expected.abs().max(1.0),
            "{found} for {expected}"
        );
    }
}

#[test]
fn averages_are_those_of_numpy() {
    let Reference { points, cases } = reference();
    for Case { decay, averages } in cases {
        let mut at = Point::at(&points[0]);
        let mut average = MovingAverage::new(decay, &at, &Layout::of(&at));
        assert_eq!(state(&average, &at).values.parameters(), points[0]);
        for (step, expected) in averages.iter().enumerate() {
            at = Point::at(&points[step + 1]);
            average.update(&at);
            let found = state(&average, &at);
            assert_eq!(found.steps, step as u64 + 1);
            assert_close(found.values.parameters(), expected);
        }
    }
}

#[test]
fn an_average_continues_with_the_same_bits() {
    let points = reference().points;
    let mut whole = MovingAverage::new(
        0.75,
        &Point::at(&points[0]),
        &Layout::of(&Point::at(&points[0])),
    );
    for (step, point) in points[1..].iter().enumerate() {
        let before = state(&whole, &Point::at(point));
        let at = Point::at(point);
        let mut resumed = MovingAverage::resuming(0.75, &at, &before).expect("of its layout");
        resumed.update(&at);
        whole.update(&at);
        let [whole, resumed] = [&whole, &resumed].map(|average| state(average, &at));
        let [of_whole, of_resumed] = [&whole, &resumed].map(|s| bits(s.values.parameters()));
        assert_eq!(
            (of_whole, whole.steps),
            (of_resumed, resumed.steps),
            "step {step}"
        );
    }
}

#[test]
fn an_average_of_another_model_is_refused() {
    let at = Point::at(&[1.0, 2.0]);
    let average = MovingAverage::new(0.5, &at, &Layout::of(&at));
    let refused = MovingAverage::resuming(0.5, &Point::at(&[1.0]), &state(&average, &at));
    assert!(matches!(refused, Err(SnapshotError::Layout { .. })));
}

/// A point that stays is its own average, to the bit, and a frozen one has none.
#[test]
fn only_trainable_parameters_are_averaged() {
    let mut at = Halves::place(&[0.1, 0.7]);
    at.first = at.first.no_grad();
    let mut average = MovingAverage::new(0.9, &at, &Layout::of(&at));
    for _ in 0..20 {
        average.update(&at);
    }
    assert_eq!(state(&average, &at).values.parameters(), [0.7]);
}

/// Those that an exchange leaves them with, even if the worker had to wait for it.
#[test]
fn workers_average_the_parameters_after_every_exchange() {
    for (method, mode) in [
        (Method::local_sgd(exchanges(3)).expect("valid"), Mode::Sync),
        (
            Method::data_parallel(4, exchanges(1).batch_norm).expect("valid"),
            Mode::Sync,
        ),
        (Method::sgd(4), Mode::Async),
    ] {
        let leader = LocalLeader::new(0, 2, method.clone(), mode).expect("runs in this mode");
        let mut expected: Vec<Vec<f64>> = Vec::new();
        let mut node: Node<Point, Bowl> = Node::new(leader, |exchange| {
            let worker = bowl_worker(method.clone(), sgd(), exchange);
            let at = worker.module();
            expected.push(at.values().into_iter().map(f64::from).collect());
            let average = MovingAverage::new(0.5, at, &Layout::of(at));
            worker.averaging(Some(average))
        });
        for step in 1..=20_u64 {
            assert_eq!(node.run(step), Ok(true));
            let decay = (step as f64 / (9 + step) as f64).min(0.5);
            for (worker, expected) in node.workers().zip(&mut expected) {
                let at = worker.module().values();
                for (average, x) in expected.iter_mut().zip(at) {
                    *average = decay * *average + (1.0 - decay) * f64::from(x);
                }
                let found = state(worker.average().expect("it keeps one"), worker.module());
                assert_eq!(found.steps, step);
                assert_close(found.values.parameters(), expected);
            }
        }
    }
}
