//! When checkpoints and evaluations are made, which are kept, and when a run ends.

use serde_json::Value;

use super::program::{Run, Runs, SMOKE};

fn evaluated(run: &Run) -> Vec<u64> {
    let lines = run.metrics("evaluation");
    lines
        .iter()
        .map(|line| line["step"].as_u64().unwrap())
        .collect()
}

fn written(run: &Run) -> Vec<u64> {
    let lines = run.events("checkpoint");
    lines
        .iter()
        .map(|line| line["step"].as_u64().unwrap())
        .collect()
}

#[test]
fn the_last_and_the_best_are_kept() {
    let runs = Runs::new();
    // From step 8 on the learning rate is absurd: what comes later is worse.
    let absurd = "schedule.drops=[{ steps = 8, factor = 100.0 }]";
    let set = |keep: &'static str| {
        [
            "checkpoint.every_steps=4",
            keep,
            "evaluate.every_steps=4",
            "schedule.kind=steps",
            absurd,
        ]
    };
    let run = runs.train(
        SMOKE,
        "one",
        &[&set("checkpoint.keep=1")[..], &["budget.steps=24"]].concat(),
    );
    assert_eq!(written(&run), [4, 8, 12, 16, 20, 24]);
    let best = run.summary()["best"]["step"].as_u64().unwrap();
    assert!(best <= 8, "{}", run.summary());
    assert_eq!(
        run.checkpoints(),
        ["step-24".to_owned(), format!("step-{best}")]
    );

    let run = runs.train(
        SMOKE,
        "two",
        &[&set("checkpoint.keep=2")[..], &["budget.steps=24"]].concat(),
    );
    let expected = [
        "step-20".to_owned(),
        "step-24".to_owned(),
        format!("step-{best}"),
    ];
    assert_eq!(run.checkpoints(), expected);
    for name in run.checkpoints() {
        // All of it: a mean there exists only as long as no worker has diverged.
        for file in ["state.json", "worker-0.safetensors", "worker-1.safetensors"] {
            assert!(run.join("checkpoints").join(&name).join(file).is_file());
        }
    }
}

/// Without `checkpoint.every_*`: whenever an evaluation is the best so far, and at the end.
#[test]
fn the_best_and_the_end_are_written_unasked() {
    let runs = Runs::new();
    let run = runs.train(
        SMOKE,
        "unasked",
        &["evaluate.every_steps=4", "checkpoint.keep=100"],
    );
    let mut best = f64::INFINITY;
    let mut expected: Vec<u64> = Vec::new();
    for line in run.metrics("evaluation") {
        let error = |score: &Value| score["error"].as_f64().unwrap_or(f64::INFINITY);
        let lowest = error(&line["leader"]["test"]).min(error(&line["replica_mean"]));
        let step = line["step"].as_u64().unwrap();
        if lowest < best || step == 16 {
            best = best.min(lowest);
            expected.push(step);
        }
    }
    assert_eq!(written(&run), expected);
}

#[test]
fn evaluations_come_by_steps_and_by_epochs() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "steps", &["evaluate.every_steps=7"]);
    assert_eq!(evaluated(&run), [7, 14, 16]);
    // An epoch is 16 steps of two workers.
    let run = runs.train(
        SMOKE,
        "epochs",
        &["evaluate.every_epochs=0.25", "budget.epochs=1.5"],
    );
    assert_eq!(evaluated(&run), [4, 8, 12, 16, 20, 24]);
}

#[test]
fn as_many_test_examples_are_used_as_asked_for() {
    let runs = Runs::new();
    let examples = |name: &str, set: &[&str]| {
        let line = runs.train(SMOKE, name, set).metrics("evaluation").remove(0);
        line["examples"].as_u64().unwrap()
    };
    assert_eq!(examples("some", &["evaluate.examples=33"]), 33);
    // A fifth of the training examples, rounded down, is all there is.
    assert_eq!(examples("all", &[]), 102);
    assert_eq!(examples("more", &["evaluate.examples=1000"]), 102);
}

#[test]
fn a_run_ends_by_steps_epochs_or_minutes() {
    let runs = Runs::new();
    let steps = |run: &Run| run.summary()["steps"].as_u64().unwrap();
    for mode in ["run.mode=sync", "run.mode=async"] {
        assert_eq!(
            steps(&runs.train(SMOKE, "steps", &["budget.steps=5", mode])),
            5
        );
        assert_eq!(
            steps(&runs.train(SMOKE, "epochs", &["budget.epochs=0.5", mode])),
            8
        );

        let run = runs.train(SMOKE, "minutes", &["budget.minutes=0.01", mode]);
        let summary = run.summary();
        assert_eq!(summary["end"], "budget");
        assert!(summary["training_seconds"].as_f64().unwrap() >= 0.6);
        if mode == "run.mode=sync" {
            let all = run.json(&format!("checkpoints/step-{}/state.json", steps(&run)));
            assert_eq!(all["steps"], serde_json::json!([steps(&run), steps(&run)]));
        }
    }
}

/// A clock ends a run, it never changes its arithmetic.
#[test]
fn so_many_minutes_are_so_many_steps() {
    let runs = Runs::new();
    let clocked = runs.train(SMOKE, "minutes", &["budget.minutes=0.005"]);
    let steps = format!("budget.steps={}", clocked.summary()["steps"]);
    let counted = runs.train(SMOKE, "steps", &[&steps]);
    assert_eq!(clocked.digests(), counted.digests());
}

/// Pauses are no part of the arithmetic either.
#[test]
fn evaluations_and_checkpoints_change_no_bit() {
    let runs = Runs::new();
    let set = ["evaluate.every_steps=3", "checkpoint.every_steps=5"];
    let paused = runs.train(SMOKE, "paused", &set);
    let straight = runs.train(SMOKE, "straight", &[]);
    assert_eq!(paused.digests(), straight.digests());
}
