//! The folder itself, and files that are written whole or not at all.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::records::{RunRecord, Summary};
use crate::config::{Config, RunConfig};
use crate::error::TrainError;
use crate::train::End;

/// Largest record that is read back, in bytes.
const LARGEST_RECORD: u64 = 16 << 20;

/// What a run is called while another takes its place.
const REPLACED: &str = "replaced";

/// The folder of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes `folder/name`, or for a node of several `folder/name/node-J`, with what is known when
    /// a run begins: `config` as `config.toml`, and `run.json`. An existing one is replaced only if
    /// `run` says so.
    ///
    /// It is made beside its place, as `.name.PID.part`, and renamed to it, and one that it replaces is
    /// `.name.replaced` meanwhile: whenever the process is killed, a whole run or nothing is found there.
    ///
    /// # Errors
    ///
    /// [`TrainError::RunExists`], [`TrainError::NotARun`], or [`TrainError::Write`]; what was there
    /// before is then still there.
    pub fn create(
        run: &RunConfig,
        node: Option<u32>,
        config: &str,
        record: &RunRecord,
    ) -> Result<Self, TrainError> {
        let path = place(run, node);
        restore(&path)?;
        let part = beside(&path, &format!("{}.part", process::id()));
        let fill = || {
            write_whole(&part.join("config.toml"), config.as_bytes())?;
            write_json(&part.join("run.json"), record)
        };
        let put = || put_in_place(&part, &path, run.overwrite);
        make_folder(&part, fill, put).map_err(|error| told_as(&part, &path, error))?;
        Ok(Self { path })
    }

    /// Whether [`create`](Self::create) or [`unfinished`](Self::unfinished) can have a folder here,
    /// told before a run is prepared for minutes.
    ///
    /// # Errors
    ///
    /// [`TrainError::RunExists`], [`TrainError::NotARun`] or [`TrainError::Write`].
    pub fn check(config: &RunConfig, node: Option<u32>) -> Result<(), TrainError> {
        let path = place(config, node);
        restore(&path)?;
        // Of several nodes one that was killed or stopped comes back to its folder.
        let comes_back = node.is_some() && Self::unfinished(config, node).is_some();
        match comes_back {
            true => Ok(()),
            false => check_place(&path, config.overwrite),
        }
    }

    /// The folder of a run that began and has not come to its end, if that is what is there: it
    /// was killed, or somebody asked it to stop, or it is that of a node that diverged, which may
    /// begin again as the others are.
    pub fn unfinished(config: &RunConfig, node: Option<u32>) -> Option<Self> {
        let folder = Self {
            path: place(config, node),
        };
        let summary = folder.join("summary.json");
        let stopped = || {
            read_json(&summary).is_ok_and(|s: Summary| match s.end {
                End::Budget => false,
                End::Interrupted => true,
                End::Diverged => node.is_some(),
            })
        };
        let began = folder.join("run.json").is_file();
        (began && (!summary.exists() || stopped())).then_some(folder)
    }

    /// Goes on where it was left: what it came to then is no summary of the whole.
    ///
    /// # Errors
    ///
    /// [`TrainError::Write`].
    pub fn reopen(&self) -> Result<(), TrainError> {
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

    /// Writes what is known when it ends: `run.json` once more and `summary.json`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Write`].
    pub fn write_end(&self, record: &RunRecord, summary: &Summary) -> Result<(), TrainError> {
        write_json(&self.join("run.json"), record)?;
        write_json(&self.join("summary.json"), summary)
    }

    /// The folder of a run that exists.
    ///
    /// # Errors
    ///
    /// [`TrainError::Absent`] if it is not a run.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        if !path.join("config.toml").is_file() {
            return Err(TrainError::Absent {
                path: path.to_owned(),
                why: String::from(
                    "not a run: it has no config.toml; give a folder such as runs/first",
                ),
            });
        }
        Ok(Self {
            path: path.to_owned(),
        })
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

/// A hidden folder beside `path`.
fn beside(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{what}"))
}

/// Puts back a run that was being replaced when the process was killed.
fn restore(path: &Path) -> Result<(), TrainError> {
    let replaced = beside(path, REPLACED);
    match !path.exists() && replaced.exists() {
        true => fs::rename(&replaced, path).map_err(TrainError::write(path)),
        false => Ok(()),
    }
}

/// An error on `part`, or on a file in it, told by the name that it was to have.
fn told_as(part: &Path, path: &Path, error: TrainError) -> TrainError {
    match error {
        TrainError::Write { path: at, source } => {
            let path = match at.strip_prefix(part) {
                // Without the slash that joining nothing puts behind it.
                Ok(rest) => path.join(rest).components().collect(),
                Err(_) => at,
            };
            TrainError::Write { path, source }
        }
        other => other,
    }
}

