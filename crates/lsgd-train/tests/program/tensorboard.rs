//! `record.tensorboard`: the metrics as TensorBoard reads them.

use std::fs;

use super::program::{Run, Runs, SMOKE};

const RECORDED: &str = "record.tensorboard=true";

/// Number of frames of the file: of each, its length, a checksum, so many bytes and another checksum.
fn frames(run: &Run) -> usize {
    let bytes = fs::read(run.join("metrics.tfevents")).unwrap();
    let mut rest = bytes.as_slice();
    let mut frames = 0;
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap());
        rest = &rest[16 + length as usize..];
        frames += 1;
    }
    frames
}

#[test]
fn each_line_of_metrics_is_an_event() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "one", &[RECORDED, "evaluate.every_steps=4"]);
    // A version and a beginning come first.
    assert_eq!(frames(&run), 2 + run.lines("metrics.jsonl").len());
    // It belongs to the run.
    let run = runs.train(SMOKE, "one", &["run.overwrite=true"]);
    assert!(!run.join("metrics.tfevents").exists());
}

#[test]
fn a_continued_run_adds_to_it() {
    let runs = Runs::new();
    let first = ["budget.steps=4", RECORDED];
    let before = frames(&runs.train(SMOKE, "one", &first));
    let path = runs.path().join("one");
    let more = ["resume", path.to_str().unwrap(), "--set", "budget.steps=8"];
    super::program::run(more).well();
    let run = runs.get("one");
    // After an event that says so, all lines are in it once more.
    assert_eq!(frames(&run), before + 1 + run.lines("metrics.jsonl").len());
}

#[test]
fn a_file_that_cannot_be_written_is_a_warning() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "one", &["budget.steps=4", RECORDED]);
    let path = run.join("metrics.tfevents");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let more = [
        "resume",
        run.path.to_str().unwrap(),
        "--set",
        "budget.steps=8",
    ];
    let ran = super::program::run(more);
    let warning = "TensorBoard gets nothing of this run";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    ran.well();
    assert_eq!(runs.get("one").summary()["steps"], 8);
}

#[test]
fn a_simulation_writes_it_too() {
    let runs = Runs::new();
    let mut arguments = runs.arguments(SMOKE, "one", &[RECORDED]);
    arguments.insert(0, String::from("simulate"));
    super::program::run(arguments).well();
    let run = runs.get("one");
    assert_eq!(frames(&run), 2 + run.lines("metrics.jsonl").len());
}
