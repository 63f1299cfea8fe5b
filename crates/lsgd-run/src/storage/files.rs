//! Files and folders that are written whole or not at all, and read within limits.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use super::file_error::FileError;
use crate::error::RunError;
use crate::open_files::when_free;

/// Largest record that is read, in bytes.
const MAX_RECORD: u64 = 32 << 20;

/// Writes a file whole or not at all: next to its path first, then renamed.
///
/// # Errors
///
/// [`RunError::Write`]; an existing file is then unchanged.
pub fn write_whole(path: &Path, contents: &[u8]) -> Result<(), RunError> {
    fill_whole(path, |file| all(path, file, contents))
}

/// The same, with what `fill` writes.
///
/// # Errors
///
/// [`RunError::Write`], or that of `fill`; an existing file is then unchanged.
pub fn fill_whole(path: &Path, fill: impl Fill) -> Result<(), RunError> {
    let file = beside(path, fill)?;
    let put = file.persist(path);
    put.map_err(|error| RunError::write(path)(error.error))?;
    Ok(())
}

/// The same for a file that must not exist yet.
///
/// # Errors
///
/// [`FileError::Exists`] or [`RunError::Write`].
pub fn write_new(path: &Path, contents: &[u8]) -> Result<(), RunError> {
    fill_new(path, |file| all(path, file, contents))
}

/// The same, with what `fill` writes.
///
/// # Errors
///
/// [`FileError::Exists`], [`RunError::Write`], or that of `fill`.
pub fn fill_new(path: &Path, fill: impl Fill) -> Result<(), RunError> {
    let file = beside(path, fill)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(FileError::Exists {
            path: path.to_owned(),
        }
        .into()),
        Err(error) => Err(RunError::write(path)(error.error)),
    }
}

/// Writes the contents of a file piece by piece, however large it is.
pub trait Fill: FnOnce(&mut dyn Write) -> Result<(), RunError> {}

impl<F: FnOnce(&mut dyn Write) -> Result<(), RunError>> Fill for F {}

fn all(path: &Path, file: &mut dyn Write, contents: &[u8]) -> Result<(), RunError> {
    file.write_all(contents).map_err(RunError::write(path))
}

/// A temporary file next to `path`, to be renamed to it; removed when dropped.
fn beside(path: &Path, fill: impl Fill) -> Result<NamedTempFile<File>, RunError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Opened like any other file: those of tempfile are private to their owner, and its errors end
    // with a random name.
    let open = |beside: &Path| when_free(|| File::create_new(beside));
    let file = tempfile::Builder::new().make_in(folder, open);
    let mut file = file.map_err(RunError::write(path))?;
    fill(file.as_file_mut())?;
    file.as_file().sync_all().map_err(RunError::write(path))?;
    Ok(file)
}

/// Writes a record as indented JSON.
///
/// # Errors
///
/// [`RunError::Write`].
pub(super) fn write_json(path: &Path, record: &impl Serialize) -> Result<(), RunError> {
    write_whole(path, &to_json(path, record)?)
}

/// A record as indented JSON; `path` is for errors.
///
/// # Errors
///
/// [`RunError::Write`].
pub(super) fn to_json(path: &Path, record: &impl Serialize) -> Result<Vec<u8>, RunError> {
    let mut text =
        serde_json::to_vec_pretty(record).map_err(|error| RunError::write(path)(error.into()))?;
    text.push(b'\n');
    Ok(text)
}

/// Reads a record.
///
/// # Errors
///
/// [`RunError::Read`] or [`RunError::Damaged`].
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RunError> {
    let text = read_bounded(path, MAX_RECORD)?;
    serde_json::from_slice(&text).map_err(|error| RunError::damaged(path, error))
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
///
/// [`RunError::Read`], or [`RunError::Damaged`] for a larger file.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, RunError> {
    let larger = |size: &dyn Display| {
        let why = format!("{size} bytes are more than the {limit} such a file can have");
        RunError::damaged(path, why)
    };
    let file = when_free(|| File::open(path)).map_err(RunError::read(path))?;
    let size = file.metadata().map_err(RunError::read(path))?.len();
    if size > limit {
        return Err(larger(&size));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    // The file may be growing, and a device has no size.
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    match read.map_err(RunError::read(path))? as u64 > limit {
        true => Err(larger(&format_args!("over {limit}"))),
        false => Ok(bytes),
    }
}

/// Whether `path` still refers to `file`; an error if that cannot be determined.
///
/// Where the system does not identify files, existence is enough.
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

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// What is saved as JSON continues with the same bits. `serde_json` reads numbers to the last bit only
    /// with its feature `float_roundtrip`.
    #[test]
    fn numbers_are_read_back_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.json");
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let any = std::iter::repeat_with(|| f64::from_bits(random.random()));
        let numbers: Vec<f64> = any
            .filter(|number| number.is_finite())
            .take(20_000)
            .collect();
        write_json(&path, &numbers).unwrap();
        let read: Vec<f64> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let bits = |numbers: &[f64]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
        assert!(bits(&read) == bits(&numbers));
    }

    #[test]
    fn no_more_than_the_limit_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read_bounded(&path, 10).unwrap(), [7; 10]);
        let error = read_bounded(&path, 9).unwrap_err().to_string();
        assert!(
            error.ends_with("10 bytes are more than the 9 such a file can have"),
            "{error}"
        );
    }

    /// It has no size, and no end.
    #[test]
    #[cfg(target_os = "linux")]
    fn no_more_than_the_limit_is_read_of_a_device() {
        let error = read_bounded(Path::new("/dev/zero"), 9).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/dev/zero: over 9 bytes are more than the 9 such a file can have"
        );
    }
}
