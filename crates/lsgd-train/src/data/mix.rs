//! Batches whose images, and labels, are mixtures of two.
//!
//! An image is mixed with the one before it in its batch, the first with the last: batches are drawn in
//! random order already. This and the areas are as in torchvision's `MixUp` and `CutMix`.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

use super::erase::{Region, below};
use super::{Batch, DataError};
use crate::image_config::DataConfig;

/// The second labels of a batch of mixed images.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixed {
    /// The second class of each image, from 0.
    pub labels: Vec<i32>,
    /// The share of the first class, the same for the whole batch, in [0, 1].
    pub weight: f64,
}

/// How the images of one batch are mixed, each with the one before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mix {
    /// An image becomes this share of itself, and the rest of the other.
    Blend(f64),
    /// This part of it becomes the other's.
    Paste(Region),
}

impl Mix {
    /// The share of an image of `height` x `width` that stays its own.
    pub fn weight(self, [height, width]: [usize; 2]) -> f64 {
        match self {
            Self::Blend(weight) => weight,
            Self::Paste(region) => 1.0 - region.area() as f64 / (height * width) as f64,
        }
    }
}

/// How the images of a batch are mixed; with both, every batch takes one, each as often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mixing {
    /// Weighted means of two images (Zhang et al., arXiv 1710.09412).
    mixup: Option<Beta<f64>>,
    /// Rectangles of one image in another (Yun et al., arXiv 1905.04899).
    cutmix: Option<Beta<f64>>,
}

impl Mixing {
    /// How `config` mixes; `None` if it does not.
    ///
    /// # Errors
    ///
    /// [`DataError::MixingShape`] for a distribution that cannot be drawn from.
    pub fn new(config: &DataConfig) -> Result<Option<Self>, DataError> {
        let beta = |key, shape: Option<f64>| {
            let beta = shape.map(|shape| (shape, Beta::new(shape, shape)));
            match beta {
                None => Ok(None),
                Some((_, Ok(beta))) => Ok(Some(beta)),
                Some((shape, Err(_))) => Err(DataError::MixingShape { key, shape }),
            }
        };
        let mixing = Self {
            mixup: beta("data.mixup", config.mixup)?,
            cutmix: beta("data.cutmix", config.cutmix)?,
        };
        let mixes = mixing.mixup.is_some() || mixing.cutmix.is_some();
        Ok(mixes.then_some(mixing))
    }

    /// Mixes the images of `batch` and gives it second labels.
    pub fn apply(&self, batch: &mut Batch, rng: &mut ChaCha8Rng) {
        let [_, _, height, width] = batch.shape;
        let mix = self.draw([height, width], rng);
        match mix {
            Mix::Blend(weight) => blend(batch, weight),
            Mix::Paste(region) => paste(batch, region),
        }
        let mut labels = batch.labels.clone();
        labels.rotate_right(1);
        let weight = mix.weight([height, width]);
        batch.mixed = Some(Mixed { labels, weight });
    }

    /// How a batch of images of this height and width is mixed.
    pub fn draw(&self, size: [usize; 2], rng: &mut ChaCha8Rng) -> Mix {
        match (self.mixup, self.cutmix) {
            (Some(mixup), Some(_)) if rng.random_bool(0.5) => Mix::Blend(mixup.sample(rng)),
            (_, Some(cutmix)) => {
                let weight = cutmix.sample(rng);
                let centre = size.map(|side| below(rng, side));
                Mix::Paste(region(centre, weight, size))
            }
            (Some(mixup), None) => Mix::Blend(mixup.sample(rng)),
            // Never made so: it leaves images as they are.
            (None, None) => Mix::Paste(Region::default()),
        }
    }
}

/// The rectangle of CutMix: a share of `1 - weight` of the image, less what is outside of it.
fn region(centre: [usize; 2], weight: f64, size: [usize; 2]) -> Region {
    let share = (1.0 - weight).max(0.0).sqrt();
    let sides = size.map(|side| 2 * (0.5 * share * side as f64) as usize);
    Region::around(centre, sides, size)
}

/// Every image becomes `weight` of itself and the rest of the one before it.
fn blend(batch: &mut Batch, weight: f64) {
    let own = weight as f32;
    with_previous(batch, |image, previous| {
        for (value, other) in image.iter_mut().zip(previous) {
            *value = own * *value + (1.0 - own) * other;
        }
    });
}

/// Every image has `region` from the one before it.
fn paste(batch: &mut Batch, region: Region) {
    let [_, _, height, width] = batch.shape;
    let plane = height * width;
    with_previous(batch, |image, previous| {
        let planes = image.chunks_exact_mut(plane);
        for (own, other) in planes.zip(previous.chunks_exact(plane)) {
            for row in region.rows(width) {
                own[row.clone()].copy_from_slice(&other[row]);
            }
        }
    });
}

