//! Augmentation of images of one size held as bytes: where each output pixel is taken from.
//!
//! The paper's training images are flipped left to right with probability one half and cropped to
//! 28 x 28 at random; its test images are cropped at the centre (the authors' `get_data_loader`,
//! <https://github.com/yunfei-teng/LSGD>, `codes/local_tools.py`). The usual alternative pads by
//! four pixels and crops the image's own size. As in torchvision, where both work on images before
//! normalisation, padding is black: the normalised value of byte 0.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::DataError;
use crate::image_config::Augment;

/// Side of the paper's crop in pixels.
const PAPER_CROP: usize = 28;

/// Pixels of padding on each side of `pad_crop`.
const PADDING: usize = 4;

/// How images of one size are cropped and flipped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    augment: Augment,
    height: usize,
    width: usize,
}

/// Part of an image: its upper left corner relative to the image's (negative in padding), and
/// whether it is mirrored left to right after it is cut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub top: isize,
    pub left: isize,
    pub flip: bool,
}

impl Geometry {
    /// The geometry of `augment` for images of `height` x `width` pixels.
    pub fn new(augment: Augment, height: usize, width: usize) -> Result<Self, DataError> {
        if augment == Augment::Paper && height.min(width) < PAPER_CROP {
            return Err(DataError::CropTooLarge { height, width });
        }
        Ok(Self {
            augment,
            height,
            width,
        })
    }

    /// Height and width of the images.
    pub fn input(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// Height and width of the output, in training and test alike.
    pub fn output(&self) -> [usize; 2] {
        match self.augment {
            Augment::Paper => [PAPER_CROP, PAPER_CROP],
            Augment::PadCrop | Augment::None => [self.height, self.width],
        }
    }

    /// A training image's window, drawn uniformly.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Window {
        match self.augment {
            Augment::Paper => Window {
                flip: rng.random_bool(0.5),
                top: offset(rng, self.height - PAPER_CROP),
                left: offset(rng, self.width - PAPER_CROP),
            },
            Augment::PadCrop => Window {
                flip: rng.random_bool(0.5),
                top: offset(rng, 2 * PADDING) - PADDING as isize,
                left: offset(rng, 2 * PADDING) - PADDING as isize,
            },
            Augment::None => Window {
                top: 0,
                left: 0,
                flip: false,
            },
        }
    }

    /// A test image's window: the centre.
    pub fn centre(&self) -> Window {
        let [height, width] = self.output();
        Window {
            top: ((self.height - height) / 2) as isize,
            left: ((self.width - width) / 2) as isize,
            flip: false,
        }
    }

    /// Writes the window of `image` (channels x height x width bytes) into `out` (channels x output
    /// height x output width), each byte mapped by its channel's table.
    pub fn write(&self, image: &[u8], window: Window, tables: &[[f32; 256]], out: &mut [f32]) {
        let [out_height, out_width] = self.output();
        let planes = image.chunks_exact(self.height * self.width);
        let out_planes = out.chunks_exact_mut(out_height * out_width);
        // The columns of an output row that lie inside the image, and where they start in it.
        let from = window.left.min(0).unsigned_abs().min(out_width);
        let first = (window.left.max(0) as usize).min(self.width);
        let inside = (out_width - from).min(self.width - first);
        for ((plane, out_plane), table) in planes.zip(out_planes).zip(tables) {
            for (y, row) in out_plane.chunks_exact_mut(out_width).enumerate() {
                let source = window.top + y as isize;
                if source < 0 || source >= self.height as isize {
                    row.fill(table[0]);
                    continue;
                }
                let start = source as usize * self.width + first;
                row[..from].fill(table[0]);
                for (value, byte) in row[from..].iter_mut().zip(&plane[start..start + inside]) {
                    *value = table[usize::from(*byte)];
                }
                row[from + inside..].fill(table[0]);
                if window.flip {
                    row.reverse();
                }
            }
        }
    }
}

