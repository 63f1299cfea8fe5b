//! A training batch, on its way from the host to a device.

use std::sync::Arc;

use burn::tensor::Device;

use crate::data::{Batch, ByteBatch};
use crate::device_images::DeviceImages;
use crate::tensors::Examples;

/// A training batch on the host.
#[derive(Debug, Clone)]
pub enum TrainBatch {
    /// Finished images, for CPUs.
    Images(Batch),
    /// Bytes, and what makes images of them on a device.
    Bytes(ByteBatch, Arc<DeviceImages>),
}

impl TrainBatch {
    /// The same on `device`.
    pub fn examples(self, device: &Device) -> Examples {
        match self {
            Self::Images(batch) => Examples::of(batch, device),
            Self::Bytes(batch, images) => images.examples(batch, device),
        }
    }
}
