//! What is averaged beside training, and changes nothing about it: each worker's parameters over its steps,
//! and the replica means of the last evaluations.

use std::sync::Arc;

use burn::module::Module;
use lsgd_core::{AverageState, Layout, MovingAverage, Snapshot};

use super::evaluation::mean_of;
use super::messages::Start;
use super::setup::Setup;
use crate::error::RunError;
use crate::storage::Which;

/// The moving average of a worker that begins, or continues from `saved`, with the parameters of `module`;
/// `None` if the run keeps none.
///
/// # Errors
///
/// [`RunError::Unfit`] if `saved` is of another layout.
pub fn of_worker<M: Module>(
    setup: &Setup,
    module: &M,
    saved: Option<&AverageState>,
) -> Result<Option<MovingAverage>, RunError> {
    let Some(decay) = setup.settings().average.ema_decay else {
        return Ok(None);
    };
    match saved {
        Some(saved) => MovingAverage::resuming(decay, module, saved)
            .map(Some)
            .map_err(|why| RunError::Unfit { why }),
        None => Ok(Some(MovingAverage::new(decay, module, &setup.layout))),
    }
}

/// The replica means at the last evaluations, whose mean is evaluated too (LAWA, arXiv 2209.14981).
///
/// Only evaluations that the schedule asks for leave their mean in it: those of an interruption would give a
/// run that continues other means than one that was never interrupted.
#[derive(Debug, Clone, Default)]
pub struct MeanWindow {
    /// How many are kept; 0 for none.
    most: usize,
    /// Each with its step, oldest first.
    means: Vec<(u64, Arc<Snapshot>)>,
}

impl MeanWindow {
    /// The window of a run whose workers start so.
    pub fn of(setup: &Setup, start: &Start) -> Self {
        let most = setup.settings().average.window.unwrap_or(0);
        let saved = start.resumed.as_ref().filter(|_| most > 0);
        Self {
            most,
            means: saved.map(|saved| saved.window.clone()).unwrap_or_default(),
        }
    }

    /// The same with the mean at `step`, if there is one. A mean of that step, of an evaluation that is done
    /// again, is replaced.
    pub fn with(&self, step: u64, mean: impl FnOnce() -> Option<Arc<Snapshot>>) -> Self {
        let mut window = self.clone();
        if window.most > 0
            && let Some(mean) = mean()
        {
            window.means.retain(|(at, _)| *at < step);
            window.means.push((step, mean));
            let surplus = window.means.len().saturating_sub(window.most);
            window.means.drain(..surplus);
        }
        window
    }

    /// The means, each with its step, oldest first.
    pub fn means(&self) -> &[(u64, Arc<Snapshot>)] {
        &self.means
    }

    /// Their mean; `None` if there are none or it is not finite.
    pub fn mean(&self, layout: &Layout) -> Option<Arc<Snapshot>> {
        let means: Vec<_> = self.means.iter().map(|(_, mean)| mean.clone()).collect();
        match means.is_empty() {
            true => None,
            false => mean_of(&means, layout),
        }
    }
}

/// The means that an evaluation scores beside the workers, each with its own running statistics.
#[derive(Debug, Default)]
pub struct Means {
    /// Of the workers' parameters; `None` if a worker has diverged.
    pub replicas: Option<Arc<Snapshot>>,
    /// Of their moving averages, if they keep any.
    pub ema: Option<Arc<Snapshot>>,
    /// Of the last replica means, if they are kept.
    pub lawa: Option<Arc<Snapshot>>,
}

impl Means {
    /// All that there are, under the names of a checkpoint.
    pub fn named(self) -> Vec<(Which, Arc<Snapshot>)> {
        let all = [
            (Which::Mean, self.replicas),
            (Which::Ema, self.ema),
            (Which::Lawa, self.lawa),
        ];
        let named = all.into_iter().map(|(which, mean)| Some((which, mean?)));
        named.flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::Device;
    use lsgd_core::Source;

    use super::*;

    fn window(most: usize) -> MeanWindow {
        MeanWindow {
            most,
            means: Vec::new(),
        }
    }

    fn steps(window: &MeanWindow) -> Vec<u64> {
        window.means().iter().map(|(step, _)| *step).collect()
    }

    #[test]
    fn a_window_has_the_last_means_and_their_mean() {
        let layout = Layout::of(&LinearConfig::new(1, 1).init(&Device::flex().autodiff()));
        let mean = |value: f32| {
            let source = Source::Mean { workers: 2 };
            let mean = Snapshot::new(layout.clone(), source, vec![value; 2], Vec::new());
            Some(Arc::new(mean.unwrap()))
        };
        let mut kept = window(3);
        assert!(kept.mean(&layout).is_none());
        for (step, value) in [(4, 100.0), (8, 1.0), (12, 2.0), (16, 30.0)] {
            kept = kept.with(step, || mean(value));
        }
        assert_eq!(steps(&kept), [8, 12, 16]);
        assert_eq!(kept.mean(&layout).unwrap().parameters(), [11.0, 11.0]);
        // An evaluation that is done again, and one without a mean.
        kept = kept.with(16, || mean(3.0)).with(20, || None);
        assert_eq!(steps(&kept), [8, 12, 16]);
        assert_eq!(kept.mean(&layout).unwrap().parameters(), [2.0, 2.0]);
    }

    #[test]
    fn without_a_window_no_mean_is_made() {
        let kept = window(0).with(4, || panic!("it is not kept"));
        assert!(kept.means().is_empty());
    }
}
