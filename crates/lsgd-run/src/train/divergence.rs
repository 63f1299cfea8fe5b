//! Detects diverged workers from their training losses, and from their values at pauses.
//!
//! A worker has diverged when no loss in a whole loss window was finite, or when its values are not
//! finite at a pause: parameters that are NaN stay NaN under a pull of less than one, and so do
//! BatchNorm statistics that have overflowed, whatever the losses. While other workers of the node
//! are sound, this is only a warning. A node whose workers have all diverged has no leader of its
//! own; only a pull of one toward another node's leader, or a centre, could recover it. If two more
//! exchanges that could have done so have not, the node ends.

/// Exchanges that a diverged node waits for.
const EXCHANGES: u64 = 2;

/// The non-finite losses of a node's workers.
#[derive(Debug, Clone)]
pub struct Divergence {
    /// Losses in a worker's loss window.
    window: u64,
    /// Number of such losses or steps after which recovery is no longer expected.
    patience: u64,
    workers: Vec<Worker>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Worker {
    /// Steps it has taken.
    step: u64,
    /// Number of consecutive losses that were not finite, and the step of the first.
    losses: u64,
    since: u64,
    /// The first pause of those at which its values were not finite.
    not_finite_since: Option<u64>,
    reported: bool,
}

impl Worker {
    /// The step since which it has diverged, if at least `enough` losses or steps say so.
    fn since(&self, enough: u64) -> Option<u64> {
        let by_losses = (self.losses >= enough).then_some(self.since);
        let not_finite = self.not_finite_since;
        let by_values = not_finite.filter(|since| self.step - since >= enough);
        by_losses.into_iter().chain(by_values).min()
    }
}

impl Divergence {
    /// For `workers` workers with loss windows of `window` batches, whose rarest exchange happens
    /// every `period` steps.
    pub fn new(workers: usize, window: usize, period: u64) -> Self {
        let window = window.max(1) as u64;
        Self {
            window,
            patience: window.saturating_add(period.saturating_mul(EXCHANGES)),
            workers: vec![Worker::default(); workers],
        }
    }

    /// Takes the loss of a worker's step. The first time that the worker has diverged, returns the
    /// step since which it has.
    pub fn observe(&mut self, worker: usize, step: u64, loss: f32) -> Option<u64> {
        let worker = self.workers.get_mut(worker)?;
        worker.step = step;
        if loss.is_finite() {
            worker.losses = 0;
            return None;
        }
        if worker.losses == 0 {
            worker.since = step;
        }
        worker.losses += 1;
        let is_news = worker.losses >= self.window && !worker.reported;
        worker.reported |= is_news;
        is_news.then_some(worker.since)
    }

    /// Takes whether a worker's values are finite at a pause.
    pub fn observe_values(&mut self, worker: usize, step: u64, is_finite: bool) {
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.step = worker.step.max(step);
            worker.not_finite_since = match is_finite {
                true => None,
                false => worker.not_finite_since.or(Some(step)),
            };
        }
    }

    /// The step since which all of the paused `workers` have diverged: that of the last one.
    pub fn of_paused(&self, workers: impl IntoIterator<Item = usize>) -> Option<u64> {
        let workers = workers.into_iter().map(|worker| self.workers.get(worker));
        let since = workers.map(|worker| worker?.since(self.window).or(worker?.not_finite_since));
        since.collect::<Option<Vec<u64>>>()?.into_iter().max()
    }

    /// Whether all of `live` have diverged beyond recovery.
    pub fn is_permanent(&self, live: impl IntoIterator<Item = usize>) -> bool {
        let mut live = live.into_iter().peekable();
        let is_lost = |worker| {
            let worker: Option<&Worker> = self.workers.get(worker);
            worker.is_some_and(|worker| worker.since(self.patience).is_some())
        };
        live.peek().is_some() && live.all(is_lost)
    }
}

/// The warning about a diverged worker.
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
        let mut reported = Vec::new();
        for (step, of_workers) in (1..).zip(losses) {
            for (worker, loss) in of_workers.iter().enumerate() {
                let since = divergence.observe(worker, step, *loss);
                reported.extend(since.map(|since| (worker, since)));
            }
        }
        (divergence, reported)
    }

    #[test]
    fn a_worker_without_a_finite_loss_over_its_window_has_diverged_and_is_told_of_once() {
        let steps = |worker: &[f32]| worker.iter().map(|loss| [*loss, 0.5]).collect::<Vec<_>>();
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let (divergence, reported) = observed(&steps(&[0.1, nan, inf]));
        assert_eq!((divergence.of_paused([0]), reported), (None, vec![]));
        let (divergence, reported) = observed(&steps(&[0.1, nan, inf, nan, nan]));
        assert_eq!(
            (divergence.of_paused([0]), reported),
            (Some(2), vec![(0, 2)])
        );
        assert_eq!(divergence.of_paused([0, 1]), None);
        // Recovered, and diverged again.
        let (divergence, reported) = observed(&steps(&[nan, nan, nan, 0.2, nan, nan, nan]));
        assert_eq!(
            (divergence.of_paused([0]), reported),
            (Some(5), vec![(0, 1)])
        );
        let (divergence, _) = observed(&steps(&[nan, nan, nan, 0.2]));
        assert_eq!(divergence.of_paused([0]), None);
    }

    /// A window of 3 and two exchanges of 2 steps: seven consecutive losses of every worker.
    #[test]
    fn a_node_in_which_nothing_is_finite_ends_after_two_more_exchanges() {
        let nan = f32::NAN;
        let mut losses = vec![[0.1, 0.1], [nan, 0.1]];
        losses.extend([[nan, nan]; 6]);
        let (divergence, _) = observed(&losses);
        assert!(divergence.is_permanent([0]));
        assert!(!divergence.is_permanent([0, 1]));
        losses.push([nan, nan]);
        let (divergence, _) = observed(&losses);
        assert!(divergence.is_permanent([0, 1]));
        assert_eq!(divergence.of_paused([0, 1]), Some(3));
        // Of the live workers.
        losses.push([0.1, nan]);
        let (divergence, _) = observed(&losses);
        assert!(!divergence.is_permanent([0, 1]));
        assert!(divergence.is_permanent([1]));
        assert!(!divergence.is_permanent([]));
    }

    /// For example statistics that have overflowed.
    #[test]
    fn values_that_are_not_finite_count_whatever_the_losses() {
        let (mut divergence, _) = observed(&[[0.5, 0.5]; 4]);
        divergence.observe_values(0, 4, false);
        divergence.observe_values(1, 4, true);
        assert_eq!(divergence.of_paused([0]), Some(4));
        assert_eq!(divergence.of_paused([0, 1]), None);
        for step in 5..=10 {
            divergence.observe(0, step, 0.5);
        }
        assert!(!divergence.is_permanent([0]));
        divergence.observe_values(0, 10, false);
        divergence.observe(0, 11, 0.5);
        assert!(divergence.is_permanent([0]));
        // Recovered.
        divergence.observe_values(0, 12, true);
        assert!(!divergence.is_permanent([0]));
        assert_eq!(divergence.of_paused([0]), None);
    }
}
