//! Which checkpoint a run continues from, and with which settings.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lsgd_core::{CheckpointRef, Layout};

use super::checkpoint::CheckpointState;
use super::checkpoint_name::CheckpointName;
use super::folder_error::FolderError;
use super::records::RunRecord;
use super::run_change::{RunChange, differences};
use super::saved_run::SavedRun;
use super::steps::{settle, steps_in};
use crate::error::RunError;

impl SavedRun {
    /// The checkpoints that the run in `folder`, which the caller has claimed, can continue from.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`].
    pub fn checkpoints(folder: &Path) -> Result<Vec<CheckpointRef>, RunError> {
        let checkpoints = folder.join("checkpoints");
        settle(&checkpoints)?;
        let mut found = Vec::new();
        for step in steps_in(&checkpoints)? {
            let state = CheckpointState::open(&checkpoints.join(format!("step-{step}")))?;
            if let Some(resume) = state.resume.filter(|_| !state.broken_off) {
                let exchanged = resume.cluster.map(|cluster| cluster.counters.exchanged);
                found.push(CheckpointRef {
                    step,
                    exchanged: exchanged.unwrap_or_default(),
                });
            }
        }
        Ok(found)
    }

    /// The state that the run in `folder`, which the caller has claimed, continues from, for a model of
    /// `layout`; `None` if the run has no checkpoint yet. Of checkpoints that a run cannot continue from, such as that of a run
    /// that broke off, the newest before them counts.
    ///
    /// # Errors
    ///
    /// [`RunError::Absent`] if the run has checkpoints, but none that it can continue from, and
    /// [`RunError::Damaged`] if the chosen one cannot be read.
    pub fn find(
        folder: &Path,
        name: CheckpointName,
        layout: &Arc<Layout>,
    ) -> Result<Option<Self>, RunError> {
        let checkpoints = folder.join("checkpoints");
        settle(&checkpoints)?;
        let mut steps = steps_in(&checkpoints)?;
        steps.sort_unstable();
        if steps.is_empty() {
            return Ok(None);
        }
        let mut resumable = Vec::new();
        for step in steps.into_iter().rev() {
            let path = checkpoints.join(format!("step-{step}"));
            let mut state = CheckpointState::open(&path)?;
            let is_named = name.names(step, state.is_best);
            let resume = state.resume.take();
            let resume = resume.filter(|_| !state.broken_off);
            if resume.is_some() {
                resumable.push(step.to_string());
            }
            if let Some(record) = resume.filter(|_| is_named) {
                let fits = match state.step == step {
                    true => record.check(step, state.workers),
                    false => Err(format!("its step is {}, not {step}", state.step)),
                };
                fits.map_err(|why| RunError::damaged(&path.join("state.json"), why))?;
                return Self::read(&path, state, record, layout).map(Some);
            }
        }
        resumable.reverse();
        let why = match name {
            _ if resumable.is_empty() => String::from(
                "its checkpoints have only parameters, as after an error or of an earlier version; \
                 begin anew with --set run.overwrite=true",
            ),
            name => format!(
                "it has no checkpoint {name} that it can continue from; give newest, or one of {}",
                resumable.join(", ")
            ),
        };
        let path = folder.to_owned();
        Err(RunError::Absent { path, why })
    }
}

/// What a run is to continue with, each by its name.
#[derive(Debug, Clone, Copy)]
pub struct SharedSettings<'a> {
    /// The settings that must be equal on all nodes.
    pub settings: &'a BTreeMap<String, String>,
    /// The same of a config in which nothing is set.
    pub defaults: &'a BTreeMap<String, String>,
    /// What the task's data and the like must agree on ([`Task::agreement`](crate::Task::agreement)).
    pub agreement: &'a BTreeMap<String, String>,
}

/// Compares the settings and the task's agreement of a run, as `record` has them, with those that it
/// is to continue with. A setting that an earlier version did not have was as its default is. Returns what changes, which is only the budget and the number of nodes: another
/// model, method or data set would be another run.
///
/// # Errors
///
/// [`FolderError::OtherSettings`] that names everything else that differs; [`RunError::Absent`] for a run
/// of a version that did not record its settings.
pub fn check_settings(
    folder: &Path,
    record: &RunRecord,
    SharedSettings {
        settings,
        defaults,
        agreement,
    }: SharedSettings,
) -> Result<Vec<RunChange>, RunError> {
    if record.settings.is_empty() {
        return Err(RunError::Absent {
            path: folder.to_owned(),
            why: String::from(
                "a run of an earlier version, whose checkpoints have only parameters; begin anew with \
                 --set run.overwrite=true, or from its weights under another run.name",
            ),
        });
    }
    let is_new = |change: &RunChange| {
        change.was.is_none() && defaults.get(&change.key) == change.is.as_ref()
    };
    let differences = differences(&record.settings, settings)
        .filter(|change| !is_new(change))
        .chain(differences(&record.agreement, agreement));
    let (changes, refused): (Vec<_>, Vec<_>) = differences.partition(RunChange::is_allowed);
    match refused.is_empty() {
        true => Ok(changes),
        false => Err(FolderError::OtherSettings {
            path: folder.to_owned(),
            changes: refused,
        }
        .into()),
    }
}
