//! Scoring a model on test examples, and re-estimating a mean's BatchNorm statistics.
//!
//! A worker scores batches; the main thread adds their scores up in batch order, so that a result
//! does not depend on how the batches were spread over workers.

use std::ops::Range;
use std::sync::Arc;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, ElementConversion, Tensor};
use lsgd_core::{Layout, Refusal, Snapshot, read, write};
use lsgd_models::{Model, ModelConfig, ModelError, Phase};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize};

use super::learner::tensors;
use crate::data::{Batch, DataError, Dataset, Stream};
use crate::error::TrainError;

/// How a model does on test examples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean cross-entropy, in nats; NaN or infinite where the logits are.
    #[serde(deserialize_with = "nan_from_null")]
    pub loss: f64,
    /// Examples put into a wrong class, in percent.
    pub error: f64,
}

/// Reads a number back that JSON, which has no NaN and no infinity, holds as null.
pub(crate) fn nan_from_null<'de, D: Deserializer<'de>>(number: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(number)?.unwrap_or(f64::NAN))
}

/// The same of one batch, as sums.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchScore {
    /// Sum of cross-entropies, in nats.
    pub loss: f64,
    /// Examples put into a wrong class.
    pub wrong: u64,
    /// Examples.
    pub examples: u64,
}

impl Score {
    /// Adds up batches in the order of their numbers; `None` for no examples.
    pub fn of(mut batches: Vec<(usize, BatchScore)>) -> Option<Self> {
        batches.sort_by_key(|(number, _)| *number);
        let mut sum = BatchScore {
            loss: 0.0,
            wrong: 0,
            examples: 0,
        };
        for (_, batch) in batches {
            sum.loss += batch.loss;
            sum.wrong += batch.wrong;
            sum.examples += batch.examples;
        }
        let examples = sum.examples as f64;
        (sum.examples > 0).then(|| Self {
            loss: sum.loss / examples,
            error: 100.0 * sum.wrong as f64 / examples,
        })
    }
}

/// Test examples in batches of `batch_size`, numbered.
pub fn test_batches(examples: usize, batch_size: usize) -> Vec<(usize, Range<usize>)> {
    let batch_size = batch_size.max(1);
    (0..examples)
        .step_by(batch_size)
        .map(|start| start..examples.min(start + batch_size))
        .enumerate()
        .collect()
}

/// The training batches from which statistics are re-estimated: the `count` that came last before
/// batch number `next`.
pub fn statistics_batches(next: u64, count: usize) -> Range<u64> {
    next.saturating_sub(count as u64)..next.max(1)
}

/// The mean of the batches' statistics, summed in the order of their numbers; `None` for none.
pub fn mean_statistics(mut batches: Vec<(u64, Vec<f32>)>) -> Option<Vec<f32>> {
    batches.sort_by_key(|(number, _)| *number);
    let count = batches.len() as f64;
    let mut batches = batches.into_iter().map(|(_, values)| values);
    let mut sums: Vec<f64> = batches.next()?.into_iter().map(f64::from).collect();
    for values in batches {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += f64::from(value);
        }
    }
    Some(sums.into_iter().map(|sum| (sum / count) as f32).collect())
}

/// Models to put other values into, made when first needed and dropped with the evaluation: a
/// worker's own model is never touched, since clones of a Burn module share running statistics.
#[derive(Debug)]
pub struct Scratch<'a> {
    config: &'a ModelConfig,
    layout: &'a Arc<Layout>,
    device: Device,
    scoring: Option<Model>,
    counting: Option<Model>,
}

impl<'a> Scratch<'a> {
    /// For models of `config` on `device` (without autodiff).
    pub fn new(config: &'a ModelConfig, layout: &'a Arc<Layout>, device: Device) -> Self {
        Self {
            config,
            layout,
            device,
            scoring: None,
            counting: None,
        }
    }

