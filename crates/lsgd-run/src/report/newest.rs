//! Which runs of a folder are shown while they go on.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::run::folders;
use crate::error::RunError;
use crate::storage::is_run;

/// The folders of the runs to show of `root`: of what [`folders`] takes, those; else of the runs in it or
/// in its `runs`, as a bench has them, at most `most`, those that were written to last.
///
/// # Errors
///
/// [`RunError::Read`], or [`RunError::NothingToShow`] if there is none yet.
pub fn newest(root: &Path, most: usize) -> Result<Vec<PathBuf>, RunError> {
    let begun = |folders: &Vec<PathBuf>| folders.iter().all(|path| is_run(path));
    let own = folders(root)?;
    if begun(&own) {
        return Ok(own);
    }
    let mut found = Vec::new();
    for folder in [root.to_owned(), root.join("runs")] {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(RunError::read(&folder))?,
        };
        for entry in entries {
            let path = entry.map_err(RunError::read(&folder))?.path();
            let of_it = folders(&path)?;
            if begun(&of_it) {
                let written = |path: &PathBuf| path.join("metrics.jsonl").metadata()?.modified();
                // Of one that has just begun there is no such file yet: it is the newest.
                let written = of_it.iter().map(|path| written(path).ok());
                let newest = written.map(|written| (written.is_none(), written)).max();
                found.push((newest, of_it));
            }
        }
    }
    found.sort_by(|(one, of_one), (other, of_other)| (other, of_one).cmp(&(one, of_other)));
    let mut newest: Vec<PathBuf> = Vec::new();
    for (_, of_it) in found {
        if newest.len() + of_it.len() <= most {
            newest.extend(of_it);
        }
    }
    match newest.is_empty() {
        true => Err(RunError::NothingToShow {
            path: root.to_owned(),
        }),
        false => Ok(newest),
    }
}
