//! The operations on the disk that a checkpoint is written with, one by one: a process may be killed
//! before any of them, and in the middle of some.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::error::RunError;
use crate::open_files::when_free;

#[cfg(test)]
pub(super) mod kill;

/// Stands before every operation: a test stops here, as a process that is killed does.
#[cfg(not(test))]
fn before() -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
use kill::before;

/// How much of a file is written at once.
const BLOCK: usize = match cfg!(test) {
    true => 100,
    false => 1 << 20,
};

/// Creates a folder.
///
/// # Errors
///
/// [`RunError::Write`].
fn create_folder(path: &Path) -> Result<(), RunError> {
    let created = before().and_then(|()| fs::create_dir(path));
    created.map_err(RunError::write(path))
}

/// Creates a folder, unless it exists.
///
/// # Errors
///
/// [`RunError::Write`].
pub(super) fn ensure_folder(path: &Path) -> Result<(), RunError> {
    match before().and_then(|()| fs::create_dir(path)) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(RunError::write(path)(error)),
        _ => Ok(()),
    }
}

/// Writes a file that must not exist yet, and passes it to the disk.
///
/// # Errors
///
/// [`RunError::Write`]; a part of the file may then be there.
pub(super) fn write_file(path: &Path, contents: &[u8]) -> Result<(), RunError> {
    let write = || {
        before()?;
        let mut file = when_free(|| File::create_new(path))?;
        for block in contents.chunks(BLOCK) {
            before()?;
            file.write_all(block)?;
        }
        before()?;
        file.sync_all()
    };
    write().map_err(RunError::write(path))
}

/// Writes a file in place of another, or where there is none: whole or not at all. What a killed
/// process leaves of it is `NAME.part`.
///
/// # Errors
///
/// [`RunError::Write`]; the other file is then unchanged.
pub(super) fn replace_file(path: &Path, contents: &[u8]) -> Result<(), RunError> {
    let mut part = path.to_owned().into_os_string();
    part.push(".part");
    let part = Path::new(&part);
    let replaced = remove_file(part)
        .and_then(|()| write_file(part, contents))
        .and_then(|()| rename(part, path));
    if replaced.is_err() {
        // Report the write error instead.
        let _ = remove_file(part);
    }
    replaced
}

/// Renames a file or a folder.
///
/// # Errors
///
/// [`RunError::Write`], for the new name.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), RunError> {
    let renamed = before().and_then(|()| fs::rename(from, to));
    renamed.map_err(RunError::write(to))
}

/// Removes a file that may not exist.
///
/// # Errors
///
/// [`RunError::Write`].
pub(super) fn remove_file(path: &Path) -> Result<(), RunError> {
    match before().and_then(|()| fs::remove_file(path)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(RunError::write(path)(error)),
        _ => Ok(()),
    }
}

/// Removes a folder that may not exist.
///
/// # Errors
///
/// [`RunError::Write`].
pub(super) fn remove_folder(path: &Path) -> Result<(), RunError> {
    #[cfg(test)]
    kill::before_removing(path).map_err(RunError::write(path))?;
    match when_free(|| fs::remove_dir_all(path)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(RunError::write(path)(error)),
        _ => Ok(()),
    }
}

/// Passes the names in a folder to the disk: a file that was renamed there stays after a power cut.
///
/// # Errors
///
/// [`RunError::Write`].
pub(super) fn sync_folder(path: &Path) -> Result<(), RunError> {
    let sync = || {
        before()?;
        #[cfg(unix)]
        when_free(|| File::open(path))?.sync_all()?;
        Ok(())
    };
    sync().map_err(RunError::write(path))
}

/// Creates a folder whole or not at all: `part` is filled, and then renamed.
///
/// # Errors
///
/// [`RunError::Write`], or the error of `put`; `part` is then removed.
pub(super) fn make_folder(
    part: &Path,
    fill: impl FnOnce() -> Result<(), RunError>,
    put: impl FnOnce() -> Result<(), RunError>,
) -> Result<(), RunError> {
    let made = remove_folder(part)
        .and_then(|()| create_folder(part))
        .and_then(|()| fill())
        .and_then(|()| put());
    if made.is_err() {
        // Report the write error instead.
        let _ = remove_folder(part);
    }
    made
}