    /// Scores `snapshot` on batches of test examples.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if a batch cannot be had or the snapshot does not fit.
    pub fn score<'b>(
        &mut self,
        snapshot: &Snapshot,
        dataset: &Dataset,
        batches: impl IntoIterator<Item = &'b (usize, Range<usize>)>,
    ) -> Result<Vec<(usize, BatchScore)>, TrainError> {
        let model = match self.scoring.take() {
            Some(model) => model,
            None => self.config.init(&self.device)?,
        };
        let model = write(model, self.layout, snapshot).map_err(unfit)?;
        let scores = batches
            .into_iter()
            .map(|(number, range)| {
                let batch = dataset.test_batch(range.clone())?;
                Ok((*number, score_batch(&model, batch, &self.device)))
            })
            .collect::<Result<_, DataError>>();
        self.scoring = Some(model);
        Ok(scores?)
    }

    /// BatchNorm statistics of `snapshot` on each of several training batches.
    ///
    /// # Errors
    ///
    /// As [`score`](Self::score).
    pub fn statistics(
        &mut self,
        snapshot: &Snapshot,
        dataset: &Dataset,
        stream: &Stream,
        batches: impl IntoIterator<Item = u64>,
    ) -> Result<Vec<(u64, Vec<f32>)>, TrainError> {
        let device = self.device.clone().autodiff();
        let model = match self.counting.take() {
            Some(model) => model,
            None => counting(self.config, &device)?,
        };
        let model = write(model, self.layout, snapshot).map_err(unfit)?;
        let mut statistics = Vec::new();
        for number in batches {
            let (images, _) = tensors(dataset.train_batch(stream, number)?, &device);
            // Dropout comes after the last normalisation in all of these models: its masks do not
            // reach a statistic.
            let mut dropout = ChaCha8Rng::seed_from_u64(0);
            drop(model.forward(images, Phase::Train(&mut dropout)));
            sweep_tape(&device);
            let after = read(&model, self.layout, snapshot.source()).map_err(unfit)?;
            statistics.push((number, after.buffers().to_vec()));
        }
        self.counting = Some(model);
        Ok(statistics)
    }
}

/// Burn frees what a forward pass has put on the tape in a backward pass only, that of any thread
/// and tensor: here is one of nothing.
fn sweep_tape(device: &Device) {
    Tensor::<1>::zeros([1], device).require_grad().backward();
}

/// A model that keeps just the last batch's statistics. Nothing in it requires a gradient, so that
/// the tape holds no activations.
fn counting(config: &ModelConfig, device: &Device) -> Result<Model, ModelError> {
    let config = ModelConfig {
        batch_norm_momentum: 1.0,
        ..config.clone()
    };
    Ok(config.init(device)?.no_grad())
}

fn unfit(why: Refusal) -> TrainError {
    TrainError::Unfit { why }
}

fn score_batch(model: &Model, batch: Batch, device: &Device) -> BatchScore {
    let examples = batch.labels.len() as u64;
    let (images, labels) = tensors(batch, device);
    let logits = model.forward(images, Phase::Evaluate);
    let loss = CrossEntropyLossConfig::new()
        .init(device)
        .forward(logits.clone(), labels.clone());
    let guesses = logits.argmax(1).squeeze_dim::<1>(1);
    let wrong = guesses.not_equal(labels).int().sum().into_scalar::<i64>();
    BatchScore {
        loss: f64::from(loss.into_scalar::<f32>()) * examples as f64,
        wrong: wrong.elem::<u64>(),
        examples,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_batches_cover_every_example_once() {
        let batches = test_batches(10, 4);
        assert_eq!(batches, [(0, 0..4), (1, 4..8), (2, 8..10)]);
        assert_eq!(test_batches(0, 4), []);
    }

    #[test]
    fn scores_add_up_whatever_the_order() {
        let batch = |loss, wrong, examples| BatchScore {
            loss,
            wrong,
            examples,
        };
        let forward = vec![(0, batch(3.0, 1, 4)), (1, batch(1.0, 1, 1))];
        let backward: Vec<_> = forward.iter().copied().rev().collect();
        let expected = Some(Score {
            loss: 0.8,
            error: 40.0,
        });
        assert_eq!(Score::of(forward), expected);
        assert_eq!(Score::of(backward), expected);
        assert_eq!(Score::of(Vec::new()), None);
    }

    #[test]
    fn statistics_come_from_the_last_batches() {
        assert_eq!(statistics_batches(100, 50), 50..100);
        assert_eq!(statistics_batches(20, 50), 0..20);
        assert_eq!(statistics_batches(0, 50), 0..1);
        let mean = mean_statistics(vec![(7, vec![1.0, 4.0]), (3, vec![3.0, 0.0])]);
        assert_eq!(mean, Some(vec![2.0, 2.0]));
    }
}
