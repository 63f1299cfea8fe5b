//! Folders as runs leave them, seen at a glance.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::of_run::LastMetric;
use super::*;
use crate::storage::{Headline, State};

const RECORD: &str = r#"{ "version": "0.1.0", "burn": "0.22.1", "devices": ["flex", "flex"], "seed": 1,
    "machine": { "os": "linux", "architecture": "x86_64", "threads": 2 }, "agreement": {}, "layout": "",
    "parameters": 4, "start": "2026-11-30T06:02:28Z",
    "metrics": [{ "name": "error", "unit": "%", "better": "lower" }] }"#;

const CONFIG: &str = "[method]\nname = \"lsgd\"\n[budget]\nsteps = 40\n";

fn interval(step: u64) -> String {
    format!(
        "{{\"kind\":\"interval\",\"step\":{step},\"steps\":10,\"seconds\":{step}.0,\
         \"worker\":{{\"node\":0,\"worker\":0}},\"loss\":1.0,\"learning_rate\":0.1}}\n"
    )
}

fn evaluation(step: u64, leader: Option<f64>, mean: f64) -> String {
    let leader = leader.map_or(String::from("null"), |error| {
        format!(
            "{{\"worker\":{{\"node\":0,\"worker\":0}},\"training_loss\":1.0,\
             \"test\":{{\"error\":{error}}},\"digest\":\"\"}}"
        )
    });
    format!(
        "{{\"kind\":\"evaluation\",\"step\":{step},\"epoch\":0.5,\"samples\":1,\"seconds\":{step}.0,\
         \"examples\":1,\"leader\":{leader},\"replica_mean\":{{\"error\":{mean}}},\"workers\":[]}}\n"
    )
}

fn summary(end: &str) -> String {
    format!(
        r#"{{ "method": "lsgd", "workers": 3, "end": "{end}", "steps": 40, "samples": 1, "epochs": 1.0,
              "seconds": 1.0, "training_seconds": 1.0, "samples_per_second": 1.0,
              "test": {{ "leader": {{ "error": 7.0 }}, "replica_mean": null, "worker_mean": null }},
              "best": null, "exchange": {{ "count": 0, "seconds": 0.0, "wait_seconds": 0.0, "bytes": 0 }},
              "data_wait_seconds": 0.0, "digests": [], "peak_memory_bytes": null }}"#
    )
}

/// The folder of a run with these metrics.
fn write_run(folder: &Path, metrics: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("run.json"), RECORD).unwrap();
    fs::write(folder.join("config.toml"), CONFIG).unwrap();
    fs::write(folder.join("metrics.jsonl"), metrics).unwrap();
}

fn glance(folder: &Path) -> Glance {
    Glance::of(folder).unwrap().expect("a run")
}

fn shown(glance: &Glance) -> String {
    glance
        .metric
        .as_ref()
        .map_or(String::from("none"), LastMetric::shown)
}

#[test]
fn a_run_that_has_not_ended_is_as_far_as_its_last_whole_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let metrics = interval(10) + &evaluation(10, Some(50.0), 40.0) + &interval(20);
    write_run(path, &(metrics.clone() + "{\"kind\":\"interval\",\"st"));
    let seen = glance(path);
    assert_eq!(
        (seen.method.as_str(), seen.workers, seen.nodes),
        ("lsgd", 2, 1)
    );
    assert_eq!((seen.steps, seen.used), (Some(20), Some(0.5)));
    assert_eq!((seen.state, seen.in_state), (State::Killed, 1));
    assert_eq!(shown(&seen), "error 50.00 %");
    assert_eq!(seen.metric.unwrap().of, Headline::Leader);

    // Nobody leads.
    fs::write(
        path.join("metrics.jsonl"),
        metrics + &evaluation(30, None, 40.0),
    )
    .unwrap();
    let seen = glance(path);
    assert_eq!(shown(&seen), "error 40.00 %");
    assert_eq!(seen.metric.unwrap().of, Headline::ReplicaMean);

    for empty in ["", "{\"kind\":"] {
        fs::write(path.join("metrics.jsonl"), empty).unwrap();
        let seen = glance(path);
        assert_eq!(
            (seen.steps, seen.used, shown(&seen)),
            (None, None, String::from("none"))
        );
    }
    fs::remove_file(path.join("metrics.jsonl")).unwrap();
    fs::remove_file(path.join("config.toml")).unwrap();
    assert_eq!(glance(path).method, "-");
}

