//! Reading a run back: what `eval` and `export` start from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use lsgd_core::{Layout, Snapshot, write};
use lsgd_models::{ModelConfig, Phase};
use safetensors::tensor::{Dtype, TensorView};

use crate::cli::{self, Which};
use crate::config::Config;
use crate::data::Dataset;
use crate::device;
use crate::error::TrainError;
use crate::output::Output;
use crate::run::{CheckpointState, RunFolder, slices};
use crate::train::{Score, Scratch, test_batches};

/// Test examples that `eval` scores at once.
const SCORING_BATCH: usize = 128;

/// Most test examples whose logits `eval` writes.
const LOGITS: usize = 128;

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
        let model = ModelConfig {
            base_width: config.model.width,
            dropout: config.model.dropout,
            cpu_kernels: config.compute.cpu_kernels,
            ..ModelConfig::new(config.model.name, state.classes, state.image)
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

    /// The same, if all of them are finite.
    ///
    /// # Errors
    ///
    /// As [`snapshot`](Self::snapshot), and [`TrainError::Absent`] if one is not.
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
        Err(TrainError::Absent {
            path: self.checkpoint.clone(),
            why: format!(
                "{} of {which} has values that are not finite; {}",
                self.model.kind.torch_name(&entry.path)?.name,
                self.state.instead(&self.checkpoint)
            ),
        })
    }
}

/// What came of an evaluation.
#[derive(Debug)]
pub struct Evaluated {
    /// The score.
    pub score: Score,
    /// Test examples that were scored.
    pub examples: usize,
    /// Where images and logits were written, if that was asked for.
    pub logits: Option<Output>,
}

/// Scores a run's parameters on the whole test set, and says how many examples that were; writes
/// images and logits where `arguments` ask for them.
///
/// # Errors
///
/// [`TrainError`] if the run or its data is not there or is damaged, or the logits cannot be
/// written.
pub fn eval(arguments: &cli::Eval) -> Result<Evaluated, TrainError> {
    let trained = Trained::open(&arguments.run, &arguments.set)?;
    // First, so that a path that cannot be written is told of before minutes of listing and scoring.
    let output = arguments.logits.as_ref();
    let output = output.map(|path| Output::new(path, arguments.force));
    let output = output.transpose()?;
    let snapshot = trained.finite(arguments.which)?;
    let dataset = Dataset::open(&trained.config.data, trained.config.run.seed)?;
    if let Some(why) = classes_differ(&trained.state.class_names, dataset.class_names()) {
        return Err(TrainError::damaged(trained.folder.path(), why));
    }
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
    let empty = || TrainError::damaged(trained.folder.path(), "the data has no test examples");
    if dataset.test_len() == 0 {
        return Err(empty());
    }
    if let Some(output) = &output {
        output.write(&logits(output.path(), &trained, &snapshot, &dataset)?)?;
    }
    let device = trained.device.device.clone();
    let mut scratch = Scratch::new(&trained.model, &trained.layout, device);
    let batches = test_batches(dataset.test_len(), SCORING_BATCH);
    let scores = scratch.score(&snapshot, &dataset, &batches)?;
    let score = Score::of(scores).ok_or_else(empty)?;
    Ok(Evaluated {
        score,
        examples: dataset.test_len(),
        logits: output,
    })
}

/// Why data of these classes cannot test a run that was trained on those. A run of an older version
/// has no names, and is not looked at.
fn classes_differ(run: &[String], data: &[String]) -> Option<String> {
    if run.is_empty() || run == data {
        return None;
    }
    let only = |these: &[String], those: &[String]| {
        let those: BTreeSet<&String> = those.iter().collect();
        let mut only = these.iter().filter(|name| !those.contains(name));
        let first = only.next()?;
        Some(match only.count() {
            0 => format!("{first:?}"),
            more => format!("{first:?} and {more} more"),
        })
    };
    let what = match (only(run, data), only(data, run)) {
        (Some(gone), Some(new)) => format!("the data have {new}, but not {gone}"),
        (Some(gone), None) => format!("the data do not have {gone}"),
        (None, Some(new)) => format!("the data also have {new}"),
        (None, None) => {
            let place = run.iter().zip(data).position(|(a, b)| a != b)?;
            let (then, now) = (run.get(place)?, data.get(place)?);
            format!("in another order, class {place} was {then:?} and is {now:?}")
        }
    };
    Some(format!(
        "the data do not have the classes it was trained on: {what}; give data of the same names in \
         the same order (class_names in the checkpoint's state.json)"
    ))
}

/// A safetensors file of the first test examples: `images` `[n, channels, height, width]` as the
/// model takes them, and its `logits` `[n, classes]`. `path` is what an error names.
fn logits(
    path: &Path,
    trained: &Trained,
    snapshot: &Snapshot,
    dataset: &Dataset,
) -> Result<Vec<u8>, TrainError> {
    let device = &trained.device.device;
    let model = write(trained.model.init(device)?, &trained.layout, snapshot)
        .map_err(|why| TrainError::Unfit { why })?;
    let batch = dataset.test_batch(0..dataset.test_len().min(LOGITS))?;
    let images = Tensor::from_data(TensorData::new(batch.images.clone(), batch.shape), device);
    let logits = model.forward(images, Phase::Evaluate);
    let (batch_shape, logits_shape) = (batch.shape.to_vec(), logits.dims().to_vec());
    let logits = logits
        .into_data()
        .convert::<f32>()
        .try_into_vec::<f32>()
        .map_err(|error| TrainError::damaged(path, error))?;

    let views = [
        ("images", batch_shape, &batch.images),
        ("logits", logits_shape, &logits),
    ]
    .into_iter()
    .map(|(name, shape, values)| {
        let view = TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(values));
        view.map(|view| (name, view))
    })
    .collect::<Result<Vec<_>, _>>()
    .map_err(|error| TrainError::damaged(path, error))?;
    safetensors::serialize(views, None).map_err(|error| TrainError::damaged(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_compared_by_name_and_order() {
        let names = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let what = |run: &str, data: &str| {
            let why = classes_differ(&names(run), &names(data))?;
            let what = why
                .strip_prefix("the data do not have the classes it was trained on: ")
                .and_then(|rest| rest.split_once(';'));
            Some(what.unwrap_or_else(|| panic!("{why}")).0.to_owned())
        };
        assert_eq!(what("cat dog", "cat dog"), None);
        assert_eq!(what("", "cat dog"), None);
        for (run, data, expected) in [
            (
                "cat dog",
                "cat wolf",
                "the data have \"wolf\", but not \"dog\"",
            ),
            (
                "a b c",
                "x y",
                "the data have \"x\" and 1 more, but not \"a\" and 2 more",
            ),
            ("cat dog eel", "cat dog", "the data do not have \"eel\""),
            ("cat dog", "ant cat dog", "the data also have \"ant\""),
            (
                "cat dog",
                "dog cat",
                "in another order, class 0 was \"cat\" and is \"dog\"",
            ),
        ] {
            assert_eq!(what(run, data).as_deref(), Some(expected), "{run} / {data}");
        }
    }
}
