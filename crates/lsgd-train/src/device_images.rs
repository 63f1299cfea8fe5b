//! Training images made on the device, of bytes: one upload a batch, a quarter of the finished images'
//! size.
//!
//! Every value of an image is an entry of a table: the normalised values of a channel's 256 bytes, and
//! zero for what is erased. So an image is a lookup at computed places, and has the bits of the one that
//! the host would have made ([`Dataset::train_batch`](crate::data::Dataset::train_batch)); only mixup's
//! weighted mean may be rounded otherwise.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use burn::tensor::{DType, Device, Int, IntDType, Tensor, TensorData};
use lsgd_core::upload;

use crate::data::bytes::{FLIP, LABEL, LEFT, REGIONS, TOP};
use crate::data::{ByteBatch, Format, Mix};
use crate::loss::SecondTarget;
use crate::tensors::Examples;

/// Entries of a channel's table.
const ENTRIES: usize = 256;

/// Makes images of a data set's byte batches, on any device.
pub struct DeviceImages {
    format: Format,
    /// What all batches on a device need; uploaded with the first.
    uploaded: Mutex<Vec<Constants>>,
}

/// What does not change from batch to batch, on one device.
#[derive(Clone)]
struct Constants {
    device: Device,
    /// All channels' tables one after another, then a zero.
    table: Tensor<1>,
    /// 0, 1, .. for every row of the window, `[1, height]`.
    rows: Tensor<2, Int>,
    /// The same for columns, `[1, width]`.
    columns: Tensor<2, Int>,
    /// Where each channel begins among an image's bytes, `[1, channels, 1]`.
    planes: Tensor<3, Int>,
    /// Where its table begins, `[1, channels, 1]`.
    tables: Tensor<3, Int>,
}

/// The rows of a batch on a device.
struct Rows {
    words: Tensor<2, Int>,
    count: usize,
    byte_words: usize,
}

impl DeviceImages {
    /// For byte batches of this format.
    pub fn new(format: Format) -> Self {
        let uploaded = Mutex::default();
        Self { format, uploaded }
    }

    /// The examples of `batch` on `device`.
    pub fn examples(&self, batch: ByteBatch, device: &Device) -> Examples {
        let ByteBatch { words, count, mix } = batch;
        let shape = [count, self.format.row_words()];
        let rows = Rows {
            words: upload("batch", TensorData::new(words, shape), (device, DType::I32)),
            count,
            byte_words: self.format.byte_words(),
        };
        let labels = rows.field(LABEL).squeeze_dim::<1>(1);
        // The type that labels have if they are uploaded by themselves.
        let labels = labels.cast(device.settings().int_dtype);
        let images = self.images(&rows, &self.constants(device));
        let Some(mix) = mix else {
            return Examples {
                images,
                labels,
                second: None,
            };
        };
        let second = SecondTarget {
            labels: previous(labels.clone()),
            weight: mix.weight(self.format.output),
        };
        Examples {
            images: mixed(images, mix),
            labels,
            second: Some(second),
        }
    }

    /// Cropped, flipped, erased and normalised: `[batch, channels, height, width]`.
    fn images(&self, rows: &Rows, constants: &Constants) -> Tensor<4> {
        let Format {
            channels,
            size: [height, width],
            output: [tall, wide],
            ..
        } = self.format;
        let count = rows.count;
        let pixels = tall * wide;

        // The window's rows and columns in the image, of which some may be outside of it.
        let y = constants.rows.clone() + rows.field(TOP);
        let (x, flip) = (constants.columns.clone(), rows.field(FLIP));
        let mirrored = x.clone().mul_scalar(-2).add_scalar(wide as i32 - 1);
        let x = x + mirrored * flip + rows.field(LEFT);
        let (y, y_inside) = within(y, height);
        let (x, x_inside) = within(x, width);

        let place = y.mul_scalar(width as i32).unsqueeze_dim::<3>(2) + x.unsqueeze_dim::<3>(1);
        let place = place.reshape([count, 1, pixels]) + constants.planes.clone();
        let bytes = rows
            .bytes()
            .gather(1, place.reshape([count, channels * pixels]));
        // Padding is black.
        let inside = product(y_inside, x_inside).reshape([count, 1, pixels]);
        let bytes = bytes.reshape([count, channels, pixels]) * inside;

        let mut entry = bytes + constants.tables.clone();
        if self.format.erases {
            let kept = self.kept(rows, constants).reshape([count, 1, pixels]);
            let zero = (channels * ENTRIES) as i32;
            entry = entry * kept.clone() + kept.mul_scalar(-zero).add_scalar(zero);
        }
        let values = constants.table.clone();
        let values = values.select(0, entry.reshape([count * channels * pixels]));
        values.reshape([count, channels, tall, wide])
    }

    /// 0 for every pixel that is erased and 1 for the others: `[batch, height, width]`.
    fn kept(&self, rows: &Rows, constants: &Constants) -> Tensor<3, Int> {
        let erased = REGIONS.map(|region| {
            let [top, left, bottom, right] = [0, 1, 2, 3].map(|side| rows.field(region + side));
            let y = between(constants.rows.clone(), top, bottom);
            product(y, between(constants.columns.clone(), left, right))
        });
        let [first, second] = erased.map(|erased| erased.mul_scalar(-1).add_scalar(1));
        first * second
    }

