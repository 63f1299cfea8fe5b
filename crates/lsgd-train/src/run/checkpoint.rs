//! All workers' values at one step, on disk, whole or not at all.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsgd_core::{Layout, Snapshot, Source};
use serde::{Deserialize, Serialize};

use super::files::{make_folder, read_bounded, read_json, remove_folder, write_json, write_whole};
use super::folder::RunFolder;
use super::records::Evaluation;
use super::values::{decode, encode};
use crate::cli::Which;
use crate::error::TrainError;

/// What stands in `state.json` of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// Steps of a worker (in `async` the mean).
    pub step: u64,
    /// Training examples seen by all workers.
    pub samples: u64,
    /// Number of workers.
    pub workers: usize,
    /// The worker with the lowest training loss, if any has a full loss window.
    pub leader: Option<usize>,
    /// Steps of each worker; nothing for one that is not in it.
    pub steps: Vec<Option<u64>>,
    /// Whether the run broke off: workers then stand wherever they were, perhaps before an exchange
    /// that was due.
    #[serde(default)]
    pub broken_off: bool,
    /// Number of classes.
    pub classes: usize,
    /// Their names, in the order of their numbers; none in a run of an older version.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// Channels, height and width of an image, as the model takes it.
    pub image: [usize; 3],
    /// Digest of the model's layout.
    pub layout: String,
    /// The evaluation at this step, if there was one.
    pub evaluation: Option<Evaluation>,
}

/// A checkpoint to be written.
#[derive(Debug)]
pub struct Checkpoint<'a> {
    /// What is known of it.
    pub state: CheckpointState,
    /// The values of each worker that is in it.
    pub workers: Vec<(usize, &'a Snapshot)>,
}

/// The checkpoints of a run: `checkpoints/step-N`.
#[derive(Debug)]
pub struct Checkpoints {
    run: RunFolder,
    folder: PathBuf,
    /// How many of the last are kept.
    keep: usize,
    /// Steps of those that are kept, oldest first.
    last: Vec<u64>,
    best: Option<u64>,
}

impl Checkpoints {
    /// Of a run that is new, or that goes on and had its best evaluation at step `best`. The last `keep`
    /// checkpoints and the best are kept.
    pub fn new(run: &RunFolder, keep: usize, best: Option<u64>) -> Self {
        let folder = run.join("checkpoints");
        let mut last = steps_in(&folder);
        last.sort_unstable();
        Self {
            run: run.clone(),
            folder,
            keep: keep.max(1),
            last,
            best,
        }
    }

    /// Writes a checkpoint and removes the one that is no longer kept. With the first one the run that
    /// this one replaces goes.
    ///
    /// # Errors
    ///
    /// [`TrainError::Gone`] or [`TrainError::Write`]; the checkpoints before are then still there, and
    /// nothing of this one.
    pub fn write(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        self.put(checkpoint)?;
        self.keep(checkpoint.state.step, false)
    }

    /// Adds to a checkpoint that is written what takes longer to find out: `state` as it is now, with
    /// the evaluation, and the replica mean if there is one. `best` says that none so far was better.
    ///
    /// # Errors
    ///
    /// [`TrainError::Write`]; what was written of it before is then still there.
    pub fn complete(
        &mut self,
        state: &CheckpointState,
        mean: Option<&Snapshot>,
        best: bool,
    ) -> Result<(), TrainError> {
        let path = self.path(state.step);
        if let Some(mean) = mean {
            write_values(&path, &Which::Mean, mean)?;
        }
        write_json(&path.join("state.json"), state)?;
        self.keep(state.step, best)
    }

    /// Writes one of a run that broke off, beside those that are there. Says where; nothing if there
    /// is one of that step already.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn add(&self, checkpoint: &Checkpoint) -> Result<Option<PathBuf>, TrainError> {
        let path = self.path(checkpoint.state.step);
        if path.exists() {
            return Ok(None);
        }
        self.put(checkpoint)?;
        Ok(Some(path))
    }

    fn put(&self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        self.run.check()?;
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(TrainError::write(&self.folder)(error));
            }
            _ => {}
        }
        let step = checkpoint.state.step;
        let path = self.path(step);
        let beside = self.folder.join(format!("step-{step}.part"));
        let put = || {
            remove_folder(&path)?;
            fs::rename(&beside, &path).map_err(TrainError::write(&path))
        };
        make_folder(&beside, || write_all(&beside, checkpoint), put)?;
        self.run.keep();
        Ok(())
    }

    fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step}"))
    }

    fn keep(&mut self, step: u64, best: bool) -> Result<(), TrainError> {
        let before = self.best;
        if best {
            self.best = Some(step);
        }
        self.last.retain(|kept| *kept != step);
        self.last.push(step);
        let outdated = self.last.len().saturating_sub(self.keep);
        let candidates: Vec<u64> = self.last.drain(..outdated).chain(before).collect();
        for candidate in candidates {
            if Some(candidate) != self.best && !self.last.contains(&candidate) {
                remove_folder(&self.path(candidate))?;
            }
        }
        Ok(())
    }
}

/// The steps of the checkpoints that are in a folder, in no order; none if it is not there.
fn steps_in(folder: &Path) -> Vec<u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let steps = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_prefix("step-")?.parse().ok()
    });
    steps.collect()
}

/// Writes all files of a checkpoint into `folder`.
fn write_all(folder: &Path, checkpoint: &Checkpoint) -> Result<(), TrainError> {
    for (worker, snapshot) in &checkpoint.workers {
        write_values(folder, &Which::Worker(*worker), snapshot)?;
    }
    write_json(&folder.join("state.json"), &checkpoint.state)
}

