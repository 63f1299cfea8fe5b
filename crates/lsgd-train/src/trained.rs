//! A run read back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsgd_core::{Layout, Snapshot};
use lsgd_models::ModelConfig;
use lsgd_run::config::WorkersConfig;
use lsgd_run::device;
use lsgd_run::storage::{CheckpointName, CheckpointState, RunFolder, Which, slices};
use lsgd_run::{RunError, train};
use serde_json::Value;

use crate::error::TrainError;
use crate::image_config::Config;
use crate::image_model::{ImageNotes, model_config};

/// A checkpoint of a run, and what belongs to it.
#[derive(Debug)]
pub struct Trained {
    /// The run.
    pub folder: RunFolder,
    /// Its config, with overrides.
    pub config: Config,
    /// Its model.
    pub model: ModelConfig,
    /// The layout of the model's values.
    pub layout: Arc<Layout>,
    /// What the checkpoint records about its images.
    pub notes: ImageNotes,
    /// Contents of the checkpoint.
    pub state: CheckpointState,
    pub(crate) checkpoint: PathBuf,
    pub(crate) device: device::WorkerDevice,
}

impl Trained {
    /// Opens a checkpoint of a run.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the run or its checkpoint is missing or damaged.
    pub fn open(
        run: &Path,
        checkpoint: CheckpointName,
        overrides: &[String],
    ) -> Result<Self, TrainError> {
        let folder = RunFolder::open(run)?;
        let config = Config::load(&folder.join("config.toml"), overrides)?;
        let (checkpoint, state) = CheckpointState::named(&folder, checkpoint)?;
        let one = WorkersConfig {
            count: Some(1),
            ..WorkersConfig::default()
        };
        let device = device::assign(&one)?.into_iter().next();
        let device = device.ok_or(device::DeviceError::NoBackend)?;
        let notes = Value::Object(state.notes.clone());
        let notes: ImageNotes = serde_json::from_value(notes)
            .map_err(|why| TrainError::damaged(&checkpoint.join("state.json"), why))?;
        let model = model_config(&config.task, notes.classes, notes.image);
        let layout = Layout::of(&model.init(&device.device.clone().autodiff())?);
        if layout.digest().to_string() != state.layout {
            let why = "its model is not the one of config.toml; was a file changed?";
            return Err(TrainError::damaged(&checkpoint.join("state.json"), why));
        }
        Ok(Self {
            folder,
            config,
            model,
            layout,
            notes,
            state,
            checkpoint,
            device,
        })
    }

    /// Whether the checkpoint lacks a mean over the workers only because it was not evaluated:
    /// [`TrainedTask::mean`](crate::trained_task::TrainedTask::mean) makes it, and without
    /// [data to need](Self::mean_needs_data) [`plain_mean`](Self::plain_mean) does.
    ///
    /// # Errors
    ///
    /// As [`CheckpointState::unmade_mean`].
    pub fn is_unmade(&self, which: Which) -> Result<bool, TrainError> {
        Ok(self.state.unmade_mean(&self.checkpoint, which)?.is_some())
    }

    /// Whether making this mean takes the run's data, as [`train::mean_needs_data`].
    pub fn mean_needs_data(&self, which: Which) -> bool {
        train::mean_needs_data(&self.state, which, &self.layout)
    }

    /// The mean of the workers' values, or of their moving averages, and of their running statistics.
    ///
    /// # Errors
    ///
    /// As [`train::plain_mean`].
    pub fn plain_mean(&self, which: Which) -> Result<Arc<Snapshot>, TrainError> {
        let mean = train::plain_mean((&self.checkpoint, &self.state), which, &self.layout);
        Ok(mean?)
    }

    /// The values that `which` selects.
    ///
    /// # Errors
    ///
    /// As [`CheckpointState::read`].
    pub fn snapshot(&self, which: Which) -> Result<Snapshot, TrainError> {
        Ok(self.state.read(&self.checkpoint, which, &self.layout)?)
    }

    /// The same, if all of them are finite.
    ///
    /// # Errors
    ///
    /// As [`snapshot`](Self::snapshot), and [`RunError::Absent`] if one is not.
    pub fn finite(&self, which: Which) -> Result<Snapshot, TrainError> {
        let snapshot = self.snapshot(which)?;
        let parameters = slices(self.layout.parameters(), snapshot.parameters());
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        let unfit = parameters
            .chain(slices(self.layout.buffers(), snapshot.buffers()))
            .find(|(_, values)| !finite(values))
            .map(|(entry, _)| entry);
        let Some(entry) = unfit else {
            return Ok(snapshot);
        };
        Err(RunError::Absent {
            path: self.checkpoint.clone(),
            why: format!(
                "{} of {which} has values that are not finite; {}",
                self.model.kind.torch_name(&entry.path)?.name,
                self.state.instead(&self.checkpoint)
            ),
        }
        .into())
    }
}
