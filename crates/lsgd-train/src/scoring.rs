//! Test examples scored: the sums that metrics are made of, and what each example is taken for.

use burn::tensor::{Device, Int, Tensor};
use lsgd_core::Reading;
use lsgd_models::{ForwardMode, Model};
use lsgd_run::{Metric, Sums};

use crate::data::Batch;
use crate::loss::cross_entropy;
use crate::tensors::tensors;

/// The classes among which the right one counts for the top-5 error.
const FIRST: i64 = 5;

const ERROR: Metric = Metric::lower("error", "%").of(|sums| sums.percent(1));
const LOSS: Metric = Metric::lower("loss", "");
const TOP5_ERROR: Metric = Metric::lower("top5_error", "%").of(|sums| sums.percent(2));

/// The metrics for this number of classes: wrong classes in percent and the mean cross-entropy in nats;
/// with more than five classes also how often, in percent, five other classes are more likely than the
/// right one.
pub fn metrics(classes: usize) -> &'static [Metric] {
    match has_five(classes) {
        false => const { &[ERROR, LOSS] },
        true => const { &[ERROR, LOSS, TOP5_ERROR] },
    }
}

/// Whether the top-5 error can be other than zero.
fn has_five(classes: usize) -> bool {
    classes as i64 > FIRST
}

/// The class of an example, and what the model takes it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guess {
    /// Its class, from 0.
    pub class: usize,
    /// The class with the highest logit.
    pub guess: usize,
}

/// Scores a batch with `model`, on `device` without autodiff: the sums of [`metrics`], and a guess for
/// each example.
pub fn score_batch(model: &Model, batch: Batch, device: &Device) -> (Sums, Vec<Guess>) {
    let examples = batch.labels.len() as u64;
    if examples == 0 {
        let sums = vec![0.0; 3];
        return (Sums { examples, sums }, Vec::new());
    }
    let classes: Vec<usize> = batch.labels.iter().map(|label| *label as usize).collect();
    let (images, labels) = tensors(batch, device);
    let logits = model.forward(images, ForwardMode::Evaluate);
    let loss = cross_entropy(logits.clone(), labels.clone());
    let found = logits.clone().argmax(1).squeeze_dim::<1>(1);
    let missed = has_five(logits.dims()[1]).then(|| missed(logits, labels));
    // All with one blocking read.
    let mut reading = Reading::of("scores");
    reading.add(loss);
    reading.add(found);
    if let Some(missed) = missed {
        reading.add(missed);
    }
    let mut read = reading.read().into_iter();
    let loss = read.next().and_then(|loss| loss.iter::<f64>().next());
    let found: Vec<i64> = read
        .next()
        .map_or_else(Vec::new, |found| found.iter().collect());
    let guesses = classes.into_iter().zip(found);
    let guesses: Vec<Guess> = guesses
        .map(|(class, guess)| Guess {
            class,
            guess: guess as usize,
        })
        .collect();
    let wrong = guesses.iter().filter(|guess| guess.guess != guess.class);
    let loss = loss.unwrap_or(f64::NAN) * examples as f64;
    let mut sums = vec![loss, wrong.count() as f64];
    sums.extend(read.flat_map(|missed| missed.iter::<f64>().next()));
    (Sums { examples, sums }, guesses)
}

/// The number of examples of which five other classes have higher logits than their own, of shape
/// `[1]`. A logit that is NaN counts as higher.
fn missed(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1, Int> {
    let own = logits.clone().gather(1, labels.unsqueeze_dim(1));
    let is_lower = (logits - own).lower_equal_elem(0.0);
    let higher = is_lower.bool_not().int().sum_dim(1);
    higher.greater_equal_elem(FIRST).int().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The right class is first, fifth, sixth; it is NaN, and so is everything.
    #[test]
    fn the_right_class_is_among_five() {
        let row = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0];
        let logits = [
            row,
            row,
            row,
            [6.0, 5.0, f32::NAN, 3.0, 2.0, 1.0],
            [f32::NAN; 6],
        ];
        for (rows, labels, expected) in [
            (0..1, vec![0], 0),
            (1..2, vec![4], 0),
            (2..3, vec![5], 1),
            (3..5, vec![2, 0], 2),
            (0..3, vec![0, 4, 5], 1),
        ] {
            let device = Device::flex();
            let logits = Tensor::<2>::from_data(logits, &device).slice([rows]);
            let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &device);
            assert_eq!(missed(logits, labels).into_scalar::<i64>(), expected);
        }
    }

    #[test]
    fn few_classes_have_no_top_5_error() {
        let names = |classes| {
            metrics(classes)
                .iter()
                .map(|metric| metric.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(5), ["error", "loss"]);
        assert_eq!(names(6), ["error", "loss", "top5_error"]);
    }
}
