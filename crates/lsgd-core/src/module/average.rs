//! The moving average of a module's parameters.

use std::sync::Arc;

use burn::Tensor;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::DType;

use super::on_device::OnDevice;
use super::walk::Walk;
use super::{Part, device_of, in_vectors};
use crate::transfer::Reading;
use crate::{AverageState, Layout, Snapshot, SnapshotError};

/// The exponential moving average (EMA) of a worker's parameters over its steps, on the worker's own
/// devices and in `f32`. Nothing is read from a device, except by [`state`](Self::state).
///
/// ```text
/// a <- a + (1 - d) (x - a),    d = min(decay, (1 + t) / (10 + t))
/// ```
///
/// `x` are the parameters after a step and its exchange, `t` the steps averaged before. It begins with
/// the parameters as they are then, which the small `d` of the first steps lets it forget.
#[derive(Debug)]
pub struct MovingAverage {
    decay: f64,
    steps: u64,
    layout: Arc<Layout>,
    /// Each parameter's, flat, in the layout's order.
    tensors: Vec<Tensor<1>>,
}

impl MovingAverage {
    /// Begins with the parameters of `module`, which has this layout. `decay` is in (0, 1).
    pub fn new<M: Module>(decay: f64, module: &M, layout: &Arc<Layout>) -> Self {
        let mut average = Self {
            decay,
            steps: 0,
            layout: layout.clone(),
            tensors: Vec::new(),
        };
        average.visit(module, 1.0);
        average
    }

    /// Continues from `state`, beside a `module` of its layout.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Layout`] if the state is of another layout.
    pub fn resuming<M: Module>(
        decay: f64,
        module: &M,
        state: &AverageState,
    ) -> Result<Self, SnapshotError> {
        let layout = Layout::of(module);
        let values = &state.values;
        if values.layout().digest() != layout.digest() {
            return Err(SnapshotError::Layout {
                expected: layout.digest().into(),
                found: values.layout().digest().into(),
            });
        }
        let mut average = Self::new(decay, module, &layout);
        average.steps = state.steps;
        if let Some(device) = device_of(module) {
            let saved = OnDevice::upload("average", values.parameters(), &[], &device);
            let mut end = 0;
            for tensor in &mut average.tensors {
                let start = end;
                end += tensor.shape().num_elements();
                if let Some(part) = saved.parameter(start..end, tensor) {
                    *tensor = part;
                }
            }
        }
        Ok(average)
    }

    /// Takes in the parameters of `module` after one more step.
    pub fn update<M: Module>(&mut self, module: &M) {
        let share = 1.0 - self.decay();
        self.visit(module, share);
        self.steps += 1;
    }

    /// The decay of the next step.
    fn decay(&self) -> f64 {
        let steps = self.steps as f64;
        self.decay.min((1.0 + steps) / (10.0 + steps))
    }

    fn visit<M: Module>(&mut self, module: &M, share: f64) {
        let mut averaging = Averaging {
            walk: Walk::new(&self.layout),
            before: std::mem::take(&mut self.tensors).into_iter(),
            after: Vec::with_capacity(self.layout.parameters().len()),
            share,
        };
        module.visit(&mut averaging);
        self.tensors = averaging.after;
    }

    /// Reads the average, with one blocking read. Its origin and its buffers are those of the `worker`'s
    /// own values: running statistics are averages already.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Length`] if `worker` is of another layout.
    pub fn state(&self, worker: &Snapshot) -> Result<AverageState, SnapshotError> {
        let mut reading = Reading::of("average");
        for tensor in &self.tensors {
            reading.add(tensor.clone());
        }
        let parts = vec![Part::Parameters; self.tensors.len()];
        let [parameters, _] = in_vectors(&parts, reading.read(), &self.layout);
        let buffers = worker.buffers().to_vec();
        let values = Snapshot::new(self.layout.clone(), worker.source(), parameters, buffers)?;
        Ok(AverageState {
            steps: self.steps,
            values: Arc::new(values),
        })
    }
}

/// Goes through the parameters of a module and their averages side by side.
struct Averaging<'a> {
    walk: Walk<'a>,
    before: std::vec::IntoIter<Tensor<1>>,
    after: Vec<Tensor<1>>,
    share: f64,
}

impl ModuleVisitor for Averaging<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.walk.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.walk.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(range) = self.walk.parameter(param.lazy_shape().as_slice()) else {
            return;
        };
        let value = param.base().without_autodiff().reshape([range.len()]);
        let value = match value.dtype() {
            DType::F32 => value,
            _ => value.cast(DType::F32),
        };
        self.after.push(match self.before.next() {
            Some(average) => average.clone() + (value - average).mul_scalar(self.share),
            None => value,
        });
    }
}
