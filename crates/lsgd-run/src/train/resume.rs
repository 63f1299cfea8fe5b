//! Where a run starts: at its beginning, or from a checkpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lsgd_core::GlobalLeaderState;

use super::messages::Start;
use super::setup::Setup;
use super::totals::Totals;
use crate::error::RunError;
use crate::storage::{
    CheckpointName, Claim, End, FolderError, Recorder, ResumedRecords, RunChange, RunFolder,
    RunRecord, SavedRun, SharedSettings, Summary, check_settings, is_unfinished,
};
use crate::words::count;

/// A run that continues.
#[derive(Debug)]
pub(super) struct Resumed {
    saved: Arc<SavedRun>,
    /// Whether the run is at its end, and only its end has to be done again.
    ends: bool,
    /// What is different from now on.
    changes: Vec<String>,
}

/// What is in the folder of a run that may continue.
pub(super) enum Found {
    /// No run, or nothing of one to continue from.
    Nothing,
    /// A run to continue.
    Run(Resumed),
    /// A run that has ended, with nothing left to do.
    Over(RunFolder, Box<Summary>),
}

/// Looks for a run to continue in the claimed folder.
///
/// # Errors
///
/// [`RunError`] if the run cannot continue, or not with these settings.
pub(super) fn find(claim: &Claim, name: CheckpointName, setup: &Setup) -> Result<Found, RunError> {
    // A run that was killed while it began may have a `run.json` alone.
    if !claim.comes_back() || !claim.folder().join("config.toml").is_file() {
        return Ok(Found::Nothing);
    }
    let folder = RunFolder::open(claim.folder())?;
    let record = folder.record()?;
    let changes = changes(&folder, &record, setup)?;
    if record.layout != setup.layout.digest().to_string() {
        return Err(other_model(folder.path(), &record.layout, setup));
    }
    let Some(mut saved) = SavedRun::find(folder.path(), name, &setup.layout)? else {
        return Ok(Found::Nothing);
    };
    let ends = is_at_end(&saved, setup);
    let is_out_of_patience = is_out_of_patience(&folder, &saved, setup)?;
    if folder.join("summary.json").is_file() && others_have_ended(&claim.others_of(setup.nodes)) {
        let summary = folder.summary()?;
        let is_over = match summary.end {
            End::Budget => name == CheckpointName::Newest && (ends || is_out_of_patience),
            End::Diverged => name == CheckpointName::Newest,
            End::Interrupted => false,
        };
        if is_over {
            return Ok(Found::Over(folder, Box::new(summary)));
        }
    }
    if is_out_of_patience {
        // It was killed at its end: its last evaluation ends it again.
        saved.take_back_evaluation();
    }
    // Before anything is removed.
    Recorder::check(&folder, saved.lengths(ends))?;
    Ok(Found::Run(Resumed::of(saved, changes, setup)))
}

/// Continues from the node's own checkpoint of this step, which all nodes have agreed on.
///
/// # Errors
///
/// [`RunError`] if that cannot be read.
pub(super) fn at(claim: &Claim, step: u64, setup: &Setup) -> Result<Resumed, RunError> {
    let name = CheckpointName::Step(step);
    let saved = SavedRun::find(claim.folder(), name, &setup.layout)?;
    let gone = || FolderError::Gone {
        path: claim.folder().to_owned(),
    };
    let folder = RunFolder::open(claim.folder())?;
    let changes = changes(&folder, &folder.record()?, setup)?;
    Ok(Resumed::of(saved.ok_or_else(gone)?, changes, setup))
}

/// What changes in the settings of the run in `folder`.
fn changes(folder: &RunFolder, record: &RunRecord, setup: &Setup) -> Result<Vec<String>, RunError> {
    let job = &setup.job;
    let settings = SharedSettings {
        settings: &job.shared,
        defaults: &job.defaults,
        agreement: &setup.facts.agreement,
    };
    let changes = check_settings(folder.path(), record, settings)?;
    let told = |change: &RunChange| match change.consequence() {
        Some(consequence) => format!("{change}: {consequence}"),
        None => change.to_string(),
    };
    Ok(changes.iter().map(told).collect())
}

