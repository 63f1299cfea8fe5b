//! A run that does not finish.

use std::sync::Arc;

use lsgd_run::RunError;
use lsgd_run::config::RankBy;
use lsgd_run::exit::{EXIT_FAILED, EXIT_USAGE};
use lsgd_run::storage::{CheckpointName, CheckpointState, RunFolder};
use lsgd_run::train::{self, Context};

use super::toy::{Missing, Toy, job, run, settings};

/// The steps of each worker in the checkpoint that a broken run leaves.
fn saved(folder: &std::path::Path) -> Vec<Option<u64>> {
    let run = RunFolder::open(&folder.join("run")).unwrap();
    let (_, state) = CheckpointState::named(&run, CheckpointName::Newest).unwrap();
    assert!(state.broken_off);
    state.steps
}

#[test]
fn a_batch_that_cannot_be_had_ends_the_run_saved() {
    let folder = tempfile::tempdir().unwrap();
    // The first worker's at step 6.
    let task = Toy {
        missing: Some(12),
        ..Toy::default()
    };
    let error = run(task, settings(folder.path(), |_| {})).unwrap_err();
    let RunError::Task(error) = error else {
        panic!("{error}");
    };
    assert_eq!(error.downcast_ref(), Some(&Missing(12)));
    let steps = saved(folder.path());
    assert_eq!(steps[0], Some(6));
    // The other continues without it until the run is aborted.
    assert!(steps[1] >= Some(4), "{steps:?}");
}

#[test]
fn a_loss_that_panics_ends_the_run_saved() {
    let folder = tempfile::tempdir().unwrap();
    let task = Toy {
        panics_at: Some(3),
        ..Toy::default()
    };
    let error = run(task, settings(folder.path(), |_| {})).unwrap_err();
    assert!(matches!(error, RunError::WorkerPanicked { .. }), "{error}");
    assert!(error.to_string().contains("no luck"), "{error}");
    // The other is stopped there or on its way.
    let steps = saved(folder.path());
    assert!(steps.contains(&Some(3)), "{steps:?}");
    assert!(steps.iter().all(|step| *step <= Some(3)), "{steps:?}");
}

#[test]
fn a_batch_that_is_missing_at_the_start_leaves_nothing_to_save() {
    let folder = tempfile::tempdir().unwrap();
    let task = Toy {
        missing: Some(0),
        ..Toy::default()
    };
    let error = run(
        task,
        settings(folder.path(), |settings| {
            settings.workers.count = Some(1);
        }),
    );
    assert_eq!(error.unwrap_err().to_string(), "batch 0 is not there");
    let run = RunFolder::open(&folder.path().join("run")).unwrap();
    assert!(CheckpointState::named(&run, CheckpointName::Newest).is_err());
}

#[test]
fn keys_for_the_task_are_refused_unless_it_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), |settings| {
        settings.evaluate.examples = Some(5);
        settings.method.rank_by = RankBy::ProbeLoss;
        settings.method.probe_examples = 7;
    });
    let train = |make: &dyn Fn(Context)| {
        let make = |run: Context| {
            make(run);
            Ok(Toy::default())
        };
        train::train(job(settings.clone()), make, Box::new(()), Arc::default())
    };
    for (make, expected) in [
        (
            &(|_: Context| ()) as &dyn Fn(Context),
            "evaluate.examples 5",
        ),
        (
            &|run: Context| assert_eq!(run.held_out_examples(24), 5),
            "method.probe_examples 7",
        ),
    ] {
        let error = train(make).unwrap_err();
        let expected = format!("{expected} is not used by this task; leave it out");
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.exit_code(), EXIT_USAGE);
    }
    let outcome = train(&|run: Context| {
        assert_eq!(run.held_out_examples(3), 3);
        assert_eq!(run.probe_examples(), 7);
    });
    assert_eq!(outcome.unwrap().summary.steps, 40);
}

/// During set-up an error of the task is one of its config, and a panic is caught.
#[test]
fn a_task_that_cannot_be_made_is_a_fault_of_the_config() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), |_| {});
    let train = |make: &dyn Fn() -> Result<Toy, RunError>| {
        let requests = Arc::default();
        let make = |_: Context| make();
        train::train(job(settings.clone()), make, Box::new(()), requests).unwrap_err()
    };
    let unmade = train(&|| Err(RunError::task(Missing(7))));
    assert_eq!(unmade.to_string(), "batch 7 is not there");
    assert_eq!(unmade.exit_code(), EXIT_USAGE);

    let panicked = train(&|| panic!("width 63 cannot be shared by 4 heads"));
    let expected = "the task panicked before the run began: width 63 cannot be shared by 4 heads";
    assert_eq!(panicked.to_string(), expected);
    assert_eq!(panicked.exit_code(), EXIT_FAILED);

    let module = train(&|| {
        Ok(Toy {
            has_no_module: true,
            ..Toy::default()
        })
    });
    let expected = "the task panicked before the run began: no module";
    assert_eq!(module.to_string(), expected);
    // Nothing is left where the run would have been.
    assert!(!folder.path().join("run").exists());
}
