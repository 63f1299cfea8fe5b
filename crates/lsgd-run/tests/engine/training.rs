//! A run that goes well.

use std::sync::{Arc, Mutex};

use lsgd_core::WorkerId;
use lsgd_run::config::{Config, Settings};
use lsgd_run::storage::{Evaluation, RunFolder};
use lsgd_run::train::{self, Context, Job, Requests, Setup};
use lsgd_run::{Observer, Stepped};

use super::toy::{Toy, job, leaders, run, run_watched, settings};

#[test]
fn workers_learn_and_their_leader_is_scored() {
    let folder = tempfile::tempdir().unwrap();
    let longer = settings(folder.path(), |settings| settings.budget.steps = Some(400));
    let outcome = run(Toy::default(), longer).unwrap();
    let squares = leaders(&outcome);
    assert_eq!(squares.len(), 20);
    assert!(squares[19] < 0.01 * squares[0], "{squares:?}");
    let summary = &outcome.summary;
    let leader = summary.test.leader.as_ref().unwrap();
    assert_eq!(leader.get("square"), Some(squares[19]));
    assert_eq!(outcome.leader("square"), Some(squares[19]));
    assert_eq!(outcome.leader("no such"), None);
    assert_eq!(summary.samples, 2 * 400 * 8);
    assert_eq!(summary.epochs, 80.0);
    let best = summary.best.as_ref().unwrap();
    assert_eq!(best.metric, "square");
    assert!(best.value <= squares[19]);
}

/// In sync a run is a function of its seed, whatever the number of threads, and one under the virtual
/// clock has the same bits.
#[test]
fn a_sync_run_repeats_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str, threads| {
        settings(folder.path(), |settings| {
            settings.run.name = name.to_owned();
            settings.workers.threads = threads;
        })
    };
    let first = run(Toy::default(), named("first", 1)).unwrap();
    let second = run(Toy::default(), named("second", 2)).unwrap();
    let simulated = train::simulate(
        job(named("simulated", 1)),
        |_: Context| Ok(Toy::default()),
        Box::new(()),
        Arc::new(Requests::default()),
    )
    .unwrap();
    assert_eq!(first.summary.digests.len(), 2);
    assert_eq!(first.summary.digests, second.summary.digests);
    assert_eq!(first.summary.digests, simulated.summary.digests);
    assert_eq!(first.summary.test, simulated.summary.test);
}

/// What an observer has received.
#[derive(Debug, Default)]
struct Heard {
    title: String,
    steps: Vec<u64>,
    leaders: usize,
    evaluations: Vec<u64>,
    ended: bool,
}

struct Listener(Arc<Mutex<Heard>>);

impl Observer for Listener {
    fn began(&mut self, setup: &Setup, _: &RunFolder) {
        self.0.lock().unwrap().title = setup.facts.title.clone();
    }

    fn stepped(&mut self, step: Stepped) {
        let mut heard = self.0.lock().unwrap();
        heard.steps.resize(2, 0);
        heard.steps[step.worker] += 1;
        assert_eq!(heard.steps[step.worker], step.step);
        assert!(step.loss.is_finite());
    }

    fn elected(&mut self, leader: Option<WorkerId>) {
        self.0.lock().unwrap().leaders += usize::from(leader.is_some());
    }

    fn evaluated(&mut self, evaluation: &Evaluation) {
        let mut heard = self.0.lock().unwrap();
        heard.evaluations.push(evaluation.step);
        assert_eq!(evaluation.examples, 24);
    }

    fn ended(&mut self) {
        self.0.lock().unwrap().ended = true;
    }
}

#[test]
fn an_observer_follows_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let heard = Arc::new(Mutex::new(Heard::default()));
    let listener = Box::new(Listener(heard.clone()));
    run_watched(Toy::default(), settings(folder.path(), |_| {}), listener).unwrap();
    let heard = heard.lock().unwrap();
    assert_eq!(heard.title, "a line on points");
    assert_eq!(heard.steps, [40, 40]);
    assert_eq!(heard.leaders, 10);
    assert_eq!(heard.evaluations, [20, 40]);
    assert!(heard.ended);
}

#[test]
fn settings_that_no_file_says_are_checked_as_if_one_did() {
    let folder = tempfile::tempdir().unwrap();
    let job = |change: fn(&mut Settings)| Job::new(settings(folder.path(), change));
    let refused = |change| job(change).unwrap_err().to_string();
    assert_eq!(
        refused(|settings| settings.method.local_pull = 2.0),
        "the settings: method.local_pull 2 is not in [0, 1]; give a number from 0 to 1"
    );
    assert!(
        refused(|settings| settings.method.global_period = 6).contains("method.global_period 6")
    );

    let set = job(|settings| settings.run.seed = 9).unwrap();
    let outcome = train::train(
        set,
        |_: Context| Ok(Toy::default()),
        Box::new(()),
        Arc::default(),
    );
    let written = outcome.unwrap().folder.join("config.toml");
    let again = Config::<()>::load(&written, &[]).unwrap();
    assert_eq!(again.settings.run.seed, 9);
    assert_eq!(again.settings.budget.steps, Some(40));
}
