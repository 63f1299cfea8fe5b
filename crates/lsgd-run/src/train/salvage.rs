//! Saves what can be saved of an aborted run.

use super::evaluation_pass::EvaluationPass;
use super::journal::Journal;
use crate::error::RunError;
use crate::storage::Checkpoints;
use crate::words::count;

/// Writes a checkpoint of the workers that could be read, unless there is nothing to save or it is
/// saved already. Returns a line about it.
///
/// # Errors
///
/// [`RunError::Write`].
pub fn save(
    left: EvaluationPass,
    checkpoints: &Checkpoints,
    journal: &mut Journal,
) -> Result<Option<String>, RunError> {
    let have_trained = left.workers.iter().any(|worker| worker.report.step > 0);
    let mut line = None;
    if have_trained && left.is_sound() {
        let mut checkpoint = left.checkpoint();
        checkpoint.state.broken_off = true;
        if let Some(path) = checkpoints.add(&mut checkpoint)? {
            journal.saved(checkpoint.state.step, left.seconds)?;
            line = Some(format!(
                "saved what {} of {} had trained: {}",
                left.workers.len(),
                count(left.setup.workers(), "worker"),
                path.display()
            ));
        }
    }
    journal.recorder.finish()?;
    Ok(line)
}

/// The line for the user, if there is one. A failure that equals `error`, which ended the run, is
/// not repeated.
pub fn message(
    saved: Result<Option<String>, RunError>,
    error: Option<&RunError>,
) -> Option<String> {
    saved.unwrap_or_else(|why| {
        let why = why.to_string();
        let is_known = error.is_some_and(|error| error.to_string() == why);
        (!is_known).then(|| format!("what was trained last is not saved: {why}"))
    })
}
