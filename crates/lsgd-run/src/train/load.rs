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

/// The values of `which` in a checkpoint of a run: as they are stored, or, for the replica mean of a
/// checkpoint that was not evaluated, made as the run would have made them, on `device`. `task` is the task
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
    let batches = match which {
        Which::Mean => state.unmade_mean(checkpoint)?,
        _ => None,
    };
    let Some(batches) = batches else {
        return state.read(checkpoint, which, &layout).map(Arc::new);
    };
    let mean = plain_mean(checkpoint, state, &layout)?;
    let frozen = state.read_frozen(checkpoint, &Frozen::of(&module))?;
    let has_statistics = layout.buffer_len() > 0 && state.workers > 1;
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
                "it has no mean, since it was not evaluated, and these are not the data to make one \
                 with; give the run's own, or {}",
                state.instead(checkpoint).trim_start_matches("give ")
            ),
        });
    }
    let mut scratch = Scratch::of(task, device.clone(), &layout, &frozen, batches.seed);
    let statistics = scratch.statistics(&mean, batches.range())?;
    with_statistics(&mean, statistics)?.ok_or_else(|| diverged(checkpoint, state))
}

/// The mean of all workers' values in a checkpoint, made without the data: its running statistics are the
/// mean of the workers' own. Where a layout has none, or there is one worker, it is the replica mean that an
/// evaluation would have made; otherwise [`values`] makes that one.
///
/// # Errors
///
/// [`RunError`] if the checkpoint lacks a worker or is damaged, or a worker has values that are not finite.
pub fn plain_mean(
    checkpoint: &Path,
    state: &CheckpointState,
    layout: &Arc<Layout>,
) -> Result<Arc<Snapshot>, RunError> {
    let worker = |worker| {
        let values = state.read(checkpoint, Which::Worker(worker), layout);
        values.map(Arc::new)
    };
    let workers: Vec<_> = (0..state.workers).map(worker).collect::<Result<_, _>>()?;
    mean_of(&workers, layout).ok_or_else(|| diverged(checkpoint, state))
}

fn diverged(checkpoint: &Path, state: &CheckpointState) -> RunError {
    RunError::Absent {
        path: checkpoint.to_owned(),
        why: format!(
            "it has no mean: a worker had diverged; {}",
            state.instead(checkpoint)
        ),
    }
}
