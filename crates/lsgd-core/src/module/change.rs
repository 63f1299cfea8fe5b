//! From flat vectors to a module.

use burn::Tensor;
use burn::module::{Module, ModuleMapper, Param};

use super::on_device::OnDevice;
use super::walk::{Place, Walk};
use crate::{Layout, Snapshot, SnapshotError};

/// Writes a snapshot's parameters and buffers into a module of the same layout, with one upload.
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
    let Some(device) = device_of(&module) else {
        Walk::new(layout).complete(layout)?;
        return Ok(module);
    };
    let (parameters, buffers) = (snapshot.parameters(), snapshot.buffers());
    let values = OnDevice::upload("values", parameters, buffers, &device);
    let change = Change {
        parameters: Some((&values, 1.0)),
        buffers: Some((&values, 1.0)),
    };
    let (module, walk) = change.walk(module, layout);
    walk.complete(layout)?;
    Ok(module)
}

/// The device of a module, without autodiff; `None` if it has no tensors.
pub(crate) fn device_of<M: Module>(module: &M) -> Option<burn::tensor::Device> {
    module
        .devices()
        .into_iter()
        .next()
        .map(|device| device.inner())
}

/// A change of a module toward flat vectors: `x <- x - strength (x - target)`.
///
/// A strength of 1 copies the target and a strength of 0 touches nothing, since `x - (x - t)` is
/// not `t` in floating point and `x - 0 (x - t)` is NaN where `x - t` overflows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change<'a> {
    /// Target and strength for the trainable parameters.
    pub parameters: Option<(&'a OnDevice, f64)>,
    /// Target and strength for the BatchNorm running statistics.
    pub buffers: Option<(&'a OnDevice, f64)>,
}

impl<'a> Change<'a> {
    /// Changes `module`, whose layout and the targets' lengths the caller has checked.
    pub(crate) fn apply<M: Module>(self, module: M, layout: &Layout) -> M {
        self.walk(module, layout).0
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
        let Some(place) = self.walk.place(param.lazy_shape().as_slice()) else {
            return param;
        };
        let Change {
            parameters,
            buffers,
        } = self.change;
        let part = match place {
            Place::Parameter(_) => parameters,
            Place::Buffer(_) => buffers,
        };
        let Some((target, strength)) = part.filter(|(_, strength)| *strength != 0.0) else {
            return param;
        };
        replace(param, |value| {
            let target = match place {
                Place::Parameter(range) => target.parameter(range, &value),
                Place::Buffer(range) => target.buffer(range, &value),
            };
            match target {
                None => value,
                Some(target) if strength == 1.0 => target,
                Some(target) => value.clone() - (value - target).mul_scalar(strength),
            }
        })
    }
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
