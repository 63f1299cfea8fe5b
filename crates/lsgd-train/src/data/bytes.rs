//! Training batches as bytes, for a device that crops, flips, erases, mixes and normalises them
//! itself: a quarter of what the finished images take to upload.
//!
//! What is drawn is drawn here, by the generators of the finished images, so that both are the same
//! images. A batch is one array of 32-bit words, which every device has, while WGSL knows no bytes:
//!
//! ```text
//! row of an image   bytes, four to a word | label | top, left, flip | 2 x (top, left, bottom, right)
//! ```
//!
//! With a quarter of the bytes, rounded up, as q, word w has in its lowest eight bits byte w of channels x
//! height x width, then bytes w + q, w + 2 q and w + 3 q: shifted by 0, 8, 16 and 24 bits and put one
//! after another the words are the bytes in order.

use super::augment::Window;
use super::erase::Region;
use super::mix::Mix;
use super::{DataError, Dataset, Source, Stream};

/// Words of a row after the bytes.
const FIELDS: usize = 12;

/// The places of these words, from the end of the bytes.
pub(crate) const LABEL: usize = 0;
pub(crate) const TOP: usize = 1;
pub(crate) const LEFT: usize = 2;
pub(crate) const FLIP: usize = 3;
/// Four for each of the regions to erase: top, left, bottom, right.
pub(crate) const REGIONS: [usize; 2] = [4, 8];

/// What all byte batches of a data set have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Format {
    /// Channels of an image.
    pub channels: usize,
    /// Height and width of the bytes.
    pub size: [usize; 2],
    /// Height and width of the window that is cut out of them.
    pub output: [usize; 2],
    /// For each channel, the normalised value of each byte.
    pub tables: Vec<[f32; 256]>,
    /// Whether parts of images are erased.
    pub erases: bool,
}

impl Format {
    /// Words that hold the bytes of an image.
    pub fn byte_words(&self) -> usize {
        byte_words(self.channels, self.size)
    }

    /// Words of a row.
    pub fn row_words(&self) -> usize {
        self.byte_words() + FIELDS
    }
}

/// A training batch whose images are not finished.
#[derive(Debug, Clone, PartialEq)]
pub struct ByteBatch {
    /// A row of [`Format::row_words`] for each image.
    pub(crate) words: Vec<i32>,
    /// Number of images.
    pub(crate) count: usize,
    /// How the finished images are mixed, if they are.
    pub(crate) mix: Option<Mix>,
}

impl Dataset {
    /// The format of [`byte_batch`](Self::byte_batch).
    pub fn format(&self) -> Format {
        let [channels, height, width] = self.shape;
        let tables = match &self.source {
            Source::Memory(memory) => memory.tables(),
            Source::Folder(folder) => folder.tables(),
        };
        Format {
            channels,
            size: self.byte_size(),
            output: [height, width],
            tables: tables.to_vec(),
            erases: self.erasing.is_some(),
        }
    }

    /// Height and width of the bytes of an image.
    fn byte_size(&self) -> [usize; 2] {
        let [_, height, width] = self.shape;
        match &self.source {
            Source::Memory(memory) => memory.size(),
            Source::Folder(_) => [height, width],
        }
    }

    /// Batch `number` of `stream`, with the images of [`train_batch`](Self::train_batch), as bytes; before
    /// they are altered, if they [are](Self::is_altered).
    ///
    /// # Errors
    /// As of [`train_batch`](Self::train_batch).
    pub fn byte_batch(&self, stream: &Stream, number: u64) -> Result<ByteBatch, DataError> {
        self.check(stream)?;
        self.check_size(stream.batch_size())?;
        let size = self.byte_size();
        let end = byte_words(self.shape[0], size);
        let length = end + FIELDS;
        let indices = stream.indices(number);
        let mut words = vec![0; indices.len() * length];
        self.rows(&mut words, length, |place, row| {
            let index = indices[place] as usize;
            let mut rng = stream.augmentation(number, place);
            let (bytes, fields) = row.split_at_mut(end);
            let (window, label) = match &self.source {
                Source::Memory(memory) => {
                    let (image, window, label) = memory.cut(index, &mut rng);
                    pack(image, bytes);
                    (window, label)
                }
                Source::Folder(folder) => {
                    let elsewhere = |index| !stream.trains_on(number, index);
                    let (image, flip, label) = folder.cut(index, elsewhere, &mut rng)?;
                    pack(&planes(image.as_raw()), bytes);
                    let (top, left) = (0, 0);
                    (Window { top, left, flip }, label)
                }
            };
            let erasing = self.erasing.as_ref();
            let regions = erasing.map(|erasing| erasing.regions(&mut rng));
            fill(fields, label, window, regions.unwrap_or_default());
            Ok(())
        })?;
        let [_, height, width] = self.shape;
        let mixing = self.mixing.as_ref();
        Ok(ByteBatch {
            words,
            count: indices.len(),
            mix: mixing.map(|mixing| mixing.draw([height, width], &mut stream.mixing(number))),
        })
    }
}

/// Words that hold the bytes of an image.
fn byte_words(channels: usize, [height, width]: [usize; 2]) -> usize {
    (channels * height * width).div_ceil(4)
}

/// Puts `bytes` into words, four to each.
fn pack(bytes: &[u8], words: &mut [i32]) {
    let quarter = words.len();
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    for (at, word) in words.iter_mut().enumerate() {
        *word = i32::from_le_bytes([0, 1, 2, 3].map(|part| byte(at + part * quarter)));
    }
}

/// Interleaved red, green and blue as planes, one after another.
fn planes(pixels: &[u8]) -> Vec<u8> {
    let channels = (0..3).flat_map(|channel| pixels.iter().skip(channel).step_by(3));
    channels.copied().collect()
}

/// Writes what is to be done with an image. Sizes are of at most a few hundred pixels.
fn fill(fields: &mut [i32], label: i32, window: Window, regions: [Region; 2]) {
    fields[LABEL] = label;
    fields[TOP] = window.top as i32;
    fields[LEFT] = window.left as i32;
    fields[FLIP] = i32::from(window.flip);
    for (start, region) in REGIONS.into_iter().zip(regions) {
        let sides = [region.top, region.left, region.bottom, region.right];
        for (field, side) in fields[start..].iter_mut().zip(sides) {
            *field = side as i32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifted_words_are_the_bytes_in_order() {
        for length in [1, 4, 5, 12, 3071] {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 37 % 256) as u8).collect();
            let mut words = vec![0; bytes.len().div_ceil(4)];
            pack(&bytes, &mut words);
            let shifted = |by: u32| words.iter().map(move |word| (word >> by & 255) as u8);
            let unpacked: Vec<u8> = [0, 8, 16, 24].into_iter().flat_map(shifted).collect();
            assert_eq!(unpacked[..bytes.len()], bytes);
            assert!(unpacked[bytes.len()..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn colours_become_planes() {
        assert_eq!(planes(&[1, 2, 3, 4, 5, 6]), [1, 4, 2, 5, 3, 6]);
    }
}
