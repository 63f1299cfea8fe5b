//! `lsgd-train bench FILE`: methods side by side, and one report of them.
//!
//! Every run keeps its folder; a bench that was stopped goes on with the run it was at. The report is
//! made from the folders alone.

mod curves;
mod estimate;
mod group;
mod leading;
mod picture;
mod plan;
mod reigns;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::TrainError;
use crate::progress::Progress;
use crate::run::RunFolder;
use crate::train::{self, Requests};
pub use plan::{Case, Changes, Entry, How, Plan, Variant};

/// Makes all runs of the bench file at `path`, changed as `changes` says, that are not there yet, and
/// the report. `say` is told each run before it is made. Returns where the report is.
///
/// # Errors
///
/// [`TrainError`] for a bench that makes no sense, for a run of another config where one of this bench
/// would be, and of the first run that fails.
pub fn bench(
    path: &Path,
    changes: Changes,
    requests: &Arc<Requests>,
    mut say: impl FnMut(&str),
) -> Result<PathBuf, TrainError> {
    let plan = Plan::load(path, changes)?;
    let entries = plan.entries()?;
    let count = entries.len();
    // All first: what is in the way of the last run is told before the first is made.
    let there: Vec<bool> = entries
        .iter()
        .map(|entry| is_there(&plan, entry))
        .collect::<Result<_, _>>()?;
    for ((number, entry), there) in (1..).zip(&entries).zip(there) {
        if there {
            continue;
        }
        let name = &entry.config.run.name;
        say(&format!("{number} of {count}: {name}"));
        let config = entry.config.clone();
        let progress = Progress::quiet();
        let outcome = match plan.how {
            How::Simulate => train::simulate(config, progress, requests.clone())?,
            How::Train => train::train(config, progress, requests.clone())?,
        };
        if requests.ends() {
            return Err(TrainError::Interrupted);
        }
        if let Some(diverged) = outcome.diverged() {
            say(&diverged.to_string());
        }
    }
    report::write(&plan, &entries)
}

/// Where a run's folder is.
fn folder(entry: &Entry) -> PathBuf {
    entry.config.run.folder.join(&entry.config.run.name)
}

/// Whether a run was made, to its end.
fn is_there(plan: &Plan, entry: &Entry) -> Result<bool, TrainError> {
    let path = folder(entry);
    if !path.join("summary.json").is_file() {
        return Ok(false);
    }
    let run = RunFolder::open(&path)?;
    let simulated = run.summary()?.simulated.is_some();
    let alike = simulated == (plan.how == How::Simulate) && run.config(&[])? == entry.config;
    match alike {
        // One that was asked to stop is made again.
        true => Ok(!RunFolder::unfinished(&path, false)),
        false => Err(TrainError::OtherRun { path }),
    }
}