/// Whether the other nodes of a run have ended, as far as their folders can be seen: a node whose run
/// has ended takes part in the end of the others'.
fn others_have_ended(others: &[PathBuf]) -> bool {
    others
        .iter()
        .all(|folder| !folder.exists() || !is_unfinished(folder, true))
}

/// What another number of workers changes, and which come back that had been left out.
fn workers_change(saved: &SavedRun, workers: usize) -> Option<String> {
    let was = saved.state.workers;
    if was != workers {
        return Some(format!(
            "{} in place of {was}: batches are dealt out anew, and a new worker begins with the \
             leader's parameters",
            count(workers, "worker")
        ));
    }
    let absent: Vec<String> = (0..workers)
        .filter(|worker| !saved.workers.contains_key(worker))
        .map(|worker| format!("worker {worker}"))
        .collect();
    (!absent.is_empty()).then(|| {
        format!(
            "{}, which had been left out, begins with the leader's parameters",
            absent.join(" and ")
        )
    })
}

fn other_model(folder: &Path, was: &str, setup: &Setup) -> RunError {
    let change = RunChange {
        key: String::from("the model's layout"),
        was: Some(was.to_owned()),
        is: Some(setup.layout.digest().to_string()),
    };
    FolderError::OtherSettings {
        path: folder.to_owned(),
        changes: vec![change],
    }
    .into()
}

/// Whether the evaluation of the checkpoint's step, the last on record, uses up the budget's patience.
fn is_out_of_patience(
    folder: &RunFolder,
    saved: &SavedRun,
    setup: &Setup,
) -> Result<bool, RunError> {
    if setup.patience().is_none() || saved.state.evaluation.is_none() {
        return Ok(false);
    }
    let totals = Totals::read(folder, setup.main_metric())?;
    Ok(totals.best.exhausts(setup.patience(), saved.state.step))
}

fn is_at_end(saved: &SavedRun, setup: &Setup) -> bool {
    let plan = &setup.plan;
    plan.steps.is_some_and(|steps| saved.state.step >= steps)
        || plan
            .seconds
            .is_some_and(|seconds| saved.record.seconds >= seconds)
}

impl Resumed {
    fn of(saved: SavedRun, mut changes: Vec<String>, setup: &Setup) -> Self {
        changes.extend(workers_change(&saved, setup.workers()));
        Self {
            ends: is_at_end(&saved, setup),
            changes,
            saved: Arc::new(saved),
        }
    }

    /// What the node remembers of the exchange with others.
    pub fn cluster(&self) -> GlobalLeaderState {
        self.saved.cluster.clone()
    }

    /// Where its workers start.
    pub fn start(&self) -> Start {
        let seconds = self.saved.record.seconds;
        Start {
            step: self.saved.state.step,
            parameters: None,
            trained: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
            resumed: Some(self.saved.clone()),
        }
    }

    /// Opens its records where it continues.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`], or [`RunError::Damaged`] if lines are missing.
    pub fn records(&self, folder: &RunFolder) -> Result<Recorder, RunError> {
        let at = ResumedRecords {
            lengths: self.saved.lengths(self.ends),
            step: self.saved.state.step,
            seconds: self.saved.record.seconds,
            // At its end, and for an evaluation that is due.
            writes_again: self.ends || self.saved.owes_evaluation(),
            changes: self.changes.clone(),
        };
        Recorder::resume(folder, at)
    }

    /// The line for the user.
    pub fn notice(&self, folder: &RunFolder) -> String {
        let step = self.saved.state.step;
        let changes = match self.changes.is_empty() {
            true => String::new(),
            false => format!("; {}", self.changes.join("; ")),
        };
        format!(
            "continuing {} after {}{changes}",
            folder.path().display(),
            count(step, "step")
        )
    }

    /// The step that it continues from.
    pub fn step(&self) -> u64 {
        self.saved.state.step
    }
}
