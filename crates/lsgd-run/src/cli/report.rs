//! `report`: a page about runs, and the one that a run leaves in its folder.

use std::path::PathBuf;

use clap::Args;

use super::path::path;
use crate::error::RunError;
use crate::output::Output;
use crate::report;
use crate::storage::{REPORT, is_report};
use crate::train::Outcome;

/// Most workers of a simulation that leaves a page.
const SIMULATED: usize = 64;

/// Arguments of `report`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Report {
    /// Folders of runs, such as runs/first; of several nodes, the one that holds all of them
    #[arg(value_name = "RUN", required = true, value_parser = path())]
    pub runs: Vec<PathBuf>,

    /// Where to write the page; - is standard output [default: RUN/report.html, of several runs
    /// report.html]
    #[arg(long, short, visible_alias = "out", value_name = "FILE", value_parser = path())]
    pub output: Option<PathBuf>,

    /// Instead of a page, write the lines of metrics.jsonl of one run as a table; - is standard output
    #[arg(long, value_name = "FILE", value_parser = path(), conflicts_with = "output")]
    pub csv: Option<PathBuf>,

    /// Instead of a page, write params, metrics and tags of the runs to a store of MLflow in this folder
    ///
    /// It may be new, empty, or such a store, in which an entry of the same run is replaced. MLflow shows it with
    /// `mlflow ui --backend-store-uri FOLDER`.
    #[arg(
        long,
        value_name = "FOLDER",
        value_parser = path(),
        conflicts_with_all = ["output", "csv", "force"]
    )]
    pub mlflow: Option<PathBuf>,

    /// Replace the file if it exists and is no earlier report
    #[arg(long)]
    pub force: bool,
}

impl Report {
    fn path(&self) -> PathBuf {
        match (&self.output, self.runs.as_slice()) {
            (Some(output), _) => output.clone(),
            (None, [run]) => run.join(REPORT),
            (None, _) => PathBuf::from(REPORT),
        }
    }
}

/// Makes the page, the table or the entries that are asked for. Returns where they are, unless they were passed
/// on at once.
///
/// # Errors
///
/// [`RunError`] if a run cannot be read, or the file not be written.
pub(super) fn make(arguments: &Report) -> Result<Option<PathBuf>, RunError> {
    if let Some(store) = &arguments.mlflow {
        report::export_to_mlflow(&arguments.runs, store)?;
        return Ok(Some(store.clone()));
    }
    let output = write(arguments)?;
    Ok((!output.is_stream()).then(|| output.path().to_owned()))
}

fn write(arguments: &Report) -> Result<Output, RunError> {
    if let Some(csv) = &arguments.csv {
        let output = Output::new(csv, arguments.force)?;
        report::table(&arguments.runs, &output)?;
        return Ok(output);
    }
    // First of all, so that a wrong folder is not taken for a file that cannot be written.
    let page = report::page(&arguments.runs)?;
    let output = report::output(&arguments.path(), arguments.force)?;
    output.write(page.as_bytes())?;
    Ok(output)
}

/// Most bytes of records of which a run makes its page itself: it ends within a second or so.
const RECORDS: u64 = 64 << 20;

/// Leaves a page in the folder of a run that has ended. If that is not possible, the run is unaffected: it
/// is only a warning.
pub(super) fn leave(outcome: &Outcome) {
    let summary = &outcome.summary;
    if summary.simulated.is_some() && summary.workers > SIMULATED {
        return;
    }
    let path = outcome.folder.join(REPORT);
    let length = |name| {
        outcome
            .folder
            .join(name)
            .metadata()
            .map_or(0, |file| file.len())
    };
    if length("metrics.jsonl") + length("events.jsonl") > RECORDS {
        tracing::info!(
            "its records are long: make its report with `report {}`",
            outcome.folder.path().display()
        );
    } else if path.symlink_metadata().is_ok() && !is_report(&path) {
        tracing::warn!(
            "{} is no earlier report, and stays as it is",
            path.display()
        );
    } else if let Err(error) = report::write(outcome.folder.path()) {
        tracing::warn!("the run has ended, but its report was not written: {error}");
    }
}
