//! The folder itself: its records, read and written.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::aside;
use super::claim::{self, Claim};
use super::files::{read_json, write_json, write_whole};
use super::folder_error::FolderError;
use super::records::{FORMAT, RunRecord, Summary, first_format};
use super::report_file::remove_report;
use crate::error::RunError;
use crate::words::one_line;

/// The folder of a run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    /// That no other process writes to it; nothing if it is only read.
    claim: Option<Arc<Claim>>,
}

impl RunFolder {
    fn of(path: PathBuf, claim: Option<Arc<Claim>>) -> Self {
        Self { path, claim }
    }

    /// Begins a new run where `claim` has made room, with what is known then: `config` as
    /// `config.toml`, and `run.json`.
    ///
    /// # Errors
    ///
    /// [`FolderError::RunExists`], [`FolderError::NotARun`], or [`RunError::Write`]; the old run is then
    /// unchanged.
    pub fn begin(claim: Claim, config: &str, record: &RunRecord) -> Result<Self, RunError> {
        claim.set_aside()?;
        let path = claim.folder().to_owned();
        // `run.json` first: it marks the other files as this program's.
        let written = write_json(&path.join("run.json"), record)
            .and_then(|()| write_whole(&path.join("config.toml"), config.as_bytes()));
        if let Err(error) = written {
            // Report the write error instead.
            let _ = aside::remove_own(&path);
            return Err(error);
        }
        Ok(Self::of(path, Some(Arc::new(claim))))
    }

    /// Continues a run, or a node's earlier incarnation, whose summary no longer holds. The config of
    /// a run that continues is the new one.
    ///
    /// # Errors
    ///
    /// [`RunError`] if its files cannot be read or written.
    pub fn go_on(claim: Claim, config: &str, resumes: bool) -> Result<Self, RunError> {
        check_format(claim.folder())?;
        claim.take_up()?;
        let folder = Self::of(claim.folder().to_owned(), Some(Arc::new(claim)));
        folder.reopen(config, resumes)?;
        Ok(folder)
    }

    /// Removes the results of a run that is to be continued, and the page about them.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    fn reopen(&self, config: &str, resumes: bool) -> Result<(), RunError> {
        let path = self.join("config.toml");
        // It may have been killed right after it began.
        if resumes || !path.exists() {
            write_whole(&path, config.as_bytes())?;
        }
        remove_report(&self.path)?;
        let summary = self.join("summary.json");
        match fs::remove_file(&summary) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(RunError::write(&summary)(error))
            }
            _ => Ok(()),
        }
    }

    /// Its `run.json`.
    ///
    /// # Errors
    ///
    /// [`FolderError::NewerFormat`], [`RunError::Read`] or [`RunError::Damaged`].
    pub fn record(&self) -> Result<RunRecord, RunError> {
        check_format(&self.path)?;
        read_json(&self.join("run.json"))
    }

    /// Replaces its `run.json`.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn rewrite(&self, record: &RunRecord) -> Result<(), RunError> {
        write_json(&self.join("run.json"), record)
    }

    /// Its `summary.json`.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`].
    pub fn summary(&self) -> Result<Summary, RunError> {
        read_json(&self.join("summary.json"))
    }

    /// Its `summary.json`, if there is one.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`].
    pub fn summary_if_any(&self) -> Result<Option<Summary>, RunError> {
        match self.summary() {
            Err(RunError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            summary => summary.map(Some),
        }
    }

    /// Writes what is known when it ends: `run.json` once more and `summary.json`. The run that it
    /// replaces goes.
    ///
    /// # Errors
    ///
    /// [`FolderError::Gone`] or [`RunError::Write`].
    pub fn write_end(&self, record: &RunRecord, summary: &Summary) -> Result<(), RunError> {
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
    /// [`FolderError::Gone`] or [`RunError::Write`].
    pub(super) fn check(&self) -> Result<(), RunError> {
        self.claim.as_ref().map_or(Ok(()), |claim| claim.check())
    }

    /// The new run has its first results: the run that it replaces is deleted.
    pub(super) fn keep(&self) {
        if let Some(claim) = &self.claim {
            claim.keep();
        }
    }

    /// The folder of a run that exists. If its replacement was killed before it had any results,
    /// the old run is put back.
    ///
    /// # Errors
    ///
    /// [`RunError::Absent`] if it is not a run, [`FolderError::NewerFormat`] if a newer version wrote it.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        if path.is_dir() {
            claim::settle(path)?;
        }
        Self::read_only(path)
    }

    /// The folder of a run that exists, as it is: nothing in it is changed, whichever state a killed
    /// process has left it in.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn read_only(path: &Path) -> Result<Self, RunError> {
        let absent = |why: String| RunError::Absent {
            path: path.to_owned(),
            why,
        };
        let why = match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                String::from("there is no such folder; give a folder such as runs/first")
            }
            Err(error) => return Err(RunError::read(path)(error)),
            Ok(found) if !found.is_dir() => {
                String::from("not a run, but a file; give a folder such as runs/first")
            }
            Ok(_) if path.join("config.toml").is_file() => {
                check_format(path)?;
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

    /// The folder of a run that is only looked at: nothing is checked, and no old run put back.
    pub fn look(path: &Path) -> Self {
        Self::of(path.to_owned(), None)
    }

    /// What `run.folder` and `run.name` are for a run in this folder, which is one level further down
    /// for one of several nodes.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] if the folder's own name cannot be found, [`FolderError::NotARun`] if that is
    /// not UTF-8.
    pub fn place(&self, is_node: bool) -> Result<(PathBuf, String), RunError> {
        let above = self.path.parent().and_then(Path::file_name);
        let is_named = self.path.file_name().is_some() && (!is_node || above.is_some());
        let path = match is_named {
            true => self.path.clone(),
            false => fs::canonicalize(&self.path).map_err(RunError::read(&self.path))?,
        };
        let run = match (is_node, path.parent()) {
            (true, Some(run)) => run,
            _ => path.as_path(),
        };
        let name = run.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| FolderError::NotARun {
            path: path.clone(),
            why: String::from("has a name that is not UTF-8; rename it"),
        })?;
        let folder = run.parent().unwrap_or(Path::new(""));
        Ok((folder.to_owned(), name.to_owned()))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// The part of `run.json` that says whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    #[serde(default = "first_format")]
    format: u32,
    #[serde(default)]
    version: String,
}

