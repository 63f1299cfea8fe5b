//! A worker's `Learner` as the optimizer inside [`LeaderSgd`](lsgd_core::LeaderSgd).

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::ParamGroup;
use burn::optim::GradientsParams;
use burn_train::{Learner, LearnerModel};
use lsgd_core::{InnerOptimizer, Layout};

use crate::parameters::with_parameters;

/// A learner that takes gradient steps with its own optimizer and learning rate.
///
/// A worker does not train the learner's module but a separate one. Clones of a learner share
/// BatchNorm's running statistics, and a learner offers no way to give one its own: the statistics
/// in a learner's module are meaningless until [`install`].
pub struct LearnerOptimizer<M: LearnerModel> {
    learner: Learner<M>,
    /// The parameters that pulls move.
    parameters: ParamGroup,
}

impl<M: LearnerModel> LearnerOptimizer<M> {
    /// The optimizer, and the module that its worker trains.
    pub fn new(learner: Learner<M>) -> (Self, M) {
        let shared = learner.model();
        // This pair of calls creates new running statistics, but forgets gradient checkpointing,
        // which comes back with the parameters.
        let own = with_parameters(shared.valid().train(), &shared);
        let layout = Layout::of(&own);
        let paths = layout.parameters().iter().map(|entry| entry.path.clone());
        let parameters = ParamGroup::from_paths(paths.collect());
        (
            Self {
                learner,
                parameters,
            },
            own,
        )
    }

    /// The next learning rate.
    pub fn next_rate(&mut self) -> ModuleLearningRate {
        self.learner.lr_step();
        self.rate()
    }

    /// The learning rate of the last step.
    pub fn rate(&self) -> ModuleLearningRate {
        self.learner.lr_current()
    }

    /// The learner itself, except for its module's running statistics.
    pub fn learner(&self) -> Learner<M> {
        self.learner.clone()
    }
}

impl<M: LearnerModel> InnerOptimizer<M> for LearnerOptimizer<M> {
    fn step(&mut self, _rate: ModuleLearningRate, module: M, gradients: GradientsParams) -> M {
        // At the rate of `next_rate`: a learner's own rate is private.
        self.learner.optimizer_step(gradients);
        with_parameters(module, &self.learner.model())
    }

    fn moved(&mut self, module: &M) {
        let moved = module.clone().into_record_group(self.parameters.clone());
        self.learner.load_model(moved.allow_partial(true));
    }
}

/// Gives a learner all values of `module`, including running statistics.
pub fn install<M: LearnerModel>(learner: &mut Learner<M>, module: &M) {
    learner.load_model(module.clone().into_record());
}
