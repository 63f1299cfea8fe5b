//! All workers' values at one step, and what the run continues from: what is in a checkpoint, and
//! how it is read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsgd_core::{Frozen, FrozenTensor, Layout, Snapshot, Source};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::checkpoint_name::CheckpointName;
use super::digests::digest_of;
use super::files::{read_bounded, read_json};
use super::folder::RunFolder;
use super::frozen::decode_frozen;
use super::records::{Evaluation, Score};
use super::resume_record::{RecordLengths, ResumeRecord};
use super::run_state::RunState;
use super::steps::readable;
use super::values::decode;
use super::which::Which;
use crate::error::RunError;

/// The frozen parameters, in a checkpoint of a model that has any.
pub(super) const FROZEN: &str = "frozen.safetensors";

/// The contents of a checkpoint's `state.json`.
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
    /// Steps of each worker; `None` for one that is missing.
    pub steps: Vec<Option<u64>>,
    /// Whether the run was aborted: workers are then at different points, perhaps before an
    /// exchange that was due.
    #[serde(default)]
    pub broken_off: bool,
    /// Digest of the model's layout.
    pub layout: String,
    /// Number of workers in the mean over all nodes, if the checkpoint has that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers_of_all_nodes: Option<usize>,
    /// The evaluation at this step, if there was one.
    pub evaluation: Option<Evaluation>,
    /// Whether that was the best so far.
    #[serde(default)]
    pub is_best: bool,
    /// On which batches the running statistics of its replica mean are estimated; `None` in a
    /// checkpoint of a version that made the mean whenever there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics_batches: Option<StatisticsBatches>,
    /// What the run continues from; `None` if it cannot continue from here, or the checkpoint is
    /// not written yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<ResumeRecord>,
    /// The digest (BLAKE3) of every other file of the checkpoint, by name. Empty in a checkpoint of a
    /// version that did not write them.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// The task's notes ([`Task::notes`](crate::Task::notes)).
    #[serde(flatten)]
    pub notes: Map<String, Value>,
}

/// Training batches of a run, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatisticsBatches {
    /// Seed of the run.
    pub seed: u64,
    /// The first batch.
    pub first: u64,
    /// The one after the last.
    pub end: u64,
}

/// Most batches on which statistics are estimated; a checkpoint that says more is damaged.
const MAX_STATISTICS_BATCHES: u64 = 1 << 20;

impl StatisticsBatches {
    /// Their numbers.
    pub fn range(self) -> Range<u64> {
        self.first..self.end
    }
}

/// A checkpoint to be written. Values are shared with whoever else has them.
#[derive(Debug)]
pub struct Checkpoint {
    /// Its state.
    pub state: CheckpointState,
    /// The values of each worker in it.
    pub workers: Vec<(usize, Arc<Snapshot>)>,
    /// The moving averages of those that keep one.
    pub averages: Vec<(usize, Arc<Snapshot>)>,
    /// The model's frozen parameters.
    pub frozen: Arc<Frozen>,
    /// What the run continues from, if it can.
    pub run_state: Option<RunState>,
}

/// What a checkpoint is completed with, once its workers have been evaluated.
#[derive(Debug)]
pub struct Completion {
    /// The evaluation.
    pub evaluation: Evaluation,
    /// Whether it is the best so far.
    pub is_best: bool,
    /// The means that were evaluated: of the replicas, of their averages, of the last means.
    pub means: Vec<(Which, Arc<Snapshot>)>,
    /// Lengths of the records with the evaluation in them.
    pub evaluated: Option<RecordLengths>,
}

/// The file of one snapshot.
pub(super) fn values_path(checkpoint: &Path, which: &Which) -> PathBuf {
    checkpoint.join(format!("{which}.safetensors"))
}

impl CheckpointState {
    /// Finds a checkpoint of a run by its name and reads its state.
    ///
    /// # Errors
    ///
    /// [`RunError::Absent`] with the checkpoints that there are, if this is none of them;
    /// [`RunError::Read`] or [`RunError::Damaged`] if it cannot be read.
    pub fn named(run: &RunFolder, name: CheckpointName) -> Result<(PathBuf, Self), RunError> {
        let found = readable(&run.join("checkpoints"))?;
        for (step, path) in found.iter().rev() {
            if let CheckpointName::Step(named) = name
                && named != *step
            {
                continue;
            }
            let state = Self::open(path)?;
            if name.names(*step, state.is_best) {
                return Ok((path.clone(), state));
            }
        }
        let steps: Vec<String> = found.keys().map(u64::to_string).collect();
        let why = match (steps.is_empty(), name) {
            (true, _) => {
                String::from("it has no checkpoint; is it at its beginning, or did it end there?")
            }
            (false, CheckpointName::Step(step)) => format!(
                "it has no checkpoint of step {step}; give newest, best, or one of {}",
                steps.join(", ")
            ),
            (false, name) => format!(
                "none of its checkpoints is the {name} one: its evaluation was cut off, or found no \
                 room on the disk; give newest, or one of {}",
                steps.join(", ")
            ),
        };
        let path = run.path().to_owned();
        Err(RunError::Absent { path, why })
    }

