//! Workers that fail, and what the others do.

use std::path::Path;
use std::sync::Arc;

use lsgd_core::Mode;
use lsgd_run::RunError;
use lsgd_run::config::{MethodName, Settings};
use lsgd_run::storage::{CheckpointName, CheckpointState, End, RunFolder, read_lines};
use lsgd_run::train::{self, Outcome};
use serde_json::Value;

use crate::toy::{Fails, Toy, job, run, settings};

/// The toy with a fault: these (worker, step) fail so often.
fn faulty(fails: &[(u64, u64, u32)], nan: bool) -> Toy {
    Toy {
        fails: Fails::new(fails, nan),
        ..Toy::default()
    }
}

fn events(outcome: &Path, event: &str) -> Vec<Value> {
    let mut events = Vec::new();
    read_lines(&outcome.join("run/events.jsonl"), |line: Value| {
        if line["event"] == event {
            events.push(line);
        }
    })
    .unwrap();
    events
}

fn trained(task: Toy, change: impl Fn(&mut Settings)) -> (tempfile::TempDir, Outcome) {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(task, settings(folder.path(), change)).unwrap();
    assert_eq!(outcome.summary.end, End::Budget);
    assert!(outcome.summary.steps >= 40);
    (folder, outcome)
}

fn sync(settings: &mut Settings) {
    settings.run.mode = Mode::Sync;
}

/// Before the first exchange it starts as it did at first: the run is as if nothing had happened.
#[test]
fn a_worker_that_panics_early_starts_as_at_first() {
    let (_, whole) = trained(Toy::default(), sync);
    let (folder, outcome) = trained(faulty(&[(1, 2, 3)], false), sync);
    assert_eq!(outcome.summary.digests, whole.summary.digests);
    let restarted = events(folder.path(), "restarted");
    assert_eq!(restarted.len(), 3);
    assert_eq!(restarted[0]["worker"]["worker"], 1);
    assert_eq!(restarted[0]["step"], 0);
}

/// In `sync` the others wait for it at the next exchange: the bits depend only on where it failed.
#[test]
fn a_worker_that_panics_starts_from_its_leader() {
    for method in [
        MethodName::Lsgd,
        MethodName::LocalSgd,
        MethodName::Diloco,
        MethodName::Easgd,
        MethodName::LeaderMean,
        MethodName::Grawa,
    ] {
        let set = |settings: &mut Settings| {
            sync(settings);
            settings.method.name = method;
            settings.workers.count = Some(3);
        };
        // Just before an exchange, just after one, and twice in a row.
        let fails = [(1, 11, 1), (2, 12, 1), (0, 21, 2)];
        let (folder, first) = trained(faulty(&fails, false), set);
        let (_, second) = trained(faulty(&fails, false), set);
        assert_eq!(first.summary.digests, second.summary.digests, "{method:?}");
        let restarted = events(folder.path(), "restarted");
        let at: Vec<(u64, u64)> = restarted
            .iter()
            .map(|event| {
                let worker = event["worker"]["worker"].as_u64().unwrap();
                (worker, event["step"].as_u64().unwrap())
            })
            .collect();
        assert_eq!(at, [(1, 8), (2, 12), (0, 20), (0, 20)], "{method:?}");
        assert!(events(folder.path(), "left").is_empty());
        // Where all start from the mean after an exchange, nothing is lost.
        let (_, whole) = trained(Toy::default(), set);
        let same = first.summary.digests == whole.summary.digests;
        assert_eq!(same, method == MethodName::LocalSgd, "{method:?}");
    }
}

/// The exchanges deliver nothing as long as nobody's loss window is full: it starts at the step of the
/// last one all the same, or the others would wait for it for ever.
#[test]
fn a_worker_that_panics_before_anybody_led_keeps_step() {
    let (folder, _) = trained(faulty(&[(1, 6, 1), (0, 9, 1)], false), |settings| {
        sync(settings);
        settings.method.loss_window = 100;
    });
    let restarted = events(folder.path(), "restarted");
    let at: Vec<u64> = restarted
        .iter()
        .map(|event| event["step"].as_u64().unwrap())
        .collect();
    assert_eq!(at, [4, 8]);
}

/// Losses that are not finite are a failure too, if that was asked for.
#[test]
fn a_worker_that_gives_nan_is_put_back_to_its_leader() {
    let set = |settings: &mut Settings| {
        sync(settings);
        settings.faults.bad_steps = Some(2);
    };
    // Its parameters are NaN from then on.
    let (folder, outcome) = trained(faulty(&[(1, 9, 1)], true), set);
    let restarted = events(folder.path(), "restarted");
    assert_eq!(restarted.len(), 1);
    assert_eq!(restarted[0]["step"], 8);
    let off = outcome.leader("square").unwrap();
    assert!(off < 0.5, "{off}");
}

