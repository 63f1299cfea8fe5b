//! What goes wrong while training: the run ends soon, with one clear line and nothing half-written.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::live::{ENDLESS, Live};
use super::program::{PROGRAM, Ran, Run, Runs, SMOKE, command, workspace, write_images};

/// What is in a run's folder that could begin but not end, checkpoints apart.
const UNFINISHED: [&str; 4] = ["config.toml", "events.jsonl", "metrics.jsonl", "run.json"];

fn folder_set(folder: &Path, mode: &str) -> [String; 6] {
    [
        String::from("data.name=folder"),
        format!("data.folder={}", folder.display()),
        String::from("data.batch_size=1"),
        String::from("model.width=1"),
        String::from("budget.epochs=3"),
        format!("run.mode={mode}"),
    ]
}

fn cannot_be_decoded(path: &Path) -> String {
    format!(
        "{} cannot be decoded as an image: by its contents it is neither JPEG nor PNG",
        path.display()
    )
}

/// The state of the newest checkpoint.
fn newest_state(run: &Run) -> Value {
    let steps = run.checkpoints().into_iter();
    let steps = steps.map(|name| name.strip_prefix("step-").unwrap().parse::<u64>().unwrap());
    let newest = steps.max().unwrap();
    run.json(&format!("checkpoints/step-{newest}/state.json"))
}

/// One worker finds what it cannot read; the other may be waiting for it at an exchange. What both
/// have trained until then is kept.
#[test]
fn an_image_that_cannot_be_decoded_ends_the_run() {
    let images = tempfile::tempdir().unwrap();
    write_images(images.path());
    // Its worker has taken two steps when it comes to this one. With an image of a first batch the
    // run may break off before anybody has trained, and there is nothing to save.
    let bad = images.path().join("train/dog/1.png");
    fs::write(&bad, "not an image").unwrap();
    let runs = Runs::new();
    for mode in ["sync", "async"] {
        let set = folder_set(images.path(), mode);
        let set = set.each_ref().map(String::as_str);
        let ran = runs.start(SMOKE, mode, &set);
        ran.failed_late(1, &cannot_be_decoded(&bad));
        let saved = "saved what 2 of 2 workers had trained: ";
        assert!(ran.stderr.contains(saved), "{}", ran.stderr);
        let run = runs.get(mode);
        assert!(!run.join("summary.json").exists());
        // The one that left is on record.
        assert!(!run.events("left").is_empty());
        let state = newest_state(&run);
        assert_eq!(state["broken_off"], true);
        assert_eq!(run.events("checkpoint").len(), 1);
        let steps: Vec<u64> = serde_json::from_value(state["steps"].clone()).unwrap();
        // An epoch is eight images, four steps of two workers.
        assert!(steps.iter().min() < Some(&4), "{steps:?}");
        assert_eq!(state["step"], steps.iter().sum::<u64>() / 2);
        for worker in 0..2 {
            let values = run.export(&format!("worker-{worker}"));
            assert!(!values.is_empty());
        }
        let [path, which] = [run.path.to_str().unwrap(), "mean"];
        let text = format!(
            "{path}/checkpoints/step-{}: it has no mean: the run broke off; give --which \
             worker-K",
            state["step"]
        );
        let refused = command(["export", path, "--which", which]).output();
        Ran::of(refused.unwrap()).failed(1, &text);
    }
}

/// In `sync` the values are those of a run that was to end there.
#[test]
fn what_a_run_that_breaks_off_keeps_is_what_it_had_trained() {
    let images = tempfile::tempdir().unwrap();
    write_images(images.path());
    let set = folder_set(images.path(), "sync");
    let set = set.each_ref().map(String::as_str);
    let runs = Runs::new();
    let bad = images.path().join("val/cat/0.png");
    let good = fs::read(&bad).unwrap();
    fs::write(&bad, "not an image").unwrap();
    let every_six = [&set[..], &["evaluate.every_steps=6"]].concat();
    let ran = runs.start(SMOKE, "broken", &every_six);
    ran.failed_late(1, &cannot_be_decoded(&bad));
    let broken = runs.get("broken");
    assert_eq!(newest_state(&broken)["steps"], json!([6, 6]));
    fs::write(&bad, good).unwrap();
    let whole = runs.train(SMOKE, "whole", &[&set[..], &["budget.epochs=1.5"]].concat());
    for worker in ["worker-0", "worker-1"] {
        assert_eq!(broken.export(worker), whole.export(worker));
    }
}

