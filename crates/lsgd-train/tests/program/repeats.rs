//! In `sync` the same config and seed give the same bits.

use serde_json::Value;

use super::program::{Ran, Run, Runs, SMOKE, command};

/// Three workers on a model large enough to be spread over the threads of a pool.
const SET: [&str; 5] = [
    "workers.count=3",
    "model.width=16",
    "data.shape=[3,16,16]",
    "budget.steps=10",
    "evaluate.every_steps=4",
];

fn train(runs: &Runs, name: &str, set: &[&str]) -> Run {
    let set: Vec<&str> = SET.iter().chain(set).copied().collect();
    runs.train(SMOKE, name, &set)
}

/// The events without the time they took, workers' adoptions in the order of their numbers: which
/// of them was faster is not the run's arithmetic, and neither is where it was interrupted.
pub fn timeless(run: &Run) -> Vec<String> {
    let mut events = run.lines("events.jsonl");
    events.retain(|event| event["event"] != "resumed");
    events.sort_by_key(|event| (event["step"].as_u64(), event["worker"].to_string()));
    let timeless = |mut event: Value| {
        let fields = event.as_object_mut().unwrap();
        assert!(fields.remove("seconds").is_some_and(|s| s.is_number()));
        event.to_string()
    };
    events.into_iter().map(timeless).collect()
}

#[track_caller]
pub fn assert_same(first: &Run, second: &Run) {
    assert_eq!(first.digests(), second.digests());
    for which in ["leader", "mean"] {
        assert!(first.export(which) == second.export(which), "{which}");
    }
    let errors = |run: &Run| run.summary()["test"].clone();
    assert_eq!(errors(first), errors(second));
    assert_eq!(timeless(first), timeless(second));
}

/// Twice, and with other pool sizes: those of the workers and the process's own.
fn repeats(method: &str) {
    let runs = Runs::new();
    let method = format!("method.name={method}");
    let first = train(&runs, "first", &[&method]);
    assert_eq!(first.digests().len(), 3);
    assert_same(&first, &train(&runs, "again", &[&method]));
    for threads in [
        "workers.threads=2",
        "workers.threads=3",
        "workers.loaders=3",
    ] {
        assert_same(&first, &train(&runs, threads, &[&method, threads]));
    }
    for threads in ["1", "5"] {
        let name = format!("pool-{threads}");
        let set: Vec<&str> = SET.iter().copied().chain([method.as_str()]).collect();
        let mut command = command(runs.arguments(SMOKE, &name, &set));
        Ran::of(command.env("RAYON_NUM_THREADS", threads).output().unwrap()).well();
        assert_same(&first, &runs.get(&name));
    }

    let other = train(&runs, "other", &[&method, "run.seed=2"]).digests();
    for digest in first.digests() {
        assert!(!other.contains(&digest));
    }
}

#[test]
fn lsgd_repeats_to_the_bit() {
    repeats("lsgd");
}

#[test]
fn local_sgd_repeats_to_the_bit() {
    repeats("local_sgd");
}

/// What is random besides the weights and the batches comes from the seed too.
#[test]
fn dropout_and_augmentation_repeat() {
    let runs = Runs::new();
    let set = [
        "model.name=cnn7",
        "data.shape=[3,32,32]",
        "data.augment=paper",
        "data.examples=100",
        "budget.steps=3",
        "data.batch_size=4",
    ];
    let first = runs.train(SMOKE, "first", &set);
    let second = runs.train(SMOKE, "second", &set);
    assert_eq!(first.digests(), second.digests());
}

/// A run's `config.toml` is the run: nothing on the command line or by default is left out of it.
#[test]
fn the_config_of_a_run_runs_again_as_it_is() {
    let runs = Runs::new();
    let set = ["run.overwrite=false", "method.local_pull=0.3", "run.seed=9"];
    let first = train(&runs, "first", &set);
    let config = first.join("config.toml");
    let config = config.to_str().unwrap();

    let again = super::program::run(["--config", config]);
    let text = format!(
        "{} exists; choose another run.name, or replace it with --set run.overwrite=true",
        first.path.display()
    );
    again.failed(2, &text);

    let second = super::program::run(["--config", config, "--set", "run.name=second"]);
    second.well();
    assert_same(&first, &runs.get("second"));

    let digests = first.digests();
    let replaced = super::program::run(["--config", config, "--set", "run.overwrite=true"]);
    replaced.well();
    assert_eq!(first.digests(), digests);
}
