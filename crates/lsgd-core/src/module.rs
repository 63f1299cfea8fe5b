//! Between a Burn module and flat vectors: read, write, pull.
//!
//! Burn's pitfalls, all handled here: running statistics are visited like parameters; the update of
//! the last training forward is pending until [`Module::valid`] flushes it, and would overwrite
//! values written before; a mapped parameter must return to autodiff in the state it left.

use std::sync::Arc;

use burn::Tensor;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::TensorData;

use crate::layout::{Entry, Path};
use crate::{Layout, Snapshot, SnapshotError, Source};

/// Reads a module's parameters and buffers in the order of `layout`.
///
/// # Errors
///
/// [`SnapshotError::Length`] when the module does not have the tensors of `layout`.
pub fn read<M: Module>(
    module: &M,
    layout: &Arc<Layout>,
    source: Source,
) -> Result<Snapshot, SnapshotError> {
    let mut reader = Reader {
        walk: Walk::new(layout),
        parameters: Some(Vec::with_capacity(layout.parameter_len())),
        buffers: Vec::with_capacity(layout.buffer_len()),
    };
    // `valid` flushes the running statistics' pending updates.
    module.valid().visit(&mut reader);
    let parameters = reader.parameters.unwrap_or_default();
    Snapshot::new(layout.clone(), source, parameters, reader.buffers)
}

/// Reads a module's buffers alone, in the order of `layout`: no parameter is read from the device.
///
/// # Errors
///
/// As [`read`].
pub fn read_buffers<M: Module>(module: &M, layout: &Layout) -> Result<Vec<f32>, SnapshotError> {
    let mut reader = Reader {
        walk: Walk::new(layout),
        parameters: None,
        buffers: Vec::with_capacity(layout.buffer_len()),
    };
    module.valid().visit(&mut reader);
    reader.walk.complete(layout)?;
    Ok(reader.buffers)
}

/// Writes a snapshot's parameters and buffers into a module of the same layout.
///
/// # Errors
///
/// [`SnapshotError`] when the module's `layout` is not the snapshot's, a value is not finite, or
/// the module does not have the tensors of `layout`. The module is then lost to the caller unless
/// it was cloned.
pub fn write<M: Module>(
    module: M,
    layout: &Layout,
    snapshot: &Snapshot,
) -> Result<M, SnapshotError> {
    snapshot.check(layout)?;
    let change = Change {
        parameters: Some((snapshot.parameters(), 1.0)),
        buffers: Some((snapshot.buffers(), 1.0)),
    };
    let (module, walk) = change.walk(module, layout);
    walk.complete(layout)?;
    Ok(module)
}

/// Reads the gradients of a module's parameters, and its buffers, in the order of `layout`. A
/// parameter without a gradient counts as zero.
///
/// # Errors
///
/// As [`read`].
pub(crate) fn read_gradients<M: Module>(
    module: &M,
    layout: &Arc<Layout>,
    source: Source,
    gradients: &GradientsParams,
) -> Result<Snapshot, SnapshotError> {
    let mut reader = GradientReader {
        walk: Walk::new(layout),
        gradients,
        values: Vec::with_capacity(layout.parameter_len()),
    };
    module.visit(&mut reader);
    let gradients = reader.values;
    let buffers = read_buffers(module, layout)?;
    Snapshot::new(layout.clone(), source, gradients, buffers)
}

/// The squared norm of each layer's gradient; zero if it has none.
pub(crate) fn gradient_squares<M: Module>(
    module: &M,
    layout: &Layout,
    gradients: &GradientsParams,
) -> Vec<f64> {
    let mut squares = Squares {
        walk: Walk::new(layout),
        gradients,
        ends: Vec::new(),
        sums: Vec::new(),
    };
    module.visit(&mut squares);
    let Squares { ends, sums, .. } = squares;
    // All are read at once: on a GPU every read waits for all pending work.
    let sums: Vec<f32> = match sums.is_empty() {
        true => Vec::new(),
        false => Tensor::cat(sums, 0).into_data().iter::<f32>().collect(),
    };
    let of_layer = |layer: std::ops::Range<usize>| {
        let tensors = ends.iter().zip(&sums);
        let own = tensors.filter(|(end, _)| layer.start < **end && **end <= layer.end);
        own.map(|(_, sum)| f64::from(*sum)).sum()
    };
    layout.layers().into_iter().map(of_layer).collect()
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
    values: &[f32],
) -> GradientsParams {
    let mut writer = GradientWriter {
        walk: Walk::new(layout),
        gradients,
        values,
    };
    module.visit(&mut writer);
    writer.gradients
}