/// Uniform in 0..=most.
fn offset(rng: &mut ChaCha8Rng, most: usize) -> isize {
    rng.random_range(0..=most as u32) as isize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    /// Bytes unchanged, so that outputs identify the pixel they came from.
    fn identity() -> [f32; 256] {
        std::array::from_fn(|v| v as f32)
    }

    #[test]
    fn windows_cover_just_the_allowed_offsets() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for (augment, range) in [(Augment::Paper, 0..=4), (Augment::PadCrop, -4..=4)] {
            let geometry = Geometry::new(augment, 32, 32).unwrap();
            let drawn: Vec<Window> = (0..2000).map(|_| geometry.draw(&mut rng)).collect();
            let mut tops: Vec<isize> = drawn.iter().map(|w| w.top).collect();
            let mut lefts: Vec<isize> = drawn.iter().map(|w| w.left).collect();
            for offsets in [&mut tops, &mut lefts] {
                offsets.sort_unstable();
                offsets.dedup();
                assert_eq!(*offsets, range.clone().collect::<Vec<_>>(), "{augment:?}");
            }
            let flips = drawn.iter().filter(|w| w.flip).count();
            assert!(
                (850..1150).contains(&flips),
                "{augment:?}: {flips} of 2000 flipped"
            );
        }
    }

    #[test]
    fn the_paper_tests_on_the_centre() {
        let geometry = Geometry::new(Augment::Paper, 32, 32).unwrap();
        assert_eq!(geometry.output(), [28, 28]);
        assert_eq!(
            geometry.centre(),
            Window {
                top: 2,
                left: 2,
                flip: false
            }
        );
    }

    /// Checked by hand: a 2 x 3 image, padded by 4, cut one up and one left, then mirrored.
    #[test]
    fn padding_is_the_table_of_zero() {
        let geometry = Geometry::new(Augment::PadCrop, 2, 3).unwrap();
        let mut table = identity();
        table[0] = -7.0;
        let mut out = [0.0; 6];
        let image = [1, 2, 3, 4, 5, 6];
        geometry.write(
            &image,
            Window {
                top: -1,
                left: -1,
                flip: false,
            },
            &[table],
            &mut out,
        );
        assert_eq!(out, [-7.0, -7.0, -7.0, -7.0, 1.0, 2.0]);
        geometry.write(
            &image,
            Window {
                top: -1,
                left: -1,
                flip: true,
            },
            &[table],
            &mut out,
        );
        assert_eq!(out, [-7.0, -7.0, -7.0, 2.0, 1.0, -7.0]);
        geometry.write(
            &image,
            Window {
                top: 1,
                left: 2,
                flip: false,
            },
            &[table],
            &mut out,
        );
        assert_eq!(out, [6.0, -7.0, -7.0, -7.0, -7.0, -7.0]);
        geometry.write(
            &image,
            Window {
                top: 4,
                left: -4,
                flip: false,
            },
            &[table],
            &mut out,
        );
        assert_eq!(out, [-7.0; 6]);
    }

    #[test]
    fn the_paper_refuses_small_images() {
        let error = Geometry::new(Augment::Paper, 27, 40).unwrap_err();
        assert_eq!(
            error.to_string(),
            "data.augment \"paper\" crops 28 x 28 pixels, but the images are 27 x 40; \
             use \"pad_crop\" or \"none\""
        );
        assert!(Geometry::new(Augment::Paper, 28, 28).is_ok());
    }

    proptest! {
        /// Every output pixel is the input pixel that the window names, or padding: compared with
        /// the definition, pixel by pixel.
        #[test]
        fn write_matches_its_definition(
            height in 1usize..40, width in 1usize..40, channels in 1usize..4,
            paper: bool, seed: u64,
        ) {
            let augment = if paper && height.min(width) >= 28 { Augment::Paper } else { Augment::PadCrop };
            let geometry = Geometry::new(augment, height, width).unwrap();
            let window = geometry.draw(&mut ChaCha8Rng::seed_from_u64(seed));
            let image: Vec<u8> = (0..channels * height * width).map(|i| (i % 255 + 1) as u8).collect();
            let [oh, ow] = geometry.output();
            let mut out = vec![f32::NAN; channels * oh * ow];
            geometry.write(&image, window, &vec![identity(); channels], &mut out);
            for c in 0..channels {
                for y in 0..oh {
                    for x in 0..ow {
                        let across = if window.flip { ow - 1 - x } else { x };
                        let (sy, sx) = (y as isize + window.top, across as isize + window.left);
                        let inside = (0..height as isize).contains(&sy) && (0..width as isize).contains(&sx);
                        let want = if inside { image[(c * height + sy as usize) * width + sx as usize] } else { 0 };
                        prop_assert_eq!(out[(c * oh + y) * ow + x], f32::from(want));
                    }
                }
            }
        }
    }
}
