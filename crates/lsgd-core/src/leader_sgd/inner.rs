//! The gradient steps inside Leader SGD.

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};

/// Takes a worker's gradient steps: a [`ModuleOptimizer`], or whatever else owns one.
///
/// An implementation that keeps its own module, as the `Learner` of burn-train does, steps that
/// module and returns a copy, and is told in [`moved`](Self::moved) when a pull has changed it.
pub trait InnerOptimizer<M> {
    /// The module after a step along `gradients`, which are the gradients of `module`.
    fn step(&mut self, lr: ModuleLearningRate, module: M, gradients: GradientsParams) -> M;

    /// The module that [`step`](Self::step) returned has been pulled to `module`. Called before the
    /// next step, and only if something has changed.
    fn moved(&mut self, _module: &M) {}
}

impl<M: Module> InnerOptimizer<M> for ModuleOptimizer {
    fn step(&mut self, lr: ModuleLearningRate, module: M, gradients: GradientsParams) -> M {
        ModuleOptimizer::step(self, lr, module, gradients)
    }
}
