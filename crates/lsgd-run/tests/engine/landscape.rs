//! The plane through three vectors of a run, against the same computed by other means: a regression's loss is
//! a formula.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;

use lsgd_core::Source;
use lsgd_run::RunError;
use lsgd_run::config::Settings;
use lsgd_run::landscape::{Landscape, LandscapeError, Progress, Request, survey};
use lsgd_run::storage::{CheckpointName, CheckpointState, RunFolder};
use safetensors::SafeTensors;
use serde_json::Value;

use super::toy::{INPUTS, Toy, batch, endpoints, node, run, settings};

fn request(run: RunFolder) -> Request {
    Request {
        run,
        checkpoint: CheckpointName::Newest,
        points: None,
        size: 7,
        examples: 1000,
        metric: None,
    }
}

fn surveyed(settings: &Settings, request: &Request) -> Result<Landscape, RunError> {
    let make = |_: lsgd_run::train::Context| Ok(Toy::default());
    survey(settings.clone(), request, make, &mut |_| {
        ControlFlow::Continue(())
    })
}

/// Weight and bias of a vector in a checkpoint, as its file has them.
fn values(checkpoint: &Path, name: &str) -> Vec<f64> {
    let bytes = std::fs::read(checkpoint.join(format!("{name}.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |name: &str| {
        let bytes = file.tensor(name).unwrap().data().to_vec();
        let floats = bytes.chunks_exact(4).map(|b| b.try_into().unwrap());
        floats
            .map(|bytes| f64::from(f32::from_le_bytes(bytes)))
            .collect::<Vec<f64>>()
    };
    [tensor("weight"), tensor("bias")].concat()
}

/// The mean square of a line on the first `parts` parts of the held-out examples.
fn mean_square(line: &[f64], parts: u64) -> f64 {
    let mut squares = Vec::new();
    for part in 0..parts {
        let batch = batch(1_000_000 + part);
        for (inputs, target) in batch.inputs.chunks(INPUTS).zip(batch.targets) {
            let products = inputs.iter().zip(line).map(|(x, w)| f64::from(*x) * w);
            let output = products.sum::<f64>() + line[INPUTS];
            squares.push((output - f64::from(target)).powi(2));
        }
    }
    squares.iter().sum::<f64>() / squares.len() as f64
}

#[test]
fn the_plane_is_that_of_the_formula() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), |settings| {
        settings.workers.count = Some(4);
        // Not where all are at the leader.
        settings.budget.steps = Some(7);
    });
    let outcome = run(Toy::default(), settings.clone()).unwrap();
    let mut request = request(outcome.folder.clone());
    request.points = Some("worker-2,worker-0,worker-3".parse().unwrap());
    for (examples, parts) in [(1000, 3), (9, 2)] {
        request.examples = examples;
        let landscape = surveyed(&settings, &request).unwrap();
        assert_eq!(landscape.examples, 8 * parts);
        assert_eq!(landscape.statistics_batches, None);
        let checkpoint = outcome.folder.join("checkpoints/step-7");
        assert_eq!(landscape.checkpoint, checkpoint);
        let json: Value = {
            let [_, (_, json), _] = landscape.files(Path::new("a run")).unwrap();
            serde_json::from_str(&json).unwrap()
        };
        let corners = ["worker-2", "worker-0", "worker-3"].map(|name| values(&checkpoint, name));
        // From what the file says of the axes alone.
        let axis = |name: &str| -> Vec<f64> {
            let of: Vec<f64> = serde_json::from_value(json["axes"][name].clone()).unwrap();
            let value = |index: usize| (0..3).map(|k| of[k] * corners[k][index]).sum();
            (0..=INPUTS).map(value).collect()
        };
        let (u, v) = (axis("x"), axis("y"));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for (product, expected) in [(dot(&u, &u), 1.0), (dot(&v, &v), 1.0), (dot(&u, &v), 0.0)] {
            assert!((product - expected).abs() < 1e-4, "{product} {expected}");
        }
        let mut checked = 0;
        for (score, (x, y)) in landscape.scores.iter().zip(landscape.grid.places()) {
            let line: Vec<f64> = (0..=INPUTS)
                .map(|index| corners[0][index] + x * u[index] + y * v[index])
                .collect();
            let (found, expected) = (
                score.as_ref().unwrap().get("square").unwrap(),
                mean_square(&line, parts),
            );
            assert!(
                (found - expected).abs() < 1e-4 * (1.0 + expected),
                "{x} {y}: {found} {expected}"
            );
            checked += 1;
        }
        assert_eq!(checked, 49);
        check_points(&landscape, &checkpoint, parts);
    }
}