fn write_values(folder: &Path, which: &Which, snapshot: &Snapshot) -> Result<(), TrainError> {
    let path = values_path(folder, which);
    write_whole(&path, &encode(&path, snapshot)?)
}

fn values_path(checkpoint: &Path, which: &Which) -> PathBuf {
    checkpoint.join(format!("{which}.safetensors"))
}

impl CheckpointState {
    /// Finds the newest checkpoint of a run and reads its state.
    ///
    /// # Errors
    ///
    /// [`TrainError::Absent`] if there is none, or as [`std::fs::read`].
    pub fn newest(run: &RunFolder) -> Result<(PathBuf, Self), TrainError> {
        let folder = run.join("checkpoints");
        let absent = || TrainError::Absent {
            path: run.path().to_owned(),
            why: String::from("it has no checkpoint; is it at its beginning, or did it end there?"),
        };
        let steps = steps_in(&folder);
        let newest = steps.into_iter().max().ok_or_else(absent)?;
        let path = folder.join(format!("step-{newest}"));
        let state = read_json(&path.join("state.json"))?;
        Ok((path, state))
    }

    /// Reads one of its snapshots.
    ///
    /// # Errors
    ///
    /// [`TrainError::Absent`] if the checkpoint has nothing of the kind, [`TrainError::Damaged`]
    /// if the file does not fit `layout`.
    pub fn read(
        &self,
        checkpoint: &Path,
        which: Which,
        layout: &Arc<Layout>,
    ) -> Result<Snapshot, TrainError> {
        let absent = |why: String| TrainError::Absent {
            path: checkpoint.to_owned(),
            why,
        };
        let which = match which {
            Which::Leader => Which::Worker(self.leader.ok_or_else(|| {
                let why = self.why_nobody_led();
                absent(format!(
                    "nobody led at step {}: {why}; {}",
                    self.step,
                    self.instead(checkpoint)
                ))
            })?),
            Which::Worker(worker) if worker >= self.workers => {
                return Err(absent(format!(
                    "there is no worker-{worker}; the run has worker-0 to worker-{}",
                    self.workers.saturating_sub(1)
                )));
            }
            which => which,
        };
        let path = values_path(checkpoint, &which);
        if !path.is_file() {
            let (why, instead) = (self.what_lacks(), self.instead(checkpoint));
            return Err(absent(format!("it has no {which}: {why}; {instead}")));
        }
        let values = 4 * (layout.parameter_len() + layout.buffer_len()) as u64;
        let names = layout.parameters().iter().chain(layout.buffers());
        let header: usize = names.map(|entry| entry.path.len() + 256).sum();
        let bytes = read_bounded(&path, values + header as u64 + 1024)?;
        let source = match which {
            Which::Worker(worker) => Source::Worker {
                rank: lsgd_core::Rank::new(0, u32::try_from(worker).unwrap_or(u32::MAX)),
                step: self
                    .steps
                    .get(worker)
                    .copied()
                    .flatten()
                    .unwrap_or(self.step),
            },
            _ => Source::Mean {
                workers: self.workers,
            },
        };
        decode(&path, &bytes, layout, source)
    }

    /// Why it has not all that a checkpoint can have.
    fn what_lacks(&self) -> &'static str {
        let all = (0..self.workers).all(|worker| self.holds(worker));
        match (self.broken_off, all) {
            (_, false) => "the run had lost workers",
            (true, true) => "the run broke off",
            (false, true) => "a worker had diverged, or the run was ended before its mean was made",
        }
    }

    /// Whether a worker's values are in it.
    fn holds(&self, worker: usize) -> bool {
        self.steps.get(worker).is_some_and(Option::is_some)
    }

    /// What a user can read of a checkpoint where what was asked for cannot be had.
    pub fn instead(&self, checkpoint: &Path) -> String {
        let mean = values_path(checkpoint, &Which::Mean).is_file();
        let mean = mean.then(|| format!("--which {}", Which::Mean));
        let workers = 0..self.workers;
        let finite = |worker: &usize| self.holds(*worker) && self.is_finite(*worker);
        let finite: Vec<usize> = workers.filter(finite).collect();
        let worker = match finite.as_slice() {
            [] => None,
            all if all.len() == self.workers => Some(String::from("--which worker-K")),
            [first, ..] => Some(format!("--which {}", Which::Worker(*first))),
        };
        let there: Vec<String> = mean.into_iter().chain(worker).collect();
        match there.is_empty() {
            false => format!("give {}", there.join(" or ")),
            true => String::from(
                "all workers had diverged: train with a lower schedule.learning_rate (`export --force \
                 --which worker-0` writes the values as they are)",
            ),
        }
    }

    /// Whether a worker's values are finite, as far as that was found out.
    fn is_finite(&self, worker: usize) -> bool {
        let score = self.evaluation.as_ref().and_then(|e| e.workers.get(worker));
        score.is_none_or(|score| score.test.is_some())
    }

    fn why_nobody_led(&self) -> &'static str {
        if self.evaluation.is_none() {
            return "no worker had a finite loss over a full loss window";
        }
        let scores = self.evaluation.iter().flat_map(|e| &e.workers);
        let diverged = scores.filter(|score| !score.test.is_some_and(|test| test.loss.is_finite()));
        match diverged.count() {
            0 => "no worker's loss window was full",
            all if all == self.workers => "all workers had diverged",
            _ => "no worker had both a full loss window and a finite loss",
        }
    }
}