/// A process that has it open, here this one, and each way to end.
#[test]
fn the_state_is_what_lock_summary_and_checkpoint_tell() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write_run(path, &interval(10));
    assert_eq!(glance(path).state, State::Killed);
    let lock = File::create(path.join(".lock")).unwrap();
    let written = |name: &str| fs::metadata(path.join(name)).unwrap().modified().unwrap();
    let last = written("metrics.jsonl").max(written("run.json"));
    let second = Duration::from_secs(1);
    lock.set_modified(last + second).unwrap();
    assert_eq!(glance(path).state, State::Killed, "a lock that nobody has");
    lock.lock().unwrap();
    assert_eq!(glance(path).state, State::Starting, "all records are older");
    assert_eq!(glance(path).last, last + second);
    lock.set_modified(last).unwrap();
    assert_eq!(glance(path).state, State::Running);
    for (end, state) in [
        ("budget", State::Ended),
        ("interrupted", State::Stopped),
        ("diverged", State::Diverged),
    ] {
        fs::write(path.join("summary.json"), summary(end)).unwrap();
        lock.lock().unwrap();
        // It is about to exit, or continues what had ended.
        assert_eq!(glance(path).state, State::Running, "{end}");
        lock.unlock().unwrap();
        assert_eq!(glance(path).state, state);
    }
    let seen = glance(path);
    assert_eq!(
        (seen.workers, seen.steps, shown(&seen)),
        (3, Some(40), String::from("error 7.00 %"))
    );
    fs::remove_file(path.join("summary.json")).unwrap();
    for (broken_off, state) in [(true, State::BrokenOff), (false, State::Killed)] {
        let checkpoint = path.join(format!("checkpoints/step-{}", 10 + u64::from(!broken_off)));
        fs::create_dir_all(&checkpoint).unwrap();
        fs::write(
            checkpoint.join("state.json"),
            format!("{{\"broken_off\":{broken_off}}}"),
        )
        .unwrap();
        assert_eq!(glance(path).state, state);
    }
}

/// The evaluation is further back than anyone looks: the newest checkpoint has it.
#[test]
fn a_long_record_is_not_read_for_its_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let long = interval(20).repeat(50_000);
    write_run(path, &(evaluation(10, Some(50.0), 40.0) + &long));
    assert!(long.len() > 5 << 20);
    let seen = glance(path);
    assert_eq!((seen.steps, shown(&seen)), (Some(20), String::from("none")));
    let checkpoint = path.join("checkpoints/step-10");
    fs::create_dir_all(&checkpoint).unwrap();
    let line = evaluation(10, Some(51.0), 40.0);
    fs::write(
        checkpoint.join("state.json"),
        format!("{{\"evaluation\":{line}}}"),
    )
    .unwrap();
    assert_eq!(shown(&glance(path)), "error 51.00 %");
}

#[test]
fn nodes_are_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let node = |number: u32| path.join(format!("node-{number}"));
    write_run(&node(1), &interval(10));
    write_run(
        &node(2),
        &(evaluation(10, Some(50.0), 40.0) + &interval(20)),
    );
    write_run(&node(10), &(evaluation(10, Some(60.0), 40.0)));
    fs::create_dir(path.join("node-3")).unwrap();
    fs::write(node(2).join("summary.json"), summary("budget")).unwrap();
    let seen = glance(path);
    assert_eq!((seen.nodes, seen.workers, seen.steps), (3, 7, Some(40)));
    assert_eq!(shown(&seen), "error 7.00 %");
    assert_eq!((seen.state, seen.in_state), (State::Ended, 1));
    let names = |folder: &Path| -> Vec<PathBuf> {
        let mut names: Vec<_> = list(folder)
            .unwrap()
            .into_iter()
            .map(|run| run.name)
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        names(path),
        ["node-1", "node-10", "node-2"].map(PathBuf::from)
    );
    assert_eq!(names(&node(1)), [PathBuf::new()]);
}

