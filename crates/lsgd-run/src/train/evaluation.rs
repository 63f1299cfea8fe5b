//! Scoring a model on held-out examples, and re-estimating a mean's running statistics.
//!
//! A worker scores parts; the main thread adds up their sums in the order of the parts, so that a
//! result does not depend on how the parts were distributed over workers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use lsgd_core::{Frozen, Layout, Snapshot, SnapshotError, read_buffers, write};

use super::setup::Setup;
use crate::error::RunError;
use crate::storage::Score;
use crate::task::{Metric, StepKey, Sums, Task};

/// A score, and the number of examples it is based on.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The examples.
    pub examples: u64,
    /// The metrics.
    pub score: Score,
}

/// The score of parts, added up in order of their numbers; `None` for no examples.
pub fn score_of(mut parts: Vec<(usize, Sums)>, metrics: &[Metric]) -> Option<Scored> {
    parts.sort_by_key(|(number, _)| *number);
    let mut all = Sums::default();
    for (_, part) in parts {
        all.add(&part);
    }
    let named = |metric: &Metric| (metric.name.to_owned(), (metric.of)(&all));
    (all.examples > 0).then(|| Scored {
        examples: all.examples,
        score: Score::new(metrics.iter().map(named).collect::<BTreeMap<_, _>>()),
    })
}

/// Scores `module`, on `device` without autodiff, on all held-out examples; `None` if there are none.
///
/// # Errors
///
/// [`RunError`] if a part cannot be loaded.
pub fn score<T: Task>(
    task: &T,
    module: &T::Module,
    device: &Device,
) -> Result<Option<Scored>, RunError> {
    let part = |part| Ok((part, task.score(module, part, device)?));
    let parts: Result<Vec<_>, T::Error> = (0..task.parts()).map(part).collect();
    Ok(score_of(parts.map_err(RunError::task)?, task.metrics()))
}

/// The training batches from which statistics are re-estimated: the last `count` before batch
/// number `next`.
pub fn statistics_batches(next: u64, count: usize) -> Range<u64> {
    next.saturating_sub(count as u64)..next.max(1)
}

/// The mean of the batches' statistics, summed in order of their numbers; `None` for no batches.
pub fn mean_statistics(mut batches: Vec<(u64, Vec<f32>)>) -> Option<Vec<f32>> {
    batches.sort_by_key(|(number, _)| *number);
    let count = batches.len() as f64;
    let mut batches = batches.into_iter().map(|(_, values)| values);
    let mut sums: Vec<f64> = batches.next()?.into_iter().map(f64::from).collect();
    for values in batches {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += f64::from(value);
        }
    }
    Some(sums.into_iter().map(|sum| (sum / count) as f32).collect())
}

/// The mean of these workers' values, with the mean of their running statistics; `None` if it or any of
/// them is not finite. The mean of one worker is that worker.
pub fn mean_of(workers: &[Arc<Snapshot>], layout: &Layout) -> Option<Arc<Snapshot>> {
    let sound = |snapshot: &Snapshot| snapshot.check(layout).is_ok();
    if !workers.iter().all(|worker| sound(worker)) {
        return None;
    }
    if let [only] = workers {
        return Some(only.clone());
    }
    let mean = Snapshot::mean(workers.iter().map(AsRef::as_ref));
    mean.ok().flatten().filter(sound).map(Arc::new)
}

/// A mean with the mean of these batches' statistics as its own. `None` for no batches, as in an
/// evaluation that was aborted, or if they are not finite.
///
/// # Errors
///
/// [`RunError::Unfit`] if they are not of its layout.
pub fn with_statistics(
    mean: &Snapshot,
    batches: Vec<(u64, Vec<f32>)>,
) -> Result<Option<Arc<Snapshot>>, RunError> {
    let Some(buffers) = mean_statistics(batches) else {
        return Ok(None);
    };
    let mean = mean.with_buffers(buffers).map_err(unfit)?;
    let sound = mean.check(mean.layout()).is_ok();
    Ok(sound.then(|| Arc::new(mean)))
}

/// Modules for the values of snapshots, made when first needed and dropped with the evaluation: a
/// worker's own module is never used, since clones of a Burn module share running statistics.
#[derive(Debug)]
pub struct Scratch<'a, T: Task> {
    task: &'a T,
    device: Device,
    layout: &'a Arc<Layout>,
    frozen: &'a Frozen,
    seed: u64,
    scoring: Option<T::Module>,
    counting: Option<T::Module>,
}

