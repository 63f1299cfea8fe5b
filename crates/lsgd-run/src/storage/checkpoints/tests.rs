//! A process that is killed while it writes checkpoints, at any operation on the disk: there is
//! always a good newest one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn::nn::LinearConfig;
use lsgd_core::{Layout, LocalLeaderState, RuleState, Source, WorkerId, WorkerState};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::super::checkpoint_name::CheckpointName;
use super::super::disk::kill;
use super::super::records::Evaluation;
use super::super::resume_record::RecordLengths;
use super::super::run_state::{RunState, SavedWorker};
use super::super::saved_run::SavedRun;
use super::*;
use crate::task::generator;

/// How many points a process is killed at. In CI as many as take seconds; by hand any number:
/// `LSGD_KILLS=100000 cargo test --release -p lsgd-run --lib killed`.
const KILLS: u64 = 1000;

/// Points for each sequence of actions.
const POINTS: u64 = 10;

/// A step in the life of a run's checkpoints.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// Writes a checkpoint, this many steps after the newest: at 0 it replaces that, as in `async`, or
    /// when an evaluation is done again.
    Write { steps: u64, seed: u64 },
    /// Completes the last one.
    Complete { is_best: bool },
    /// The run continues from its checkpoint of this number, modulo how many there are.
    Continue(usize),
}

/// The files of a checkpoint, by name.
type Files = BTreeMap<String, Vec<u8>>;

/// All checkpoints, by step.
type History = BTreeMap<u64, Files>;

fn layout() -> Arc<Layout> {
    let devices = crate::device::available();
    let device = devices[0].device.clone().autodiff();
    Layout::of(&LinearConfig::new(3, 2).init(&device))
}

fn snapshot(layout: &Arc<Layout>, random: &mut ChaCha8Rng, source: Source) -> Arc<Snapshot> {
    let mut values = |count: usize| (0..count).map(|_| random.random::<f32>()).collect();
    let (parameters, buffers) = (values(layout.parameter_len()), values(layout.buffer_len()));
    Arc::new(Snapshot::new(layout.clone(), source, parameters, buffers).unwrap())
}

fn checkpoint(layout: &Arc<Layout>, step: u64, seed: u64) -> Checkpoint {
    let mut random = generator("lsgd-run test checkpoint", &[step, seed]);
    let of = |worker| Source::Worker {
        id: WorkerId::new(0, worker),
        step,
    };
    let centre = snapshot(layout, &mut random, of(0));
    let mut worker = |_: usize| SavedWorker {
        state: WorkerState {
            step,
            losses: vec![random.random()],
            probed: None,
            factors: None,
            rule: RuleState {
                vectors: BTreeMap::from([(String::from("centre"), centre.clone())]),
                numbers: BTreeMap::new(),
            },
        },
        optimizer: Arc::new((0..300).map(|_| random.random()).collect()),
        times: Default::default(),
        average: None,
    };
    let run_state = RunState {
        workers: (0..2).map(|number| (number, worker(number))).collect(),
        leader: LocalLeaderState {
            centre: Some(centre),
            ..LocalLeaderState::default()
        },
        cluster: None,
        window: Vec::new(),
        evaluates: true,
        seconds: 1.0,
        records: RecordLengths::default(),
    };
    let values = [0, 1].map(|worker| (worker as usize, snapshot(layout, &mut random, of(worker))));
    Checkpoint {
        state: CheckpointState {
            step,
            samples: seed,
            workers: 2,
            leader: Some(0),
            steps: vec![Some(step); 2],
            broken_off: false,
            workers_of_all_nodes: None,
            layout: layout.digest().to_string(),
            evaluation: None,
            is_best: false,
            statistics_batches: None,
            resume: None,
            files: BTreeMap::new(),
            notes: Default::default(),
        },
        averages: values.clone().into(),
        workers: values.into(),
        frozen: Arc::default(),
        run_state: Some(run_state),
    }
}

fn mean(layout: &Arc<Layout>, step: u64) -> Arc<Snapshot> {
    let mut random = generator("lsgd-run test mean", &[step]);
    snapshot(layout, &mut random, Source::Mean { workers: 2 })
}

