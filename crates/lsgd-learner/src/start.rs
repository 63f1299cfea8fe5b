//! Where workers begin: with the learner as given, or at the other nodes' position.

use std::sync::Arc;

use burn_train::{Learner, LearnerModel};
use lsgd_core::{Layout, Snapshot, SnapshotError, write};

/// Where workers begin.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Steps that a worker has taken already.
    pub step: u64,
    /// The parameters; `None` for those of the learner.
    pub parameters: Option<Arc<Snapshot>>,
}

/// The epoch that workers begin in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: usize,
    /// The step at which that epoch ends at the latest.
    pub until: u64,
}

impl Start {
    /// `learner` at this start: parameters and learning rate. The state of its optimizer is as
    /// given.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] if the parameters do not fit the model.
    pub fn of<M: LearnerModel>(&self, learner: &Learner<M>) -> Result<Learner<M>, SnapshotError> {
        let mut learner = learner.clone();
        if let Some(parameters) = &self.parameters {
            let module = learner.model();
            let layout = Layout::of(&module);
            let module = write(module, &layout, parameters)?;
            learner.load_model(module.into_record());
        }
        (0..self.step).for_each(|_| learner.lr_step());
        Ok(learner)
    }

    /// The epoch of its next step, if the training's first epoch is `first` and each has this many
    /// steps.
    pub fn epoch(&self, first: usize, steps_of_epoch: u64) -> EpochStart {
        let steps = steps_of_epoch.max(1);
        let epochs = self.step / steps;
        EpochStart {
            epoch: first.saturating_add(usize::try_from(epochs).unwrap_or(usize::MAX)),
            until: (epochs + 1).saturating_mul(steps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_in_the_epoch_that_takes_it() {
        let epoch = |step: u64| {
            let start = Start {
                step,
                parameters: None,
            };
            let EpochStart { epoch, until } = start.epoch(1, 10);
            (epoch, until)
        };
        assert_eq!(epoch(0), (1, 10));
        assert_eq!(epoch(9), (1, 10));
        assert_eq!(epoch(10), (2, 20));
        assert_eq!(epoch(24), (3, 30));
    }

    #[test]
    fn epochs_count_from_the_first_epoch() {
        let start = Start {
            step: 12,
            parameters: None,
        };
        assert_eq!(start.epoch(5, 4).epoch, 8);
    }
}
