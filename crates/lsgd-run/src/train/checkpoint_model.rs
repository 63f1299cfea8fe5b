//! The model of a checkpoint, to score what is in it and other vectors of its layout.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use lsgd_core::{Frozen, Layout, Snapshot};

use super::evaluation::{Scored, Scratch, score_of, statistics_batches, with_statistics};
use super::job::Context;
use super::load::values;
use super::setup::task_alone;
use crate::config::{Settings, WorkersConfig};
use crate::device::{self, DeviceError};
use crate::error::RunError;
use crate::storage::{CheckpointState, RunFolder, Which};
use crate::task::{Metric, Sums, Task};

/// The task of a run, and the model of one of its checkpoints.
#[derive(Debug)]
pub struct CheckpointModel<T> {
    task: T,
    run: RunFolder,
    checkpoint: PathBuf,
    state: CheckpointState,
    device: Device,
    layout: Arc<Layout>,
    frozen: Frozen,
    seed: u64,
    /// How many examples are enough; `None` if the task itself has no more.
    examples: Option<usize>,
    /// The training batches on which running statistics are estimated; `None` if the model has none, or the
    /// task no way to estimate them.
    batches: Option<Range<u64>>,
}

impl<T: Task> CheckpointModel<T> {
    /// Makes the task with `settings`, which are the run's, to score vectors on at most `examples` of the
    /// held-out examples. A task that does not heed `evaluate.examples` scores as many parts as have that
    /// many.
    ///
    /// # Errors
    ///
    /// [`RunError`] if the task cannot be made, or the checkpoint is damaged or of another model.
    pub fn open(
        mut settings: Settings,
        examples: usize,
        run: &RunFolder,
        (checkpoint, state): (PathBuf, CheckpointState),
        make: impl FnOnce(Context) -> Result<T, RunError>,
    ) -> Result<Self, RunError> {
        settings.evaluate.examples = Some(examples);
        let workers = state.workers as u64 * settings.cluster.nodes.max(1);
        let (task, heeds_examples) = task_alone(&settings, workers, make)?;
        let one = WorkersConfig {
            count: Some(1),
            ..WorkersConfig::default()
        };
        let device = device::assign(&one)?.into_iter().next();
        let device = device.ok_or(DeviceError::NoBackend)?.device;
        let module = task
            .module(&device.clone().autodiff())
            .map_err(RunError::task)?;
        let layout = Layout::of(&module);
        let frozen = state.read_frozen(&checkpoint, &Frozen::of(&module))?;
        let estimates = layout.buffer_len() > 0
            && task
                .statistics_module(&device)
                .map_err(RunError::task)?
                .is_some();
        let batches = || {
            let most = settings.evaluate.batch_norm_batches;
            match state.statistics_batches.map(|batches| batches.range()) {
                // Those of its mean, or the last of them if fewer are asked for.
                Some(own) => own.start.max(own.end.saturating_sub(most as u64))..own.end,
                None => {
                    let steps = state.step.saturating_mul(workers);
                    let next = steps.saturating_mul(settings.workers.accumulate);
                    statistics_batches(next, most)
                }
            }
        };
        Ok(Self {
            batches: estimates.then(batches),
            task,
            run: run.clone(),
            device,
            layout,
            frozen,
            seed: settings.run.seed,
            examples: (!heeds_examples).then_some(examples),
            checkpoint,
            state,
        })
    }

    /// The task's metrics.
    pub fn metrics(&self) -> &'static [Metric] {
        self.task.metrics()
    }

    /// Whether the task's data and the like are those that the run trained on.
    ///
    /// # Errors
    ///
    /// [`RunError`] if the run's record cannot be read.
    pub fn agrees(&self) -> Result<bool, RunError> {
        Ok(self.run.record()?.agreement == self.task.agreement())
    }

    /// The layout of its vectors.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The checkpoint.
    pub fn path(&self) -> &Path {
        &self.checkpoint
    }

    /// Its state.
    pub fn state(&self) -> &CheckpointState {
        &self.state
    }

    /// The training batches on which running statistics are estimated, if they are.
    pub fn statistics_batches(&self) -> Option<Range<u64>> {
        self.batches.clone()
    }

    /// One of its vectors.
    ///
    /// # Errors
    ///
    /// As [`values`].
    pub fn values(&self, which: Which) -> Result<Arc<Snapshot>, RunError> {
        let of = (self.checkpoint.as_path(), &self.state);
        values(&self.task, &self.run, of, which, &self.device)
    }

    /// What scores vectors.
    pub fn scorer(&self) -> Scorer<'_, T> {
        let Self {
            task,
            device,
            layout,
            frozen,
            seed,
            ..
        } = self;
        Scorer {
            model: self,
            scratch: Scratch::of(task, device.clone(), layout, frozen, *seed),
            parts: self.examples.is_none().then(|| task.parts()),
        }
    }
}

/// Scores vectors of a checkpoint's layout, one after another.
#[derive(Debug)]
pub struct Scorer<'a, T: Task> {
    model: &'a CheckpointModel<T>,
    scratch: Scratch<'a, T>,
    /// The number of parts that are scored, once it is known.
    parts: Option<usize>,
}

impl<T: Task> Scorer<'_, T> {
    /// The score of a vector with the running statistics that it has; `None` if there are no examples.
    ///
    /// # Errors
    ///
    /// [`RunError`] if a part cannot be scored, or the vector is of another layout.
    pub fn score(&mut self, vector: &Snapshot) -> Result<Option<Scored>, RunError> {
        let parts = match self.parts {
            Some(parts) => self.scratch.score(vector, 0..parts)?,
            None => self.enough(vector)?,
        };
        self.parts = Some(parts.len());
        Ok(score_of(parts, self.model.metrics()))
    }

    /// As many parts as have enough examples.
    fn enough(&mut self, vector: &Snapshot) -> Result<Vec<(usize, Sums)>, RunError> {
        let enough = self.model.examples.unwrap_or(usize::MAX) as u64;
        let (mut parts, mut examples) = (Vec::new(), 0);
        for part in 0..self.model.task.parts() {
            if examples >= enough {
                break;
            }
            let scored = self.scratch.score(vector, [part])?;
            examples += scored.iter().map(|(_, sums)| sums.examples).sum::<u64>();
            parts.extend(scored);
        }
        Ok(parts)
    }

    /// The vector with running statistics that are estimated anew, as those of a mean are; the vector itself
    /// if the model has none that can be. `None` if they are not finite.
    ///
    /// # Errors
    ///
    /// As [`score`](Self::score), of training batches.
    pub fn estimated(&mut self, vector: Arc<Snapshot>) -> Result<Option<Arc<Snapshot>>, RunError> {
        match self.model.batches.clone() {
            None => Ok(Some(vector)),
            Some(batches) => {
                let statistics = self.scratch.statistics(&vector, batches)?;
                with_statistics(&vector, statistics)
            }
        }
    }
}
