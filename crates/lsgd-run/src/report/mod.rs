//! A page about a run, or one that compares several: charts, figures and configs in one HTML file that
//! needs nothing else.
//!
//! Everything is read from the runs' folders, line by line and in bounded memory, however long the run
//! was: each series is thinned while it is read, and of many workers only the first have one.

mod chart;
mod charts;
mod comparison;
mod data;
mod events;
mod html;
mod leadership;
mod marks;
mod metrics;
mod origin;
mod page;
pub(crate) mod palette;
mod run;
mod settings;
mod svg;
mod tables;
mod thinning;

use std::path::Path;

use crate::error::RunError;
use crate::output::Output;
use crate::storage::{REPORT, is_report};

use run::Run;

/// Most folders that one page compares.
pub const MOST_RUNS: usize = 32;

/// The page about the runs in these folders. A folder of several nodes stands for all of them.
///
/// # Errors
///
/// [`RunError`] if there are more than [`MOST_RUNS`], if one is not a run, or if a file of it
/// cannot be read. A last line that is not finished, as of a run that still goes on, is left out.
pub fn page<P: AsRef<Path>>(folders: &[P]) -> Result<String, RunError> {
    let mut paths = Vec::new();
    for folder in folders {
        paths.extend(run::folders(folder.as_ref())?);
    }
    if paths.len() > MOST_RUNS {
        let (runs, most) = (paths.len(), MOST_RUNS);
        return Err(RunError::NotReported { runs, most });
    }
    let runs: Result<Vec<Run>, RunError> = paths.iter().map(|path| Run::read(path)).collect();
    let mut runs = runs?;
    comparison::tell_apart(&mut runs);
    page::page(&runs)
}

/// Where a page can be written: in place of an earlier one, but of another file only with `force`.
///
/// # Errors
///
/// As [`Output::new`].
pub fn output(path: &Path, force: bool) -> Result<Output, RunError> {
    Output::new(path, force || is_report(path))
}

/// Writes the page about the run in `folder` to that folder.
///
/// # Errors
///
/// As [`page`] and [`output`].
pub fn write(folder: &Path) -> Result<(), RunError> {
    let output = output(&folder.join(REPORT), false)?;
    output.write(page(&[folder])?.as_bytes())
}
