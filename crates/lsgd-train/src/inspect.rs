//! Reading a run back: what `eval` and `export` start from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsgd_core::{Layout, Snapshot};
use lsgd_models::{ModelConfig, ModelKind};

use crate::cli::{self, Which};
use crate::config::Config;
use crate::data::Dataset;
use crate::device;
use crate::error::TrainError;
use crate::run::{CheckpointState, RunFolder};
use crate::train::{Score, Scratch, test_batches};

/// Test examples that `eval` scores at once.
const SCORING_BATCH: usize = 128;

/// A run's newest checkpoint, and what it is of.
#[derive(Debug)]
pub struct Trained {
    /// The run.
    pub folder: RunFolder,
    /// Its config, with overrides.
    pub config: Config,
    /// Its model.
    pub model: ModelConfig,
    /// The order of the model's values.
    pub layout: Arc<Layout>,
    /// State of the newest checkpoint.
    pub state: CheckpointState,
    checkpoint: PathBuf,
    device: device::WorkerDevice,
}

impl Trained {
    /// Opens a run's newest checkpoint.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the run or its checkpoint is not there or is damaged.
    pub fn open(run: &Path, overrides: &[String]) -> Result<Self, TrainError> {
        let folder = RunFolder::open(run)?;
        let config = folder.config(overrides)?;
        let (checkpoint, state) = CheckpointState::newest(&folder)?;
        let device = device::available()
            .into_iter()
            .next()
            .ok_or(device::DeviceError::NoBackend)?;
        let kind: ModelKind = config.model.name.parse()?;
        let model = ModelConfig {
            base_width: config.model.width,
            dropout: config.model.dropout,
            ..ModelConfig::new(kind, state.classes, state.image)
        };
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
            state,
            checkpoint,
            device,
        })
    }

    /// The values that `which` names.
    ///
    /// # Errors
    ///
    /// As [`CheckpointState::read`].
    pub fn snapshot(&self, which: Which) -> Result<Snapshot, TrainError> {
        self.state.read(&self.checkpoint, which, &self.layout)
    }
}

/// Scores a run's parameters on the whole test set, and says how many examples that were.
///
/// # Errors
///
/// [`TrainError`] if the run or its data is not there or is damaged.
pub fn eval(arguments: &cli::Eval) -> Result<(Score, usize), TrainError> {
    let trained = Trained::open(&arguments.run, &arguments.set)?;
    let snapshot = trained.snapshot(arguments.which)?;
    let dataset = Dataset::open(&trained.config.data, trained.config.run.seed)?;
    if (dataset.classes(), dataset.shape()) != (trained.state.classes, trained.state.image) {
        let why = format!(
            "the run was trained on {} classes of {:?} images, the data has {} of {:?}",
            trained.state.classes,
            trained.state.image,
            dataset.classes(),
            dataset.shape()
        );
        return Err(TrainError::damaged(trained.folder.path(), why));
    }
    let device = trained.device.device.clone();
    let mut scratch = Scratch::new(&trained.model, &trained.layout, device);
    let batches = test_batches(dataset.test_len(), SCORING_BATCH);
    let scores = scratch.score(&snapshot, &dataset, &batches)?;
    let score = Score::of(scores).ok_or_else(|| {
        TrainError::damaged(trained.folder.path(), "the data has no test examples")
    })?;
    Ok((score, dataset.test_len()))
}