/// A sequence of actions as a run takes them.
fn actions(random: &mut ChaCha8Rng) -> Vec<Action> {
    let mut actions = Vec::new();
    for seed in 0..random.random_range(2..7) {
        let steps = random.random_range(0..4);
        let steps = match seed {
            0 => 1 + steps,
            _ => steps,
        };
        if seed > 0 && random.random_bool(0.15) {
            actions.push(Action::Continue(random.random_range(0..4)));
        }
        actions.push(Action::Write { steps, seed });
        if random.random_bool(0.6) {
            let is_best = random.random_bool(0.3);
            actions.push(Action::Complete { is_best });
        }
    }
    actions
}

/// A folder of a run that has no checkpoint yet.
fn run() -> (tempfile::TempDir, RunFolder) {
    // In memory if possible: passing files to a disk takes most of the time.
    let memory = Path::new("/dev/shm");
    let folder = match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    fs::write(folder.path().join("config.toml"), "").unwrap();
    let run = RunFolder::open(folder.path()).unwrap();
    (folder, run)
}

/// What a process does: takes the actions, until it is killed. Calls `taken` after each.
fn take(
    run: &RunFolder,
    keep: usize,
    layout: &Arc<Layout>,
    actions: &[Action],
    mut taken: impl FnMut(),
) -> Result<(), RunError> {
    let mut checkpoints = Checkpoints::new(run, keep)?;
    let mut last = None;
    for action in actions {
        match *action {
            Action::Write { steps, seed } => {
                let step = checkpoints.newest().unwrap_or(0) + steps;
                let mut checkpoint = checkpoint(layout, step, seed);
                checkpoints.write(&mut checkpoint)?;
                last = Some(checkpoint.state);
            }
            Action::Complete { is_best } => {
                let mut state = last.take().unwrap();
                let completion = Completion {
                    evaluation: evaluation(state.step),
                    is_best,
                    means: vec![(Which::Mean, mean(layout, state.step))],
                    evaluated: None,
                };
                checkpoints.complete(&mut state, completion)?;
            }
            Action::Continue(number) => {
                let number = number % checkpoints.last.len();
                checkpoints.forget_after(checkpoints.last[number])?;
            }
        }
        taken();
    }
    Ok(())
}

fn evaluation(step: u64) -> Evaluation {
    Evaluation {
        step,
        epoch: 1.0,
        samples: step,
        seconds: 1.0,
        examples: 0,
        was_due: true,
        leader: None,
        replica_mean: None,
        ema: None,
        lawa: None,
        workers: Vec::new(),
    }
}

/// The checkpoints of a folder. Nothing else may be in it.
#[track_caller]
fn read(run: &RunFolder) -> History {
    let mut found = History::new();
    for entry in fs::read_dir(run.join("checkpoints")).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let step = name
            .strip_prefix("step-")
            .and_then(|step| step.parse().ok());
        let step = step.unwrap_or_else(|| panic!("{name} is left"));
        found.insert(step, read_files(&entry.path()));
    }
    found
}

fn read_files(checkpoint: &Path) -> Files {
    let entries = fs::read_dir(checkpoint).unwrap();
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    };
    entries.map(file).collect()
}

/// Whether a checkpoint is as it was before or after an action, or as in between, when it has the
/// mean but its state does not tell of it.
fn is_good(found: &Files, before: Option<&Files>, after: Option<&Files>) -> bool {
    if Some(found) == before || Some(found) == after {
        return true;
    }
    let (Some(before), Some(after)) = (before, after) else {
        return false;
    };
    let mut between = before.clone();
    if let Some(mean) = after.get("mean.safetensors") {
        between.insert(String::from("mean.safetensors"), mean.clone());
    }
    *found == between
}

/// A sequence of actions, what is there after each, and how many operations all of them take.
struct Life {
    layout: Arc<Layout>,
    keep: usize,
    actions: Vec<Action>,
    histories: Vec<History>,
    operations: u64,
}