/// The others go on without a worker that fails again and again; it comes back when the run
/// continues.
#[test]
fn a_worker_that_keeps_failing_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let set = |settings: &mut Settings| {
        sync(settings);
        settings.workers.count = Some(3);
        settings.faults.restarts = 2;
        settings.checkpoint.every_steps = Some(10);
    };
    let task = faulty(&[(1, 13, 3)], false);
    let outcome = run(task.clone(), settings(folder.path(), set)).unwrap();
    assert_eq!((outcome.summary.steps, outcome.summary.workers), (40, 2));
    assert_eq!(events(folder.path(), "restarted").len(), 2);
    let left = events(folder.path(), "left");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["worker"]["worker"], 1);
    let run_folder = RunFolder::open(&folder.path().join("run")).unwrap();
    let (_, state) = CheckpointState::named(&run_folder, CheckpointName::Newest).unwrap();
    assert_eq!(state.steps, [Some(40), None, Some(40)]);
    // All parts of an evaluation were scored, though it has fewer workers.
    assert_eq!(state.evaluation.unwrap().examples, 24);

    // Its folder is locked as long as it is held.
    drop((outcome, run_folder));
    let mut job = job(settings(folder.path(), |settings| {
        set(settings);
        settings.budget.steps = Some(48);
    }));
    job.resume = Some(CheckpointName::Newest);
    let outcome = train::train(job, |_| Ok(task), Box::new(()), Arc::default()).unwrap();
    assert_eq!((outcome.summary.steps, outcome.summary.workers), (48, 3));
}

/// At the pause that the others wait at, it is the last to come.
#[test]
fn the_others_pause_without_a_worker_that_is_left_out() {
    for mode in [Mode::Sync, Mode::Async] {
        let folder = tempfile::tempdir().unwrap();
        let task = faulty(&[(1, 19, 1)], false);
        let outcome = run(
            task,
            settings(folder.path(), |settings| {
                settings.run.mode = mode;
                settings.faults.restarts = 0;
            }),
        )
        .unwrap();
        assert_eq!(outcome.summary.workers, 1, "{mode:?}");
        assert_eq!(outcome.summary.end, End::Budget);
    }
}

/// In `async` nobody waits for it.
#[test]
fn an_async_run_goes_on_meanwhile() {
    for method in [MethodName::Lsgd, MethodName::Easgd, MethodName::Downpour] {
        let task = faulty(&[(1, 15, 2), (0, 30, 1)], false);
        let fails = task.fails.clone();
        let (folder, outcome) = trained(task, |settings| {
            settings.run.mode = Mode::Async;
            settings.method.name = method;
        });
        // Worker 1 may be past the step when it starts again, and may take worker 0's steps in the end.
        let restarted = events(folder.path(), "restarted").len();
        assert_eq!(restarted, 3 - fails.left());
        assert_eq!(outcome.summary.digests.len(), 2);
    }
}

/// Without exchanges there is nothing that it could start from.
#[test]
fn a_worker_of_its_own_is_left_out_at_once() {
    for method in [MethodName::Sgd, MethodName::DataParallel] {
        let folder = tempfile::tempdir().unwrap();
        let outcome = run(
            faulty(&[(1, 13, 1)], false),
            settings(folder.path(), |settings| {
                sync(settings);
                settings.method.name = method;
                settings.method.local_period = 1;
                settings.method.global_period = 1;
            }),
        )
        .unwrap();
        assert_eq!(outcome.summary.workers, 1);
        assert!(events(folder.path(), "restarted").is_empty());
    }
}

/// If none is left the run ends with the last one's error, and what each had is kept.
#[test]
fn a_run_without_workers_ends_saved() {
    let folder = tempfile::tempdir().unwrap();
    let task = faulty(&[(0, 9, 9), (1, 10, 9)], false);
    let error = run(
        task,
        settings(folder.path(), |settings| {
            sync(settings);
            settings.faults.restarts = 1;
        }),
    );
    let error = error.unwrap_err();
    assert!(matches!(error, RunError::WorkerPanicked { .. }), "{error}");
    let run = RunFolder::open(&folder.path().join("run")).unwrap();
    let (_, state) = CheckpointState::named(&run, CheckpointName::Newest).unwrap();
    assert!(state.broken_off);
    assert_eq!(state.steps, [Some(9), Some(10)]);
}
