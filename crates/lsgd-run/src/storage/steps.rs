//! The folders of a run's checkpoints: `step-N`, and under other names what is none yet or no more.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::aside;
use super::disk::{remove_file, remove_folder, rename};
use crate::error::RunError;
use crate::open_files::when_free;

/// Completes what a process was killed in: a checkpoint that was being replaced comes back, what was
/// being written or removed goes.
///
/// # Errors
///
/// [`RunError::Write`].
pub(super) fn settle(folder: &Path) -> Result<(), RunError> {
    for path in paths_in(folder)? {
        let whole = path.with_extension("");
        match extension(&path) {
            Some("old") if !whole.exists() => rename(&path, &whole)?,
            Some(_) => remove_folder(&path)?,
            None => {}
        }
    }
    for checkpoint in paths_in(folder)? {
        let files = when_free(|| fs::read_dir(&checkpoint));
        let files = files.into_iter().flatten().flatten();
        let parts = files.map(|file| file.path());
        let mut parts = parts.filter(|path| extension(path) == Some("part"));
        parts.try_for_each(|part| remove_file(&part))?;
    }
    Ok(())
}

/// The folders of checkpoints, complete or not; none if there is no such folder.
fn paths_in(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
    // A link to what is not there now, such as a disk, is not the same as no checkpoints.
    if folder
        .symlink_metadata()
        .is_err_and(|error| error.kind() == ErrorKind::NotFound)
    {
        return Ok(Vec::new());
    }
    let entries = when_free(|| fs::read_dir(folder)).map_err(RunError::read(folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(RunError::read(folder))?;
        if entry.file_name().to_str().is_some_and(aside::is_checkpoint) {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

fn extension(path: &Path) -> Option<&str> {
    path.extension().and_then(|extension| extension.to_str())
}

/// The checkpoints in a folder, by step, for a reader that may not [`settle`] it: one that is
/// being replaced is there under its other name.
///
/// # Errors
///
/// [`RunError::Read`].
pub(super) fn readable(folder: &Path) -> Result<BTreeMap<u64, PathBuf>, RunError> {
    let mut found = BTreeMap::new();
    for path in paths_in(folder)? {
        let step = path.file_stem().and_then(|stem| stem.to_str());
        let step = step.and_then(|stem| stem.strip_prefix("step-")?.parse().ok());
        match (step, extension(&path)) {
            (Some(step), None) => {
                found.insert(step, path);
            }
            (Some(step), Some("old")) => {
                found.entry(step).or_insert(path);
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The steps of the checkpoints in a folder, in no order; empty if it does not exist.
///
/// # Errors
///
/// [`RunError::Read`].
pub(super) fn steps_in(folder: &Path) -> Result<Vec<u64>, RunError> {
    let step = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("step-")?.parse().ok()
    };
    Ok(paths_in(folder)?.iter().filter_map(step).collect())
}