/// Renames `part` to `path`; a run that is there is replaced if it may be.
fn put_in_place(part: &Path, path: &Path, overwrite: bool) -> Result<(), TrainError> {
    check_place(path, overwrite)?;
    let replaced = beside(path, REPLACED);
    remove_folder(&replaced)?;
    let replaces = path.exists();
    if replaces {
        fs::rename(path, &replaced).map_err(TrainError::write(path))?;
    }
    if let Err(error) = fs::rename(part, path) {
        if replaces {
            let _ = fs::rename(&replaced, path);
        }
        return Err(match error.kind() {
            // Another process has been faster.
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => TrainError::RunExists {
                path: path.to_owned(),
            },
            _ => TrainError::write(path)(error),
        });
    }
    // What cannot be removed now is removed by the next run of the name.
    let _ = remove_folder(&replaced);
    Ok(())
}

/// Whether a folder can be had at `path`.
fn check_place(path: &Path, overwrite: bool) -> Result<(), TrainError> {
    let path = path.to_owned();
    match overwrite {
        _ if !path.exists() => Ok(()),
        false => Err(TrainError::RunExists { path }),
        true if !path.join("run.json").is_file() => Err(TrainError::NotARun { path }),
        true => Ok(()),
    }
}

/// The folder of a run, or of a node of several; nodes are counted from 1 where people see them.
fn place(config: &RunConfig, node: Option<u32>) -> PathBuf {
    let run = config.folder.join(&config.name);
    match node {
        Some(node) => run.join(format!("node-{}", node + 1)),
        None => run,
    }
}

/// Writes a file whole or not at all: beside its place first, then renamed to it.
///
/// # Errors
///
/// [`TrainError::Write`]; what was there before is then still there.
pub(crate) fn write_whole(path: &Path, contents: &[u8]) -> Result<(), TrainError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Opened as any other file: tempfile's own are their owner's alone, and its errors end with a
    // random name.
    let open = |beside: &Path| File::create_new(beside);
    let file = tempfile::Builder::new().make_in(folder, open);
    let mut file = file.map_err(TrainError::write(path))?;
    let written = file.as_file_mut().write_all(contents);
    written.map_err(TrainError::write(path))?;
    file.as_file().sync_all().map_err(TrainError::write(path))?;
    file.persist(path)
        .map_err(|error| TrainError::write(path)(error.error))?;
    Ok(())
}

/// Writes a record as indented JSON.
///
/// # Errors
///
/// [`TrainError::Write`].
pub(crate) fn write_json(path: &Path, record: &impl Serialize) -> Result<(), TrainError> {
    let mut text =
        serde_json::to_vec_pretty(record).map_err(|error| TrainError::write(path)(error.into()))?;
    text.push(b'\n');
    write_whole(path, &text)
}

/// Reads a record back.
///
/// # Errors
///
/// [`TrainError::Read`] or [`TrainError::Damaged`].
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, TrainError> {
    let text = read_bounded(path, LARGEST_RECORD)?;
    serde_json::from_slice(&text).map_err(|error| TrainError::damaged(path, error))
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
///
/// [`TrainError::Read`], or [`TrainError::Damaged`] for a larger file.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, TrainError> {
    let size = fs::metadata(path).map_err(TrainError::read(path))?.len();
    if size > limit {
        let why = format!("{size} bytes are more than the {limit} such a file can have");
        return Err(TrainError::damaged(path, why));
    }
    fs::read(path).map_err(TrainError::read(path))
}

/// Makes a folder whole or not at all: `part` is filled, and then put in its place.
///
/// # Errors
///
/// [`TrainError::Write`], or what `put` says; nothing is then left of `part`.
pub(super) fn make_folder(
    part: &Path,
    fill: impl FnOnce() -> Result<(), TrainError>,
    put: impl FnOnce() -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let made = remove_folder(part)
        .and_then(|()| fs::create_dir_all(part).map_err(TrainError::write(part)))
        .and_then(|()| fill())
        .and_then(|()| put());
    if made.is_err() {
        // What could not be written is the error to tell.
        let _ = remove_folder(part);
    }
    made
}

/// Removes a folder that may not be there.
///
/// # Errors
///
/// [`TrainError::Write`].
pub(crate) fn remove_folder(path: &Path) -> Result<(), TrainError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(TrainError::write(path)(error)),
        _ => Ok(()),
    }
}
