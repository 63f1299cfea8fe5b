//! `eval`: a run scored once more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::TensorData;
use lsgd_core::{Snapshot, download, upload, write};
use lsgd_models::ForwardMode;
use safetensors::tensor::{Dtype, TensorView};

use crate::cli;
use crate::confusion::{Confusion, MAX_CLASSES};
use crate::data::ScoredOn;
use crate::error::TrainError;
use crate::image_task::{ImageTask, Uses};
use crate::trained::Trained;
use crate::trained_task::TrainedTask;
use lsgd_run::output::Output;
use lsgd_run::storage::Score;
use lsgd_run::train::score_of;
use lsgd_run::{RunError, Task};

/// Most examples whose logits `eval` writes.
const LOGITS: usize = 128;

/// The result of an evaluation.
#[derive(Debug)]
pub struct Evaluated {
    /// The score.
    pub score: Score,
    /// Examples that were scored,
    pub examples: u64,
    /// of these.
    pub on: ScoredOn,
    /// Where images and logits were written, if requested.
    pub logits: Option<Output>,
    /// Which classes were taken for which, and where that was written, if requested.
    pub confusion: Option<(Confusion, Output)>,
}

/// Scores a run's parameters on the whole test set, or on all images that it held out, and returns the number of examples too; writes
/// images and logits, and the confusion of classes, where `arguments` ask for them.
///
/// # Errors
///
/// [`TrainError`] if the run or its data is missing or damaged, or a file cannot be written.
pub fn eval(arguments: &cli::Eval) -> Result<Evaluated, TrainError> {
    let trained = Trained::open(&arguments.run, arguments.checkpoint, &arguments.set)?;
    // First, so that a path that cannot be written is reported before minutes of listing and
    // scoring.
    let output = |path: &Option<PathBuf>| {
        let output = path.as_ref().map(|path| Output::new(path, arguments.force));
        output.transpose()
    };
    let matrix = output(&arguments.confusion)?;
    let output = output(&arguments.logits)?;
    if let Some(matrix) = &matrix {
        check_matrix(matrix, output.as_ref(), trained.notes.classes)?;
    }
    let stored = match trained.is_unmade(arguments.which)? {
        true if trained.mean_needs_data(arguments.which) => None,
        true => Some(trained.plain_mean(arguments.which)?),
        false => Some(Arc::new(trained.finite(arguments.which)?)),
    };
    let uses = Uses {
        scored_on: arguments.on,
        for_mean: stored.is_none(),
    };
    let run = TrainedTask::open(&trained, uses)?;
    let snapshot = match stored {
        Some(stored) => stored,
        None => run.mean(arguments.which)?,
    };
    let TrainedTask { dataset, task, .. } = &run;
    let empty = || {
        let why = match arguments.on {
            ScoredOn::Test => "the data has no test images that can be decoded",
            ScoredOn::Holdout => "none of the images that it held out can be decoded",
        };
        TrainError::damaged(trained.folder.path(), why)
    };
    if task.scored() == 0 {
        return Err(empty());
    }
    if let Some(output) = &output {
        output.write(&logits(output.path(), &trained, &snapshot, task)?)?;
    }
    let device = trained.device.device.clone();
    let model = write(trained.model.init(&device)?, &trained.layout, &snapshot)
        .map_err(|why| RunError::Unfit { why })?;
    let empty_matrix = |_: &Output| Confusion::new(dataset.class_names().to_vec());
    let mut confusion = matrix.as_ref().map(empty_matrix);
    let mut parts = Vec::new();
    for part in 0..task.parts() {
        let (sums, guesses) = task.guess(&model, part, &device)?;
        if let Some(confusion) = &mut confusion {
            guesses.into_iter().for_each(|guess| confusion.add(guess));
        }
        parts.push((part, sums));
    }
    let scored = score_of(parts, task.metrics()).ok_or_else(empty)?;
    let confusion = confusion.zip(matrix);
    if let Some((confusion, matrix)) = &confusion {
        matrix.write(confusion.csv().as_bytes())?;
    }
    Ok(Evaluated {
        score: scored.score,
        examples: scored.examples,
        on: arguments.on,
        logits: output,
        confusion,
    })
}

/// Checks that a matrix of so many classes can be written besides the logits.
fn check_matrix(
    matrix: &Output,
    logits: Option<&Output>,
    classes: usize,
) -> Result<(), TrainError> {
    let path = matrix.path().display();
    let why = match logits {
        Some(logits) if logits.is_same_as(matrix) => {
            format!("{path} is where --logits goes too; give them different files")
        }
        _ if classes > MAX_CLASSES => format!(
            "{path} would have a row and a column for each of {classes} classes, over {MAX_CLASSES}; \
             leave it out"
        ),
        _ => return Ok(()),
    };
    Err(TrainError::Confusion { why })
}

/// A safetensors file of the first examples that are scored: `images` `[n, channels, height, width]` as the
/// model takes them, and its `logits` `[n, classes]`. `path` is for errors.
fn logits(
    path: &Path,
    trained: &Trained,
    snapshot: &Snapshot,
    task: &ImageTask,
) -> Result<Vec<u8>, TrainError> {
    let device = &trained.device.device;
    let model = write(trained.model.init(device)?, &trained.layout, snapshot)
        .map_err(|why| RunError::Unfit { why })?;
    let batch = task.scored_batch(0..task.scored().min(LOGITS))?;
    let images = TensorData::new(batch.images.clone(), batch.shape);
    let images = upload("images", images, device);
    let logits = model.forward(images, ForwardMode::Evaluate);
    let (batch_shape, logits_shape) = (batch.shape.to_vec(), logits.dims().to_vec());
    let logits = download("logits", logits)
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
