//! A run that was stopped or killed continues where it was.

use std::fs;

use serde_json::{Value, json};

use super::live::Live;
use super::program::{Ran, Run, Runs, SMOKE, command, run, workspace};
use super::repeats::{assert_same, timeless};

/// Twelve steps, then twelve more.
const HALVES: [&str; 4] = [
    "run.mode=sync",
    "evaluate.every_steps=12",
    "checkpoint.every_steps=12",
    "data.augment=pad_crop",
];

/// Long enough to be killed after a checkpoint and before its end.
const LONG: [&str; 5] = [
    "run.mode=sync",
    "budget.steps=600",
    "evaluate.every_steps=100",
    "checkpoint.every_steps=20",
    "method.local_prox=0.1",
];

fn resume(run: &Run, set: &[&str]) -> Ran {
    let mut arguments = vec!["resume", run.path.to_str().unwrap()];
    arguments.extend(set.iter().flat_map(|set| ["--set", set]));
    super::program::run(arguments)
}

/// A run that was not interrupted, and one that was.
#[track_caller]
fn assert_continued(whole: &Run, resumed: &Run) {
    assert_same(whole, resumed);
    assert_eq!(whole.timeless_metrics(), resumed.timeless_metrics());
    let (whole, resumed) = (whole.summary(), resumed.summary());
    for key in ["steps", "samples", "epochs", "best"] {
        assert_eq!(whole[key], resumed[key], "{key}");
    }
    for key in ["count", "bytes"] {
        assert_eq!(whole["exchange"][key], resumed["exchange"][key], "{key}");
    }
}

/// In two halves and in one.
fn continues(set: &[&str]) {
    let runs = Runs::new();
    let set: Vec<&str> = HALVES.iter().chain(set).copied().collect();
    let with = |steps: &'static str| [&set[..], &[steps]].concat();
    let whole = runs.train(SMOKE, "whole", &with("budget.steps=24"));
    let halves = runs.train(SMOKE, "halves", &with("budget.steps=12"));
    resume(&halves, &["budget.steps=24"]).well();
    let steps: Vec<Value> = halves.events("resumed");
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0]["step"], 12);
    assert_continued(&whole, &halves);
}

/// A period of five leaves every method between two exchanges.
fn method_continues(method: &str) {
    let method = format!("method.name={method}");
    continues(&[&method, "method.local_period=5", "method.global_period=5"]);
}

#[test]
fn sgd_continues_with_the_same_bits() {
    continues(&["method.name=sgd"]);
}

#[test]
fn data_parallel_continues_with_the_same_bits() {
    continues(&["method.name=data_parallel"]);
}

#[test]
fn methods_with_a_mean_continue_with_the_same_bits() {
    for method in ["local_sgd", "easgd", "leader_mean", "leader_filter", "dppf"] {
        method_continues(method);
    }
}

#[test]
fn methods_with_an_outer_momentum_continue_with_the_same_bits() {
    for method in ["diloco", "slowmo"] {
        method_continues(method);
    }
}

#[test]
fn methods_weighted_by_gradients_continue_with_the_same_bits() {
    for method in ["grawa", "grawa_layers"] {
        method_continues(method);
    }
}

/// Between two exchanges: factors that were taken over, and the states of optimizers that have changed theirs.
#[test]
fn workers_that_take_over_factors_continue_with_the_same_bits() {
    for optimizer in ["sgd", "adamw"] {
        let optimizer = format!("optimizer.name={optimizer}");
        continues(&[
            &optimizer,
            "method.local_period=5",
            "method.global_period=5",
            "method.adopt=true",
            "method.adopt_spread=0.5",
            "optimizer.weight_decay=0.01",
            "workers.vary=[{ worker = 1, learning_rate = 0.5, weight_decay = 4.0 }]",
            "data.vary=[{ worker = 0, augment = false }]",
        ]);
    }
}

/// With pulls at every step, a leader that stays by a margin, a probe, and averaged statistics.
#[test]
fn leader_methods_continue_with_the_same_bits() {
    for method in ["lsgd", "lsgd_plus"] {
        let method = format!("method.name={method}");
        let periods = ["method.local_period=5", "method.global_period=5"];
        for more in [
            &["method.local_prox=0.5", "method.margin=0.02"][..],
            &["method.rank_by=probe_loss", "method.batch_norm=mean"][..],
        ] {
            continues(&[&[method.as_str()], &periods[..], more].concat());
        }
    }
}

