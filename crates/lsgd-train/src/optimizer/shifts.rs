//! A learning rate of their own for the shifts of normalisations.

use burn::Tensor;
use burn::module::ParamGroup;
use burn::optim::{LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::Device;

/// What the path of a shift contains, as Burn names it, and of no other parameter of the models.
const SHIFT: &str = ".beta";

/// An optimizer at a multiple of the learning rate.
#[derive(Clone)]
struct AtRate<O> {
    optimizer: O,
    factor: f64,
}

impl<O: Optimizer> Optimizer for AtRate<O> {
    type State<const D: usize> = O::State<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        self.optimizer
            .step(lr * self.factor, tensor, gradient, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        O::to_device(state, device)
    }
}

/// The optimizer of a module, which steps the shifts of normalisations at `factor` times the learning rate.
pub(super) fn of_module<O: Optimizer>(optimizer: O, factor: f64) -> ModuleOptimizer {
    let all = ModuleOptimizer::from(optimizer.clone());
    if factor == 1.0 {
        return all;
    }
    let shifts = ParamGroup::from_predicate(SHIFT);
    all.with_group(shifts, AtRate { optimizer, factor }, None)
}
