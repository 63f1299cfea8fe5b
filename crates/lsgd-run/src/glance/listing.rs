//! The runs in a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::of_run::{Glance, folders};
use crate::error::RunError;
use crate::storage::{FolderError, written};
use crate::words::first_line;

/// A run in a folder of runs.
#[derive(Debug)]
pub struct Listed {
    /// Its path from that folder.
    pub name: PathBuf,
    /// What is known of it.
    pub found: Found,
}

/// What is known of a run.
#[derive(Debug)]
pub enum Found {
    /// It could be read.
    Run(Box<Glance>),
    /// It could not.
    Unreadable {
        /// Why, in short.
        why: String,
        /// When its folder was last changed.
        last: SystemTime,
    },
}

impl Listed {
    /// When its last record was written.
    pub fn last(&self) -> SystemTime {
        match &self.found {
            Found::Run(glance) => glance.last,
            Found::Unreadable { last, .. } => *last,
        }
    }
}

/// The runs in `folder`, and in the folder `runs` of it, where a bench has its own; those with the newest
/// records first. A run of several nodes is one. If `folder` is that of a run itself, its nodes, or the
/// run. Folders that hold no run are left out.
///
/// # Errors
///
/// [`RunError::Absent`] if there is no such folder, [`RunError::Read`] if it cannot be read.
pub fn list(folder: &Path) -> Result<Vec<Listed>, RunError> {
    if !folder.is_dir() {
        return Err(RunError::Absent {
            path: folder.to_owned(),
            why: String::from(
                "there is no such folder; give one that holds runs, as run.folder of their configs says",
            ),
        });
    }
    let mut names = vec![PathBuf::new()];
    for inside in [Path::new(""), Path::new("runs")] {
        let place = folder.join(inside);
        if !place.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&place).map_err(RunError::read(&place))? {
            let name = entry.map_err(RunError::read(&place))?.file_name();
            names.push(inside.join(name));
        }
    }
    let mut runs: Vec<Listed> = names
        .into_iter()
        .filter_map(|name| look(folder, name))
        .collect();
    // A run is not listed beside its own nodes.
    if runs.len() > 1 {
        runs.retain(|run| run.name != Path::new(""));
    }
    runs.sort_by(|one, other| (other.last(), &one.name).cmp(&(one.last(), &other.name)));
    Ok(runs)
}

/// The run of that name; `None` if it is none.
fn look(folder: &Path, name: PathBuf) -> Option<Listed> {
    let path = folder.join(&name);
    if !path.is_dir() {
        return None;
    }
    let found = match Glance::of(&path) {
        Ok(None) => return None,
        Ok(Some(glance)) => Found::Run(Box::new(glance)),
        // A folder that may not be looked into, such as lost+found, is no run as far as is known.
        Err(_) if folders(&path).is_err() => return None,
        Err(error) => Found::Unreadable {
            why: short(&error, &path),
            last: written(&path).unwrap_or(SystemTime::UNIX_EPOCH),
        },
    };
    Some(Listed { name, found })
}

/// What is wrong with a run in the folder at `run`, without the path of that.
fn short(error: &RunError, run: &Path) -> String {
    let inside = |path: &Path| path.strip_prefix(run).unwrap_or(path).display().to_string();
    match error {
        RunError::Read { path, source } => format!("{}: {source}", inside(path)),
        RunError::Damaged { path, why } => format!("{}: {}", inside(path), first_line(why)),
        RunError::Folder(FolderError::NewerFormat {
            format, version, ..
        }) => {
            format!("its format {format} is of a newer version, {version}")
        }
        other => first_line(&other.to_string()),
    }
}
