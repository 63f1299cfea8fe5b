//! All that passes between the host and a device.
//!
//! On a GPU a read waits for all work that was enqueued before it, and an upload is a copy over the
//! bus. So tensors are read together, and vectors are uploaded whole. Every transfer is an event of
//! `tracing`, target [`TRANSFERS`] at level `TRACE`, with the fields `direction` (`"read"` or
//! `"upload"`), `what`, and `bytes` on the host: for a log, or to be counted.

use burn::tensor::kind::{Autodiff, Basic, Transaction};
use burn::tensor::{Device, Tensor, TensorCreationOptions, TensorData, Transaction as Together};

/// The target of the events.
pub const TRANSFERS: &str = "lsgd::transfers";

/// Tensors that are read together: one blocking read, whatever their number and types.
///
/// ```
/// # use burn::tensor::{Device, Int, Tensor};
/// use lsgd_core::Reading;
///
/// # let device = Device::flex();
/// # let loss = Tensor::<1>::from_data([0.5], &device);
/// # let wrong = Tensor::<1, Int>::from_data([3], &device);
/// let mut reading = Reading::of("scores");
/// reading.add(loss);
/// reading.add(wrong);
/// let read = reading.read();
/// assert_eq!(read[0].iter::<f32>().next(), Some(0.5));
/// assert_eq!(read[1].iter::<i64>().next(), Some(3));
/// ```
pub struct Reading {
    what: &'static str,
    /// Consecutive tensors of one device, in order.
    parts: Vec<(Device, Together)>,
}

impl Reading {
    /// Nothing yet; `what` names it in the event.
    pub fn of(what: &'static str) -> Self {
        Self {
            what,
            parts: Vec::new(),
        }
    }

    /// Adds a tensor, as it is now.
    pub fn add<const D: usize, K: Transaction + Autodiff>(&mut self, tensor: Tensor<D, K>) {
        let tensor = tensor.without_autodiff();
        let device = tensor.device();
        let together = match self.parts.pop_if(|(last, _)| *last == device) {
            Some((_, together)) => together,
            None => Together::default(),
        };
        self.parts.push((device, together.register(tensor)));
    }

    /// Reads the tensors, in the order in which they were added: one blocking read for a device.
    ///
    /// # Panics
    ///
    /// If the device has failed.
    pub fn read(self) -> Vec<TensorData> {
        let read_part = |(_, together): (Device, Together)| {
            let data = together.execute();
            let bytes: usize = data.iter().map(|data| data.bytes().len()).sum();
            tracing::trace!(target: TRANSFERS, direction = "read", what = self.what, bytes);
            data
        };
        self.parts.into_iter().flat_map(read_part).collect()
    }
}

/// Reads a single tensor: one blocking read; `what` names it in the event.
///
/// # Panics
///
/// As [`Reading::read`].
pub fn download<const D: usize, K: Transaction + Autodiff>(
    what: &'static str,
    tensor: Tensor<D, K>,
) -> TensorData {
    let mut reading = Reading::of(what);
    reading.add(tensor);
    reading.read().pop().expect("as many as were added")
}

/// Uploads a tensor; `what` names it in the event. `options` are a device, or a device and a type.
pub fn upload<const D: usize, K: Basic>(
    what: &'static str,
    data: impl Into<TensorData>,
    options: impl Into<TensorCreationOptions>,
) -> Tensor<D, K> {
    let data = data.into();
    let bytes = data.bytes().len();
    tracing::trace!(target: TRANSFERS, direction = "upload", what, bytes);
    Tensor::from_data(data, options)
}