#[test]
fn optimizers_continue_with_the_same_bits() {
    for optimizer in ["adam", "adamw", "lars", "lion", "lamb", "muon"] {
        let optimizer = format!("optimizer.name={optimizer}");
        continues(&[&optimizer, "schedule.learning_rate=0.01"]);
    }
    continues(&["optimizer.momentum=0.0"]);
}

/// The same command starts it and continues it; what the killed process had recorded after its last
/// checkpoint is recorded once.
#[test]
fn a_run_that_is_killed_again_and_again_is_the_same() {
    let runs = Runs::new();
    let whole = runs.train(SMOKE, "whole", &LONG);
    let killed = runs.get("killed");
    let mut arguments = runs.arguments(SMOKE, "killed", &LONG);
    arguments.push(String::from("--resume"));
    for times in 0..3 {
        let live = Live::slow(&arguments);
        killed.wait_for_progress(times, 1);
        live.kill();
    }
    run(&arguments).well();
    assert_eq!(killed.events("resumed").len(), 3);
    assert_continued(&whole, &killed);
    // The command says so if nothing is left to do.
    let before = killed.summary();
    let ran = run(&arguments);
    let said = format!(
        "{} has ended already: nothing is left to do",
        killed.path.display()
    );
    assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    ran.well();
    assert_eq!(killed.summary(), before);
}

/// In `async` every worker continues with its own parameters, momentum and steps.
#[test]
fn workers_of_an_async_run_keep_their_own_state() {
    let runs = Runs::new();
    for method in ["lsgd", "easgd", "local_sgd", "downpour"] {
        let method_is = format!("method.name={method}");
        let set = ["run.mode=async", &method_is, "budget.steps=20"];
        let stopped = runs.train(SMOKE, method, &set);
        let digests = stopped.digests();
        let newest = stopped.newest_checkpoint().unwrap();
        let state = stopped.json(&format!("checkpoints/step-{newest}/state.json"));
        // At its end already: nothing is trained, only its end is done again.
        fs::remove_file(stopped.join("summary.json")).unwrap();
        resume(&stopped, &[]).well();
        assert_eq!(stopped.digests(), digests, "{method}");
        // And once more, for longer.
        resume(&stopped, &["budget.steps=40"]).well();
        let summary = stopped.summary();
        assert!(summary["steps"].as_u64() >= Some(40), "{summary}");
        let before: Vec<u64> = serde_json::from_value(state["steps"].clone()).unwrap();
        let trained: u64 = stopped
            .metrics("interval")
            .iter()
            .map(|interval| interval["steps"].as_u64().unwrap())
            .sum();
        assert!(before.iter().sum::<u64>() < trained);
        assert_eq!(summary["samples"], json!(trained * 16), "{method}");
    }
}

/// Killed in the evaluation at its end: the evaluation is done again, and recorded once.
#[test]
fn the_end_of_a_run_is_done_again() {
    let runs = Runs::new();
    let set = ["run.mode=sync", "evaluate.every_steps=8"];
    let whole = runs.train(SMOKE, "whole", &set);
    let killed = runs.train(SMOKE, "killed", &set);
    fs::remove_file(killed.join("summary.json")).unwrap();
    resume(&killed, &[]).well();
    assert_continued(&whole, &killed);
}

/// Killed in an evaluation: it is done first.
#[test]
fn an_evaluation_that_was_cut_off_is_done_again() {
    let runs = Runs::new();
    let set = [
        "run.mode=sync",
        "budget.steps=24",
        "evaluate.every_steps=8",
        "checkpoint.every_steps=8",
        "checkpoint.keep=9",
    ];
    let whole = runs.train(SMOKE, "whole", &set);
    let killed = runs.train(SMOKE, "killed", &set);
    fs::remove_file(killed.join("summary.json")).unwrap();
    let mut state = killed.json("checkpoints/step-16/state.json");
    state["evaluation"] = Value::Null;
    state["resume"]["evaluated"] = Value::Null;
    let path = killed.join("checkpoints/step-16/state.json");
    fs::write(path, state.to_string()).unwrap();
    let path = killed.path.to_str().unwrap();
    run(["resume", path, "--checkpoint", "12"]).failed(
        1,
        &format!(
            "{path}: it has no checkpoint 12 that it can continue from; give newest, or one of 8, 16, 24"
        ),
    );
    run(["resume", path, "--checkpoint", "16"]).well();
    assert_continued(&whole, &killed);
}

