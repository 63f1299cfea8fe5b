//! A file that is written where a user says.

use std::fs::{self, File, FileType, Metadata};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::TrainError;
use crate::run::{belongs_to_run, is_run, write_new, write_whole};

/// Most symbolic links that are followed from one to the next, as in Linux.
const MOST_LINKS: usize = 40;

/// A place for a file, looked at before there is anything to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// As it was given.
    path: PathBuf,
    place: Place,
    force: bool,
}

/// What is at the place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// A file or nothing, behind all links: it is written whole or not at all.
    File(PathBuf),
    /// A device, a FIFO, or what the process has open already, such as `/dev/stdout`: it is written
    /// into, a file at its end.
    Stream { is_file: bool },
}

impl Output {
    /// Looks at `path`. A file that is there is to be replaced only with `force`, one that belongs to
    /// a run never.
    ///
    /// # Errors
    ///
    /// [`TrainError::FileExists`], [`TrainError::OfARun`], or [`TrainError::Write`] where no file can
    /// be.
    pub fn new(path: &Path, force: bool) -> Result<Self, TrainError> {
        let output = |place| Self {
            path: path.to_owned(),
            place,
            force,
        };
        let found = match fs::metadata(path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(TrainError::write(path)(error)),
        };
        let kind = found.as_ref().map(Metadata::file_type);
        let target = follow(path)?;
        if kind.is_some_and(is_stream) || target.starts_with("/proc") {
            let is_file = kind.is_some_and(|kind| kind.is_file());
            return Ok(output(Place::Stream { is_file }));
        }
        if kind.is_some_and(|kind| kind.is_dir()) {
            return Err(TrainError::write(path)(ErrorKind::IsADirectory.into()));
        }
        let mut folders = target.ancestors().skip(1);
        let inside = |folder: &Path| target.strip_prefix(folder).is_ok_and(belongs_to_run);
        if folders.any(|folder| inside(folder) && is_run(folder)) {
            return Err(TrainError::OfARun {
                path: path.to_owned(),
            });
        }
        match found {
            Some(_) if !force => Err(TrainError::FileExists {
                path: path.to_owned(),
            }),
            _ => Ok(output(Place::File(target))),
        }
    }

    /// Where it is, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what is written is read by somebody else at once, and may be standard output.
    pub fn is_stream(&self) -> bool {
        matches!(self.place, Place::Stream { .. })
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// [`TrainError::Write`], or [`TrainError::FileExists`] if somebody else has been faster; a file
    /// that was there before is then still there.
    pub fn write(&self, contents: &[u8]) -> Result<(), TrainError> {
        let told = |error| match error {
            TrainError::Write { source, .. } => TrainError::write(&self.path)(source),
            TrainError::FileExists { .. } => TrainError::FileExists {
                path: self.path.clone(),
            },
            other => other,
        };
        match &self.place {
            Place::File(target) if self.force => write_whole(target, contents).map_err(told),
            Place::File(target) => write_new(target, contents).map_err(told),
            Place::Stream { is_file } => {
                let mut options = File::options();
                let opened = options.write(true).append(*is_file).open(&self.path);
                let written = opened.and_then(|mut file| file.write_all(contents));
                written.map_err(TrainError::write(&self.path))
            }
        }
    }
}

/// The file that a path stands for, behind all symbolic links, there or not; its folder is.
fn follow(path: &Path) -> Result<PathBuf, TrainError> {
    let mut target = path.to_owned();
    for _ in 0..MOST_LINKS {
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder = folder.canonicalize().map_err(TrainError::write(path))?;
        let Some(name) = target.file_name() else {
            return Err(TrainError::write(path)(ErrorKind::IsADirectory.into()));
        };
        let found = folder.join(name);
        // In `/proc` a link is what the process has open, whatever name that has.
        let link = match found.starts_with("/proc") {
            true => None,
            false => fs::read_link(&found).ok(),
        };
        target = match link {
            Some(link) => folder.join(link),
            None => return Ok(found),
        };
    }
    Err(TrainError::write(path)(ErrorKind::InvalidFilename.into()))
}

#[cfg(unix)]
fn is_stream(kind: FileType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    kind.is_fifo() || kind.is_char_device() || kind.is_block_device() || kind.is_socket()
}

#[cfg(not(unix))]
fn is_stream(_: FileType) -> bool {
    false
}
