//! `eval`: a run scored once more.

use std::collections::BTreeSet;
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use lsgd_core::{Snapshot, write};
use lsgd_models::ForwardMode;
use safetensors::tensor::{Dtype, TensorView};

use crate::cli;
use crate::data::Dataset;
use crate::error::TrainError;
use crate::image_task::ImageTask;
use crate::trained::Trained;
use lsgd_run::RunError;
use lsgd_run::output::Output;
use lsgd_run::storage::Score;
use lsgd_run::train::score;

/// Most test examples whose logits `eval` writes.
const LOGITS: usize = 128;

/// The result of an evaluation.
#[derive(Debug)]
pub struct Evaluated {
    /// The score.
    pub score: Score,
    /// Test examples that were scored.
    pub examples: u64,
    /// Where images and logits were written, if requested.
    pub logits: Option<Output>,
}

/// Scores a run's parameters on the whole test set, and returns the number of examples too; writes
/// images and logits where `arguments` ask for them.
///
/// # Errors
///
/// [`TrainError`] if the run or its data is missing or damaged, or the logits cannot be written.
pub fn eval(arguments: &cli::Eval) -> Result<Evaluated, TrainError> {
    let trained = Trained::open(&arguments.run, arguments.checkpoint, &arguments.set)?;
    // First, so that a path that cannot be written is reported before minutes of listing and
    // scoring.
    let output = arguments.logits.as_ref();
    let output = output.map(|path| Output::new(path, arguments.force));
    let output = output.transpose()?;
    let snapshot = trained.finite(arguments.which)?;
    let dataset = Dataset::open(&trained.config.task.data, trained.config.settings.run.seed)?;
    if let Some(why) = classes_differ(&trained.notes.class_names, dataset.class_names()) {
        return Err(TrainError::damaged(trained.folder.path(), why));
    }
    if (dataset.classes(), dataset.shape()) != (trained.notes.classes, trained.notes.image) {
        let why = format!(
            "the run was trained on {} classes of {:?} images, the data has {} of {:?}",
            trained.notes.classes,
            trained.notes.image,
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
    let model = write(trained.model.init(&device)?, &trained.layout, &snapshot)
        .map_err(|why| RunError::Unfit { why })?;
    let task = ImageTask::scoring(trained.config.task, trained.model, dataset)?;
    let scored = score(&task, &model, &device)?.ok_or_else(empty)?;
    Ok(Evaluated {
        score: scored.score,
        examples: scored.examples,
        logits: output,
    })
}

/// Why data with these classes cannot test a run that was trained on those. A run of an older
/// version has no names, and is not checked.
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
/// model takes them, and its `logits` `[n, classes]`. `path` is for errors.
fn logits(
    path: &Path,
    trained: &Trained,
    snapshot: &Snapshot,
    dataset: &Dataset,
) -> Result<Vec<u8>, TrainError> {
    let device = &trained.device.device;
    let model = write(trained.model.init(device)?, &trained.layout, snapshot)
        .map_err(|why| RunError::Unfit { why })?;
    let batch = dataset.test_batch(0..dataset.test_len().min(LOGITS))?;
    let images = Tensor::from_data(TensorData::new(batch.images.clone(), batch.shape), device);
    let logits = model.forward(images, ForwardMode::Evaluate);
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
