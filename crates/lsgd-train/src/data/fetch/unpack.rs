//! Unpacking an archive without trusting it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path};

use flate2::read::GzDecoder;
use lsgd_run::words::one_line;

use super::super::DataError;
use super::super::error::io as io_error;
use super::Progress;

/// Most entries of an archive, and most bytes that those not wanted may have together.
const ENTRY_LIMIT: usize = 64;
const REST_LIMIT: u64 = 16 << 20;

/// Unpacks `files` (name and length) from the gzipped tar `archive` into `folder`, whatever folder
/// they have in the archive. Other plain files in it are left out. All or none: files are written
/// to a temporary folder and renamed once all of them are complete.
pub(super) fn unpack(
    archive: &Path,
    files: &[(&str, u64)],
    folder: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DataError> {
    let scratch = tempfile::Builder::new()
        .prefix(".unpack-")
        .tempdir_in(folder)
        .map_err(io_error(folder))?;
    let wanted: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    let packed = File::open(archive).map_err(io_error(archive))?;
    let mut tar = tar::Archive::new(GzDecoder::new(packed).take(wanted + REST_LIMIT));
    // `tar` quotes the archive as it is.
    let damaged = |error: io::Error| {
        let error = io::Error::new(error.kind(), one_line(&error.to_string()));
        io_error(archive)(error)
    };
    let refuse = |entry: &str, reason: String| DataError::ArchiveEntry {
        archive: archive.to_owned(),
        // A name may be of any length, and have line breaks.
        entry: one_line(entry),
        reason,
    };
    let mut found: Vec<&str> = Vec::new();
    for (number, entry) in tar.entries().map_err(damaged)?.enumerate() {
        let mut entry = entry.map_err(damaged)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if number >= ENTRY_LIMIT {
            return Err(refuse(&path, format!("more than {ENTRY_LIMIT} entries")));
        }
        check_path(&path).map_err(|reason| refuse(&path, reason))?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file() {
            return Err(refuse(&path, "neither a file nor a folder".to_owned()));
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        let Some((name, bytes)) = files.iter().find(|(wanted, _)| *wanted == name) else {
            continue;
        };
        if found.contains(name) {
            return Err(refuse(&path, "the second of this name".to_owned()));
        }
        if entry.size() != *bytes {
            let reason = format!("{} bytes long, not {bytes}", entry.size());
            return Err(refuse(&path, reason));
        }
        found.push(name);
        progress(Progress::Unpack {
            file: (*name).to_owned(),
        });
        write(&mut entry, *bytes, &scratch.path().join(name), archive)?;
    }
    if let Some((missing, _)) = files.iter().find(|(name, _)| !found.contains(name)) {
        return Err(refuse(missing, "not in the archive".to_owned()));
    }
    for (name, _) in files {
        let target = folder.join(name);
        fs::rename(scratch.path().join(name), &target).map_err(io_error(&target))?;
    }
    scratch.close().map_err(io_error(folder))
}

/// Only normal components: nothing absolute, no `..`.
fn check_path(path: &str) -> Result<(), String> {
    let plain = |c| matches!(c, Component::Normal(_) | Component::CurDir);
    // A backslash or a colon would be a separator or a drive on other systems.
    if path.is_empty()
        || path.contains(['\\', ':', '\0'])
        || !Path::new(path).components().all(plain)
    {
        return Err("its path leads out of the folder".to_owned());
    }
    Ok(())
}

/// Writes an entry of `bytes` bytes to `target` and to the disk.
fn write(
    entry: &mut impl Read,
    bytes: u64,
    target: &Path,
    archive: &Path,
) -> Result<(), DataError> {
    let mut file = File::create_new(target).map_err(io_error(target))?;
    let written = io::copy(&mut entry.take(bytes), &mut file).map_err(io_error(target))?;
    if written != bytes {
        let source = io::Error::from(io::ErrorKind::UnexpectedEof);
        return Err(DataError::Io {
            path: archive.to_owned(),
            source,
        });
    }
    file.sync_all().map_err(io_error(target))
}