/// Refuses a run that a newer version wrote in another format.
///
/// # Errors
///
/// [`FolderError::NewerFormat`]. A missing or damaged `run.json` is no error here: readers that need it
/// report that.
pub(super) fn check_format(folder: &Path) -> Result<(), RunError> {
    let path = folder.join("run.json");
    match read_json(&path) {
        Ok(Head { format, version }) if format > FORMAT => Err(FolderError::NewerFormat {
            path,
            format,
            newest: FORMAT,
            version: one_line(&version),
        }
        .into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::claim::NodeNumber;
    use super::*;
    use crate::config::RunConfig;

    /// A folder with this `run.json`.
    fn run(record: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.toml"), "").unwrap();
        fs::write(folder.path().join("run.json"), record).unwrap();
        folder
    }

    /// The rest of a newer record need not be readable.
    #[test]
    fn a_run_of_a_newer_format_is_refused() {
        let folder = run(r#"{ "format": 2, "version": "7.1.0", "parameters": "many" }"#);
        let path = folder.path();
        let error = RunFolder::open(path).unwrap_err().to_string();
        let expected = "run.json: format 2, written by version 7.1.0, is newer than 1, the newest that \
                        this program reads; use a newer version of it";
        assert!(error.ends_with(expected), "{error}");
        let record = RunFolder::of(path.to_owned(), None).record().unwrap_err();
        assert_eq!(record.to_string(), error);
    }

    #[test]
    fn a_run_without_a_format_is_of_the_first() {
        let folder = run(
            r#"{ "version": "0.1.0", "commit": null, "burn": "0.22.1", "devices": ["flex"],
                 "machine": { "os": "linux", "architecture": "x86_64", "threads": 2 }, "seed": 1,
                 "agreement": {}, "layout": "", "parameters": 4, "start": "", "end": null }"#,
        );
        let record = RunFolder::open(folder.path()).unwrap().record().unwrap();
        assert_eq!(record.format, 1);
    }

    /// A node that was killed before its `config.toml` was written has it when it comes back.
    #[test]
    fn a_node_that_comes_back_has_its_config() {
        let runs = tempfile::tempdir().unwrap();
        let config = RunConfig {
            folder: runs.path().to_owned(),
            name: String::from("run"),
            ..RunConfig::default()
        };
        let place = runs.path().join("run/node-1");
        fs::create_dir_all(&place).unwrap();
        let sign = r#"{ "version": "", "burn": "", "layout": "" }"#;
        fs::write(place.join("run.json"), sign).unwrap();
        let claim = Claim::new(&config, Some(NodeNumber { node: 0, nodes: 2 }), false).unwrap();
        RunFolder::go_on(claim, "as it was", false).unwrap();
        let written = fs::read_to_string(place.join("config.toml")).unwrap();
        assert_eq!(written, "as it was");
    }
}