impl<'a, T: Task> Scratch<'a, T> {
    /// For modules of `task` on `device` (without autodiff).
    pub fn new(setup: &'a Setup, task: &'a T, device: Device) -> Self {
        let seed = setup.settings().run.seed;
        Self::of(task, device, &setup.layout, &setup.frozen, seed)
    }

    /// For modules of `task` with these frozen parameters, in a run of this `seed`.
    pub fn of(
        task: &'a T,
        device: Device,
        layout: &'a Arc<Layout>,
        frozen: &'a Frozen,
        seed: u64,
    ) -> Self {
        Self {
            task,
            device,
            layout,
            frozen,
            seed,
            scoring: None,
            counting: None,
        }
    }

    /// Scores `snapshot` on parts of the held-out examples.
    ///
    /// # Errors
    ///
    /// [`RunError`] if a part cannot be loaded or the snapshot does not match.
    pub fn score(
        &mut self,
        snapshot: &Snapshot,
        parts: impl IntoIterator<Item = usize>,
    ) -> Result<Vec<(usize, Sums)>, RunError> {
        let module = match self.scoring.take() {
            Some(module) => module,
            None => {
                let module = self.task.module(&self.device).map_err(RunError::task)?;
                self.frozen.write(module).map_err(unfit)?
            }
        };
        let module = write(module, self.layout, snapshot).map_err(unfit)?;
        let scores = parts
            .into_iter()
            .map(|part| Ok((part, self.task.score(&module, part, &self.device)?)))
            .collect::<Result<_, T::Error>>();
        self.scoring = Some(module);
        scores.map_err(RunError::task)
    }

    /// Running statistics of `snapshot` on each of several training batches. Empty if the task has
    /// no module for it.
    ///
    /// # Errors
    ///
    /// As [`score`](Self::score).
    pub fn statistics(
        &mut self,
        snapshot: &Snapshot,
        batches: impl IntoIterator<Item = u64>,
    ) -> Result<Vec<(u64, Vec<f32>)>, RunError> {
        let (task, layout) = (self.task, self.layout);
        let device = self.device.clone().autodiff();
        let module = match self.counting.take() {
            Some(module) => Some(module),
            // Nothing in it requires a gradient, so the tape holds no activations.
            None => task
                .statistics_module(&device)
                .map_err(RunError::task)?
                .map(|module| self.frozen.write(module.no_grad()))
                .transpose()
                .map_err(unfit)?,
        };
        let Some(module) = module else {
            return Ok(Vec::new());
        };
        let module = write(module, layout, snapshot).map_err(unfit)?;
        let mut statistics = Vec::new();
        for number in batches {
            let batch = task.train_batch(number).map_err(RunError::task)?;
            let key = StepKey {
                seed: self.seed,
                worker: u64::MAX,
                step: number,
            };
            drop(task.loss(&module, batch, &device, key));
            sweep_tape(&device);
            let buffers = read_buffers(&module, layout).map_err(unfit)?;
            statistics.push((number, buffers));
        }
        self.counting = Some(module);
        Ok(statistics)
    }
}

/// Burn frees what a forward pass has put on the tape only in a backward pass, of any thread and
/// tensor: this is an empty one.
fn sweep_tape(device: &Device) {
    Tensor::<1>::zeros([1], device).require_grad().backward();
}

fn unfit(why: SnapshotError) -> RunError {
    RunError::Unfit { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_add_up_whatever_the_order() {
        const METRICS: &[Metric] = &[
            Metric::lower("error", "%").of(|sums| sums.percent(1)),
            Metric::lower("loss", ""),
        ];
        let part = |loss, wrong, examples| Sums {
            examples,
            sums: vec![loss, wrong],
        };
        let forward = vec![(0, part(3.0, 1.0, 4)), (1, part(1.0, 1.0, 1))];
        let backward: Vec<_> = forward.iter().cloned().rev().collect();
        let expected = [("error", 40.0), ("loss", 0.8)];
        for parts in [forward, backward] {
            let Scored { examples, score } = score_of(parts, METRICS).unwrap();
            assert_eq!(examples, 5);
            assert_eq!(score.metrics().collect::<Vec<_>>(), expected);
        }
        assert_eq!(score_of(Vec::new(), METRICS), None);
    }

    #[test]
    fn statistics_come_from_the_last_batches() {
        assert_eq!(statistics_batches(100, 50), 50..100);
        assert_eq!(statistics_batches(20, 50), 0..20);
        assert_eq!(statistics_batches(0, 50), 0..1);
        let mean = mean_statistics(vec![(7, vec![1.0, 4.0]), (3, vec![3.0, 0.0])]);
        assert_eq!(mean, Some(vec![2.0, 2.0]));
    }
}
