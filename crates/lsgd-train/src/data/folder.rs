//! Folders of images in ImageNet's manner: `train/CLASS/*.jpg` and `val/CLASS/*.jpg` (`.jpeg`,
//! `.png` too, in any case). Classes are numbered in the order of their names.
//! [`listing`](super::listing) says what is read and what is left out, [`decode`](super::decode) how.
//!
//! Images are decoded when a batch needs them and leave as 3 x 224 x 224. With `augment = "paper"`
//! training images are cut as in torchvision's `RandomResizedCrop(224)` and flipped with
//! probability one half; with `"none"` they are treated like test images: the shorter side resized
//! to 256, then the central 224 x 224. `"pad_crop"` is refused, as the images differ in size.

use std::path::Path;

use image::RgbImage;
use image::imageops::{self, FilterType};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::DataError;
use super::decode::decode;
use super::error::existing_folder;
use super::listing::{Entry, Listing, list};
use super::memory::table;
use crate::config::{Augment, DataName};

/// Side of the images that leave, in pixels.
pub(crate) const SIDE: u32 = 224;

/// What the shorter side of a test image is resized to.
const SHORTER: u32 = 256;

/// Longer side over shorter from which on only the middle of a test image is resized.
const LONGEST: u32 = 4;

/// Mean and standard deviation of red, green and blue over ImageNet, as in torchvision's
/// classification recipes (<https://pytorch.org/vision/stable/models.html>).
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// An image folder, listed but not read.
pub(crate) struct Folder {
    train: Vec<Entry>,
    test: Vec<Entry>,
    augmented: bool,
    tables: Vec<[f32; 256]>,
}

impl Folder {
    /// Lists the images. With them come the names of the classes, and a hasher that has seen every
    /// file's place and size.
    pub fn open(
        folder: Option<&Path>,
        augment: Augment,
    ) -> Result<(Self, Vec<String>, blake3::Hasher), DataError> {
        if augment == Augment::PadCrop {
            return Err(DataError::PadCropOfFolder);
        }
        let folder = existing_folder(DataName::Folder, folder)?;
        let Listing {
            classes,
            train,
            mut test,
            identity,
        } = list(folder)?;
        // Listed class by class; mixed (the same way always) so that the first so many test
        // examples are a fair sample.
        test.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
        let tables = (0..3).map(|c| table(255.0, MEAN[c], STD[c])).collect();
        let augmented = augment == Augment::Paper;
        Ok((
            Self {
                train,
                test,
                augmented,
                tables,
            },
            classes,
            identity,
        ))
    }

    pub fn train_len(&self) -> usize {
        self.train.len()
    }

    pub fn test_len(&self) -> usize {
        self.test.len()
    }

    /// Writes training image `index`, augmented, and returns its label.
    pub fn train(
        &self,
        index: usize,
        rng: &mut ChaCha8Rng,
        out: &mut [f32],
    ) -> Result<i32, DataError> {
        let entry = &self.train[index];
        let image = decode(&entry.file)?;
        if self.augmented {
            let [left, top, width, height] = random_region(image.width(), image.height(), rng);
            let flip = rng.random_bool(0.5);
            let region = imageops::crop_imm(&image, left, top, width, height).to_image();
            let image = imageops::resize(&region, SIDE, SIDE, FilterType::Triangle);
            self.write(&image, flip, out);
        } else {
            self.write(&centre(&image), false, out);
        }
        Ok(entry.class)
    }

    /// Writes training image `index` as one of the test, and returns its label.
    pub fn still(&self, index: usize, out: &mut [f32]) -> Result<i32, DataError> {
        self.centred(&self.train[index], out)
    }

    /// Writes test image `index` and returns its label.
    pub fn test(&self, index: usize, out: &mut [f32]) -> Result<i32, DataError> {
        self.centred(&self.test[index], out)
    }

    fn centred(&self, entry: &Entry, out: &mut [f32]) -> Result<i32, DataError> {
        self.write(&centre(&decode(&entry.file)?), false, out);
        Ok(entry.class)
    }

    /// Interleaved bytes to normalised planes.
    fn write(&self, image: &RgbImage, flip: bool, out: &mut [f32]) {
        let side = SIDE as usize;
        let planes = out.chunks_exact_mut(side * side);
        for (c, (plane, table)) in planes.zip(&self.tables).enumerate() {
            let rows = image.as_raw().chunks_exact(3 * side);
            for (row, out_row) in rows.zip(plane.chunks_exact_mut(side)) {
                for (value, pixel) in out_row.iter_mut().zip(row.chunks_exact(3)) {
                    *value = table[usize::from(pixel[c])];
                }
                if flip {
                    out_row.reverse();
                }
            }
        }
    }
}

/// Shorter side to 256, then the central 224 x 224.
fn centre(image: &RgbImage) -> RgbImage {
    let (width, height) = image.dimensions();
    // Of a very long image only the middle can be in the crop, so only the middle is resized:
    // memory stays bounded by the shorter side.
    let longest = width.min(height) * LONGEST;
    if width.max(height) > longest {
        let (w, h) = (width.min(longest), height.min(longest));
        return centre(
            &imageops::crop_imm(image, (width - w) / 2, (height - h) / 2, w, h).to_image(),
        );
    }
    let scaled =
        |long: u32, short: u32| (u64::from(SHORTER) * u64::from(long) / u64::from(short)) as u32;
    let (w, h) = if width <= height {
        (SHORTER, scaled(height, width))
    } else {
        (scaled(width, height), SHORTER)
    };
    let resized = imageops::resize(image, w, h, FilterType::Triangle);
    imageops::crop_imm(&resized, (w - SIDE) / 2, (h - SIDE) / 2, SIDE, SIDE).to_image()
}

/// Left, top, width, height of torchvision's `RandomResizedCrop`: an area of 0.08 to 1 of the
/// image's, of a ratio of 3/4 to 4/3 uniform in its logarithm; after ten misses the central part
/// whose ratio is nearest.
fn random_region(width: u32, height: u32, rng: &mut ChaCha8Rng) -> [u32; 4] {
    let area = f64::from(width) * f64::from(height);
    let (lowest, highest) = (3.0f64 / 4.0, 4.0f64 / 3.0);
    for _ in 0..10 {
        let target = area * rng.random_range(0.08..1.0);
        let ratio = rng.random_range(lowest.ln()..highest.ln()).exp();
        let w = (target * ratio).sqrt().round() as u32;
        let h = (target / ratio).sqrt().round() as u32;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let top = rng.random_range(0..=height - h);
            let left = rng.random_range(0..=width - w);
            return [left, top, w, h];
        }
    }
    let ratio = f64::from(width) / f64::from(height);
    let (w, h) = if ratio < lowest {
        (
            width,
            ((f64::from(width) / lowest).round() as u32).min(height),
        )
    } else if ratio > highest {
        (
            ((f64::from(height) * highest).round() as u32).min(width),
            height,
        )
    } else {
        (width, height)
    };
    [(width - w) / 2, (height - h) / 2, w, h]
}
