//! Loads a trained module from a run's checkpoint.

use burn::module::Module;
use burn::tensor::Device;
use lsgd_core::{Frozen, Layout, write};

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
    let module = task
        .module(&device.clone().autodiff())
        .map_err(RunError::task)?;
    let layout = Layout::of(&module);
    if layout.digest().to_string() != state.layout {
        let why = "its model is not the one of this task; was the task, or its config, changed?";
        return Err(RunError::damaged(&checkpoint.join("state.json"), why));
    }
    let frozen = state.read_frozen(&checkpoint, &Frozen::of(&module))?;
    let snapshot = state.read(&checkpoint, which, &layout)?;
    let unfit = |why| RunError::Unfit { why };
    let module = frozen.write(module).map_err(unfit)?;
    Ok(write(module, &layout, &snapshot).map_err(unfit)?.valid())
}
