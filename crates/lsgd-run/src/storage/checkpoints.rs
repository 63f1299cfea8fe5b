//! Writes the checkpoints of a run: each is complete or absent, whenever the process is killed.

use std::path::{Path, PathBuf};

use lsgd_core::{ExchangeSteps, Snapshot, Source};

use super::checkpoint::{Checkpoint, CheckpointState, Completion, FROZEN, values_path};
use super::digests::DigestedFiles;
use super::disk::{
    ensure_folder, make_folder, remove_folder, rename, replace_file, sync_folder, write_file,
};
use super::files::to_json;
use super::folder::RunFolder;
use super::frozen::encode_frozen;
use super::steps::{settle, steps_in};
use super::values::encode;
use super::which::Which;
use crate::error::RunError;
use crate::injection::Disk;

/// The checkpoints of a run: `checkpoints/step-N`.
#[derive(Debug)]
pub struct Checkpoints {
    run: RunFolder,
    folder: PathBuf,
    /// Number of last checkpoints that are kept.
    keep: usize,
    /// Steps of the checkpoints that are kept, oldest first.
    last: Vec<u64>,
    best: Option<u64>,
    /// When the nodes exchange, if there are others.
    rounds: Option<ExchangeSteps>,
    disk: Disk,
}

impl Checkpoints {
    /// For a new run, or one that continues. The last `keep` checkpoints and the best are kept.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`] if what a killed process left cannot be put in order.
    pub fn new(run: &RunFolder, keep: usize) -> Result<Self, RunError> {
        let folder = run.join("checkpoints");
        settle(&folder)?;
        let mut last = steps_in(&folder)?;
        last.sort_unstable();
        Ok(Self {
            run: run.clone(),
            folder,
            keep: keep.max(1),
            last,
            best: None,
            rounds: None,
            disk: Disk::default(),
        })
    }

    /// For a run that had its best evaluation at step `best`. Its checkpoint may have found no room on
    /// the disk; then the newest that is marked as the best is kept.
    pub fn with_best(mut self, best: Option<u64>) -> Self {
        let best = best.filter(|best| self.last.contains(best));
        let steps = || self.last.iter().copied();
        self.best = best.or_else(|| steps().rfind(|step| is_best(&self.folder, *step)));
        self
    }

    /// For one of several nodes, which exchange in these rounds. Nodes continue from a round of
    /// which all have a checkpoint, and one may be a round ahead of another: the last checkpoint of
    /// the round before is kept too.
    pub fn among_nodes(mut self, rounds: ExchangeSteps) -> Self {
        self.rounds = Some(rounds);
        self
    }

    /// With the faults of this disk.
    pub(crate) fn on(mut self, disk: &Disk) -> Self {
        self.disk = disk.clone();
        self
    }

    /// The step of the newest checkpoint, if there is one.
    pub fn newest(&self) -> Option<u64> {
        self.last.last().copied()
    }

