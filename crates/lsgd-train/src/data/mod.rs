//! Data: from files to batches of normalised images.
//!
//! ```text
//! Dataset   the examples: in memory as bytes, or a folder of images decoded when needed
//! Stream    which examples batch k holds
//! fetch     downloads the published data sets
//! ```
//!
//! A batch is a function of the data set, the seed and its number alone: it does not depend on the
//! threads that prepare it or on earlier requests.

mod advice;
mod alteration;
mod augment;
mod bad_images;
pub(crate) mod bytes;
mod cifar;
mod decode;
mod digits;
mod erase;
mod error;
pub mod fetch;
mod folder;
mod generated;
mod listing;
mod memory;
mod mix;
mod operations;
mod resize;
mod shards;
mod splits;
mod spoiling;
mod stream;

use std::fmt;
use std::ops::Range;

use clap::ValueEnum;
use rayon::prelude::*;

pub use bytes::{ByteBatch, Format};
pub use error::DataError;
pub(crate) use mix::Mix;
pub use mix::Mixed;
pub(crate) use spoiling::Spoiling;
pub use stream::{Reserve, Stream};

use crate::image_config::{DataConfig, DataName};
use alteration::Alteration;
use erase::Erasing;
use folder::Folder;
use memory::{Memory, Raw};
use mix::Mixing;

/// Most bytes of images in one batch.
const BATCH_LIMIT: u64 = 4 << 30;

/// Images and their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Normalised pixels in the order of `shape`.
    pub images: Vec<f32>,
    /// The class of each image, from 0.
    pub labels: Vec<i32>,
    /// Images, channels, height, width.
    pub shape: [usize; 4],
    /// The second classes, if the images are mixed.
    pub mixed: Option<Mixed>,
}

/// A data set with its augmentation.
///
/// | `data.name` | training | test |
/// |---|---|---|
/// | `cifar10`, `cifar100`, `digits`, `generated` | `data.augment` | centre crop for `paper`, else the image |
/// | `folder`, augment `paper` | random resized crop of `data.side`, flip | shorter side to 8/7 of it, centre crop |
/// | `folder`, augment `none` | as the test | the same |
///
/// Augmentation does exactly what it is asked to: `pad_crop` and `paper` mirror digits too, which
/// harms them, so use `none` for digits.
///
/// After this, training images are altered (`data.jitter`, then `data.trivial_augment`), parts of them are
/// erased (`data.cutout`, `data.erasing`), and then the images of a batch are mixed (`data.mixup`,
/// `data.cutmix`).
pub struct Dataset {
    source: Source,
    alteration: Option<Alteration>,
    erasing: Option<Erasing>,
    mixing: Option<Mixing>,
    shape: [usize; 3],
    class_names: Vec<String>,
    digest: String,
}

/// The examples that models are scored on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScoredOn {
    /// The test images
    Test,
    /// The training images that the run held out (data.holdout)
    Holdout,
}

enum Source {
    Memory(Memory),
    Folder(Folder),
}

impl Dataset {
    /// Reads the data set that `config` names; `seed` is used for `generated` only.
    ///
    /// # Errors
    /// If the folder or a file is missing, damaged or too large, or if the augmentation does not
    /// suit the images.
    pub fn open(config: &DataConfig, seed: u64) -> Result<Self, DataError> {
        let path = config.folder.as_deref();
        let mixing = Mixing::new(config)?;
        let mut raw: Raw = match config.name {
            DataName::Cifar10 => cifar::open_cifar10(path)?,
            DataName::Cifar100 => cifar::open_cifar100(path)?,
            DataName::Digits => digits::open(path)?,
            DataName::Generated => generated::open(config, seed)?,
            DataName::Folder => {
                let (folder, class_names, identity) = Folder::open(config)?;
                let side = config.side as usize;
                let shape = [3, side, side];
                return Ok(Self {
                    alteration: Alteration::new(config, shape, folder.tables())?,
                    erasing: Erasing::new(config, shape)?,
                    mixing,
                    shape,
                    class_names,
                    source: Source::Folder(folder),
                    digest: identity.finalize().to_hex().to_string(),
                });
            }
        };
        let class_names = std::mem::take(&mut raw.class_names);
        let digest = raw.identity.finalize().to_hex().to_string();
        let memory = Memory::new(raw, config.augment)?;
        let shape = memory.shape();
        Ok(Self {
            alteration: Alteration::new(config, shape, memory.tables())?,
            erasing: Erasing::new(config, shape)?,
            mixing,
            shape,
            class_names,
            source: Source::Memory(memory),
            digest,
        })
    }

