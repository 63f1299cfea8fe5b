//! Batches on a device.

use burn::tensor::{Device, Int, Tensor, TensorData};

use lsgd_core::upload;

use crate::data::Batch;

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