/// Dropout and augmentation draw from the seed, the worker and its batch.
#[test]
fn what_is_drawn_at_random_continues() {
    for accumulate in ["workers.accumulate=1", "workers.accumulate=2"] {
        continues(&[
            "model.name=cnn7",
            "model.dropout=0.5",
            "data.shape=[3,32,32]",
            "data.augment=paper",
            "data.examples=128",
            "data.batch_size=8",
            accumulate,
        ]);
    }
}

#[test]
fn other_settings_are_refused_by_name() {
    let runs = Runs::new();
    let stopped = runs.train(SMOKE, "stopped", &["budget.steps=8"]);
    let before = stopped.files();
    let summary = stopped.summary();
    let arguments = runs.arguments(
        SMOKE,
        "stopped",
        &["model.width=8", "method.local_pull=0.2"],
    );
    let refused = command(arguments.into_iter().chain([String::from("--resume")])).output();
    let path = stopped.path.display();
    let text = format!(
        "{path} cannot continue with other settings: method.local_pull is 0.2, was 0.1; model.width \
         is 8, was 4; change them back, or choose another run.name"
    );
    Ran::of(refused.unwrap()).failed(2, &text);
    assert_eq!((stopped.files(), stopped.summary()), (before, summary));
}

#[test]
fn what_changes_is_said() {
    let runs = Runs::new();
    let stopped = runs.train(SMOKE, "stopped", &["budget.steps=8"]);
    let ran = resume(&stopped, &["budget.steps=12", "workers.count=3"]);
    let path = stopped.path.display();
    let text = format!(
        "continuing {path} after 8 steps; budget.steps is 12, was 8; 3 workers in place of 2: batches \
         are dealt out anew, and a new worker begins with the leader's parameters"
    );
    assert!(ran.stderr.contains(&text), "{}", ran.stderr);
    ran.well();
    assert_eq!(stopped.digests().len(), 3);
    resume(&stopped, &["budget.steps=16", "workers.count=1"]).well();
    assert_eq!(stopped.digests().len(), 1);
    assert_eq!(stopped.summary()["steps"], 16);
}

/// What is damaged is named, and nothing is removed.
#[test]
fn a_damaged_checkpoint_is_refused() {
    let runs = Runs::new();
    let stopped = runs.train(SMOKE, "stopped", &["budget.steps=8", "method.name=diloco"]);
    fs::remove_file(stopped.join("summary.json")).unwrap();
    let step = "checkpoints/step-8";
    for file in [
        "state.safetensors",
        "worker-1.optimizer.bpk",
        "worker-0.safetensors",
    ] {
        let path = stopped.join(&format!("{step}/{file}"));
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() / 2], &[], &whole[1..]] {
            fs::write(&path, damaged).unwrap();
            let ran = resume(&stopped, &["budget.steps=12"]);
            assert_eq!(ran.code, Some(1), "{file}: {}", ran.stderr);
            assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
            assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        }
        fs::write(&path, whole).unwrap();
    }
    let metrics = stopped.join("metrics.jsonl");
    let whole = fs::read(&metrics).unwrap();
    fs::write(&metrics, &whole[..10]).unwrap();
    let ran = resume(&stopped, &["budget.steps=12"]);
    assert!(ran.stderr.contains("metrics.jsonl: "), "{}", ran.stderr);
    fs::write(&metrics, whole).unwrap();
    resume(&stopped, &["budget.steps=12"]).well();
}

/// Numbers that cannot be of one run are no place to continue from.
#[test]
fn a_state_that_contradicts_itself_is_refused() {
    let runs = Runs::new();
    let stopped = runs.train(SMOKE, "stopped", &["run.mode=sync", "budget.steps=8"]);
    let name = "checkpoints/step-8/state.json";
    let state = stopped.json(name);
    let changes: [fn(&mut Value); 10] = [
        |state| state["step"] = json!(5),
        |state| state["resume"]["workers"] = json!([]),
        |state| state["resume"]["workers"][0]["step"] = json!(3),
        |state| state["resume"]["workers"][0]["step"] = json!(u64::MAX),
        |state| state["resume"]["workers"][0]["worker"] = json!(7),
        |state| state["workers"] = json!(u64::MAX),
        |state| state["resume"]["exchange"]["steps"] = json!(u64::MAX),
        |state| state["resume"]["exchange"]["members"]["0"]["delivered_at"] = json!(u64::MAX),
        |state| state["resume"]["seconds"] = json!(1e300),
        |state| state["resume"]["seconds"] = json!(-1.0),
    ];
    let before = stopped.files();
    for change in changes {
        let mut changed = state.clone();
        change(&mut changed);
        fs::write(stopped.join(name), changed.to_string()).unwrap();
        let ran = resume(&stopped, &["budget.steps=12"]);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        let place = format!("error: {}: ", stopped.join(name).display());
        assert!(ran.stderr.starts_with(&place), "{}", ran.stderr);
        assert_eq!(stopped.files(), before);
    }
    fs::write(stopped.join(name), state.to_string()).unwrap();
    resume(&stopped, &["budget.steps=12"]).well();
}

