//! Batches on a device.

use burn::tensor::{Device, Int, Tensor, TensorData};

use lsgd_core::upload;

use crate::data::Batch;
use crate::loss::SecondTarget;

/// A training batch on a device.
#[derive(Debug, Clone)]
pub struct Examples {
    /// Images `[batch, channels, height, width]`.
    pub images: Tensor<4>,
    /// Their classes, `[batch]`.
    pub labels: Tensor<1, Int>,
    /// Their second classes, if they are mixed.
    pub second: Option<SecondTarget>,
}

impl Examples {
    /// Uploads finished images.
    pub fn of(mut batch: Batch, device: &Device) -> Self {
        let second = batch.mixed.take().map(|mixed| SecondTarget {
            labels: labels_on(mixed.labels, device),
            weight: mixed.weight,
        });
        let (images, labels) = tensors(batch, device);
        Self {
            images,
            labels,
            second,
        }
    }
}

/// A batch as tensors on `device`: images `[batch, channels, height, width]`, labels `[batch]`.
pub fn tensors(batch: Batch, device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
    let images = TensorData::new(batch.images, batch.shape);
    (
        upload("images", images, device),
        labels_on(batch.labels, device),
    )
}

/// Classes on `device`, of shape `[batch]`.
pub fn labels_on(labels: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let count = labels.len();
    upload("labels", TensorData::new(labels, [count]), device)
}