/// The run's vectors, each scored by itself: one in the plane has the score of its place.
fn check_points(landscape: &Landscape, checkpoint: &Path, parts: u64) {
    let names: Vec<String> = landscape
        .points
        .iter()
        .map(|p| p.point.to_string())
        .collect();
    let expected = ["worker-2", "worker-0", "worker-3", "worker-1", "mean"];
    assert_eq!(names, expected);
    let lines: BTreeMap<&str, Vec<f64>> = expected
        .into_iter()
        .map(|name| (name, values(checkpoint, name)))
        .collect();
    let distance = |one: &str, other: &str| {
        let pairs = lines[one].iter().zip(&lines[other]);
        pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    };
    let origin = landscape
        .grid
        .places()
        .position(|place| place == (0.0, 0.0));
    let at_origin = landscape.scores[origin.unwrap()].as_ref();
    for (placed, name) in landscape.points.iter().zip(expected) {
        let square = placed.score.get("square").unwrap();
        let expected = mean_square(&lines[name], parts);
        assert!(
            (square - expected).abs() < 1e-5,
            "{name}: {square} {expected}"
        );
        let (x, y) = placed.place;
        let from_origin = x.hypot(y).hypot(placed.distance);
        assert!(
            (from_origin - distance(name, "worker-2")).abs() < 1e-5,
            "{name}"
        );
    }
    for placed in &landscape.points[..3] {
        assert!(placed.distance < 1e-6);
    }
    // To the bit: it is the same vector.
    assert_eq!(at_origin, Some(&landscape.points[0].score));
}

#[test]
fn a_survey_tells_how_far_it_is_and_can_be_ended() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), |settings| {
        settings.workers.count = Some(3);
        settings.budget.steps = Some(7);
    });
    let outcome = run(Toy::default(), settings.clone()).unwrap();
    let request = request(outcome.folder.clone());
    let mut seen = Vec::new();
    let mut told = |progress: Progress| {
        seen.push(progress);
        ControlFlow::Continue(())
    };
    let make = |_: lsgd_run::train::Context| Ok(Toy::default());
    survey(settings.clone(), &request, make, &mut told).unwrap();
    // Three workers, their mean and the grid.
    let of = 4 + 49;
    let expected: Vec<Progress> = (1..=of).map(|done| Progress { done, of }).collect();
    assert_eq!(seen, expected);

    let mut calls = 0;
    let mut told = |_: Progress| {
        calls += 1;
        match calls {
            10 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    let make = |_: lsgd_run::train::Context| Ok(Toy::default());
    let ended = survey(settings, &request, make, &mut told);
    assert!(matches!(ended, Err(RunError::Interrupted)), "{ended:?}");
    assert_eq!(calls, 10);
}

#[test]
fn what_spans_no_plane_or_is_no_metric_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), |settings| settings.budget.steps = Some(7));
    let outcome = run(Toy::default(), settings.clone()).unwrap();
    let mut request = request(outcome.folder.clone());
    // Two workers and their mean.
    let none = surveyed(&settings, &request).unwrap_err();
    assert!(matches!(none, RunError::Absent { .. }), "{none}");
    for points in [
        "worker-0,worker-1,mean",
        "worker-0,worker-1,leader",
        "mean,mean,leader",
    ] {
        request.points = Some(points.parse().unwrap());
        let flat = surveyed(&settings, &request).unwrap_err();
        let is_flat = matches!(flat, RunError::Landscape(LandscapeError::Flat { .. }));
        assert!(is_flat, "{points}: {flat}");
    }
    request.metric = Some(String::from("squares"));
    let error = surveyed(&settings, &request).unwrap_err().to_string();
    let expected = "--metric squares: the task has none of that name; give \"square\"";
    assert_eq!(error, expected);
}

/// The leader of all nodes is a point of the plane of every node, wherever it trains.
#[test]
fn a_node_knows_the_leader_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let endpoints = endpoints(2);
    let nodes: Vec<_> = (1..=2)
        .map(|number| {
            let mut settings = node(folder.path(), number, &endpoints);
            settings.workers.count = Some(3);
            // Seven steps after the last global exchange.
            settings.budget.steps = Some(39);
            thread::spawn(move || (run(Toy::default(), settings.clone()).unwrap(), settings))
        })
        .collect();
    let nodes: Vec<_> = nodes.into_iter().map(|node| node.join().unwrap()).collect();
    let mut leaders = Vec::new();
    for (number, (outcome, settings)) in nodes.iter().enumerate() {
        let request = request(outcome.folder.clone());
        let (_, state) = CheckpointState::named(&outcome.folder, CheckpointName::Newest).unwrap();
        let Some(source @ Source::Worker { id, step: 32 }) = state.delivered() else {
            panic!("{:?}", state.delivered());
        };
        let landscape = surveyed(settings, &request).unwrap();
        let names: Vec<String> = landscape
            .points
            .iter()
            .map(|p| p.point.to_string())
            .collect();
        let is_own = id.node as usize == number && Some(id.worker as usize) == state.leader;
        assert_eq!(names[..3].contains(&String::from("global-leader")), !is_own);
        let all = landscape.points.iter();
        let global = all.filter(|placed| placed.point.to_string() == "global-leader");
        let global: Vec<_> = global.collect();
        assert_eq!(global.len(), 1, "{names:?}");
        assert_eq!(global[0].source, source);
        leaders.push((source, global[0].score.clone()));
    }
    assert_eq!(leaders[0], leaders[1]);
}
