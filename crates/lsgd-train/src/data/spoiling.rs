//! Training data of single workers that differ on purpose: `[[data.vary]]`.

use lsgd_run::generator;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use super::Batch;
use crate::image_config::DataVariation;

/// Spoils the batches of some workers.
#[derive(Debug, Clone)]
pub(crate) struct Spoiling {
    varied: Vec<DataVariation>,
    workers: u64,
    classes: usize,
    seed: u64,
}

impl Spoiling {
    /// Of a run with so many workers over all nodes; `None` if nothing is spoilt.
    pub fn new(varied: &[DataVariation], workers: u64, classes: usize, seed: u64) -> Option<Self> {
        (!varied.is_empty()).then(|| Self {
            varied: varied.to_vec(),
            workers: workers.max(1),
            classes,
            seed,
        })
    }

    /// Whether the images of batch `number` are augmented.
    pub fn augments(&self, number: u64) -> bool {
        self.of(number).is_none_or(|varied| varied.augment)
    }

    /// The entry of the worker whose batch number `number` is.
    fn of(&self, number: u64) -> Option<&DataVariation> {
        let worker = number % self.workers;
        self.varied.iter().find(|varied| varied.worker == worker)
    }

    /// Spoils batch `number` if its worker's are: first labels, then images, each with the probability that
    /// the config gives. A label becomes one of all classes, perhaps the same; an image becomes
    /// Gaussian noise of the mean and variance of normalised images.
    pub fn apply(&self, batch: &mut Batch, number: u64) {
        let Some(varied) = self.of(number) else {
            return;
        };
        let mut rng = generator("lsgd-train v1 spoilt examples", &[self.seed, number]);
        for label in &mut batch.labels {
            if rng.random_bool(varied.label_noise) {
                *label = rng.random_range(0..self.classes.max(1)) as i32;
            }
        }
        let images = batch.labels.len().max(1);
        let length = (batch.images.len() / images).max(1);
        for image in batch.images.chunks_mut(length) {
            if rng.random_bool(varied.image_noise) {
                let noise = image.iter_mut().zip(StandardNormal.sample_iter(&mut rng));
                noise.for_each(|(pixel, noise): (_, f32)| *pixel = noise);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        Batch {
            images: vec![5.0; 100 * 12],
            labels: vec![3; 100],
            shape: [100, 3, 2, 2],
            mixed: None,
        }
    }

    fn spoilt(varied: &[DataVariation], number: u64) -> Batch {
        let mut batch = batch();
        let spoiling = Spoiling::new(varied, 4, 10, 1).expect("something is spoilt");
        spoiling.apply(&mut batch, number);
        batch
    }

    #[test]
    fn only_the_batches_of_varied_workers_are_spoilt() {
        let varied = DataVariation {
            worker: 2,
            label_noise: 1.0,
            image_noise: 0.5,
            augment: true,
        };
        let varied = [varied];
        for number in [0, 1, 3, 4, 5, 7] {
            assert_eq!(spoilt(&varied, number), batch());
        }
        for number in [2, 6, 10] {
            let spoilt = spoilt(&varied, number);
            let wrong = spoilt.labels.iter().filter(|label| **label != 3).count();
            assert!((75..=100).contains(&wrong), "{wrong}");
            assert!(spoilt.labels.iter().all(|label| (0..10).contains(label)));
            let noise: Vec<&[f32]> = spoilt
                .images
                .chunks(12)
                .filter(|image| **image != [5.0; 12])
                .collect();
            assert!((30..=70).contains(&noise.len()), "{}", noise.len());
            let pixels = noise.concat();
            let mean = pixels.iter().sum::<f32>() / pixels.len() as f32;
            assert!(mean.abs() < 0.2, "{mean}");
        }
        assert_eq!(spoilt(&varied, 2), spoilt(&varied, 2));
        assert_ne!(spoilt(&varied, 2).labels, spoilt(&varied, 6).labels);
        assert!(Spoiling::new(&[], 4, 10, 1).is_none());
    }
}
