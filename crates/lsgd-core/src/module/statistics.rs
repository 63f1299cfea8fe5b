//! Running statistics that an overflow has made infinite or NaN.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, Tensor};

use super::change::replace;
use super::walk::{Place, Walk};
use crate::Layout;
use crate::layout::{is_variance, parent};

/// Restarts running statistics of which one is not finite: mean and variance of its channel begin at
/// 0 and 1, as in a new BatchNorm. Those of other channels keep their bits.
///
/// A running statistic is an exponential mean, `(1 - m) x + m batch`, so a single batch whose
/// variance overflows would leave it infinite for ever, although the network has recovered: in
/// training BatchNorm normalises by the batch. The mean of such a batch is finite but huge, so it is
/// of no more use. All stays on the device: nothing is read.
pub(crate) fn restart_broken_statistics<M: Module>(module: M, layout: &Layout) -> M {
    if layout.buffer_len() == 0 {
        return module;
    }
    let mut finder = Finder {
        walk: Walk::new(layout),
        broken: BTreeMap::new(),
    };
    // `valid` flushes pending updates, which would replace what is written below.
    module.valid().visit(&mut finder);
    module.map(&mut Restarter {
        walk: Walk::new(layout),
        broken: finder.broken,
    })
}

/// Finds the broken channels of each layer, by its path.
struct Finder<'a> {
    walk: Walk<'a>,
    broken: BTreeMap<String, Tensor<1, Bool>>,
}

impl ModuleVisitor for Finder<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.walk.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.walk.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let place = self.walk.place(param.lazy_shape().as_slice());
        let Some(Place::Buffer(range)) = place else {
            return;
        };
        let values = param.val().without_autodiff().reshape([range.len()]);
        let broken = values.is_finite().bool_not();
        let layer = parent(&self.walk.path.joined()).to_owned();
        let other = self.broken.remove(&layer);
        let either = match other.filter(|other| other.dims() == broken.dims()) {
            Some(other) => other.bool_or(broken),
            None => broken,
        };
        self.broken.insert(layer, either);
    }
}

struct Restarter<'a> {
    walk: Walk<'a>,
    broken: BTreeMap<String, Tensor<1, Bool>>,
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
        let path = self.walk.path.joined();
        let broken = self.broken.get(parent(&path)).cloned();
        let (Some(Place::Buffer(range)), Some(broken)) = (place, broken) else {
            return param;
        };
        if broken.dims() != [range.len()] {
            return param;
        }
        let start = match is_variance(&path) {
            true => 1.0,
            false => 0.0,
        };
        replace(param, |value| {
            let broken = broken.reshape(value.dims());
            value.mask_fill(broken, start)
        })
    }
}