/// A change of a module toward flat vectors: `x <- x - strength (x - target)`.
///
/// A strength of 1 copies the target and a strength of 0 touches nothing, since `x - (x - t)` is
/// not `t` in floating point and `x - 0 (x - t)` is NaN where `x - t` overflows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change<'a> {
    /// Target and strength for the trainable parameters.
    pub parameters: Option<(&'a [f32], f64)>,
    /// Target and strength for the BatchNorm running statistics.
    pub buffers: Option<(&'a [f32], f64)>,
}

impl<'a> Change<'a> {
    /// Changes `module`, whose layout and the targets' lengths the caller has checked.
    pub(crate) fn apply<M: Module>(self, module: M, layout: &Layout) -> M {
        match self.moves() {
            true => self.walk(module, layout).0,
            false => module,
        }
    }

    /// Whether it changes anything.
    pub(crate) fn moves(&self) -> bool {
        let moves = |part: Option<(&[f32], f64)>| part.is_some_and(|(_, strength)| strength != 0.0);
        moves(self.parameters) || moves(self.buffers)
    }

    /// Changes `module`; also returns how far along `layout` that got.
    fn walk<M: Module>(self, module: M, layout: &'a Layout) -> (M, Walk<'a>) {
        if self.buffers.is_some() {
            // Flushes pending updates, which would replace what is written below.
            let _ = module.valid();
        }
        let mut writer = Writer {
            walk: Walk::new(layout),
            change: self,
        };
        let module = module.map(&mut writer);
        (module, writer.walk)
    }
}

/// Which of the two vectors a tensor belongs to, and where.
enum Place {
    Parameter(std::ops::Range<usize>),
    Buffer(std::ops::Range<usize>),
}

/// Walks along a layout while a visitor or mapper walks along a module.
struct Walk<'a> {
    path: Path,
    parameters: Cursor<'a>,
    buffers: Cursor<'a>,
}

struct Cursor<'a> {
    entries: std::slice::Iter<'a, Entry>,
    offset: usize,
}

impl Cursor<'_> {
    fn take(&mut self, path: &str, shape: &[usize]) -> Option<std::ops::Range<usize>> {
        let entry = self.entries.as_slice().first()?;
        if entry.path != path || entry.shape != shape {
            return None;
        }
        let range = self.offset..self.offset + entry.len();
        self.entries.next();
        self.offset = range.end;
        Some(range)
    }
}

impl<'a> Walk<'a> {
    fn new(layout: &'a Layout) -> Self {
        let cursor = |entries: &'a [Entry]| Cursor {
            entries: entries.iter(),
            offset: 0,
        };
        Self {
            path: Path::default(),
            parameters: cursor(layout.parameters()),
            buffers: cursor(layout.buffers()),
        }
    }

    /// Where the tensor at the current path belongs; `None` for a frozen parameter.
    fn place(&mut self, shape: &[usize]) -> Option<Place> {
        let path = self.path.joined();
        let parameter = self.parameters.take(&path, shape).map(Place::Parameter);
        parameter.or_else(|| self.buffers.take(&path, shape).map(Place::Buffer))
    }

    /// Whether every tensor of the layout was visited.
    fn complete(&self, layout: &Layout) -> Result<(), SnapshotError> {
        for (expected, found) in [
            (layout.parameter_len(), self.parameters.offset),
            (layout.buffer_len(), self.buffers.offset),
        ] {
            if expected != found {
                return Err(SnapshotError::Length { expected, found });
            }
        }
        Ok(())
    }
}

