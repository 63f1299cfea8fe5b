//! What is saved of a run that breaks off.

use super::examination::Examination;
use crate::error::TrainError;
use crate::run::{Checkpoints, Recorder};
use crate::words::count;

/// Writes a checkpoint of those workers that could be read, unless they have nothing to save or it is
/// there already. Returns a line that says so.
///
/// # Errors
///
/// [`TrainError::Write`].
pub fn save(
    left: Examination,
    checkpoints: &Checkpoints,
    recorder: &mut Recorder,
) -> Result<Option<String>, TrainError> {
    let have_trained = left.workers.iter().any(|worker| worker.report.step > 0);
    let mut line = None;
    if have_trained && left.is_sound() {
        let mut checkpoint = left.checkpoint();
        checkpoint.state.broken_off = true;
        if let Some(path) = checkpoints.add(&checkpoint)? {
            recorder.checkpoint(checkpoint.state.step, left.seconds)?;
            line = Some(format!(
                "saved what {} of {} had trained: {}",
                left.workers.len(),
                count(left.setup.workers(), "worker"),
                path.display()
            ));
        }
    }
    Ok(line)
}

/// The line for whoever watches, if there is one. What `error`, which ended the run, says is not said
/// twice.
pub fn told(
    saved: Result<Option<String>, TrainError>,
    error: Option<&TrainError>,
) -> Option<String> {
    saved.unwrap_or_else(|why| {
        let why = why.to_string();
        let is_known = error.is_some_and(|error| error.to_string() == why);
        (!is_known).then(|| format!("what was trained last is not saved: {why}"))
    })
}
