//! Hyperparameters that differ between workers.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// What the run's hyperparameters are multiplied by for one worker.
#[derive(
    Debug, Clone, Copy, PartialEq, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
pub struct Factors {
    /// For the learning rate.
    pub learning_rate: f64,
    /// For the weight decay of the inner optimizer; 1 if that has none.
    pub weight_decay: f64,
}

impl Factors {
    /// Those of a worker that trains as the run says.
    pub const ONE: Self = Self {
        learning_rate: 1.0,
        weight_decay: 1.0,
    };
    /// The least factor that a worker takes over.
    pub const LEAST: f64 = 1e-3;
    /// The greatest.
    pub const MOST: f64 = 1e3;

    /// The same within [`LEAST`](Self::LEAST) and [`MOST`](Self::MOST).
    #[must_use]
    pub fn bounded(self) -> Self {
        let bounded = |factor: f64| factor.clamp(Self::LEAST, Self::MOST);
        Self {
            learning_rate: bounded(self.learning_rate),
            weight_decay: bounded(self.weight_decay),
        }
    }

    /// The factor that is not within these bounds, if there is one; a NaN is not.
    pub fn out_of_bounds(self) -> Option<f64> {
        let bounds = Self::LEAST..=Self::MOST;
        let mut factors = [self.learning_rate, self.weight_decay].into_iter();
        factors.find(|factor| !bounds.contains(factor))
    }
}