/// Met in the evaluation at the end, whose checkpoint is written by then.
#[test]
fn a_test_image_that_cannot_be_decoded_ends_the_run() {
    let images = tempfile::tempdir().unwrap();
    write_images(images.path());
    let bad = images.path().join("val/cat/0.png");
    fs::write(&bad, "not an image").unwrap();
    let runs = Runs::new();
    let set = folder_set(images.path(), "sync");
    let set = set.each_ref().map(String::as_str);
    let at_end = [&set[..], &["evaluate.every_steps=1000"]].concat();
    let ran = runs.start(SMOKE, "test", &at_end);
    ran.failed_late(1, &cannot_be_decoded(&bad));
    let run = runs.get("test");
    assert!(!run.join("summary.json").exists());
    assert_eq!(run.checkpoints(), ["step-12"]);
    let state = newest_state(&run);
    assert_eq!(state["broken_off"], false);
    assert_eq!(state["steps"], json!([12, 12]));
    assert!(state["evaluation"].is_null());
    assert_eq!(run.events("checkpoint").len(), 1);
    assert!(!run.export("worker-1").is_empty());
}

/// A worker whose values could not be read any more is not in the checkpoint.
#[test]
fn a_checkpoint_without_a_worker_says_so() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "lost", &[]);
    let checkpoint = run.join("checkpoints/step-16");
    let state = run.json("checkpoints/step-16/state.json");
    let mut without = state.clone();
    without["steps"] = json!([16, null]);
    without["leader"] = json!(0);
    without["broken_off"] = json!(true);
    fs::write(checkpoint.join("state.json"), without.to_string()).unwrap();
    for file in ["worker-1.safetensors", "mean.safetensors"] {
        fs::remove_file(checkpoint.join(file)).unwrap();
    }
    for which in ["worker-1", "mean"] {
        let text = format!(
            "{}: it has no {which}: the run had lost workers; give --which worker-0",
            checkpoint.display()
        );
        let path = run.path.to_str().unwrap();
        let refused = command(["eval", path, "--which", which]).output().unwrap();
        Ran::of(refused).failed(1, &text);
    }
    assert!(run.eval("leader").contains("error "));
}

/// A shell script that starts `"$@"`, the program and its arguments.
fn shell(script: &str, arguments: &[String]) -> Ran {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", PROGRAM]).args(arguments);
    Ran::of(command.current_dir(workspace()).output().unwrap())
}

/// Writing fails in the shape a full disk has: after some bytes of a file.
fn with_file_limit(blocks: u32, arguments: &[String]) -> Ran {
    // The signal that the system sends would end the program; ignored, the write fails.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    shell(&script, arguments)
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_nothing_of_itself() {
    let runs = Runs::new();
    let arguments = runs.arguments(SMOKE, "full", &[]);
    // Records fit in 16 blocks of 512 (or 1024) bytes, a worker's 20 kB do not.
    let ran = with_file_limit(16, &arguments);
    let run = runs.get("full");
    let text = format!(
        "cannot write {}/checkpoints/step-16.part/worker-0.safetensors: \
         File too large (os error 27)",
        run.path.display()
    );
    ran.failed_late(1, &text);
    let expected: Vec<&str> = ["checkpoints/"].into_iter().chain(UNFINISHED).collect();
    assert_eq!(run.files(), expected);

    // Such a run is in no node's way.
    runs.train(SMOKE, "full", &["run.overwrite=true"]);
}

#[test]
fn a_run_that_cannot_begin_leaves_no_folder() {
    let runs = Runs::new();
    let arguments = runs.arguments(SMOKE, "full", &[]);
    let ran = with_file_limit(0, &arguments);
    let path = runs.get("full").path;
    let text = format!(
        "cannot write {}/run.json: File too large (os error 27)",
        path.display()
    );
    ran.failed(1, &text);
    assert_eq!(names(runs.path()), Vec::<String>::new());
}

/// Names in a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

#[test]
fn a_run_that_cannot_be_replaced_is_kept() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "kept", &[]);
    fs::write(run.join("NOTES.md"), "worth keeping").unwrap();
    let (files, record) = (run.files(), fs::read(run.join("run.json")).unwrap());
    // It cannot begin, or not write its first checkpoint.
    for (blocks, file) in [
        (0, "run.json"),
        (16, "checkpoints/step-16.part/worker-0.safetensors"),
    ] {
        let arguments = runs.arguments(SMOKE, "kept", &["run.overwrite=true"]);
        let text = format!(
            "cannot write {}/{file}: File too large (os error 27)",
            run.path.display()
        );
        with_file_limit(blocks, &arguments).failed_late(1, &text);
        assert_eq!(run.files(), files);
        assert_eq!(fs::read(run.join("run.json")).unwrap(), record);
    }
    assert_eq!(names(runs.path()), ["kept"]);
    run.eval("leader");
}