impl Life {
    fn new(layout: &Arc<Layout>, random: &mut ChaCha8Rng) -> Self {
        let (keep, actions) = (random.random_range(1..4), actions(random));
        let (_folder, run) = run();
        let mut histories = vec![History::new()];
        let look = || histories.push(read(&run));
        let (taken, operations) = kill::count(|| take(&run, keep, layout, &actions, look));
        taken.unwrap();
        Self {
            layout: layout.clone(),
            keep,
            actions,
            histories,
            operations,
        }
    }

    /// Is killed before operation `at`; the next process, before operation `again` while it puts
    /// things in order.
    fn is_killed(&self, at: u64, again: u64) {
        let (_folder, run) = run();
        let mut done = 0;
        let (taken, was_killed) = kill::at(at, || {
            take(&run, self.keep, &self.layout, &self.actions, || done += 1)
        });
        assert!(taken.is_ok() || was_killed);
        let before = &self.histories[done];
        let after = self.histories.get(done + 1).unwrap_or(before);
        let context = format!(
            "killed at operation {at} of {}, then at {again}, in {:?} of {:?}, keeping {}",
            self.operations,
            self.actions.get(done),
            self.actions,
            self.keep
        );
        let newest = |history: &History| history.keys().next_back().copied();

        // `eval` and `export` put nothing in order.
        match CheckpointState::named(&run, CheckpointName::Newest) {
            Ok((path, state)) => {
                let mut files = read_files(&path);
                files.retain(|name, _| !name.ends_with(".part"));
                let (before, after) = (before.get(&state.step), after.get(&state.step));
                assert!(is_good(&files, before, after), "{context}");
            }
            Err(error) => assert!(before.is_empty(), "{context}: {error}"),
        }

        let _ = kill::at(again, || Checkpoints::new(&run, self.keep));
        let folder = run.path().to_owned();
        let found = SavedRun::find(&folder, CheckpointName::Newest, &self.layout);
        let found = found.unwrap_or_else(|error| panic!("{context}: {error}"));
        let step = found.map(|found| found.state.step);
        let mut checkpoints = Checkpoints::new(&run, self.keep).unwrap();
        let left = read(&run);
        assert_eq!(newest(&left), step, "{context}");
        assert_eq!(checkpoints.newest(), step, "{context}");
        assert!(
            newest(before).max(newest(after)) >= step && newest(before).min(newest(after)) <= step,
            "{context}: {step:?}"
        );
        for (step, files) in &left {
            let (before, after) = (before.get(step), after.get(step));
            assert!(is_good(files, before, after), "{context}: step {step}");
        }
        let kept = before.keys().filter(|step| after.contains_key(step));
        for step in kept {
            assert!(left.contains_key(step), "{context}: step {step} is lost");
        }

        // The next process goes on.
        let best = left.keys().copied().rfind(|step| {
            CheckpointState::open(&folder.join(format!("checkpoints/step-{step}")))
                .is_ok_and(|state| state.is_best)
        });
        checkpoints = checkpoints.with_best(best);
        let step = step.unwrap_or(0) + 1;
        let mut next = checkpoint(&self.layout, step, 0);
        checkpoints.write(&mut next).unwrap();
        let steps: Vec<u64> = left.keys().copied().chain([step]).collect();
        let last = steps[steps.len().saturating_sub(self.keep)..]
            .iter()
            .copied();
        let expected: BTreeSet<u64> = last.chain(best).collect();
        let now: BTreeSet<u64> = read(&run).into_keys().collect();
        assert!(expected.is_subset(&now), "{context}: {now:?}");
    }
}

#[test]
fn a_process_that_is_killed_leaves_a_good_newest_checkpoint() {
    let kills = std::env::var("LSGD_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let layout = layout();
    for seed in 0..kills.div_ceil(POINTS) {
        let mut random = generator("lsgd-run test kills", &[seed]);
        let life = Life::new(&layout, &mut random);
        for _ in 0..POINTS {
            let at = random.random_range(0..=life.operations);
            let again = random.random_range(0..20);
            life.is_killed(at, again);
        }
    }
}
