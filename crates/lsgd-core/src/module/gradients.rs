//! Between a module's gradients and flat vectors.

use std::ops::Range;
use std::sync::Arc;

use burn::Tensor;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;

use super::on_device::OnDevice;
use super::values::{Part, Reader, in_vectors};
use super::walk::Walk;
use crate::transfer::Reading;
use crate::{Layout, Snapshot, SnapshotError, Source};

/// Reads the gradients of a module's parameters, and its buffers, in the order of `layout`, with one
/// blocking read. A parameter without a gradient counts as zero.
///
/// # Errors
///
/// As [`read`](super::read).
pub(crate) fn read_gradients<M: Module>(
    module: &M,
    layout: &Arc<Layout>,
    source: Source,
    gradients: &GradientsParams,
) -> Result<Snapshot, SnapshotError> {
    let mut reading = Reading::of("gradients");
    let mut reader = GradientReader {
        walk: Walk::new(layout),
        gradients,
        parts: Vec::new(),
        reading: &mut reading,
    };
    module.visit(&mut reader);
    let mut parts = reader.parts;
    let buffers = Reader::visit(module, layout, &mut reading, false);
    buffers.walk.complete(layout)?;
    parts.extend(buffers.parts);
    let [gradients, buffers] = in_vectors(&parts, reading.read(), layout);
    Snapshot::new(layout.clone(), source, gradients, buffers)
}

/// The squared norms of a step's gradients, a value for each tensor that has one, on the device.
pub(crate) struct SquaredNorms {
    /// Where each tensor ends among the layout's parameters.
    ends: Vec<usize>,
    /// As many values; `None` for no tensor.
    sums: Option<Tensor<1>>,
}

impl SquaredNorms {
    /// Enqueues their computation.
    pub fn of<M: Module>(module: &M, layout: &Layout, gradients: &GradientsParams) -> Self {
        let mut squares = Squares {
            walk: Walk::new(layout),
            gradients,
            ends: Vec::new(),
            sums: Vec::new(),
        };
        module.visit(&mut squares);
        let Squares { ends, sums, .. } = squares;
        let sums = (!sums.is_empty()).then(|| Tensor::cat(sums, 0));
        Self { ends, sums }
    }

    /// The squared norm of each layer's gradient, for several steps: one blocking read for all. Zero
    /// for a layer that has none.
    pub fn read_all(steps: &[Self], layout: &Layout) -> Vec<Vec<f64>> {
        let mut reading = Reading::of("gradient norms");
        for sums in steps.iter().filter_map(|step| step.sums.clone()) {
            reading.add(sums);
        }
        let layers = layout.layers();
        let mut read = reading.read().into_iter();
        let of_step = |step: &Self| {
            let data = step.sums.as_ref().and_then(|_| read.next());
            let sums: Vec<f32> = data.iter().flat_map(|data| data.iter::<f32>()).collect();
            let of_layer = |layer: &Range<usize>| {
                let tensors = step.ends.iter().zip(&sums);
                let own = tensors.filter(|(end, _)| layer.start < **end && **end <= layer.end);
                own.map(|(_, sum)| f64::from(*sum)).sum()
            };
            layers.iter().map(of_layer).collect()
        };
        steps.iter().map(of_step).collect()
    }
}

/// The sum of a tensor's squares, as a tensor of one value on its device. Summed row by row: one
/// sum over millions of values would depend on the order of threads.
pub fn sum_of_squares<const D: usize>(tensor: &Tensor<D>) -> Tensor<1> {
    let squares = tensor.clone().square();
    let rows = squares.dims().first().copied().unwrap_or(1).max(1);
    let columns = squares.shape().num_elements() / rows;
    squares.reshape([rows, columns]).sum_dim(1).sum()
}

/// Replaces those gradients of a module's parameters that exist.
pub(crate) fn replace_gradients<M: Module>(
    module: &M,
    layout: &Layout,
    gradients: GradientsParams,
    values: &OnDevice,
) -> GradientsParams {
    let mut writer = GradientWriter {
        walk: Walk::new(layout),
        gradients,
        values,
    };
    module.visit(&mut writer);
    writer.gradients
}

struct GradientReader<'a> {
    walk: Walk<'a>,
    gradients: &'a GradientsParams,
    parts: Vec<Part>,
    reading: &'a mut Reading,
}

impl ModuleVisitor for GradientReader<'_> {
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
        self.parts.push(match self.gradients.get::<D>(param.id) {
            Some(gradient) => {
                self.reading.add(gradient);
                Part::Parameters
            }
            None => Part::Zeros(range.len()),
        });
    }
}

struct Squares<'a> {
    walk: Walk<'a>,
    gradients: &'a GradientsParams,
    ends: Vec<usize>,
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
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
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.ends.push(range.end);
            self.sums.push(sum_of_squares(&gradient));
        }
    }
}

struct GradientWriter<'a> {
    walk: Walk<'a>,
    gradients: GradientsParams,
    values: &'a OnDevice,
}

impl ModuleVisitor for GradientWriter<'_> {
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
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let mean = self.values.parameter(range, &gradient).unwrap_or(gradient);
            self.gradients.register(param.id, mean);
        }
    }
}