struct Reader<'a> {
    walk: Walk<'a>,
    /// `None` where parameters are passed over.
    parameters: Option<Vec<f32>>,
    buffers: Vec<f32>,
}

impl ModuleVisitor for Reader<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.walk.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.walk.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let vector = match self.walk.place(param.lazy_shape().as_slice()) {
            Some(Place::Parameter(_)) => self.parameters.as_mut(),
            Some(Place::Buffer(_)) => Some(&mut self.buffers),
            None => None,
        };
        let Some(vector) = vector else {
            return;
        };
        let data = param.base().into_data();
        match data.as_slice::<f32>() {
            Ok(values) => vector.extend_from_slice(values),
            Err(_) => vector.extend(data.iter::<f32>()),
        }
    }
}

struct GradientReader<'a> {
    walk: Walk<'a>,
    gradients: &'a GradientsParams,
    values: Vec<f32>,
}

impl ModuleVisitor for GradientReader<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.walk.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.walk.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(Place::Parameter(range)) = self.walk.place(param.lazy_shape().as_slice()) else {
            return;
        };
        match self.gradients.get::<D>(param.id) {
            Some(gradient) => self.values.extend(gradient.into_data().iter::<f32>()),
            None => self.values.extend(range.map(|_| 0.0)),
        }
    }
}

struct Squares<'a> {
    walk: Walk<'a>,
    gradients: &'a GradientsParams,
    /// Where each tensor ends among the layout's parameters.
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
        let Some(Place::Parameter(range)) = self.walk.place(param.lazy_shape().as_slice()) else {
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
    values: &'a [f32],
}

impl ModuleVisitor for GradientWriter<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.walk.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.walk.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(Place::Parameter(range)) = self.walk.place(param.lazy_shape().as_slice()) else {
            return;
        };
        let Some(values) = self.values.get(range) else {
            return;
        };
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let data = TensorData::new(values.to_vec(), gradient.shape());
            let place = (&gradient.device(), gradient.dtype());
            let mean = Tensor::<D>::from_data(data, place);
            self.gradients.register(param.id, mean);
        }
    }
}

struct Writer<'a> {
    walk: Walk<'a>,
    change: Change<'a>,
}

impl ModuleMapper for Writer<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.walk.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.walk.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (range, part) = match self.walk.place(param.lazy_shape().as_slice()) {
            Some(Place::Parameter(range)) => (range, self.change.parameters),
            Some(Place::Buffer(range)) => (range, self.change.buffers),
            None => return param,
        };
        match part.and_then(|(target, strength)| Some((target.get(range)?, strength))) {
            Some((target, strength)) => pull_param(param, target, strength),
            None => param,
        }
    }
}

/// Pulls one parameter.
fn pull_param<const D: usize>(
    param: Param<Tensor<D>>,
    target: &[f32],
    strength: f64,
) -> Param<Tensor<D>> {
    if strength == 0.0 {
        return param;
    }
    replace(param, |value| {
        let data = TensorData::new(target.to_vec(), value.shape());
        let target = Tensor::<D>::from_data(data, (&value.device(), value.dtype()));
        match strength == 1.0 {
            true => target,
            false => value.clone() - (value - target).mul_scalar(strength),
        }
    })
}

/// Takes one parameter off the tape, changes its value, and puts it back as it was: gradient
/// requirement and gradient-checkpointing strategy included.
pub(crate) fn replace<const D: usize>(
    param: Param<Tensor<D>>,
    change: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Param<Tensor<D>> {
    let (id, tensor, mapper) = param.consume();
    let autodiff = tensor.is_autodiff();
    let require_grad = tensor.is_require_grad();
    let checkpointing = tensor.gradient_checkpointing_strategy();

    let mut changed = change(tensor.without_autodiff());
    if autodiff {
        changed = changed.autodiff();
        if let Some(strategy) = checkpointing {
            changed = changed.with_gradient_checkpointing_strategy(strategy);
        }
        changed = changed.set_require_grad(require_grad);
    }
    Param::from_mapped_value(id, changed, mapper)
}
