//! Methods side by side: a grid of methods, numbers of workers, periods and seeds from a TOML file, and
//! one report of all runs.
//!
//! Every run keeps its folder, so a bench that was stopped continues with the run it had reached.
//! The report is made from the folders alone, and compares runs by their task's main metric.

mod axis;
mod case_runs;
mod curves;
mod error;
mod estimate;
mod leadership;
mod leadership_chart;
mod picture;
mod plan;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use case_runs::Results;

use crate::config::{Config, TaskTables};
use crate::error::RunError;
use crate::make::{self, MakeTask};
use crate::progress::Progress;
use crate::storage::{RunFolder, is_unfinished};
use crate::train::Requests;

pub use error::{BenchError, MetricDifference, PlanProblem};
pub use plan::{Case, Changes, Entry, How, Plan, Variant};

/// Makes all missing runs of the bench file at `path`, modified by `changes`, and the report. `say`
/// is called with each run before it starts. Returns the path of the report.
///
/// # Errors
///
/// [`RunError`] for an invalid bench, for a run of another config where one of this bench would be,
/// and for the first run that fails.
pub fn run<T: MakeTask + TaskTables>(
    path: &Path,
    changes: Changes,
    requests: &Arc<Requests>,
    mut say: impl FnMut(&str),
) -> Result<PathBuf, RunError> {
    let plan = Plan::load::<T>(path, changes)?;
    let entries = plan.entries::<T>()?;
    let count = entries.len();
    // Check all runs first: an obstacle to the last one is reported before the first starts.
    let there: Vec<bool> = entries
        .iter()
        .map(|entry| is_there(&plan, entry))
        .collect::<Result<_, _>>()?;
    for ((number, entry), there) in (1..).zip(&entries).zip(there) {
        if there {
            continue;
        }
        let name = &entry.config.settings.run.name;
        say(&format!("{number} of {count}: {name}"));
        let config = entry.config.clone();
        let progress = Box::new(Progress::quiet());
        let outcome = match plan.how {
            How::Simulate => make::simulate(config, progress, requests.clone())?,
            How::Train => make::train(config, progress, requests.clone())?,
        };
        if requests.ends() {
            return Err(RunError::Interrupted);
        }
        if let Some(diverged) = outcome.diverged() {
            say(&diverged.to_string());
        }
    }
    report::write(&plan, &Results::read(&entries)?)
}

/// Whether a run is complete.
fn is_there<T: TaskTables>(plan: &Plan, entry: &Entry<T>) -> Result<bool, RunError> {
    let path = entry.folder();
    if !path.join("summary.json").is_file() {
        return Ok(false);
    }
    let run = RunFolder::open(&path)?;
    let simulated = run.summary()?.simulated.is_some();
    let made = Config::<T>::load(&run.join("config.toml"), &[])?;
    // As text: a task's tables need not be comparable.
    let alike =
        simulated == (plan.how == How::Simulate) && made.to_toml()? == entry.config.to_toml()?;
    match alike {
        // A run that was asked to stop is made again.
        true => Ok(!is_unfinished(&path, false)),
        false => Err(BenchError::OtherRun { path }.into()),
    }
}