    /// Whether training images are altered: [`byte_batch`](Self::byte_batch) does not do that.
    pub fn is_altered(&self) -> bool {
        self.alteration.is_some()
    }

    /// Number of training examples.
    pub fn train_len(&self) -> usize {
        match &self.source {
            Source::Memory(memory) => memory.train_len(),
            Source::Folder(folder) => folder.train_len(),
        }
    }

    /// The class of training example `index`, from 0.
    pub fn train_class(&self, index: usize) -> Option<usize> {
        let class = match &self.source {
            Source::Memory(memory) => memory.train_class(index)?,
            Source::Folder(folder) => folder.train_class(index)?,
        };
        usize::try_from(class).ok()
    }

    /// Number of test examples.
    pub fn test_len(&self) -> usize {
        match &self.source {
            Source::Memory(memory) => memory.test_len(),
            Source::Folder(folder) => folder.test_len(),
        }
    }

    /// Channels, height and width of an image in a batch, after augmentation.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// Name of each class, in the order of their numbers: those published of CIFAR (or those of a
    /// file of names beside the data), of folders, else the numbers.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// BLAKE3, in hex, of the data: of every label and pixel, or of an image folder's list of files
    /// and their sizes. It does not depend on augmentation.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Batch `number` of `stream`, augmented, in the stream's order: images x
    /// [`shape`](Self::shape). With `data.bad_images = "skip"` another image stands for one that
    /// cannot be decoded, always the same.
    ///
    /// # Errors
    /// If the stream is not over this many examples, the batch would be too large, or an image of
    /// a folder cannot be read.
    pub fn train_batch(&self, stream: &Stream, number: u64) -> Result<Batch, DataError> {
        self.train_batch_spoilt(stream, number, None)
    }

