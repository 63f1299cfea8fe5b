//! What a recipe sets besides the method, through the program.

use std::fs;

use serde_json::Value;

use super::live::Live;
use super::program::{Runs, SMOKE, run};
use super::repeats::assert_same;

/// Everything at once, long enough to be killed.
const ALL: [&str; 20] = [
    "run.mode=sync",
    "budget.steps=300",
    "evaluate.every_steps=60",
    "checkpoint.every_steps=10",
    "data.classes=8",
    "data.augment=pad_crop",
    "data.cutout=3",
    "data.erasing=0.5",
    "data.mixup=0.4",
    "data.cutmix=1.0",
    "optimizer.nesterov=true",
    "optimizer.weight_decay=0.01",
    "optimizer.decay_norms=false",
    "optimizer.clip_norm=1.0",
    "loss.label_smoothing=0.1",
    "schedule.kind=one_cycle",
    "schedule.peak=0.4",
    "schedule.anneal=linear",
    "schedule.start_divisor=10",
    "schedule.final_divisor=100",
];

#[test]
fn a_killed_run_with_everything_continues_with_the_same_bits() {
    let runs = Runs::new();
    let whole = runs.train(SMOKE, "whole", &ALL);
    let killed = runs.get("killed");
    let mut arguments = runs.arguments(SMOKE, "killed", &ALL);
    arguments.push(String::from("--resume"));
    for times in 0..2 {
        let live = Live::start(&arguments);
        killed.wait_for_progress(times, 1);
        live.kill();
    }
    run(&arguments).well();
    assert_eq!(killed.events("resumed").len(), 2);
    assert_same(&whole, &killed);
    assert_eq!(whole.timeless_metrics(), killed.timeless_metrics());
    for line in whole.metrics("evaluation") {
        let score = &line["replica_mean"];
        let [error, top5] = ["error", "top5_error"].map(|name| score[name].as_f64().unwrap());
        assert!((0.0..=error).contains(&top5), "{score}");
    }
    // None of it may change on the way.
    let path = killed.path.to_str().unwrap();
    for set in [
        "optimizer.clip_norm=2.0",
        "data.mixup=0.5",
        "loss.label_smoothing=0.0",
    ] {
        let key = set.split('=').next().unwrap();
        let ran = run(["resume", path, "--set", set, "--set", "budget.steps=301"]);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(key), "{}", ran.stderr);
    }
}

/// A key that did nothing would leave the bits as they were.
#[test]
fn every_key_changes_the_run() {
    let runs = Runs::new();
    let base = [
        "run.mode=sync",
        "budget.steps=8",
        "optimizer.weight_decay=0.05",
    ];
    let train = |name: &str, set: &[&str]| {
        let set: Vec<&str> = base.iter().chain(set).copied().collect();
        runs.train(SMOKE, name, &set).digests()
    };
    let plain = train("plain", &[]);
    for (number, set) in [
        &["data.cutout=3"][..],
        &["data.erasing=0.9"],
        &["data.mixup=1.0"],
        &["data.cutmix=1.0"],
        &["optimizer.decay_norms=false"],
        &["optimizer.clip_norm=0.1"],
        &["optimizer.clip_value=0.001"],
        &["loss.label_smoothing=0.1"],
        &["schedule.kind=polynomial"],
        &["schedule.kind=polynomial", "schedule.power=2.0"],
        &["schedule.kind=one_cycle"],
        &["schedule.kind=one_cycle", "schedule.anneal=linear"],
    ]
    .into_iter()
    .enumerate()
    {
        assert_ne!(train(&number.to_string(), set), plain, "{set:?}");
    }
    // Gradients within the limit.
    assert_eq!(train("far", &["optimizer.clip_norm=1e6"]), plain);
}

#[test]
fn a_square_fits_the_images() {
    let runs = Runs::new();
    runs.start(SMOKE, "wide", &["data.cutout=9"]).failed(
        1,
        "data.cutout 9 is more than the side of the images, which are 8 x 8; give at most 8",
    );
}

/// The matrix adds up to what the line says.
#[test]
fn eval_tells_which_classes_are_taken_for_which() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "trained", &["budget.steps=8"]);
    let path = trained.path.to_str().unwrap();
    let file = runs.path().join("confusion.csv");
    let printed = run(["eval", path, "--confusion", file.to_str().unwrap()]).well();
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].ends_with("102 test examples"), "{printed}");
    assert!(lines[2].starts_with("class"), "{printed}");
    assert!(lines[7].starts_with("wrote "), "{printed}");

    let matrix = fs::read_to_string(&file).unwrap();
    let mut rows = matrix.lines();
    assert_eq!(rows.next(), Some("class,0,1,2,3"));
    let counts: Vec<Vec<u64>> = rows
        .map(|row| row.split(',').skip(1).map(|n| n.parse().unwrap()).collect())
        .collect();
    let all: u64 = counts.iter().flatten().sum();
    let right: u64 = (0..4).map(|class| counts[class][class]).sum();
    assert_eq!(all, 102);
    let error = format!("error {:.2} %", 100.0 * (all - right) as f64 / 102.0);
    assert!(lines[0].contains(&error), "{error}: {printed}");
    let again = run(["eval", path, "--confusion", file.to_str().unwrap()]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("confusion.csv"), "{}", again.stderr);
}

/// What decides whether an evaluation is the best: the better of leader and mean.
fn error(evaluation: &Value) -> f64 {
    let scores = [&evaluation["leader"]["test"], &evaluation["replica_mean"]];
    let errors = scores.iter().filter_map(|score| score["error"].as_f64());
    errors.fold(f64::INFINITY, f64::min)
}

/// The run that is not stopped says where the other one ends: one step after the second evaluation in a
/// row that is not the best.
#[test]
fn a_run_ends_when_its_patience_is_used_up() {
    let runs = Runs::new();
    let set = [
        "run.mode=sync",
        "budget.steps=120",
        "evaluate.every_steps=4",
    ];
    let whole = runs.train(SMOKE, "whole", &set).metrics("evaluation");
    let (mut best, mut since) = (f64::INFINITY, 0);
    let last = whole.iter().position(|evaluation| {
        since = if error(evaluation) < best {
            0
        } else {
            since + 1
        };
        best = best.min(error(evaluation));
        since == 2
    });
    let last = last.expect("thirty evaluations do not all improve");
    let end = whole[last]["step"].as_u64().unwrap() + 1;
    assert!(end < 120);

    let set = [&set[..], &["budget.patience=2"]].concat();
    let stopped = runs.train(SMOKE, "stopped", &set);
    let summary = stopped.summary();
    assert_eq!(summary["end"], "budget");
    assert_eq!(summary["steps"], end);
    let steps = |lines: &[Value]| lines.iter().map(error).collect::<Vec<_>>();
    let found = stopped.metrics("evaluation");
    assert_eq!(steps(&found[..=last]), steps(&whole[..=last]));
    assert_eq!(found.len(), last + 2);
    // It has ended, unless it may go on for longer.
    let path = stopped.path.to_str().unwrap();
    run(["resume", path, "--set", "budget.patience=1000"]).well();
    assert_eq!(stopped.summary()["steps"], 120);
}