    /// What is on `device` already, or else is uploaded.
    fn constants(&self, device: &Device) -> Constants {
        // Whole entries are added, so that a poisoned list is consistent.
        let mut uploaded = self.uploaded.lock().unwrap_or_else(PoisonError::into_inner);
        // Devices are equal with and without autodiff.
        let same = |at: &&Constants| {
            at.device == *device && at.device.is_autodiff() == device.is_autodiff()
        };
        if let Some(known) = uploaded.iter().find(same) {
            return known.clone();
        }
        let constants = Constants::upload(&self.format, device);
        uploaded.push(constants.clone());
        constants
    }
}

impl fmt::Debug for DeviceImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("DeviceImages");
        shown
            .field("size", &self.format.size)
            .finish_non_exhaustive()
    }
}

impl Constants {
    fn upload(format: &Format, device: &Device) -> Self {
        let Format {
            channels,
            size: [height, width],
            output: [tall, wide],
            ..
        } = *format;
        let mut table = format.tables.concat();
        table.push(0.0);
        let table = TensorData::new(table, [channels * ENTRIES + 1]);
        // Burn's `arange` is made on the host, too.
        let steps = |count: usize, step: usize| (0..count).map(move |at| (at * step) as i32);
        let lists = [
            steps(tall, 1).collect::<Vec<_>>(),
            steps(wide, 1).collect(),
            steps(channels, height * width).collect(),
            steps(channels, ENTRIES).collect(),
        ];
        let all = lists.concat();
        let all = TensorData::new(all, [tall + wide + 2 * channels]);
        let all: Tensor<1, Int> = upload("image places", all, (device, DType::I32));
        let part = |start: usize, count: usize| all.clone().slice_dim(0, start..start + count);
        Self {
            device: device.clone(),
            table: upload("image values", table, device),
            rows: part(0, tall).reshape([1, tall]),
            columns: part(tall, wide).reshape([1, wide]),
            planes: part(tall + wide, channels).reshape([1, channels, 1]),
            tables: part(tall + wide + channels, channels).reshape([1, channels, 1]),
        }
    }
}

impl Rows {
    /// Word `number` after the bytes, `[batch, 1]`.
    fn field(&self, number: usize) -> Tensor<2, Int> {
        let at = self.byte_words + number;
        self.words.clone().slice([0..self.count, at..at + 1])
    }

    /// The bytes, `[batch, bytes]`; up to three zeros may follow.
    fn bytes(&self) -> Tensor<2, Int> {
        let words = self
            .words
            .clone()
            .slice([0..self.count, 0..self.byte_words]);
        let parts = [0, 8, 16, 24].map(|by| {
            let shifted = words.clone().bitwise_right_shift_scalar(by);
            shifted.bitwise_and_scalar(255)
        });
        Tensor::cat(parts.into(), 1)
    }
}

/// `places` moved to the nearest in 0..end, and 1 for each that was in it, 0 for others.
fn within(places: Tensor<2, Int>, end: usize) -> (Tensor<2, Int>, Tensor<2, Int>) {
    let moved = places.clone().clamp(0, end as i32 - 1);
    // Not the device's own type of integers, if that is another.
    let inside = moved.clone().equal(places).int().cast(IntDType::I32);
    (moved, inside)
}

/// 1 for each of `places` `[1, n]` in an image's range `start..end` (`[batch, 1]`), 0 for others.
fn between(places: Tensor<2, Int>, start: Tensor<2, Int>, end: Tensor<2, Int>) -> Tensor<2, Int> {
    let begun = places.clone() - start;
    let left = end - places;
    // From 0 on, and from 1 on.
    begun.clamp(-1, 0).add_scalar(1) * left.clamp(0, 1)
}

/// For every pixel the product of its row's and its column's value: `[batch, height, width]`.
fn product(rows: Tensor<2, Int>, columns: Tensor<2, Int>) -> Tensor<3, Int> {
    rows.unsqueeze_dim::<3>(2) * columns.unsqueeze_dim::<3>(1)
}

/// Every image mixed with the one before it in the batch, the first with the last.
fn mixed(images: Tensor<4>, mix: Mix) -> Tensor<4> {
    let before = previous(images.clone());
    match mix {
        Mix::Blend(weight) => {
            let own = weight as f32;
            images.mul_scalar(own) + before.mul_scalar(1.0 - own)
        }
        Mix::Paste(region) if region.area() == 0 => images,
        Mix::Paste(region) => {
            let [count, channels, _, _] = images.dims();
            let (rows, columns) = (region.top..region.bottom, region.left..region.right);
            let part = [0..count, 0..channels, rows, columns];
            images.slice_assign(part.clone(), before.slice(part))
        }
    }
}

/// For each example of a batch the one before it; for the first the last.
fn previous<const D: usize, K: burn::tensor::kind::Basic>(examples: Tensor<D, K>) -> Tensor<D, K> {
    let count = examples.dims()[0];
    if count < 2 {
        return examples;
    }
    let last = examples.clone().slice_dim(0, count - 1..count);
    Tensor::cat(vec![last, examples.slice_dim(0, 0..count - 1)], 0)
}
