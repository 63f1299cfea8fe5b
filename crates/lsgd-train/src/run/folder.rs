//! The folder itself: its records, read and written.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::aside;
use super::claim::{self, Claim};
use super::files::{read_json, write_json, write_whole};
use super::records::{RunRecord, Summary};
use crate::config::Config;
use crate::error::TrainError;
use crate::train::End;

/// The folder of a run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    /// That no other process writes to it; nothing if it is only read.
    claim: Option<Arc<Claim>>,
}

impl RunFolder {
    pub(super) fn of(path: PathBuf, claim: Option<Arc<Claim>>) -> Self {
        Self { path, claim }
    }

    /// Whether what lies in `folder` is a run that began and has not come to its end: it was killed, or
    /// somebody asked it to stop, or it is that of a node of several that diverged, which may begin again
    /// as the others are.
    pub fn unfinished(folder: &Path, is_node: bool) -> bool {
        let summary = folder.join("summary.json");
        let stopped = || {
            read_json(&summary).is_ok_and(|s: Summary| match s.end {
                End::Budget => false,
                End::Interrupted => true,
                End::Diverged => is_node,
            })
        };
        aside::is_run(folder) && (!summary.exists() || stopped())
    }

    /// Takes away what a run came to that is to go on.
    ///
    /// # Errors
    ///
    /// [`TrainError::Write`].
    pub(super) fn reopen(&self, config: &str) -> Result<(), TrainError> {
        let path = self.join("config.toml");
        // It may have been killed right after it began.
        if !path.exists() {
            write_whole(&path, config.as_bytes())?;
        }
        let summary = self.join("summary.json");
        match fs::remove_file(&summary) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(TrainError::write(&summary)(error))
            }
            _ => Ok(()),
        }
    }

    /// Its `run.json`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Read`] or [`TrainError::Damaged`].
    pub fn record(&self) -> Result<RunRecord, TrainError> {
        read_json(&self.join("run.json"))
    }

    /// Its `summary.json`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Read`] or [`TrainError::Damaged`].
    pub fn summary(&self) -> Result<Summary, TrainError> {
        read_json(&self.join("summary.json"))
    }

    /// Writes what is known when it ends: `run.json` once more and `summary.json`. The run that it
    /// replaces goes.
    ///
    /// # Errors
    ///
    /// [`TrainError::Gone`] or [`TrainError::Write`].
    pub fn write_end(&self, record: &RunRecord, summary: &Summary) -> Result<(), TrainError> {
        self.check()?;
        write_json(&self.join("run.json"), record)?;
        write_json(&self.join("summary.json"), summary)?;
        self.keep();
        Ok(())
    }

    /// Whether it still is where it was made, and can be written to.
    ///
    /// # Errors
    ///
    /// [`TrainError::Gone`] or [`TrainError::Write`].
    pub(super) fn check(&self) -> Result<(), TrainError> {
        self.claim.as_ref().map_or(Ok(()), |claim| claim.check())
    }

    /// It has come to something: the run that it replaces goes.
    pub(super) fn keep(&self) {
        if let Some(claim) = &self.claim {
            claim.keep();
        }
    }

    /// The folder of a run that exists. Where one was about to be replaced by another that was killed
    /// before it came to anything, it is put back.
    ///
    /// # Errors
    ///
    /// [`TrainError::Absent`] if it is not a run.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let absent = |why: String| TrainError::Absent {
            path: path.to_owned(),
            why,
        };
        if path.is_dir() {
            claim::settle(path)?;
        }
        let why = match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                String::from("there is no such folder; give a folder such as runs/first")
            }
            Err(error) => return Err(TrainError::read(path)(error)),
            Ok(found) if !found.is_dir() => {
                String::from("not a run, but a file; give a folder such as runs/first")
            }
            Ok(_) if path.join("config.toml").is_file() => {
                return Ok(Self::of(path.to_owned(), None));
            }
            Ok(_) if path.join("node-1/config.toml").is_file() => format!(
                "a run of several nodes; give the folder of one, such as {}",
                path.join("node-1").display()
            ),
            Ok(_) => {
                String::from("not a run: it has no config.toml; give a folder such as runs/first")
            }
        };
        Err(absent(why))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The run's config, with overrides as typed.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn config(&self, overrides: &[String]) -> Result<Config, TrainError> {
        Ok(Config::load(&self.join("config.toml"), overrides)?)
    }
}
