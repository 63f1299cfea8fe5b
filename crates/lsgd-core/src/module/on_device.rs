//! A flat vector on a device.

use std::ops::Range;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};

use crate::transfer::upload;

/// Parameters and buffers in the order of a layout, uploaded as one tensor from which every tensor of
/// a module takes its part. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct OnDevice {
    /// The parameters, then the buffers.
    values: Tensor<1>,
    parameters: usize,
    buffers: usize,
}

impl OnDevice {
    /// Uploads the vectors, either of which may be empty; `what` names them.
    pub fn upload(
        what: &'static str,
        parameters: &[f32],
        buffers: &[f32],
        device: &Device,
    ) -> Self {
        let values = [parameters, buffers].concat();
        let count = values.len();
        // Not in the device's default type, which may be less precise.
        let options = (device, DType::F32);
        Self {
            values: upload(what, TensorData::new(values, [count]), options),
            parameters: parameters.len(),
            buffers: buffers.len(),
        }
    }

    /// These parameters, with the shape, type and device of `like`; `None` if it has none there.
    pub fn parameter<const D: usize>(
        &self,
        range: Range<usize>,
        like: &Tensor<D>,
    ) -> Option<Tensor<D>> {
        (range.end <= self.parameters).then(|| self.part(range, like))
    }

    /// These buffers, likewise.
    pub fn buffer<const D: usize>(
        &self,
        range: Range<usize>,
        like: &Tensor<D>,
    ) -> Option<Tensor<D>> {
        let after = |end: usize| self.parameters + end;
        (range.end <= self.buffers).then(|| self.part(after(range.start)..after(range.end), like))
    }

    fn part<const D: usize>(&self, range: Range<usize>, like: &Tensor<D>) -> Tensor<D> {
        if range.is_empty() {
            return like.clone();
        }
        let part = self.values.clone().slice([range]).reshape(like.shape());
        let part = match part.dtype() == like.dtype() {
            true => part,
            false => part.cast(like.dtype()),
        };
        // A module may be spread over devices.
        match part.device() == like.device() {
            true => part,
            false => part.to_device(&like.device()),
        }
    }
}
