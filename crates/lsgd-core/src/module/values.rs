//! From a module to flat vectors.

use std::sync::Arc;

use burn::Tensor;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::TensorData;

use super::walk::{Place, Walk};
use crate::transfer::Reading;
use crate::{Layout, Snapshot, SnapshotError, Source};

/// Reads a module's parameters and buffers in the order of `layout`, with one blocking read.
///
/// # Errors
///
/// [`SnapshotError::Length`] when the module does not have the tensors of `layout`.
pub fn read<M: Module>(
    module: &M,
    layout: &Arc<Layout>,
    source: Source,
) -> Result<Snapshot, SnapshotError> {
    let mut reading = Reading::of("snapshot");
    let parts = Reader::visit(module, layout, &mut reading, true).parts;
    let [parameters, buffers] = in_vectors(&parts, reading.read(), layout);
    Snapshot::new(layout.clone(), source, parameters, buffers)
}

/// Reads a module's buffers alone, in the order of `layout`: no parameter is read from the device.
///
/// # Errors
///
/// As [`read`].
pub fn read_buffers<M: Module>(module: &M, layout: &Layout) -> Result<Vec<f32>, SnapshotError> {
    let mut reading = Reading::of("buffers");
    let reader = Reader::visit(module, layout, &mut reading, false);
    reader.walk.complete(layout)?;
    let [_, buffers] = in_vectors(&reader.parts, reading.read(), layout);
    Ok(buffers)
}

/// A part of a flat vector.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// Parameters, from a tensor.
    Parameters,
    /// So many parameters that are zero, from no tensor.
    Zeros(usize),
    /// Buffers, from a tensor.
    Buffers,
}

/// The parameters and the buffers of tensors that have been read.
pub(super) fn in_vectors(parts: &[Part], data: Vec<TensorData>, layout: &Layout) -> [Vec<f32>; 2] {
    let mut parameters = Vec::with_capacity(layout.parameter_len());
    let mut buffers = Vec::with_capacity(layout.buffer_len());
    let mut data = data.into_iter();
    for part in parts {
        let vector = match part {
            Part::Zeros(count) => {
                parameters.resize(parameters.len() + count, 0.0);
                continue;
            }
            Part::Parameters => &mut parameters,
            Part::Buffers => &mut buffers,
        };
        let Some(tensor) = data.next() else {
            continue;
        };
        match tensor.as_slice::<f32>() {
            Ok(values) => vector.extend_from_slice(values),
            Err(_) => vector.extend(tensor.iter::<f32>()),
        }
    }
    [parameters, buffers]
}

/// Collects the tensors of a module.
pub(super) struct Reader<'a> {
    pub walk: Walk<'a>,
    pub parts: Vec<Part>,
    reading: &'a mut Reading,
    /// Whether parameters are wanted too.
    parameters: bool,
}

impl<'a> Reader<'a> {
    /// Adds the buffers of `module` to `reading`, and its parameters if they are wanted.
    pub fn visit<M: Module>(
        module: &M,
        layout: &'a Layout,
        reading: &'a mut Reading,
        parameters: bool,
    ) -> Collected<'a> {
        let mut reader = Self {
            walk: Walk::new(layout),
            parts: Vec::new(),
            reading,
            parameters,
        };
        // `valid` flushes the running statistics' pending updates.
        module.valid().visit(&mut reader);
        Collected {
            walk: reader.walk,
            parts: reader.parts,
        }
    }
}

/// What a [`Reader`] has found.
pub(super) struct Collected<'a> {
    pub walk: Walk<'a>,
    pub parts: Vec<Part>,
}

impl ModuleVisitor for Reader<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.walk.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.walk.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let part = match self.walk.place(param.lazy_shape().as_slice()) {
            Some(Place::Parameter(_)) if self.parameters => Part::Parameters,
            Some(Place::Buffer(_)) => Part::Buffers,
            Some(Place::Parameter(_)) | None => return,
        };
        self.parts.push(part);
        self.reading.add(param.base());
    }
}
