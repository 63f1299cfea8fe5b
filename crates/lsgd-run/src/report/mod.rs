//! A page about a run, or one that compares several: charts, figures and configs in one HTML file that
//! needs nothing else.
//!
//! Everything is read from the runs' folders, line by line and in bounded memory, however long the run
//! was: each series is thinned while it is read, and of many workers only the first have one.

mod chart;
mod charts;
mod comparison;
mod csv;
mod data;
mod error;
mod event_line;
mod events;
#[cfg(feature = "serve")]
mod exposition;
mod html;
mod leadership;
mod links;
#[cfg(feature = "serve")]
mod live;
mod marks;
mod metrics;
mod mlflow;
#[cfg(feature = "serve")]
mod newest;
mod origin;
mod page;
pub(crate) mod palette;
mod run;
mod section;
mod settings;
mod status;
mod svg;
mod tables;
mod thinning;

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;

use crate::error::RunError;
use crate::output::Output;
use crate::storage::{REPORT, is_report};

pub use error::ReportError;
#[cfg(feature = "serve")]
pub(crate) use exposition::CONTENT_TYPE as FIGURES_TYPE;
use run::Run;
pub(crate) use svg::label as axis_label;

/// Most threads that parse records: one more, which reads them, keeps no more of them busy.
const MOST_THREADS: usize = 4;

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
        return Err(ReportError::NotReported { runs, most }.into());
    }
    page::page(&read(&paths)?)
}

/// The runs in these folders.
fn read(paths: &[PathBuf]) -> Result<Vec<Run>, RunError> {
    let threads = threads();
    let runs = paths.iter().map(|path| Run::read(path, threads));
    let mut runs = runs.collect::<Result<Vec<Run>, RunError>>()?;
    comparison::tell_apart(&mut runs);
    Ok(runs)
}

/// How many threads parse records of runs that nobody follows.
fn threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    cores.min(MOST_THREADS)
}

/// Writes the lines of `metrics.jsonl` in these folders, which must be a single one, to `output` as CSV.
///
/// # Errors
///
/// [`ReportError::NotOneTable`]; [`RunError`] if the run cannot be read, or `output` not be written.
pub fn table<P: AsRef<Path>>(folders: &[P], output: &Output) -> Result<(), RunError> {
    let mut paths = Vec::new();
    for folder in folders {
        paths.extend(run::folders(folder.as_ref())?);
    }
    match paths.as_slice() {
        [path] => csv::write(path, threads(), output),
        paths => Err(ReportError::NotOneTable { runs: paths.len() }.into()),
    }
}

/// Writes the runs in these folders as entries of MLflow's store in `store`. A folder of several nodes stands
/// for all of them.
///
/// # Errors
///
/// [`RunError`] if a run cannot be read; [`ReportError::NoMlflowStore`] if `store` holds something else;
/// [`RunError::File`] or [`RunError::Write`] if nothing can be written there.
pub fn export_to_mlflow<P: AsRef<Path>>(folders: &[P], store: &Path) -> Result<(), RunError> {
    let mut paths = Vec::new();
    for folder in folders {
        paths.extend(run::folders(folder.as_ref())?);
    }
    mlflow::write(&paths, store, threads())
}

/// Runs as they are in their folders now, for those who look at them while they go on.
#[cfg(feature = "serve")]
pub(crate) struct Current(newest::Found);

#[cfg(feature = "serve")]
impl Current {
    /// Reads the runs of `root`: it is a run, or one of several nodes, or holds runs, of which those
    /// that were written to last are read. What cannot be read is left out.
    ///
    /// # Errors
    ///
    /// [`RunError`] if there is no run yet, or none that can be read.
    pub fn read(root: &Path) -> Result<Self, RunError> {
        let mut found = newest::read(root, MOST_RUNS)?;
        comparison::tell_apart(&mut found.runs);
        Ok(Self(found))
    }

    /// A page that follows them.
    ///
    /// # Errors
    ///
    /// [`ReportError::Drawing`].
    pub fn page(&self) -> Result<String, RunError> {
        live::page(&self.0.runs, &self.0.left_out, "")
    }

    /// What such a page asks for, as JSON.
    pub fn state(&self) -> String {
        live::state(&self.0.runs, &self.0.left_out)
    }

    /// Their latest figures, in Prometheus' text format.
    pub fn figures(&self) -> String {
        exposition::exposition(&self.0.runs)
    }
}

/// A page that follows runs which have not begun.
#[cfg(feature = "serve")]
pub(crate) fn page_of_none(why: &str) -> Result<String, RunError> {
    live::page(&[], &[], why)
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
