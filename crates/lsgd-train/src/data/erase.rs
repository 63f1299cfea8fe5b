//! Training images with a part erased.
//!
//! Erased pixels are 0 after normalisation: the mean of CIFAR, mid-grey in digits and generated images,
//! ImageNet's mean in a folder.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::DataError;
use crate::image_config::DataConfig;

/// How often a rectangle that does not fit is drawn again.
const TRIES: usize = 10;
/// Bounds of a rectangle's share of the image, and of its height over its width.
const AREA: [f64; 2] = [0.02, 0.33];
const ASPECT: [f64; 2] = [0.3, 3.3];

/// What is erased from training images of one size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Erasing {
    /// Channels, height, width of an image.
    shape: [usize; 3],
    /// Side of the square that is cut out of every image (DeVries and Taylor, arXiv 1708.04552).
    cutout: Option<usize>,
    /// Probability of random erasing (Zhong et al., arXiv 1708.04896).
    probability: f64,
}

/// Part of an image, in pixels; by default none of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Region {
    pub top: usize,
    pub left: usize,
    pub bottom: usize,
    pub right: usize,
}

impl Region {
    /// The pixels within `height` x `width` of the rectangle of these sides around a centre.
    pub fn around(centre: [usize; 2], sides: [usize; 2], size: [usize; 2]) -> Self {
        let [top, left] = [0, 1].map(|axis| centre[axis].saturating_sub(sides[axis] / 2));
        let end = |axis: usize| (centre[axis] + sides[axis] - sides[axis] / 2).min(size[axis]);
        Self {
            top,
            left,
            bottom: end(0),
            right: end(1),
        }
    }

    /// The values of the region in an image's plane of this width, row by row.
    pub fn rows(self, width: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        (self.top..self.bottom).map(move |row| row * width + self.left..row * width + self.right)
    }

    /// Number of its pixels.
    pub fn area(self) -> usize {
        (self.bottom - self.top) * (self.right - self.left)
    }
}

impl Erasing {
    /// What `config` erases from images of `shape`; `None` if that is nothing.
    ///
    /// # Errors
    ///
    /// [`DataError::CutoutTooLarge`] if the square has a larger side than the images.
    pub fn new(config: &DataConfig, shape: [usize; 3]) -> Result<Option<Self>, DataError> {
        let [_, height, width] = shape;
        if let Some(side) = config.cutout
            && side > height.min(width)
        {
            return Err(DataError::CutoutTooLarge {
                side,
                height,
                width,
            });
        }
        let erasing = Self {
            shape,
            cutout: config.cutout,
            probability: config.erasing,
        };
        let erases = config.cutout.is_some() || config.erasing > 0.0;
        Ok(erases.then_some(erasing))
    }

    /// Erases from `image`, which is of the shape.
    pub fn apply(&self, image: &mut [f32], rng: &mut ChaCha8Rng) {
        for region in self.regions(rng) {
            self.erase(image, region);
        }
    }

    /// The parts of an image to erase: the square and the rectangle, empty where there is none.
    pub fn regions(&self, rng: &mut ChaCha8Rng) -> [Region; 2] {
        let [_, height, width] = self.shape;
        let mut regions = [Region::default(); 2];
        if let Some(side) = self.cutout {
            let centre = [height, width].map(|side| below(rng, side));
            regions[0] = Region::around(centre, [side; 2], [height, width]);
        }
        if self.probability > 0.0
            && rng.random_bool(self.probability)
            && let Some(region) = self.draw(rng)
        {
            regions[1] = region;
        }
        regions
    }

    fn erase(&self, image: &mut [f32], region: Region) {
        let [_, height, width] = self.shape;
        for plane in image.chunks_exact_mut(height * width) {
            for row in region.rows(width) {
                plane[row].fill(0.0);
            }
        }
    }