/// To continue never replaces what has trained: the nodes of a run by one node, or a run that has ended
/// and lost its checkpoints.
#[test]
fn what_has_trained_is_not_replaced() {
    let runs = Runs::new();
    let set = ["run.overwrite=false", "budget.steps=8"];
    let launch = ["launch", "--nodes", "2", "--quiet"].map(String::from);
    let nodes = runs.arguments(SMOKE, "nodes", &set);
    run(launch.iter().chain(&nodes)).well();
    let files = runs.get("nodes").files();
    let ran = run(nodes.iter().chain([&String::from("--resume")]));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("node-1 exists"), "{}", ran.stderr);
    assert_eq!(runs.get("nodes").files(), files);

    let ended = runs.train(SMOKE, "ended", &set);
    fs::remove_dir_all(ended.join("checkpoints")).unwrap();
    let files = ended.files();
    let ran = resume(&ended, &["budget.steps=12"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("ended exists"), "{}", ran.stderr);
    assert_eq!(ended.files(), files);
}

/// A run without a checkpoint begins anew; one whose checkpoints have only parameters does not.
#[test]
fn a_run_with_nothing_to_continue_from() {
    let runs = Runs::new();
    let mut arguments = runs.arguments(SMOKE, "new", &["run.overwrite=false", "budget.steps=8"]);
    arguments.push(String::from("--resume"));
    run(&arguments).well();
    let new = runs.get("new");
    let digests = new.digests();
    fs::remove_file(new.join("summary.json")).unwrap();
    fs::remove_dir_all(new.join("checkpoints")).unwrap();
    run(&arguments).well();
    assert_eq!(new.digests(), digests);
    // Killed while it began, it has not even a config.
    for name in [
        "summary.json",
        "config.toml",
        "metrics.jsonl",
        "events.jsonl",
    ] {
        fs::remove_file(new.join(name)).unwrap();
    }
    fs::remove_dir_all(new.join("checkpoints")).unwrap();
    run(&arguments).well();
    assert_eq!(new.digests(), digests);
    let state_path = new.join("checkpoints/step-8/state.json");
    let mut state = new.json("checkpoints/step-8/state.json");
    state.as_object_mut().unwrap().remove("resume");
    fs::write(state_path, state.to_string()).unwrap();
    fs::remove_file(new.join("summary.json")).unwrap();
    let path = new.path.display();
    let text = format!(
        "{path}: its checkpoints have only parameters, as after an error or of an earlier version; begin \
         anew with --set run.overwrite=true",
    );
    run(&arguments).failed(1, &text);
    assert_eq!(timeless(&new).len(), new.lines("events.jsonl").len());
}

/// A run of an earlier version of this format, which had fewer settings, continues. The fixture was made
/// by version 0.1.0 before its first release; a format that cannot read it any more has a new number.
#[test]
fn a_run_of_an_earlier_version_continues() {
    let runs = Runs::new();
    let run = runs.get("format-1");
    let fixture = workspace().join("crates/lsgd-train/tests/program/fixtures/format-1");
    fs::create_dir_all(run.join("checkpoints/step-8")).unwrap();
    for folder in ["", "checkpoints/step-8"] {
        let files = fs::read_dir(fixture.join(folder)).unwrap();
        for file in files
            .map(|file| file.unwrap().path())
            .filter(|path| path.is_file())
        {
            let name = file.file_name().unwrap();
            fs::copy(&file, run.join(folder).join(name)).unwrap();
        }
    }
    let before = run.timeless_metrics();
    let mut record = run.json("run.json");
    assert_eq!(record["format"], 1);
    let settings = record["settings"].as_object_mut().unwrap();
    settings.remove("data.bad_images").unwrap();
    fs::write(run.join("run.json"), record.to_string()).unwrap();
    resume(&run, &["budget.steps=12"]).well();
    assert_eq!(run.events("resumed")[0]["step"], 8);
    assert_eq!(run.summary()["steps"], 12);
    let after = run.timeless_metrics();
    assert!(
        before.iter().all(|line| after.contains(line)),
        "{before:?} {after:?}"
    );
}
