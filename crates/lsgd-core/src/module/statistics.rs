//! Running statistics that an overflow has made infinite or NaN.

use burn::Tensor;
use burn::module::{Module, ModuleMapper, Param};

use super::change::replace;
use super::walk::{Place, Walk};
use crate::Layout;
use crate::layout::is_variance;

/// Restarts running statistics that are not finite: a mean at 0, a variance at 1, as in a new
/// BatchNorm. The others keep their bits.
///
/// A running statistic is an exponential mean, `(1 - m) x + m batch`, so a single batch whose
/// variance overflows would leave it infinite for ever, although the network has recovered: in
/// training BatchNorm normalises by the batch. All stays on the device: nothing is read.
pub(crate) fn restart_broken_statistics<M: Module>(module: M, layout: &Layout) -> M {
    if layout.buffer_len() == 0 {
        return module;
    }
    // Flushes pending updates, which would replace what is written below.
    let _ = module.valid();
    module.map(&mut Restarter {
        walk: Walk::new(layout),
    })
}

struct Restarter<'a> {
    walk: Walk<'a>,
}

impl ModuleMapper for Restarter<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.walk.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.walk.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let place = self.walk.place(param.lazy_shape().as_slice());
        let Some(Place::Buffer(_)) = place else {
            return param;
        };
        let start = match is_variance(&self.walk.path.joined()) {
            true => 1.0,
            false => 0.0,
        };
        replace(param, |value| {
            let broken = value.clone().is_finite().bool_not();
            value.mask_fill(broken, start)
        })
    }
}
