//! Images of one size held in memory as bytes.

use rand_chacha::ChaCha8Rng;

use super::DataError;
use super::augment::{Geometry, Window};
use crate::image_config::Augment;

/// Most bytes of pixels read into memory, training and test together.
pub(crate) const MEMORY_LIMIT: u64 = 8 << 30;

/// Images and labels of one split; image i is bytes `i * length .. (i + 1) * length` of `pixels`,
/// channels x height x width.
#[derive(Default)]
pub(crate) struct Split {
    pub pixels: Vec<u8>,
    pub labels: Vec<i32>,
}

/// A data set as read, before augmentation and normalisation are chosen.
pub(crate) struct Raw {
    pub train: Split,
    pub test: Split,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// Name of each class, in the order of their numbers.
    pub class_names: Vec<String>,
    /// For each channel, the value of each byte.
    pub tables: Vec<[f32; 256]>,
    /// Over everything that defines the data.
    pub identity: blake3::Hasher,
}

/// A data set in memory, ready to make batches.
pub(crate) struct Memory {
    train: Split,
    test: Split,
    length: usize,
    channels: usize,
    geometry: Geometry,
    tables: Vec<[f32; 256]>,
}

impl Memory {
    pub fn new(raw: Raw, augment: Augment) -> Result<Self, DataError> {
        let [channels, height, width] = raw.shape;
        Ok(Self {
            train: raw.train,
            test: raw.test,
            length: channels * height * width,
            channels,
            geometry: Geometry::new(augment, height, width)?,
            tables: raw.tables,
        })
    }

    pub fn train_len(&self) -> usize {
        self.train.labels.len()
    }

    pub fn train_class(&self, index: usize) -> Option<i32> {
        self.train.labels.get(index).copied()
    }

    pub fn test_len(&self) -> usize {
        self.test.labels.len()
    }

    /// Channels, height, width of what [`train`](Self::train) and [`test`](Self::test) write.
    pub fn shape(&self) -> [usize; 3] {
        let [height, width] = self.geometry.output();
        [self.channels, height, width]
    }

    /// Writes training image `index`, augmented, and returns its label.
    pub fn train(&self, index: usize, rng: &mut ChaCha8Rng, out: &mut [f32]) -> i32 {
        let (image, window, label) = self.cut(index, rng);
        self.geometry.write(image, window, &self.tables, out);
        label
    }

    /// The bytes of training image `index`, the window that augments it, and its label.
    pub fn cut(&self, index: usize, rng: &mut ChaCha8Rng) -> (&[u8], Window, i32) {
        let window = self.geometry.draw(rng);
        let image = self.image(&self.train, index);
        (image, window, self.train.labels[index])
    }

    /// Height and width of [`cut`](Self::cut)'s images.
    pub fn size(&self) -> [usize; 2] {
        self.geometry.input()
    }

    /// For each channel, the value of each byte.
    pub fn tables(&self) -> &[[f32; 256]] {
        &self.tables
    }

    /// Writes training image `index` as one of the test, and returns its label.
    pub fn still(&self, index: usize, out: &mut [f32]) -> i32 {
        self.centred(&self.train, index, out)
    }

    /// Writes test image `index` and returns its label.
    pub fn test(&self, index: usize, out: &mut [f32]) -> i32 {
        self.centred(&self.test, index, out)
    }

    fn centred(&self, split: &Split, index: usize, out: &mut [f32]) -> i32 {
        let window = self.geometry.centre();
        self.geometry
            .write(self.image(split, index), window, &self.tables, out);
        split.labels[index]
    }

    fn image<'a>(&self, split: &'a Split, index: usize) -> &'a [u8] {
        &split.pixels[index * self.length..(index + 1) * self.length]
    }
}

/// `(byte / scale - mean) / std` for each byte, with mean and std in units of `scale`.
pub(crate) fn table(scale: f32, mean: f32, std: f32) -> [f32; 256] {
    std::array::from_fn(|byte| (byte as f32 / scale - mean) / std)
}