/// Changes every image by `mix`, which is given the one before it, too, as it was.
fn with_previous(batch: &mut Batch, mix: impl Fn(&mut [f32], &[f32])) {
    let [count, rest @ ..] = batch.shape;
    let length: usize = rest.iter().product();
    let Some(last) = count.checked_sub(1) else {
        return;
    };
    let images = &mut batch.images[..];
    // From the last to the first, whose previous one is the last: the only one changed too early.
    let original = images[last * length..].to_vec();
    for number in (1..count).rev() {
        let (before, own) = images.split_at_mut(number * length);
        mix(&mut own[..length], &before[(number - 1) * length..]);
    }
    mix(&mut images[..length], &original);
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Image i has the value i everywhere, and class i.
    fn batch(count: usize, height: usize, width: usize) -> Batch {
        let length = 2 * height * width;
        Batch {
            images: (0..count * length).map(|at| (at / length) as f32).collect(),
            labels: (0..count as i32).collect(),
            shape: [count, 2, height, width],
            mixed: None,
        }
    }

    fn mixing(mixup: Option<f64>, cutmix: Option<f64>) -> Mixing {
        let config = DataConfig {
            mixup,
            cutmix,
            ..DataConfig::default()
        };
        Mixing::new(&config).unwrap().unwrap()
    }

    #[test]
    fn a_blend_is_a_weighted_mean() {
        let mut mixed = batch(3, 2, 2);
        blend(&mut mixed, 0.75);
        // 3/4 of 0 and 1/4 of 2; of 1 and 0; of 2 and 1.
        let values: Vec<f32> = mixed.images.iter().step_by(8).copied().collect();
        assert_eq!(values, [0.5, 0.75, 1.75]);
    }

    /// As in torchvision's `CutMix`: of a 4 x 8 image, weight 3/4 and centre (0, 4), by hand: the sides are
    /// half of the image's, 2 x 4, of which one row is within the image.
    #[test]
    fn a_rectangle_is_pasted() {
        let found = region([0, 4], 0.75, [4, 8]);
        let (top, left, bottom, right) = (0, 2, 1, 6);
        assert_eq!(
            found,
            Region {
                top,
                left,
                bottom,
                right
            }
        );
        let mut mixed = batch(2, 4, 8);
        paste(&mut mixed, found);
        assert_eq!(Mix::Paste(found).weight([4, 8]), 1.0 - 4.0 / 32.0);
        assert_eq!(mixed.images[..8], [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(mixed.images[8..32], [0.0; 24]);
        // All channels, and image 1 has that of image 0.
        assert_eq!(mixed.images[32 + 2], 1.0);
        assert_eq!(
            mixed.images[64..72],
            [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
        );
    }

    /// The weight of the labels is the share of the values, and the labels are those of the image before.
    #[test]
    fn labels_are_mixed_as_images_are() {
        let cases = [(Some(0.4), None), (None, Some(1.0)), (Some(1.0), Some(1.0))];
        for (mixup, cutmix) in cases {
            let mixing = mixing(mixup, cutmix);
            let mut blended = 0;
            for seed in 0..200 {
                let mut batch = batch(4, 6, 10);
                mixing.apply(&mut batch, &mut ChaCha8Rng::seed_from_u64(seed));
                let mixed = batch.mixed.unwrap();
                assert_eq!(mixed.labels, [3, 0, 1, 2]);
                assert!((0.0..=1.0).contains(&mixed.weight), "{}", mixed.weight);
                let second = &batch.images[120..240];
                let mean = second.iter().map(|value| f64::from(*value)).sum::<f64>() / 120.0;
                assert!(
                    (mean - mixed.weight).abs() < 1e-5,
                    "{mean} {}",
                    mixed.weight
                );
                blended += usize::from(second.iter().any(|value| value.fract() != 0.0));
            }
            let expected = match (mixup, cutmix) {
                (Some(_), Some(_)) => 70..130,
                (Some(_), None) => 190..201,
                _ => 0..1,
            };
            assert!(expected.contains(&blended), "{blended}");
        }
    }

    /// Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1)).
    #[test]
    fn weights_are_drawn_from_a_beta_distribution() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for shape in [0.2, 1.0, 8.0] {
            let beta = mixing(Some(shape), None).mixup.unwrap();
            let drawn: Vec<f64> = (0..20_000).map(|_| beta.sample(&mut rng)).collect();
            let mean = drawn.iter().sum::<f64>() / 20_000.0;
            let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
            let expected = 1.0 / (4.0 * (2.0 * shape + 1.0));
            assert!((mean - 0.5).abs() < 0.02, "{shape}: {mean}");
            assert!(
                (variance / expected - 1.0).abs() < 0.05,
                "{shape}: {variance}"
            );
        }
    }

    /// Resuming depends on the same weights in all versions of this program.
    #[test]
    fn the_weights_are_pinned() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut draw = |shape| mixing(Some(shape), None).mixup.unwrap().sample(&mut rng);
        let found = [draw(0.2), draw(1.0), draw(2.0)];
        let close = |(found, pinned): (&f64, &f64)| (found - pinned).abs() < 1e-12;
        assert!(found.iter().zip(&PINNED).all(close), "{found:?}");
    }
    const PINNED: [f64; 3] = [0.12178930456304278, 0.596560180934855, 0.6581232928126568];

    /// No config asks for it, but it is no reason to fail.
    #[test]
    fn a_batch_of_one_is_left_as_it_is() {
        let mut mixed = batch(1, 2, 2);
        mixing(Some(1.0), None).apply(&mut mixed, &mut ChaCha8Rng::seed_from_u64(0));
        assert_eq!(mixed.images, batch(1, 2, 2).images);
    }
}
