//! When workers have diverged: a decision over their training losses alone.
//!
//! A worker has diverged when no loss over a whole loss window was finite: its parameters are NaN, and
//! a pull of less than one leaves them so. While others of its node go on, that is worth a warning. A
//! node whose workers have all diverged has no leader of its own; only a pull of one toward that of
//! other nodes, or a centre, could mend it. When two more exchanges that might have done so are due
//! and have not, the node ends.

/// Exchanges that a node with nothing finite waits for.
const EXCHANGES: u64 = 2;

/// The losses of a node's workers, as far as they are not finite.
#[derive(Debug, Clone)]
pub struct Divergence {
    /// Losses that a worker's loss window holds.
    window: u64,
    /// How many losses in a row are not finite when nothing can be hoped for.
    patience: u64,
    workers: Vec<Worker>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Worker {
    /// The losses in a row that were not finite, and the step of the first.
    losses: u64,
    since: u64,
    told: bool,
}

impl Divergence {
    /// For `workers` workers with loss windows of `window` batches, whose furthest exchange is every
    /// `period` steps.
    pub fn new(workers: usize, window: usize, period: u64) -> Self {
        let window = window.max(1) as u64;
        Self {
            window,
            patience: window.saturating_add(period.saturating_mul(EXCHANGES)),
            workers: vec![Worker::default(); workers],
        }
    }

    /// Takes the loss of a worker's step. The first time that the worker has diverged, says since which
    /// step.
    pub fn observe(&mut self, worker: usize, step: u64, loss: f32) -> Option<u64> {
        let worker = self.workers.get_mut(worker)?;
        if loss.is_finite() {
            worker.losses = 0;
            return None;
        }
        if worker.losses == 0 {
            worker.since = step;
        }
        worker.losses += 1;
        let is_news = worker.losses >= self.window && !worker.told;
        worker.told |= is_news;
        is_news.then_some(worker.since)
    }

    /// Since which step a worker has diverged.
    pub fn since(&self, worker: usize) -> Option<u64> {
        let worker = self.workers.get(worker)?;
        (worker.losses >= self.window).then_some(worker.since)
    }

    /// Since which step all of `live` have, if nothing will mend it. The last to diverge counts.
    pub fn of_all(&self, live: impl IntoIterator<Item = usize>) -> Option<u64> {
        let since = live.into_iter().map(|worker| {
            let worker = self.workers.get(worker)?;
            (worker.losses >= self.patience).then_some(worker.since)
        });
        since.collect::<Option<Vec<u64>>>()?.into_iter().max()
    }
}

/// What a person is told of a worker that has diverged.
pub fn line(worker: usize, since: u64) -> String {
    format!(
        "worker {worker} has diverged: its loss has not been finite since step {since}; \
         a lower schedule.learning_rate may help"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two workers, windows of 3 losses, exchanges every 2 steps.
    fn observed(losses: &[[f32; 2]]) -> (Divergence, Vec<(usize, u64)>) {
        let mut divergence = Divergence::new(2, 3, 2);
        let mut told = Vec::new();
        for (step, of_workers) in (1..).zip(losses) {
            for (worker, loss) in of_workers.iter().enumerate() {
                let since = divergence.observe(worker, step, *loss);
                told.extend(since.map(|since| (worker, since)));
            }
        }
        (divergence, told)
    }

    #[test]
    fn a_worker_without_a_finite_loss_over_its_window_has_diverged_and_is_told_of_once() {
        let steps = |worker: &[f32]| worker.iter().map(|loss| [*loss, 0.5]).collect::<Vec<_>>();
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let (divergence, told) = observed(&steps(&[0.1, nan, inf]));
        assert_eq!((divergence.since(0), told), (None, vec![]));
        let (divergence, told) = observed(&steps(&[0.1, nan, inf, nan, nan]));
        assert_eq!((divergence.since(0), told), (Some(2), vec![(0, 2)]));
        assert_eq!(divergence.since(1), None);
        // Brought back, and diverged again.
        let (divergence, told) = observed(&steps(&[nan, nan, nan, 0.2, nan, nan, nan]));
        assert_eq!((divergence.since(0), told), (Some(5), vec![(0, 1)]));
        let (divergence, _) = observed(&steps(&[nan, nan, nan, 0.2]));
        assert_eq!(divergence.since(0), None);
    }

    /// Window of 3 and two exchanges of 2 steps: seven losses in a row of every worker.
    #[test]
    fn a_node_in_which_nothing_is_finite_ends_after_two_more_exchanges() {
        let nan = f32::NAN;
        let mut losses = vec![[0.1, 0.1], [nan, 0.1]];
        losses.extend([[nan, nan]; 6]);
        let (divergence, _) = observed(&losses);
        assert_eq!(divergence.of_all([0]), Some(2));
        assert_eq!(divergence.of_all([0, 1]), None);
        losses.push([nan, nan]);
        let (divergence, _) = observed(&losses);
        assert_eq!(divergence.of_all([0, 1]), Some(3));
        // Of those that live.
        losses.push([0.1, nan]);
        let (divergence, _) = observed(&losses);
        assert_eq!(divergence.of_all([0, 1]), None);
        assert_eq!(divergence.of_all([1]), Some(3));
        assert_eq!(divergence.of_all([]), None);
    }
}
