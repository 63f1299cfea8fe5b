//! Folders of images in ImageNet's manner: `train/CLASS/*.jpg` and `val/CLASS/*.jpg` (`.jpeg`,
//! `.png` too, in any case). Classes are numbered in the order of their names.
//!
//! Images are decoded when a batch needs them and leave as 3 x 224 x 224. With `augment = "paper"`
//! training images are cut as in torchvision's `RandomResizedCrop(224)` and flipped with
//! probability one half; with `"none"` they are treated like test images: the shorter side resized
//! to 256, then the central 224 x 224. `"pad_crop"` is refused, as the images differ in size.

use std::fs;
use std::path::{Path, PathBuf};

use image::imageops::{self, FilterType};
use image::{ImageReader, RgbImage};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::DataError;
use super::error::{existing_folder, io, remedy, word};
use super::memory::table;
use crate::config::{Augment, DataName};

/// Side of the images that leave, in pixels.
pub(crate) const SIDE: u32 = 224;

/// What the shorter side of a test image is resized to.
const SHORTER: u32 = 256;

/// Longer side over shorter from which on only the middle of a test image is resized.
const LONGEST: u32 = 4;

/// Most bytes of an image file, and most pixels on a side.
const FILE_LIMIT: u64 = 256 << 20;
const SIDE_LIMIT: u32 = 1 << 14;

/// Mean and standard deviation of red, green and blue over ImageNet, as in torchvision's
/// classification recipes (<https://pytorch.org/vision/stable/models.html>).
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

const TRAIN: &str = "train";
const TEST: &str = "val";

struct Entry {
    file: PathBuf,
    class: i32,
}

/// An image folder, listed but not read.
pub(crate) struct Folder {
    train: Vec<Entry>,
    test: Vec<Entry>,
    classes: usize,
    augmented: bool,
    tables: Vec<[f32; 256]>,
}

impl Folder {
    /// Lists the images; the hasher has seen every file's place and size.
    pub fn open(
        folder: Option<&Path>,
        augment: Augment,
    ) -> Result<(Self, blake3::Hasher), DataError> {
        if augment == Augment::PadCrop {
            return Err(DataError::PadCropOfFolder);
        }
        let folder = existing_folder(DataName::Folder, folder)?;
        let train_classes = class_folders(folder, TRAIN)?;
        let test_classes = class_folders(folder, TEST)?;
        same_classes(folder, &train_classes, &test_classes)?;
        let mut identity = blake3::Hasher::new();
        identity.update(word(DataName::Folder).as_bytes());
        let train = list(folder, TRAIN, &train_classes, &mut identity)?;
        let mut test = list(folder, TEST, &test_classes, &mut identity)?;
        // Listed class by class; mixed (the same way always) so that the first so many test
        // examples are a fair sample.
        test.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
        let tables = (0..3).map(|c| table(255.0, MEAN[c], STD[c])).collect();
        let augmented = augment == Augment::Paper;
        Ok((
            Self {
                train,
                test,
                classes: train_classes.len(),
                augmented,
                tables,
            },
            identity,
        ))
    }

    pub fn train_len(&self) -> usize {
        self.train.len()
    }

    pub fn test_len(&self) -> usize {
        self.test.len()
    }

    pub fn classes(&self) -> usize {
        self.classes
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

/// Names of the folders in `folder/split`, sorted.
fn class_folders(folder: &Path, split: &'static str) -> Result<Vec<String>, DataError> {
    let path = folder.join(split);
    if !path.is_dir() {
        let remedy = remedy(DataName::Folder, Some(folder));
        return Err(DataError::FileMissing { file: path, remedy });
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).map_err(io(&path))? {
        let entry = entry.map_err(io(&path))?;
        let name = entry.file_name();
        let Some(text) = name.to_str() else {
            let reason = "the name is not UTF-8";
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, reason);
            return Err(DataError::Io {
                path: entry.path(),
                source,
            });
        };
        if !text.starts_with('.') && entry.path().is_dir() {
            names.push(text.to_owned());
        }
    }
    if names.is_empty() {
        return Err(DataError::NoImages { folder: path });
    }
    names.sort_unstable();
    Ok(names)
}

fn same_classes(folder: &Path, train: &[String], test: &[String]) -> Result<(), DataError> {
    let differ = |class: &String, present, absent| DataError::ClassesDiffer {
        folder: folder.to_owned(),
        class: class.clone(),
        present,
        absent,
    };
    if let Some(class) = train.iter().find(|c| test.binary_search(c).is_err()) {
        return Err(differ(class, TRAIN, TEST));
    }
    if let Some(class) = test.iter().find(|c| train.binary_search(c).is_err()) {
        return Err(differ(class, TEST, TRAIN));
    }
    Ok(())
}

/// The images of a split, class by class, each class sorted by file name.
fn list(
    folder: &Path,
    split: &str,
    classes: &[String],
    identity: &mut blake3::Hasher,
) -> Result<Vec<Entry>, DataError> {
    let mut entries = Vec::new();
    for (class, name) in classes.iter().enumerate() {
        let path = folder.join(split).join(name);
        let mut files = Vec::new();
        for entry in fs::read_dir(&path).map_err(io(&path))? {
            let file = entry.map_err(io(&path))?.path();
            if is_image(&file) {
                files.push(file);
            }
        }
        if files.is_empty() {
            return Err(DataError::NoImages { folder: path });
        }
        files.sort_unstable();
        for file in files {
            let size = fs::metadata(&file).map_err(io(&file))?.len();
            let base = file.file_name().unwrap_or_default().as_encoded_bytes();
            for part in [split.as_bytes(), name.as_bytes(), base] {
                identity.update(part).update(b"/");
            }
            identity.update(&size.to_le_bytes());
            entries.push(Entry {
                file,
                class: class as i32,
            });
        }
    }
    Ok(entries)
}

fn is_image(file: &Path) -> bool {
    let hidden = file
        .file_name()
        .is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
    let kind = file
        .extension()
        .and_then(|e| e.to_str())
        .map(str::to_ascii_lowercase);
    !hidden && matches!(kind.as_deref(), Some("jpg" | "jpeg" | "png")) && file.is_file()
}

/// Decodes by content, not by name: ImageNet has a PNG called `.JPEG`.
fn decode(file: &Path) -> Result<RgbImage, DataError> {
    let size = fs::metadata(file).map_err(io(file))?.len();
    if size > FILE_LIMIT {
        let what = file.display().to_string();
        return Err(DataError::TooLarge {
            what,
            size,
            limit: FILE_LIMIT,
        });
    }
    let mut reader = ImageReader::open(file)
        .and_then(ImageReader::with_guessed_format)
        .map_err(io(file))?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(SIDE_LIMIT);
    limits.max_image_height = Some(SIDE_LIMIT);
    reader.limits(limits);
    match reader.decode() {
        Ok(image) => Ok(image.into_rgb8()),
        Err(error) => Err(DataError::Undecodable {
            file: file.to_owned(),
            reason: error.to_string(),
        }),
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