    /// The rectangle of torchvision's `RandomErasing`; `None` if none that was drawn fits.
    fn draw(&self, rng: &mut ChaCha8Rng) -> Option<Region> {
        let [_, height, width] = self.shape;
        let [least, most] = ASPECT.map(f64::ln);
        for _ in 0..TRIES {
            let area = (height * width) as f64 * rng.random_range(AREA[0]..AREA[1]);
            let aspect = rng.random_range(least..most).exp();
            let sides = [(area * aspect).sqrt(), (area / aspect).sqrt()];
            let [tall, wide] = sides.map(|side| side.round() as usize);
            if tall < height && wide < width {
                let [top, left] = [height - tall, width - wide].map(|room| below(rng, room + 1));
                return Some(Region {
                    top,
                    left,
                    bottom: top + tall,
                    right: left + wide,
                });
            }
        }
        None
    }
}

/// Uniform in 0..end, as 32 bits, so that all machines draw the same.
pub(super) fn below(rng: &mut ChaCha8Rng, end: usize) -> usize {
    rng.random_range(0..end as u32) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    fn config(cutout: Option<usize>, erasing: f64) -> DataConfig {
        DataConfig {
            cutout,
            erasing,
            ..DataConfig::default()
        }
    }

    /// Checked by hand: a square of 2 around (0, 2) of a 3 x 3 image has one row within it.
    #[test]
    fn a_square_is_cut_off_at_the_edge() {
        let at = |centre, side| Region::around(centre, [side; 2], [3, 3]);
        let region = |top, left, bottom, right| Region {
            top,
            left,
            bottom,
            right,
        };
        assert_eq!(at([0, 2], 2), region(0, 1, 1, 3));
        assert_eq!(at([1, 1], 3), region(0, 0, 3, 3));
        assert_eq!(at([2, 0], 1), region(2, 0, 3, 1));
        let erasing = Erasing::new(&config(Some(2), 0.0), [2, 3, 3])
            .unwrap()
            .unwrap();
        let mut image: Vec<f32> = (1..=18).map(|value| value as f32).collect();
        erasing.erase(&mut image, at([0, 2], 2));
        assert_eq!(image[..6], [1.0, 0.0, 0.0, 4.0, 5.0, 6.0]);
        assert_eq!(image[9..15], [10.0, 0.0, 0.0, 13.0, 14.0, 15.0]);
    }

    #[test]
    fn nothing_to_erase_is_none() {
        assert!(
            Erasing::new(&config(None, 0.0), [1, 8, 8])
                .unwrap()
                .is_none()
        );
        let refused = Erasing::new(&config(Some(9), 0.0), [1, 8, 12]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "data.cutout 9 is more than the side of the images, which are 8 x 12; give at most 8"
        );
    }

    /// Of 2,000 images about 500 have an erased part, of a share within the bounds (whole pixels apart).
    #[test]
    fn as_many_images_are_erased_as_the_probability_says() {
        let erasing = Erasing::new(&config(None, 0.25), [1, 32, 32])
            .unwrap()
            .unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut erased = 0;
        for _ in 0..2000 {
            let mut image = vec![1.0; 1024];
            erasing.apply(&mut image, &mut rng);
            let gone = image.iter().filter(|value| **value == 0.0).count();
            if gone > 0 {
                erased += 1;
                assert!((15..=360).contains(&gone), "{gone}");
            }
        }
        assert!((430..570).contains(&erased), "{erased}");
    }

    proptest! {
        /// A rectangle that is drawn is within the image; images of any size are survived.
        #[test]
        fn rectangles_are_within_the_image(height in 1usize..40, width in 1usize..40, seed: u64) {
            let erasing = Erasing::new(&config(Some(height.min(width)), 1.0), [1, height, width]).unwrap().unwrap();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            if let Some(Region { bottom, right, .. }) = erasing.draw(&mut rng) {
                prop_assert!(bottom <= height && right <= width);
            }
            erasing.apply(&mut vec![1.0; height * width], &mut rng);
        }
    }
}