/// What is removed while it is written to is noticed while lines are written, not at the end alone.
#[test]
fn a_run_whose_folder_is_removed_ends() {
    let runs = Runs::new();
    let path = runs.get("gone").path;
    let elsewhere = runs.path().join("elsewhere");
    let removals: [&dyn Fn(); 4] = [
        &|| fs::remove_dir_all(&path).unwrap(),
        &|| fs::rename(&path, &elsewhere).unwrap(),
        &|| {
            fs::rename(&path, &elsewhere).unwrap();
            fs::create_dir(&path).unwrap();
        },
        &|| fs::remove_file(path.join("metrics.jsonl")).unwrap(),
    ];
    for (number, remove) in removals.iter().enumerate() {
        let mut live = Live::start(&runs.arguments(SMOKE, "gone", &ENDLESS));
        live.hear(path.to_str().unwrap());
        live.writes(&path.join("metrics.jsonl"));
        remove();
        let what = match number {
            3 => path.join("metrics.jsonl"),
            _ => path.clone(),
        };
        let text = format!(
            "{} was removed, moved or replaced while the run was writing to it",
            what.display()
        );
        match number {
            // What it has trained can still be saved, which is said first.
            3 => live.end().failed_late(1, &text),
            _ => live.end().failed(1, &text),
        }
        // Nothing is made again, and nothing that took its place is touched.
        match number {
            0 | 1 => assert!(!path.exists()),
            2 => assert_eq!(names(&path), Vec::<String>::new()),
            _ => {}
        }
        for folder in [&path, &elsewhere] {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

#[test]
fn a_run_that_cannot_be_exported_keeps_the_export_it_has() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "run", &[]);
    let path = run.join("model.safetensors");
    fs::write(&path, "the one before").unwrap();
    let files = run.files();
    let arguments = ["export", "--force", run.path.to_str().unwrap()].map(String::from);
    let text = format!(
        "cannot write {}: File too large (os error 27)",
        path.display()
    );
    with_file_limit(16, &arguments).failed(1, &text);
    assert_eq!(fs::read(&path).unwrap(), b"the one before");
    assert_eq!(run.files(), files);
}

/// The reader of the log may go away: `lsgd-train ... 2>&1 | head -1`.
#[test]
fn a_log_that_is_closed_does_not_end_a_run() {
    let runs = Runs::new();
    let arguments = runs.arguments(SMOKE, "unread", &["evaluate.every_steps=1"]);
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .current_dir(workspace())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(runs.get("unread").summary()["end"], "budget");
}

/// The line that ends a run in which nothing is finite.
fn diverged(ran: &Ran, run: &Run) -> u64 {
    let start = format!(
        "error: {}: every worker has diverged, the last at step ",
        run.path.display()
    );
    let line = ran.stderr.lines().last().unwrap();
    let rest = line.strip_prefix(&start);
    let rest = rest.unwrap_or_else(|| panic!("{}", ran.stderr));
    let (step, advice) = rest.split_once("; ").unwrap();
    assert_eq!(advice, "train with a lower schedule.learning_rate");
    assert_eq!(ran.code, Some(1));
    step.parse().unwrap()
}

/// The budget is not spent on it: a window of 4 losses and two exchanges later it is over.
#[test]
fn a_run_in_which_nothing_is_finite_ends() {
    let runs = Runs::new();
    for mode in ["sync", "async"] {
        let mode_is = format!("run.mode={mode}");
        let rate = "schedule.learning_rate=1e30";
        let set = [
            rate,
            &mode_is,
            "budget.steps=1000",
            "checkpoint.every_steps=1",
        ];
        let ran = runs.start(SMOKE, mode, &set);
        let run = runs.get(mode);
        let since = diverged(&ran, &run);
        // The first step's loss is that of the initial weights.
        assert_eq!(since, 2, "{}", ran.stderr);
        let summary = run.summary();
        assert_eq!(summary["end"], "diverged");
        assert_eq!(summary["diverged_since"], 2);
        let steps = summary["steps"].as_u64().unwrap();
        assert!((13..40).contains(&steps), "{summary}");
        for key in ["leader", "replica_mean", "worker_mean"] {
            assert!(summary["test"][key]["error"].is_null(), "{summary}");
        }
        let told = run.events("diverged");
        assert_eq!(told.len(), 2);
        for worker in 0..2 {
            let line = format!("worker {worker} has diverged: its loss has not been finite since");
            assert_eq!(ran.stderr.matches(&line).count(), 1, "{}", ran.stderr);
        }
        // What has no finite value is not worth a checkpoint.
        let written = run.events("checkpoint");
        assert!(written.iter().all(|line| line["step"].as_u64() < Some(4)));
    }
}

/// It ends as any other: the clock, the last step and a person end one in which nothing is finite, too.
#[test]
fn a_run_that_has_diverged_at_its_end_has_failed() {
    let runs = Runs::new();
    let set = ["schedule.learning_rate=1e30", "budget.steps=3"];
    let ran = runs.start(SMOKE, "short", &set);
    assert!(diverged(&ran, &runs.get("short")) <= 3);
    assert_eq!(runs.get("short").summary()["steps"], 3);
}

/// One that diverges late keeps what it had when it was sound.
#[test]
fn a_run_that_diverges_keeps_its_last_sound_checkpoint() {
    let runs = Runs::new();
    let set = [
        "schedule.kind=steps",
        "schedule.drops=[{ steps = 8, factor = 1e30 }]",
        "budget.steps=1000",
        "checkpoint.every_steps=4",
        "checkpoint.keep=1",
        "evaluate.every_steps=2000",
    ];
    let ran = runs.start(SMOKE, "late", &set);
    let run = runs.get("late");
    assert!(diverged(&ran, &run) > 8);
    assert_eq!(run.checkpoints(), ["step-8"]);
    assert!(run.eval("leader").contains("error "));
}

#[test]
fn so_does_a_simulated_one() {
    let runs = Runs::new();
    let set = [
        "schedule.learning_rate=1e30",
        "budget.steps=1000",
        "simulate.nodes=2",
    ];
    let mut arguments = vec![String::from("simulate")];
    arguments.extend(runs.arguments(SMOKE, "simulated", &set));
    let ran = super::program::run(&arguments);
    let run = runs.get("simulated");
    diverged(&ran, &run);
    let summary = run.summary();
    assert_eq!(summary["end"], "diverged");
    assert!(summary["steps"].as_u64().unwrap() < 100, "{summary}");
}

/// Parameters, statistics or losses overflow, whichever comes first.
#[test]
fn whatever_overflows_first_ends_a_run() {
    let runs = Runs::new();
    for rate in ["1e3", "1e6", "1e15"] {
        let rate_is = format!("schedule.learning_rate={rate}");
        let set = [
            rate_is.as_str(),
            "budget.steps=1000",
            "evaluate.every_steps=4",
        ];
        let name = format!("rate-{rate}");
        let ran = runs.start(SMOKE, &name, &set);
        let run = runs.get(&name);
        assert!(diverged(&ran, &run) <= 12, "{}", ran.stderr);
        let steps = run.summary()["steps"].as_u64().unwrap();
        assert!(steps < 40, "{}", run.summary());
        let evaluations = run.metrics("evaluation");
        assert!(evaluations.last().unwrap()["replica_mean"].is_null());
    }
}

/// Parameters that are finite and logits that are not: JSON has no word for such a loss.
#[test]
fn a_run_whose_loss_overflows_can_be_evaluated() {
    let runs = Runs::new();
    let set = [
        "model.name=cnn7",
        "data.shape=[1, 24, 24]",
        "data.examples=64",
        "optimizer.momentum=0.0",
        "schedule.learning_rate=1e12",
        "budget.steps=1",
    ];
    let run = runs.train(SMOKE, "overflow", &set);
    let score = &run.metrics("evaluation")[0]["workers"][0]["test"];
    assert!(
        score["loss"].is_null() && score["error"].is_f64(),
        "{score}"
    );
    assert!(run.eval("worker-0").contains("loss NaN"));
    assert!(!run.export("mean").is_empty());
}