/// A run, and the nodes of one, before there is any record.
#[test]
fn a_run_that_loads_its_data_is_listed_as_starting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let locked = |name: &str| {
        fs::create_dir_all(path.join(name)).unwrap();
        let lock = File::create(path.join(name).join(".lock")).unwrap();
        lock.lock().unwrap();
        lock
    };
    let one = locked("one");
    let nodes = ["several/node-1", "several/node-2"].map(locked);
    // What a killed process has left before its first record is no run.
    let killed = locked("killed");
    killed.unlock().unwrap();
    let mut seen: Vec<(PathBuf, State, usize)> = Vec::new();
    for listed in list(path).unwrap() {
        let Found::Run(glance) = listed.found else {
            panic!("{listed:?}")
        };
        assert_eq!((glance.in_state, glance.steps), (glance.nodes, None));
        seen.push((listed.name, glance.state, glance.nodes));
    }
    seen.sort();
    let expected = [("one", 1), ("several", 2)];
    let expected = expected.map(|(name, nodes)| (PathBuf::from(name), State::Starting, nodes));
    assert_eq!(seen, expected);
    let files = fs::read_dir(path.join("killed")).unwrap().count();
    assert_eq!(files, 1, "nobody who looks removes or makes anything");
    drop((one, nodes));
    assert!(list(path).unwrap().is_empty());
}

#[test]
fn what_is_no_run_is_left_out_and_what_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["good", "damaged", "newer", "runs/of a bench"] {
        write_run(&path.join(name), &interval(10));
    }
    fs::create_dir_all(path.join("mine/node-1")).unwrap();
    fs::create_dir_all(path.join("config")).unwrap();
    fs::write(path.join("config/config.toml"), CONFIG).unwrap();
    fs::write(path.join("notes.txt"), "").unwrap();
    let mut metrics = OpenOptions::new()
        .append(true)
        .open(path.join("damaged/metrics.jsonl"))
        .unwrap();
    metrics.write_all(b"what?\n").unwrap();
    fs::write(
        path.join("newer/run.json"),
        r#"{ "format": 7, "version": "9.9" }"#,
    )
    .unwrap();
    let mut found: Vec<(String, String)> = list(path)
        .unwrap()
        .into_iter()
        .map(|run| {
            let what = match run.found {
                Found::Run(glance) => format!("{:?}", glance.steps),
                Found::Unreadable { why, .. } => why,
            };
            (run.name.display().to_string(), what)
        })
        .collect();
    found.sort();
    let damaged = "metrics.jsonl: expected value at line 1 column 1";
    let expected = [
        ("damaged", damaged),
        ("good", "Some(10)"),
        ("newer", "its format 7 is of a newer version, 9.9"),
        ("runs/of a bench", "Some(10)"),
    ];
    let expected = expected.map(|(name, what)| (name.to_owned(), what.to_owned()));
    assert_eq!(found, expected);

    let error = list(&path.join("nowhere")).unwrap_err().to_string();
    assert!(error.contains("there is no such folder"), "{error}");
}

#[test]
fn the_newest_is_first() {
    let folder = tempfile::tempdir().unwrap();
    for (name, end) in [
        ("b", "07:00:00Z"),
        ("a", "07:00:00Z"),
        ("new", "08:00:00Z"),
        ("old", "06:30:00Z"),
    ] {
        let path = folder.path().join(name);
        write_run(&path, "");
        let record = RECORD.replace(
            "\"start\"",
            &format!("\"end\": \"2026-11-30T{end}\", \"start\""),
        );
        fs::write(path.join("run.json"), record).unwrap();
        fs::write(path.join("summary.json"), summary("budget")).unwrap();
    }
    let names: Vec<PathBuf> = list(folder.path())
        .unwrap()
        .into_iter()
        .map(|run| run.name)
        .collect();
    assert_eq!(names, ["new", "a", "b", "old"].map(PathBuf::from));
}
