//! Folders of images in ImageNet's manner: `train/CLASS/*.jpg` and `val/CLASS/*.jpg` (`.jpeg`,
//! `.png` too, in any case). Classes are numbered in the order of their names.
//! [`listing`](super::listing) says what is read and what is left out, [`decode`](super::decode) how.
//!
//! Images are decoded when a batch needs them and come out as 3 x side x side, where side is `data.side`,
//! 224 by default. With `augment = "paper"` training images are cropped as by torchvision's
//! `RandomResizedCrop(side)` and flipped with probability one half; with `"none"` they are treated like
//! test images: the shorter side resized to 8/7 of it (256), then the central part. `"pad_crop"` is
//! refused, as the images differ in size.

use image::RgbImage;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::DataError;
use super::advice::existing_folder;
use super::bad_images::Skipped;
use super::decode::decode;
use super::listing::{Entry, Listing, list};
use super::memory::table;
use super::resize::{self, Region};
use crate::image_config::{Augment, DataConfig, DataName};

/// Mean and standard deviation of red, green and blue over ImageNet, as in torchvision's
/// classification recipes (<https://pytorch.org/vision/stable/models.html>).
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// An image folder, listed but not read.
pub(crate) struct Folder {
    train: Split,
    test: Split,
    augmented: bool,
    /// Side of the output images, in pixels.
    side: u32,
    tables: Vec<[f32; 256]>,
}

/// The images of a split.
struct Split {
    entries: Vec<Entry>,
    skipped: Skipped,
}

impl Folder {
    /// Lists the images. Also returns the names of the classes, and a hasher that has been fed
    /// every file's path and size.
    pub fn open(config: &DataConfig) -> Result<(Self, Vec<String>, blake3::Hasher), DataError> {
        if config.augment == Augment::PadCrop {
            return Err(DataError::PadCropOfFolder);
        }
        let folder = existing_folder(DataName::Folder, config.folder.as_deref())?;
        let Listing {
            classes,
            train,
            mut test,
            identity,
        } = list(folder)?;
        // Listed class by class; shuffled (always in the same way) so that the first test examples
        // are a fair sample.
        test.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
        let tables = (0..3).map(|c| table(255.0, MEAN[c], STD[c])).collect();
        Ok((
            Self {
                train: Split::new(config, "training", train),
                test: Split::new(config, "test", test),
                augmented: config.augment == Augment::Paper,
                side: config.side,
                tables,
            },
            classes,
            identity,
        ))
    }

    pub fn train_len(&self) -> usize {
        self.train.entries.len()
    }

    pub fn train_class(&self, index: usize) -> Option<i32> {
        self.train.entries.get(index).map(|entry| entry.class)
    }

    pub fn test_len(&self) -> usize {
        self.test.entries.len()
    }

    /// Writes training image `index`, augmented, and returns its label. In place of one that is
    /// skipped it takes the next that can be decoded and is not `elsewhere`, after the last image
    /// the first.
    pub fn train(
        &self,
        index: usize,
        elsewhere: impl Fn(usize) -> bool,
        rng: &mut ChaCha8Rng,
        out: &mut [f32],
    ) -> Result<i32, DataError> {
        let (image, flip, class) = self.cut(index, elsewhere, rng)?;
        self.write(&image, flip, out);
        Ok(class)
    }

    /// Writes the same image as one of the test, and returns its label.
    pub fn train_still(
        &self,
        index: usize,
        elsewhere: impl Fn(usize) -> bool,
        out: &mut [f32],
    ) -> Result<i32, DataError> {
        let (image, class) = self.train.image_from(index, elsewhere)?;
        self.write(&self.centre(&image), false, out);
        Ok(class)
    }

    /// The same image before it is flipped and normalised, whether it is flipped, and its label.
    pub fn cut(
        &self,
        index: usize,
        elsewhere: impl Fn(usize) -> bool,
        rng: &mut ChaCha8Rng,
    ) -> Result<(RgbImage, bool, i32), DataError> {
        let (image, class) = self.train.image_from(index, elsewhere)?;
        if !self.augmented {
            return Ok((self.centre(&image), false, class));
        }
        let region = random_region(image.width(), image.height(), rng);
        let flip = rng.random_bool(0.5);
        Ok((resize::region(&image, region, self.side), flip, class))
    }

    /// For each channel, the value of each byte.
    pub fn tables(&self) -> &[[f32; 256]] {
        &self.tables
    }

    /// Writes training image `index` as one of the test, and returns its label; `None` if it is
    /// skipped.
    pub fn still(&self, index: usize, out: &mut [f32]) -> Result<Option<i32>, DataError> {
        self.centred(&self.train, index, out)
    }

    /// Writes test image `index` and returns its label; `None` if it is skipped.
    pub fn test(&self, index: usize, out: &mut [f32]) -> Result<Option<i32>, DataError> {
        self.centred(&self.test, index, out)
    }

    fn centred(
        &self,
        split: &Split,
        index: usize,
        out: &mut [f32],
    ) -> Result<Option<i32>, DataError> {
        let Some((image, class)) = split.image(index)? else {
            return Ok(None);
        };
        self.write(&self.centre(&image), false, out);
        Ok(Some(class))
    }

    fn centre(&self, image: &RgbImage) -> RgbImage {
        resize::centre(image, self.side * 8 / 7, self.side)
    }

    /// Interleaved bytes to normalised planes.
    fn write(&self, image: &RgbImage, flip: bool, out: &mut [f32]) {
        let side = self.side as usize;
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

impl Split {
    fn new(config: &DataConfig, name: &'static str, entries: Vec<Entry>) -> Self {
        Self {
            skipped: Skipped::new(config, name, entries.len()),
            entries,
        }
    }

    /// Image `index` and its class; `None` if it is skipped.
    fn image(&self, index: usize) -> Result<Option<(RgbImage, i32)>, DataError> {
        if self.skipped.contains(index) {
            return Ok(None);
        }
        let entry = &self.entries[index];
        match decode(&entry.file) {
            Ok(image) => Ok(Some((image, entry.class))),
            Err(error) => self.skipped.add(index, error).map(|()| None),
        }
    }

    /// The first of image `index` and those after it that is neither skipped nor `held_out`, and its
    /// class.
    fn image_from(
        &self,
        index: usize,
        elsewhere: impl Fn(usize) -> bool,
    ) -> Result<(RgbImage, i32), DataError> {
        let order = (index..self.entries.len()).chain(0..index);
        for next in order.filter(|next| !elsewhere(*next)) {
            if let Some(found) = self.image(next)? {
                return Ok(found);
            }
        }
        Err(DataError::NoneToTrain)
    }
}

/// The region of torchvision's `RandomResizedCrop`: an area of 0.08 to 1 of the
/// image's, with a ratio of 3/4 to 4/3 uniform in its logarithm; after ten misses the central part
/// with the nearest ratio.
fn random_region(width: u32, height: u32, rng: &mut ChaCha8Rng) -> Region {
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
            return Region {
                left,
                top,
                width: w,
                height: h,
            };
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
    Region {
        left: (width - w) / 2,
        top: (height - h) / 2,
        width: w,
        height: h,
    }
}
