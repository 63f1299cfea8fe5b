//! A worker's last training losses.

use std::collections::VecDeque;

use crate::WindowLoss;

/// The mean training losses of a worker's last `size` batches.
///
/// A pull does not clear the window: earlier losses still tell how well the worker does.
#[derive(Debug, Clone, PartialEq)]
pub struct LossWindow {
    size: usize,
    losses: VecDeque<f32>,
}

impl LossWindow {
    /// An empty window of `size` batches, at least 1.
    pub fn new(size: usize) -> Self {
        let size = size.max(1);
        Self {
            size,
            losses: VecDeque::new(),
        }
    }

    /// Adds the loss of a batch and drops the oldest when the window is full.
    pub fn push(&mut self, loss: f32) {
        if self.losses.len() == self.size {
            self.losses.pop_front();
        }
        self.losses.push_back(loss);
    }

    /// Empties the window: after a restart the old losses belong to other parameters.
    pub fn clear(&mut self) {
        self.losses.clear();
    }

    /// The mean, if the window is full. Summed from the oldest on, so that equal windows give equal
    /// bits.
    pub fn loss(&self) -> WindowLoss {
        if self.losses.len() < self.size {
            return WindowLoss::Filling {
                have: self.losses.len(),
                need: self.size,
            };
        }
        let sum: f64 = self.losses.iter().map(|&loss| f64::from(loss)).sum();
        WindowLoss::Mean(sum / self.size as f64)
    }

    /// The losses, oldest first.
    pub fn losses(&self) -> impl Iterator<Item = f32> + '_ {
        self.losses.iter().copied()
    }
}
