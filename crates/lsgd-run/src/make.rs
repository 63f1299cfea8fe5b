//! Runs a task from a config.

#[cfg(feature = "report")]
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::config::{Config, ConfigError, TaskTable, TaskTables};
use crate::error::RunError;
#[cfg(feature = "report")]
use crate::landscape::{self, Landscape};
use crate::observer::Observer;
use crate::storage::CheckpointName;
use crate::task::Task;
use crate::train::{
    self, Context, Difference, Job, Outcome, Pace, RateCurve, RateTest, Replay, Replayed, Requests,
};

/// Makes a task from its settings: a struct whose fields are the keys of a table `[task]`
/// ([`TaskTable`]), or one of several tables ([`TaskTables`]).
pub trait MakeTask {
    /// The task.
    type Task: Task;

    /// Keys, as `task.text`, in which the nodes of a run may differ: paths, and what does not affect the
    /// result. All other keys must be the same on all nodes. To compare what a path leads to, use
    /// [`Task::agreement`].
    const OWN_KEYS: &'static [&'static str] = &[];

    /// The key of the number of examples in a batch, as `task.batch_size`, which `find-batch` sets; without
    /// it, that command is not possible.
    const BATCH_SIZE: Option<&'static str> = None;

    /// Makes the task for a run. It may warn the user with [`tracing::warn!`].
    ///
    /// # Errors
    ///
    /// Whatever prevents it: missing data, inconsistent settings.
    fn make(self, run: Context) -> Result<Self::Task, <Self::Task as Task>::Error>;
}

impl<C: MakeTask> MakeTask for TaskTable<C> {
    type Task = C::Task;

    const OWN_KEYS: &'static [&'static str] = C::OWN_KEYS;
    const BATCH_SIZE: Option<&'static str> = C::BATCH_SIZE;

    fn make(self, run: Context) -> Result<C::Task, <C::Task as Task>::Error> {
        self.task.make(run)
    }
}

/// Trains as `config` says, in its own folder, and handles `requests` meanwhile.
///
/// # Errors
///
/// [`RunError`]; the records written until then are in the run's folder, with a checkpoint of the
/// workers that could still be read.
pub fn train<C: MakeTask + TaskTables>(
    config: Config<C>,
    observer: Box<dyn Observer>,
    requests: Arc<Requests>,
) -> Result<Outcome, RunError> {
    let (job, tables) = job(config)?;
    train::train(job, making(tables), observer, requests)
}

/// Continues the run that is in the folder of `config` from its checkpoint `from`; if there is none,
/// begins it, as [`train()`].
///
/// # Errors
///
/// As [`train()`], and if the run cannot continue or not with these settings.
pub fn resume<C: MakeTask + TaskTables>(
    config: Config<C>,
    from: CheckpointName,
    observer: Box<dyn Observer>,
    requests: Arc<Requests>,
) -> Result<Outcome, RunError> {
    let (mut job, tables) = job(config)?;
    job.resume = Some(from);
    train::train(job, making(tables), observer, requests)
}

/// Simulates training as `config` says, with all nodes in this process and under a virtual clock.
///
/// # Errors
///
/// As [`train()`]; a request to end the run is also an error.
pub fn simulate<C: MakeTask + TaskTables>(
    config: Config<C>,
    observer: Box<dyn Observer>,
    requests: Arc<Requests>,
) -> Result<Outcome, RunError> {
    let (job, tables) = job(config)?;
    train::simulate(job, making(tables), observer, requests)
}

/// Replays an `async` run, whose own config `config` is; it may name other places for data. The inner
/// error is where it differs first.
///
/// # Errors
///
/// As [`train::replay`].
pub fn replay<C: MakeTask + TaskTables>(
    config: Config<C>,
    replay: Replay,
) -> Result<Result<Replayed, Difference>, RunError> {
    let (job, tables) = job(config)?;
    train::replay(replay, job, making(tables))
}

/// Tries learning rates on the first worker of the run that `config` describes, and writes nothing.
///
/// # Errors
///
/// As [`train::find_rate`].
pub fn find_rate<C: MakeTask + TaskTables>(
    config: Config<C>,
    test: RateTest,
) -> Result<RateCurve, RunError> {
    let (job, tables) = job(config)?;
    train::find_rate(job, test, making(tables))
}

/// Measures the pace of the first worker of the run that `config` describes, and writes nothing.
///
/// # Errors
///
/// As [`train::pace`].
pub fn pace<C: MakeTask + TaskTables>(config: Config<C>, steps: u64) -> Result<Pace, RunError> {
    let (job, tables) = job(config)?;
    train::pace(job, steps, making(tables))
}

/// Scores a plane through three vectors of a run, whose own config `config` is. `told` hears of each score,
/// and ends it with [`ControlFlow::Break`].
///
/// # Errors
///
/// As [`landscape::survey`].
#[cfg(feature = "report")]
pub fn landscape<C: MakeTask + TaskTables>(
    config: Config<C>,
    request: &landscape::Request,
    told: &mut dyn FnMut(landscape::Progress) -> ControlFlow<()>,
) -> Result<Landscape, RunError> {
    let (job, tables) = job(config)?;
    landscape::survey(job.settings, request, making(tables), told)
}

fn job<C: MakeTask + TaskTables>(config: Config<C>) -> Result<(Job, C), ConfigError> {
    let (mut job, tables) = Job::of(config)?;
    let own = |key: &str| C::OWN_KEYS.iter().any(|own| is_in(key, own));
    job.shared.retain(|key, _| !own(key));
    Ok((job, tables))
}

fn making<C: MakeTask>(tables: C) -> impl FnOnce(Context) -> Result<C::Task, RunError> {
    |run| tables.make(run).map_err(RunError::task)
}

/// Whether `key` is `outer` or a key of the table `outer`.
fn is_in(key: &str, outer: &str) -> bool {
    let rest = key.strip_prefix(outer);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_its_tables_and_in_no_other() {
        for outer in ["task", "task.text", "task.text.path"] {
            assert!(is_in("task.text.path", outer), "{outer}");
        }
        for outer in ["tas", "task.te", "task.text.path.more", "text"] {
            assert!(!is_in("task.text.path", outer), "{outer}");
        }
    }
}