    /// Reads the state of the checkpoint in this folder.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`].
    pub(super) fn open(checkpoint: &Path) -> Result<Self, RunError> {
        let path = checkpoint.join("state.json");
        let state: Self = read_json(&path)?;
        let (workers, steps) = (state.workers, state.steps.len());
        match workers == steps {
            true => Ok(state),
            false => {
                let why = format!("it has the steps of {steps} workers, and says {workers}");
                Err(RunError::damaged(&path, why))
            }
        }
    }

    /// Reads the values of a worker.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn read_worker(
        &self,
        checkpoint: &Path,
        worker: usize,
        layout: &Arc<Layout>,
    ) -> Result<Snapshot, RunError> {
        self.read(checkpoint, Which::Worker(worker), layout)
    }

    /// Reads one of its snapshots.
    ///
    /// # Errors
    ///
    /// [`RunError::Absent`] if the checkpoint does not have it, [`RunError::Damaged`] if the file
    /// does not match `layout`.
    pub fn read(
        &self,
        checkpoint: &Path,
        which: Which,
        layout: &Arc<Layout>,
    ) -> Result<Snapshot, RunError> {
        let absent = |why: String| RunError::Absent {
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
            Which::Worker(worker) | Which::WorkerEma(worker) if worker >= self.workers => {
                return Err(absent(format!(
                    "there is no worker-{worker}; the run has worker-0 to worker-{}",
                    self.workers.saturating_sub(1)
                )));
            }
            which => which,
        };
        let path = values_path(checkpoint, &which);
        if !path.is_file() {
            let why = match which {
                Which::MeanOfAllNodes => {
                    "it is saved at the end of a run of several nodes, by the first node that is there then"
                }
                Which::Ema | Which::WorkerEma(_) if !self.averages(checkpoint) => {
                    "the run was trained without average.ema_decay"
                }
                Which::Lawa
                    if self
                        .evaluation
                        .as_ref()
                        .is_some_and(|e| e.replica_mean.is_some()) =>
                {
                    "the run was trained without average.window"
                }
                _ => self.what_lacks(),
            };
            let instead = self.instead(checkpoint);
            return Err(absent(format!("it has no {which}: {why}; {instead}")));
        }
        let values = 4 * (layout.parameter_len() + layout.buffer_len()) as u64;
        let names = layout.parameters().iter().chain(layout.buffers());
        let header: usize = names.map(|entry| entry.path.len() + 256).sum();
        let bytes = self.read_file(&path, values + header as u64 + 1024)?;
        let source = match which {
            Which::Worker(worker) | Which::WorkerEma(worker) => Source::Worker {
                id: lsgd_core::WorkerId::new(0, u32::try_from(worker).unwrap_or(u32::MAX)),
                step: self
                    .steps
                    .get(worker)
                    .copied()
                    .flatten()
                    .unwrap_or(self.step),
            },
            Which::MeanOfAllNodes => Source::Mean {
                workers: self.workers_of_all_nodes.unwrap_or(self.workers),
            },
            _ => Source::Mean {
                workers: self.workers,
            },
        };
        decode(&path, &bytes, layout, source)
    }

    /// Reads the frozen parameters. `like` is those of any module of the model; its values do not matter.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`], or [`RunError::Damaged`] if the file does not fit `like`.
    pub fn read_frozen(&self, checkpoint: &Path, like: &Frozen) -> Result<Frozen, RunError> {
        if like.is_empty() {
            return Ok(Frozen::default());
        }
        let path = checkpoint.join(FROZEN);
        // At most 8 bytes a value, and a header entry for each tensor.
        let most = |tensor: &FrozenTensor| 8 * tensor.len() + tensor.path.len() + 256;
        let most: usize = like.tensors().iter().map(most).sum();
        decode_frozen(&path, &self.read_file(&path, most as u64 + 1024)?, like)
    }

    /// Reads a file of the checkpoint, of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`], or [`RunError::Damaged`] if it is larger, or not as it was written.
    pub(super) fn read_file(&self, path: &Path, limit: u64) -> Result<Vec<u8>, RunError> {
        let bytes = read_bounded(path, limit)?;
        let name = path.file_name().and_then(|name| name.to_str());
        let digest = name.and_then(|name| self.files.get(name));
        match digest.is_none_or(|digest| *digest == digest_of(&bytes)) {
            true => Ok(bytes),
            false => {
                let why =
                    "its content is not what was written; restore it, or use another checkpoint";
                Err(RunError::damaged(path, why))
            }
        }
    }

    /// Why a snapshot is missing.
    fn what_lacks(&self) -> &'static str {
        let all = (0..self.workers).all(|worker| self.holds(worker));
        match (self.broken_off, all) {
            (_, false) => "the run had lost workers",
            (true, true) => "the run broke off",
            (false, true) if self.evaluation.is_some() => "a worker had diverged",
            (false, true) => "it was not evaluated",
        }
    }

    /// Whether its workers kept moving averages.
    fn averages(&self, checkpoint: &Path) -> bool {
        let has_average = |worker| values_path(checkpoint, &Which::WorkerEma(worker)).exists();
        (0..self.workers).any(has_average)
    }

    /// The training batches to estimate the running statistics of `which` on, if this checkpoint was not
    /// evaluated, so that it has no such mean, but has all workers to make one from. `None` if `which` is
    /// neither the replica mean nor that of the moving averages.
    ///
    /// # Errors
    ///
    /// [`RunError::Damaged`] if there are more of them than a run asks for.
    pub fn unmade_mean(
        &self,
        checkpoint: &Path,
        which: Which,
    ) -> Result<Option<StatisticsBatches>, RunError> {
        let Some((of_worker, batches)) = which.of_workers().zip(self.statistics_batches) else {
            return Ok(None);
        };
        let there = |which: Which| values_path(checkpoint, &which).exists();
        let has_all =
            (0..self.workers).all(|worker| self.holds(worker) && there(of_worker(worker)));
        if batches.end.saturating_sub(batches.first) > MAX_STATISTICS_BATCHES {
            let why = format!(
                "statistics_batches are {} to {}: more than {MAX_STATISTICS_BATCHES}",
                batches.first, batches.end
            );
            return Err(RunError::damaged(&checkpoint.join("state.json"), why));
        }
        let is_unmade = self.evaluation.is_none() && !self.broken_off && has_all && !there(which);
        Ok(is_unmade.then_some(batches))
    }

    /// Whether it contains a worker's values.
    fn holds(&self, worker: usize) -> bool {
        self.steps.get(worker).is_some_and(Option::is_some)
    }

    /// The available snapshots, for an error about a missing one.
    pub fn instead(&self, checkpoint: &Path) -> String {
        let means = [Which::MeanOfAllNodes, Which::Mean, Which::Ema, Which::Lawa];
        let means = means
            .into_iter()
            .filter(|which| values_path(checkpoint, which).is_file())
            .map(|which| format!("--which {which}"));
        let workers = 0..self.workers;
        let finite = |worker: &usize| self.holds(*worker) && self.is_finite(*worker);
        let finite: Vec<usize> = workers.filter(finite).collect();
        let worker = match finite.as_slice() {
            [] => None,
            all if all.len() == self.workers => Some(String::from("--which worker-K")),
            [first, ..] => Some(format!("--which {}", Which::Worker(*first))),
        };
        let there: Vec<String> = means.chain(worker).collect();
        match there.is_empty() {
            false => format!("give {}", there.join(" or ")),
            true => String::from(
                "all workers had diverged: train with a lower schedule.learning_rate (`export --force \
                 --which worker-0` writes the values as they are)",
            ),
        }
    }

    /// Whether a worker's values are finite, as far as known.
    fn is_finite(&self, worker: usize) -> bool {
        let score = self.evaluation.as_ref().and_then(|e| e.workers.get(worker));
        score.is_none_or(|score| score.test.is_some())
    }

    fn why_nobody_led(&self) -> &'static str {
        if self.evaluation.is_none() {
            return "no worker had a finite loss over a full loss window";
        }
        let scores = self.evaluation.iter().flat_map(|e| &e.workers);
        let diverged = scores.filter(|score| !score.test.as_ref().is_some_and(Score::is_finite));
        match diverged.count() {
            0 => "no worker's loss window was full",
            all if all == self.workers => "all workers had diverged",
            _ => "no worker had both a full loss window and a finite loss",
        }
    }
}
