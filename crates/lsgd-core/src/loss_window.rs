//! A worker's last training losses.

use std::collections::VecDeque;

use crate::{Loss, WindowLoss};

/// Most losses that stay on the device: if nobody asks for them, they are read at this number.
const MAX_UNREAD: usize = 64;

/// The mean training losses of a worker's last `size` batches. They stay on the device until they are
/// asked for, and are then read together.
///
/// A pull does not clear the window: earlier losses still tell how well the worker does.
#[derive(Debug, Clone)]
pub struct LossWindow {
    size: usize,
    /// How many losses more it keeps, for a [window that ends earlier](Self::recent).
    lag: usize,
    losses: VecDeque<Loss>,
}

impl LossWindow {
    /// An empty window of `size` batches, at least 1.
    pub fn new(size: usize) -> Self {
        Self {
            size: size.max(1),
            lag: 0,
            losses: VecDeque::new(),
        }
    }

    /// Keeps `lag` losses more for [`recent`](Self::recent), from now on.
    pub(crate) fn set_lag(&mut self, lag: usize) {
        self.lag = lag;
    }

    /// Adds the loss of a batch and drops the oldest when the window is full.
    pub fn push(&mut self, loss: impl Into<Loss>) {
        if self.losses.len() >= self.size.saturating_add(self.lag) {
            self.losses.pop_front();
        }
        self.losses.push_back(loss.into());
        if self.unread() >= MAX_UNREAD {
            Loss::read_all(&self.losses);
        }
    }

    /// Empties the window: after a restart the old losses belong to other parameters.
    pub fn clear(&mut self) {
        self.losses.clear();
    }

    /// The mean, if the window is full; at most one blocking read. Summed from the oldest on, so that
    /// equal windows give equal bits.
    pub fn loss(&self) -> WindowLoss {
        self.ending_before(0)
    }

    /// The mean of the newest window that can be had without a read, if it ends at most `lag` batches
    /// ago, else of the last one; and how many batches ago it ended.
    pub(crate) fn recent(&self, lag: usize) -> (WindowLoss, usize) {
        let unread = self.unread();
        let behind = if unread <= lag { unread } else { 0 };
        (self.ending_before(behind), behind)
    }

    /// The losses, oldest first; at most one blocking read.
    pub fn losses(&self) -> impl Iterator<Item = f32> + '_ {
        let skipped = self.losses.len().saturating_sub(self.size);
        Loss::read_all(self.losses.iter().skip(skipped)).into_iter()
    }

    /// Number of the newest losses that have not been read.
    fn unread(&self) -> usize {
        let newest = self.losses.iter().rev();
        newest.take_while(|loss| loss.known().is_none()).count()
    }

    /// The mean of the window that ended `behind` batches ago.
    fn ending_before(&self, behind: usize) -> WindowLoss {
        let have = self.losses.len() - behind;
        if have < self.size {
            return WindowLoss::Filling {
                have,
                need: self.size,
            };
        }
        let window = self.losses.range(have - self.size..have);
        let losses = Loss::read_all(window).into_iter();
        let sum: f64 = losses.map(f64::from).sum();
        WindowLoss::Mean(sum / self.size as f64)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;

    fn on_device(loss: f32) -> Loss {
        Tensor::<1>::from_data([loss], &Device::flex()).into()
    }

    #[test]
    fn a_window_may_end_before_the_losses_that_have_not_been_read() {
        let mut window = LossWindow::new(2);
        window.set_lag(2);
        for loss in [1.0, 3.0, 5.0] {
            window.push(on_device(loss));
        }
        // More than two: read.
        assert_eq!(window.recent(2), (WindowLoss::Mean(4.0), 0));
        window.push(on_device(7.0));
        assert_eq!(window.recent(2), (WindowLoss::Mean(4.0), 1));
        window.push(on_device(9.0));
        assert_eq!(window.recent(2), (WindowLoss::Mean(4.0), 2));
        assert_eq!(window.unread(), 2);
        assert_eq!(window.recent(0), (WindowLoss::Mean(8.0), 0));
        assert_eq!(window.losses().collect::<Vec<_>>(), [7.0, 9.0]);
    }

    #[test]
    fn losses_that_nobody_asks_for_are_read_in_the_end() {
        let mut window = LossWindow::new(usize::MAX);
        for step in 1..=MAX_UNREAD + 3 {
            window.push(on_device(step as f32));
            assert_eq!(window.unread(), step % MAX_UNREAD);
        }
    }
}
