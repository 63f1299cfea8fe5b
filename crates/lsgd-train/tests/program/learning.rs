//! Runs learn, by every method and in both modes.

use super::program::{QUICKSTART, Run, Runs};

fn worker_mean(run: &Run) -> f64 {
    run.summary()["test"]["worker_mean"]["error"]
        .as_f64()
        .unwrap()
}

fn beats_its_start(set: &[&str]) -> Run {
    let runs = Runs::new();
    let with = |budget| {
        let own = ["workers.count=2", "evaluate.every_steps=1000", budget];
        let set: Vec<&str> = own.iter().chain(set).copied().collect();
        set
    };
    let start = runs.train(QUICKSTART, "start", &with("budget.steps=1"));
    let end = runs.train(QUICKSTART, "end", &with("budget.epochs=4"));
    // Ten classes: guessing is 90 % wrong.
    assert!(worker_mean(&start) > 50.0, "{}", start.summary());
    assert!(worker_mean(&end) < 20.0, "{}", end.summary());
    let leader = end.summary()["test"]["leader"]["error"].as_f64().unwrap();
    assert!(leader < 20.0, "{}", end.summary());
    let mean = end.summary()["test"]["replica_mean"]["error"]
        .as_f64()
        .unwrap();
    assert!(mean < 20.0, "{}", end.summary());
    end
}

#[test]
fn a_quickstart_of_two_workers_beats_its_own_start() {
    beats_its_start(&[]);
}

#[test]
fn so_it_does_in_async() {
    beats_its_start(&["run.mode=async"]);
}

#[test]
fn so_do_the_methods_to_compare_with() {
    beats_its_start(&["method.name=local_sgd"]);
    beats_its_start(&["method.name=sgd"]);
}

/// Burn keeps what a forward pass puts on the tape until a backward pass, which re-estimating
/// BatchNorm statistics never makes.
#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_batches_that_statistics_are_estimated_from() {
    let peak = |batches: &str| {
        let runs = Runs::new();
        let batches = format!("evaluate.batch_norm_batches={batches}");
        let run = runs.train(
            QUICKSTART,
            "run",
            &["budget.steps=100", "evaluate.every_steps=100", &batches],
        );
        run.summary()["peak_memory_bytes"].as_u64().unwrap()
    };
    let (few, many) = (peak("4"), peak("400"));
    assert!(many < 2 * few, "{few} bytes, then {many}");
}