    /// Removes the checkpoints after step `step`, from which the run continues: it comes to them
    /// again. The newest goes first, so that wherever this is interrupted, the run has all before
    /// the one that is then the newest.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn forget_after(&mut self, step: u64) -> Result<(), RunError> {
        let later: Vec<u64> = self.last.extract_if(.., |kept| *kept > step).collect();
        let mut newest_first = later.into_iter().rev();
        newest_first.try_for_each(|later| self.remove(later))
    }

    /// Writes a checkpoint and removes the one that is no longer kept. The first one also removes
    /// the replaced run.
    ///
    /// # Errors
    ///
    /// [`RunError::Folder`] or [`RunError::Write`]; the earlier checkpoints are then unchanged, and
    /// nothing of this one is left.
    pub fn write(&mut self, checkpoint: &mut Checkpoint) -> Result<(), RunError> {
        self.put(checkpoint)?;
        self.keep(checkpoint.state.step, false)
    }

    /// Completes a checkpoint, which was written with this `state`, with what takes longer to compute.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`]; what was written before is then unchanged.
    pub fn complete(
        &mut self,
        state: &mut CheckpointState,
        completion: Completion,
    ) -> Result<(), RunError> {
        let Completion {
            evaluation,
            is_best,
            means,
            evaluated,
        } = completion;
        let path = self.path(state.step);
        let ready = self.disk.before_write();
        ready.map_err(RunError::write(&path))?;
        for (which, mean) in means {
            self.add_values(state, &which, &mean)?;
        }
        if let Some(resume) = &mut state.resume {
            resume.evaluated = evaluated;
        }
        state.evaluation = Some(evaluation);
        state.is_best = is_best;
        self.replace_state(state)?;
        self.keep(state.step, is_best)
    }

    /// Adds the mean over the workers of all nodes to a checkpoint, which was written with this `state`.
    ///
    /// # Errors
    ///
    /// As [`complete`](Self::complete).
    pub fn add_mean_of_all_nodes(
        &self,
        state: &mut CheckpointState,
        mean: &Snapshot,
    ) -> Result<(), RunError> {
        let ready = self.disk.before_write();
        ready.map_err(RunError::write(&self.path(state.step)))?;
        self.add_values(state, &Which::MeanOfAllNodes, mean)?;
        if let Source::Mean { workers } = mean.source() {
            state.workers_of_all_nodes = Some(workers);
        }
        self.replace_state(state)
    }

    /// Adds a file of values. A reader knows of it once [`replace_state`](Self::replace_state) has
    /// put its digest on the disk.
    fn add_values(
        &self,
        state: &mut CheckpointState,
        which: &Which,
        values: &Snapshot,
    ) -> Result<(), RunError> {
        let folder = self.path(state.step);
        let mut files = DigestedFiles {
            folder: &folder,
            digests: &mut state.files,
        };
        let path = values_path(&folder, which);
        files.replace(&path, &encode(&path, values)?)
    }

    fn replace_state(&self, state: &CheckpointState) -> Result<(), RunError> {
        let folder = self.path(state.step);
        let path = folder.join("state.json");
        replace_file(&path, &to_json(&path, state)?)?;
        sync_folder(&folder)
    }

    /// Writes the checkpoint of an aborted run, next to the others. Returns its path; `None` if
    /// there is one of that step already.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn add(&self, checkpoint: &mut Checkpoint) -> Result<Option<PathBuf>, RunError> {
        let path = self.path(checkpoint.state.step);
        if path.exists() {
            return Ok(None);
        }
        self.put(checkpoint)?;
        Ok(Some(path))
    }

    fn put(&self, checkpoint: &mut Checkpoint) -> Result<(), RunError> {
        self.run.check()?;
        let ready = self.disk.before_write();
        ready.map_err(RunError::write(&self.folder))?;
        ensure_folder(&self.folder)?;
        if let Some(run_state) = &checkpoint.run_state {
            checkpoint.state.resume = Some(run_state.record());
        }
        let step = checkpoint.state.step;
        let path = self.path(step);
        let beside = self.folder.join(format!("step-{step}.part"));
        let old = self.folder.join(format!("step-{step}.old"));
        let put = || {
            // At no moment is there none: see [`settle`].
            if path.exists() {
                remove_folder(&old)?;
                rename(&path, &old)?;
            }
            rename(&beside, &path)?;
            sync_folder(&self.folder)?;
            remove_folder(&old)
        };
        make_folder(&beside, || write_all(&beside, checkpoint), put)?;
        self.run.keep();
        Ok(())
    }

    fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step}"))
    }

    fn keep(&mut self, step: u64, best: bool) -> Result<(), RunError> {
        let before = self.best;
        if best {
            self.best = Some(step);
        }
        self.last.retain(|kept| *kept != step);
        self.last.push(step);
        let outdated = self.outdated();
        self.last.retain(|kept| !outdated.contains(kept));
        let candidates: Vec<u64> = outdated.into_iter().chain(before).collect();
        for candidate in candidates {
            if Some(candidate) != self.best && !self.last.contains(&candidate) {
                self.remove(candidate)?;
            }
        }
        Ok(())
    }

    /// The steps of the last checkpoints that are no longer kept: all but the newest ones and, among
    /// nodes, the newest of an earlier round.
    fn outdated(&self) -> Vec<u64> {
        let surplus = self.last.len().saturating_sub(self.keep);
        let (older, _) = self.last.split_at(surplus);
        let newest = self.last.last().copied().unwrap_or_default();
        let earlier = self.rounds.as_ref().and_then(|rounds| {
            let of_newest = rounds.global_until(newest);
            let is_earlier = |step: &&u64| rounds.global_until(**step) < of_newest;
            self.last.iter().rev().find(is_earlier).copied()
        });
        older
            .iter()
            .copied()
            .filter(|step| Some(*step) != earlier)
            .collect()
    }

    /// Removes a checkpoint, which is none as soon as the removal begins.
    fn remove(&self, step: u64) -> Result<(), RunError> {
        let (path, part) = (
            self.path(step),
            self.folder.join(format!("step-{step}.part")),
        );
        remove_folder(&part)?;
        if !path.exists() {
            return Ok(());
        }
        rename(&path, &part)?;
        remove_folder(&part)
    }
}

/// Whether the checkpoint of this step is marked as the best one; not if that cannot be read.
fn is_best(folder: &Path, step: u64) -> bool {
    CheckpointState::open(&folder.join(format!("step-{step}"))).is_ok_and(|state| state.is_best)
}

/// Writes all files of a checkpoint into `folder`, `state.json` last.
fn write_all(folder: &Path, checkpoint: &mut Checkpoint) -> Result<(), RunError> {
    let mut files = DigestedFiles {
        folder,
        digests: &mut checkpoint.state.files,
    };
    for (worker, snapshot) in &checkpoint.workers {
        write_values(&mut files, &Which::Worker(*worker), snapshot)?;
    }
    for (worker, average) in &checkpoint.averages {
        write_values(&mut files, &Which::WorkerEma(*worker), average)?;
    }
    if !checkpoint.frozen.is_empty() {
        let path = folder.join(FROZEN);
        files.write(&path, &encode_frozen(&path, &checkpoint.frozen)?)?;
    }
    if let Some(run_state) = &checkpoint.run_state {
        run_state.write(&mut files)?;
    }
    let path = folder.join("state.json");
    write_file(&path, &to_json(&path, &checkpoint.state)?)?;
    sync_folder(folder)
}

fn write_values(
    files: &mut DigestedFiles,
    which: &Which,
    snapshot: &Snapshot,
) -> Result<(), RunError> {
    let path = values_path(files.folder, which);
    files.write(&path, &encode(&path, snapshot)?)
}

#[cfg(test)]
mod tests;