    /// The same, for a worker whose images are not augmented or are spoilt before they are mixed.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn train_batch_spoilt(
        &self,
        stream: &Stream,
        number: u64,
        spoiling: Option<&Spoiling>,
    ) -> Result<Batch, DataError> {
        self.check(stream)?;
        self.check_size(stream.batch_size())?;
        let indices = stream.indices(number);
        let augments = spoiling.is_none_or(|spoiling| spoiling.augments(number));
        let mut batch = self.batch(indices.len(), |place, out| {
            let index = indices[place] as usize;
            let mut rng = stream.augmentation(number, place);
            let elsewhere = |index| !stream.trains_on(number, index);
            let label = match (&self.source, augments) {
                (Source::Memory(memory), true) => memory.train(index, &mut rng, out),
                (Source::Memory(memory), false) => memory.still(index, out),
                (Source::Folder(folder), true) => folder.train(index, elsewhere, &mut rng, out)?,
                (Source::Folder(folder), false) => folder.train_still(index, elsewhere, out)?,
            };
            if !augments {
                return Ok(Some(label));
            }
            if let Some(alteration) = &self.alteration {
                alteration.apply(out, &mut rng);
            }
            if let Some(erasing) = &self.erasing {
                erasing.apply(out, &mut rng);
            }
            Ok(Some(label))
        })?;
        if let Some(spoiling) = spoiling {
            spoiling.apply(&mut batch, number);
        }
        if let Some(mixing) = self.mixing.as_ref().filter(|_| augments) {
            mixing.apply(&mut batch, &mut stream.mixing(number));
        }
        Ok(batch)
    }

    /// Those of `range` among the training examples that `stream` holds out as `part`, without
    /// augmentation and without those that are skipped.
    ///
    /// # Errors
    /// As [`train_batch`](Self::train_batch), and if there are not that many.
    pub fn held_out(
        &self,
        stream: &Stream,
        part: Reserve,
        range: Range<usize>,
    ) -> Result<Batch, DataError> {
        self.check(stream)?;
        let Range { start, end } = range;
        let len = stream.held_out(part).len();
        let indices = stream.held_out(part).get(range);
        let indices = indices.ok_or(DataError::TestRange { start, end, len })?;
        self.check_size(indices.len())?;
        self.batch(indices.len(), |place, out| {
            self.still(indices[place] as usize, out)
        })
    }

    /// The test examples of `range`, in order and without augmentation. The classes are mixed in
    /// this order, so a part from the beginning is a fair sample. Skipped ones are left out, so the
    /// batch may be smaller, or empty.
    ///
    /// # Errors
    /// If `range` is not within the test examples, the batch would be too large, or an image of a
    /// folder cannot be read.
    pub fn test_batch(&self, range: Range<usize>) -> Result<Batch, DataError> {
        let Range { start, end } = range;
        if start > end || end > self.test_len() {
            return Err(DataError::TestRange {
                start,
                end,
                len: self.test_len(),
            });
        }
        self.check_size(end - start)?;
        self.batch(end - start, |place, out| match &self.source {
            Source::Memory(memory) => Ok(Some(memory.test(start + place, out))),
            Source::Folder(folder) => folder.test(start + place, out),
        })
    }

    /// So many of the training examples that are not held out, or all if there are fewer, evenly spread over
    /// their order (a folder's are class by class), without augmentation. Those that are skipped are left out.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the stream is for another data set, or an image cannot be read.
    pub fn still_sample(&self, stream: &Stream, count: usize) -> Result<Batch, DataError> {
        self.check(stream)?;
        let trained = (0..self.train_len()).filter(|&index| !stream.holds_out(index));
        let trained: Vec<usize> = trained.collect();
        let count = count.min(trained.len());
        let indices = (0..count).map(|place| trained[place * trained.len() / count]);
        let indices: Vec<usize> = indices.collect();
        self.check_size(indices.len())?;
        self.batch(indices.len(), |place, out| self.still(indices[place], out))
    }

    /// Writes a training example without augmentation; `None` if it is skipped.
    fn still(&self, index: usize, out: &mut [f32]) -> Result<Option<i32>, DataError> {
        match &self.source {
            Source::Memory(memory) => Ok(Some(memory.still(index, out))),
            Source::Folder(folder) => folder.still(index, out),
        }
    }

    /// Checks that `stream` orders as many examples as there are.
    pub fn check(&self, stream: &Stream) -> Result<(), DataError> {
        let (stream, dataset) = (stream.examples(), self.train_len());
        if stream != dataset {
            return Err(DataError::StreamMismatch { stream, dataset });
        }
        Ok(())
    }

    /// Checks that a batch of `count` images fits in the memory a batch may take.
    fn check_size(&self, count: usize) -> Result<(), DataError> {
        let image = 4 * self.shape.iter().product::<usize>() as u64;
        let size = (count as u64).saturating_mul(image);
        if size > BATCH_LIMIT {
            let what = format!("a batch of {count} images (data.batch_size)");
            return Err(DataError::TooLarge {
                what,
                size,
                limit: BATCH_LIMIT,
            });
        }
        Ok(())
    }

    /// A batch of `count` images (the size is checked already), each written by `one`, which
    /// returns its label, or `None` to leave it out.
    fn batch(
        &self,
        count: usize,
        one: impl Fn(usize, &mut [f32]) -> Result<Option<i32>, DataError> + Sync,
    ) -> Result<Batch, DataError> {
        let [channels, height, width] = self.shape;
        let length = channels * height * width;
        let mut images = vec![0.0; count * length];
        let labels = self.rows(&mut images, length, one)?;
        let kept = labels
            .iter()
            .enumerate()
            .filter(|(_, label)| label.is_some());
        for (to, (from, _)) in kept.enumerate().filter(|(to, (from, _))| to != from) {
            images.copy_within(from * length..(from + 1) * length, to * length);
        }
        let labels: Vec<i32> = labels.into_iter().flatten().collect();
        images.truncate(labels.len() * length);
        Ok(Batch {
            images,
            shape: [labels.len(), channels, height, width],
            labels,
            mixed: None,
        })
    }
}

impl Dataset {
    /// What `one` returns for each row of `length` values, in order; it is told the row's place.
    fn rows<V: Send, R: Send>(
        &self,
        values: &mut [V],
        length: usize,
        one: impl Fn(usize, &mut [V]) -> Result<R, DataError> + Sync,
    ) -> Result<Vec<R>, DataError> {
        match &self.source {
            Source::Memory(_) => {
                let rows = values.chunks_exact_mut(length).enumerate();
                rows.map(|(place, row)| one(place, row)).collect()
            }
            // Decoding takes milliseconds per image, so it is spread over the available threads.
            Source::Folder(_) => {
                let rows = values.par_chunks_exact_mut(length).enumerate();
                rows.map(|(place, row)| one(place, row)).collect()
            }
        }
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("train", &self.train_len())
            .field("test", &self.test_len())
            .field("shape", &self.shape)
            .field("classes", &self.classes())
            .field("digest", &self.digest)
            .finish()
    }
}

#[cfg(test)]
mod tests;
