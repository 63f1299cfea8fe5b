//! Workers that fail: each starts again from its leader, so many times, and is then left out.

use super::messages::Failed;
use super::run_loop::RunLoop;
use super::worker_pool::WorkerPool;
use crate::error::RunError;
use crate::task::Task;
use crate::words::count;

/// Whether a worker may go well if it starts again: another one might go on, as after a panic or with
/// a lost device. Data that cannot be read cannot be read again.
pub(super) fn may_pass(error: &RunError) -> bool {
    matches!(
        error,
        RunError::WorkerPanicked { .. }
            | RunError::DeviceFailed { .. }
            | RunError::WorkerDiverged { .. }
    )
}

impl<T: Task> RunLoop<T> {
    /// A worker has failed: it starts again from what was delivered last, or the others go on without
    /// it.
    ///
    /// # Errors
    ///
    /// The worker's error, if it would come again or no worker is left.
    pub(super) fn on_failure(
        &mut self,
        failed: Failed,
        pool: &mut WorkerPool,
    ) -> Result<(), RunError> {
        let Failed { worker, error } = failed;
        if pool.is_paused(worker) {
            // The others may be evaluated already: it cannot take part again before they go on.
            return Err(error);
        }
        if may_pass(&error)
            && let Some(number) = self.failures.count(worker)
            && let Some(step) = pool.restart(&self.ready, worker, &self.inbox)?
        {
            self.inbox.forget(worker);
            let most = self.failures.restarts();
            let line = format!("{error}; it starts again at step {step} ({number} of {most})");
            self.journal.observer.warn(&line);
            return Ok(());
        }
        pool.leave_out(worker);
        let left = pool.live().count();
        if !may_pass(&error) || left == 0 {
            return Err(error);
        }
        let line = format!(
            "{error}; going on with {} without it",
            count(left, "worker")
        );
        self.journal.observer.warn(&line);
        Ok(())
    }
}
