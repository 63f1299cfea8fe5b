//! Replays of runs whose workers fail.

use lsgd_core::Mode;
use lsgd_run::RunError;
use lsgd_run::config::{MethodName, Settings};
use lsgd_run::storage::read_lines;
use lsgd_run::train::{Difference, Outcome, Replay, Replayed, replay};
use serde_json::Value;

use crate::toy::{Fails, Toy, job, run, settings};

fn replayed(
    outcome: &Outcome,
    settings: Settings,
) -> Result<Result<Replayed, Difference>, RunError> {
    let of = Replay::of(outcome.folder.path(), None)?;
    replay(of, job(settings), |_| Ok(Toy::default()))
}

fn restarts(outcome: &Outcome) -> Vec<Value> {
    let mut found = Vec::new();
    read_lines(&outcome.folder.join("events.jsonl"), |line: Value| {
        if line["event"] == "restarted" {
            found.push(line);
        }
    })
    .unwrap();
    found
}

/// Where it starts again depends on how far the others were, which is recorded.
#[test]
fn a_worker_that_started_again_is_replayed() {
    for method in [MethodName::Lsgd, MethodName::Easgd, MethodName::Downpour] {
        // In its first step, before anything was delivered; and later, twice in a row.
        let fails = [(1, 0, 1), (2, 12, 1), (0, 21, 2)];
        let folder = tempfile::tempdir().unwrap();
        let set = || {
            settings(folder.path(), |settings| {
                settings.run.mode = Mode::Async;
                settings.method.name = method;
                settings.workers.count = Some(3);
                settings.budget.steps = Some(60);
            })
        };
        let task = Toy {
            fails: Fails::new(&fails, false),
            ..Toy::default()
        };
        let outcome = run(task, set()).unwrap();
        assert!(!restarts(&outcome).is_empty(), "{method:?}");
        let replayed = replayed(&outcome, set()).unwrap();
        let replayed = replayed.unwrap_or_else(|difference| panic!("{method:?}: {difference}"));
        assert_eq!(replayed.workers, 3, "{method:?}");
        assert!(replayed.compared >= 9, "{method:?}: {replayed}");
    }
}

/// A worker that has left does nothing more; the others go on.
#[test]
fn a_worker_that_left_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let set = || {
        settings(folder.path(), |settings| {
            settings.run.mode = Mode::Async;
            settings.workers.count = Some(3);
            settings.faults.restarts = 0;
        })
    };
    let task = Toy {
        fails: Fails::new(&[(1, 13, 1)], false),
        ..Toy::default()
    };
    let outcome = run(task, set()).unwrap();
    replayed(&outcome, set()).unwrap().unwrap();
}

/// Other data than the run had is no replay of it.
#[test]
fn other_data_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let set = || {
        settings(folder.path(), |settings| {
            settings.run.mode = Mode::Async;
        })
    };
    let outcome = run(Toy::default(), set()).unwrap();
    let path = outcome.folder.join("run.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("1 -2 3 1", "1 -2 3 2")).unwrap();
    let error = replayed(&outcome, set()).unwrap_err().to_string();
    let why = "the line is 1 -2 3 1, was 1 -2 3 2";
    assert!(error.ends_with(why), "{error}");
}
