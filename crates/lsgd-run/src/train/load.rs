//! Loads a trained module from a run's checkpoint.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use lsgd_core::{Frozen, Layout, Snapshot, write};

use super::evaluation::{Scratch, mean_of, with_statistics};
use crate::error::RunError;
use crate::storage::{CheckpointName, CheckpointState, RunFolder, Which};
use crate::task::Task;

/// The module of a run's newest checkpoint, with the parameters of `which`, on `device` and without
/// autodiff. `task` is the task that the run trained, or one made from the same config.
///
/// # Errors
///
/// [`RunError`] if the module cannot be made, or the checkpoint lacks `which`, is damaged or is of another
/// model.
pub fn load<T: Task>(
    task: &T,
    run: &RunFolder,
    which: Which,
    device: &Device,
) -> Result<T::Module, RunError> {
    let (checkpoint, state) = CheckpointState::named(run, CheckpointName::Newest)?;
    let values = values(task, run, (&checkpoint, &state), which, device)?;
    let module = task
        .module(&device.clone().autodiff())
        .map_err(RunError::task)?;
    let frozen = state.read_frozen(&checkpoint, &Frozen::of(&module))?;
    let unfit = |why| RunError::Unfit { why };
    let module = frozen.write(module).map_err(unfit)?;
    Ok(write(module, values.layout(), &values)
        .map_err(unfit)?
        .valid())
}

/// The values of `which` in a checkpoint of a run: as they are stored, or, for the mean of the replicas or
/// of their moving averages in a checkpoint that was not evaluated, made as the run would have made them, on `device`. `task` is the task
/// that the run trained, or one made from the same config.
///
/// # Errors
///
/// [`RunError`] if the checkpoint lacks `which`, is damaged or is of another model, or the mean cannot be
/// made from the data of `task`.
pub fn values<T: Task>(
    task: &T,
    run: &RunFolder,
    (checkpoint, state): (&Path, &CheckpointState),
    which: Which,
    device: &Device,
) -> Result<Arc<Snapshot>, RunError> {
    let module = task
        .module(&device.clone().autodiff())
        .map_err(RunError::task)?;
    let layout = Layout::of(&module);
    if layout.digest().to_string() != state.layout {
        let why = "its model is not the one of this task; was the task, or its config, changed?";
        return Err(RunError::damaged(&checkpoint.join("state.json"), why));
    }
    let Some(batches) = state.unmade_mean(checkpoint, which)? else {
        return state.read(checkpoint, which, &layout).map(Arc::new);
    };
    let mean = plain_mean((checkpoint, state), which, &layout)?;
    let frozen = state.read_frozen(checkpoint, &Frozen::of(&module))?;
    let has_statistics = mean_needs_data(state, which, &layout);
    let re_estimates = || {
        Ok::<_, RunError>(
            task.statistics_module(device)
                .map_err(RunError::task)?
                .is_some(),
        )
    };
    if !has_statistics || !re_estimates()? {
        return Ok(mean);
    }
    if run.record()?.agreement != task.agreement() {
        return Err(RunError::Absent {
            path: checkpoint.to_owned(),
            why: format!(
                "it has no {which}, since it was not evaluated, and these are not the data to make one \
                 with; give the run's own, or {}",
                state.instead(checkpoint).trim_start_matches("give ")
            ),
        });
    }
    let mut scratch = Scratch::of(task, device.clone(), &layout, &frozen, batches.seed);
    let statistics = scratch.statistics(&mean, batches.range())?;
    with_statistics(&mean, statistics)?.ok_or_else(|| diverged(checkpoint, state, which))
}

/// Whether it takes the run's data to make a mean over the workers: to estimate its running statistics anew.
/// The mean of one worker is that worker, which has its own; its moving average has none.
pub fn mean_needs_data(state: &CheckpointState, which: Which, layout: &Layout) -> bool {
    layout.buffer_len() > 0 && (state.workers > 1 || which == Which::Ema)
}

/// The mean of all workers' values in a checkpoint, or, for [`Which::Ema`], of their moving averages, made
/// without the data: its running statistics are the mean of the workers' own. Where it
/// [needs no data](mean_needs_data), it is the mean that an evaluation would have made; otherwise [`values`]
/// makes that one.
///
/// # Errors
///
/// [`RunError`] if the checkpoint lacks a worker or is damaged, or a worker has values that are not finite.
pub fn plain_mean(
    (checkpoint, state): (&Path, &CheckpointState),
    which: Which,
    layout: &Arc<Layout>,
) -> Result<Arc<Snapshot>, RunError> {
    let of_worker = which.of_workers().unwrap_or(Which::Worker);
    let worker = |worker| {
        let values = state.read(checkpoint, of_worker(worker), layout);
        values.map(Arc::new)
    };
    let workers: Vec<_> = (0..state.workers).map(worker).collect::<Result<_, _>>()?;
    mean_of(&workers, layout).ok_or_else(|| diverged(checkpoint, state, which))
}

fn diverged(checkpoint: &Path, state: &CheckpointState, which: Which) -> RunError {
    RunError::Absent {
        path: checkpoint.to_owned(),
        why: format!(
            "it has no {which}: a worker had diverged; {}",
            state.instead(checkpoint)
        ),
    }
}
