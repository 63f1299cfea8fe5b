//! Whether a model can learn from batches of a given size: an error where it cannot, a warning
//! where it hardly can.

use lsgd_models::{ModelConfig, ModelKind};

use lsgd_run::epoch::Epoch;
use lsgd_run::words::count;

/// Why a batch size is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A batch would hold some examples more than once.
    #[error(
        "data.batch_size {batch_size} is more than the {examples} training examples; \
         give at most {examples}"
    )]
    TooLarge {
        /// Examples per batch.
        batch_size: usize,
        /// Training examples of a worker, without those held out.
        examples: u64,
    },
    /// BatchNorm would normalise one value at a time, and output its bias for any input.
    #[error(
        "data.batch_size 1 leaves BatchNorm in {model} one value a channel to normalise, since images \
         of {height} x {width} shrink to one pixel; give at least 2"
    )]
    SingleValues {
        /// The model.
        model: ModelKind,
        /// Height of an image.
        height: usize,
        /// Width of an image.
        width: usize,
    },
}

/// Refuses a batch size with which `model` cannot train at all, or that is more than the examples
/// `per_worker`; returns warnings about any other.
///
/// # Errors
///
/// [`BatchError`].
pub fn check(
    model: &ModelConfig,
    batch_size: usize,
    per_worker: u64,
    epoch: Epoch,
) -> Result<Vec<String>, BatchError> {
    let Epoch {
        examples,
        examples_per_step,
    } = epoch;
    if batch_size as u64 > per_worker {
        return Err(BatchError::TooLarge {
            batch_size,
            examples: per_worker,
        });
    }
    let mut warnings = Vec::new();
    match model.least_normalised().map(|values| values * batch_size) {
        Some(1) => {
            return Err(BatchError::SingleValues {
                model: model.kind,
                height: model.height,
                width: model.width,
            });
        }
        // From two values BatchNorm always gives plus and minus one.
        Some(values) if values == 2 || batch_size == 1 => warnings.push(format!(
            "data.batch_size {batch_size}: BatchNorm in {} has {} a batch to take statistics from, and \
             will hardly learn; use larger batches",
            model.kind,
            count(batch_size, "image"),
        )),
        _ => {}
    }
    if examples_per_step > examples {
        warnings.push(format!(
            "one step of all workers takes {examples_per_step} examples, more than the {examples} there \
             are; use a smaller data.batch_size or workers.accumulate, or fewer workers"
        ));
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: ModelKind, side: usize, batch_size: usize, workers: u64) -> String {
        let model = ModelConfig::new(kind, 10, [3, side, side]);
        let epoch = Epoch {
            examples: 512,
            examples_per_step: batch_size as u64 * workers,
        };
        match check(&model, batch_size, epoch.examples, epoch) {
            Ok(warnings) => warnings.join("\n"),
            Err(error) => format!("refused: {error}"),
        }
    }

    #[test]
    fn a_batch_has_no_example_twice() {
        let cnn7 = ModelKind::Cnn7;
        assert_eq!(told(cnn7, 32, 512, 1), "");
        assert_eq!(
            told(cnn7, 32, 513, 1),
            "refused: data.batch_size 513 is more than the 512 training examples; give at most 512"
        );
    }

    #[test]
    fn a_step_of_all_workers_should_be_less_than_an_epoch() {
        assert_eq!(told(ModelKind::Cnn7, 32, 128, 4), "");
        assert_eq!(
            told(ModelKind::Cnn7, 32, 128, 5),
            "one step of all workers takes 640 examples, more than the 512 there are; use a smaller \
             data.batch_size or workers.accumulate, or fewer workers"
        );
    }

    /// VGG is down to one pixel after its last normalisation, CIFAR ResNets quarter a side.
    #[test]
    fn batch_norm_needs_more_than_single_values() {
        assert_eq!(
            told(ModelKind::ResNet8, 4, 1, 1),
            "refused: data.batch_size 1 leaves BatchNorm in resnet8 one value a channel to normalise, \
             since images of 4 x 4 shrink to one pixel; give at least 2"
        );
        assert!(told(ModelKind::ResNet18, 32, 1, 1).starts_with("refused: "));
        let hardly = "data.batch_size 2: BatchNorm in resnet8 has 2 images a batch to take statistics \
                      from, and will hardly learn; use larger batches";
        assert_eq!(told(ModelKind::ResNet8, 4, 2, 1), hardly);
        assert_eq!(told(ModelKind::ResNet8, 4, 3, 1), "");
        assert_eq!(told(ModelKind::ResNet8, 8, 2, 1), "");
        for kind in [ModelKind::ResNet8, ModelKind::Vgg11] {
            let told = told(kind, 32, 1, 1);
            assert!(told.contains(" has 1 image a batch "), "{told}");
        }
        assert_eq!(told(ModelKind::Cnn7, 32, 1, 1), "");
    }
}
