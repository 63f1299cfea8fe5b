//! Files and folders that are written whole or not at all, and read within bounds.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use crate::error::TrainError;

/// Largest record that is read back, in bytes.
const LARGEST_RECORD: u64 = 32 << 20;

/// Writes a file whole or not at all: beside its place first, then renamed to it.
///
/// # Errors
///
/// [`TrainError::Write`]; what was there before is then still there.
pub(crate) fn write_whole(path: &Path, contents: &[u8]) -> Result<(), TrainError> {
    let file = beside(path, contents)?;
    let put = file.persist(path);
    put.map_err(|error| TrainError::write(path)(error.error))?;
    Ok(())
}

/// The same for a file that must not be there yet.
///
/// # Errors
///
/// [`TrainError::FileExists`] or [`TrainError::Write`].
pub(crate) fn write_new(path: &Path, contents: &[u8]) -> Result<(), TrainError> {
    let file = beside(path, contents)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
            Err(TrainError::FileExists {
                path: path.to_owned(),
            })
        }
        Err(error) => Err(TrainError::write(path)(error.error)),
    }
}

/// A file beside `path`, which it is to be renamed to; it is removed when dropped.
fn beside(path: &Path, contents: &[u8]) -> Result<NamedTempFile<File>, TrainError> {
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
    Ok(file)
}

/// Writes a record as indented JSON.
///
/// # Errors
///
/// [`TrainError::Write`].
pub(super) fn write_json(path: &Path, record: &impl Serialize) -> Result<(), TrainError> {
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
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, TrainError> {
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
        .and_then(|()| fs::create_dir(part).map_err(TrainError::write(part)))
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
pub(super) fn remove_folder(path: &Path) -> Result<(), TrainError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(TrainError::write(path)(error)),
        _ => Ok(()),
    }
}

/// Whether `file` is what is found at `path`; an error if that cannot be told.
///
/// Where the system does not say which file is which, it is enough that there is one.
pub(super) fn is_at(file: &File, path: &Path) -> std::io::Result<bool> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let own = file.metadata()?;
        Ok((own.dev(), own.ino()) == (found.dev(), found.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = (file, found);
        Ok(true)
    }
}
