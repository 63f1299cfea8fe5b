//! An output file named by the user.

use std::fs::{self, File, FileType, Metadata};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::RunError;
use crate::storage::{FileError, Fill, belongs_to_run, fill_new, fill_whole, is_run};

/// Most symbolic links that are followed, as in Linux.
const MAX_LINKS: usize = 40;

/// An output file, checked before there is anything to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// As it was given.
    path: PathBuf,
    target: Target,
    force: bool,
}

/// What the path refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// A file that may exist, after resolving links: it is written whole or not at all.
    File(PathBuf),
    /// A device, a FIFO, or something that the process has open already, such as `/dev/stdout`:
    /// data is written into it, to a file at its end.
    Stream { is_file: bool },
    /// Standard output, given as `-`.
    StandardOutput,
}

impl Output {
    /// Checks `path`; `-` is standard output. An existing file is replaced only with `force`, and one
    /// that belongs to a run never.
    ///
    /// # Errors
    ///
    /// [`FileError::Exists`], [`FileError::OfARun`], or [`RunError::Write`] if no file can be
    /// there.
    pub fn new(path: &Path, force: bool) -> Result<Self, RunError> {
        let output = |target| Self {
            path: path.to_owned(),
            target,
            force,
        };
        if path == Path::new("-") {
            return Ok(output(Target::StandardOutput));
        }
        let found = match fs::metadata(path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(RunError::write(path)(error)),
        };
        let kind = found.as_ref().map(Metadata::file_type);
        let target = follow(path)?;
        if kind.is_some_and(is_stream) || target.starts_with("/proc") {
            let is_file = kind.is_some_and(|kind| kind.is_file());
            return Ok(output(Target::Stream { is_file }));
        }
        if kind.is_some_and(|kind| kind.is_dir()) {
            return Err(RunError::write(path)(ErrorKind::IsADirectory.into()));
        }
        if is_of_a_run(&target) {
            return Err(FileError::OfARun {
                path: path.to_owned(),
            }
            .into());
        }
        match found {
            Some(_) if !force => Err(FileError::Exists {
                path: path.to_owned(),
            }
            .into()),
            _ => Ok(output(Target::File(target))),
        }
    }

    /// The path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether data is passed on at once, and may go to standard output.
    pub fn is_stream(&self) -> bool {
        matches!(self.target, Target::Stream { .. } | Target::StandardOutput)
    }

    /// Whether it is the same file or stream as `other`, so that one would follow or replace the other.
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (&self.target, &other.target) {
            (Target::File(one), Target::File(two)) => one == two,
            _ => {
                let both = self.is_standard_output() && other.is_standard_output();
                both || self.path == other.path
            }
        }
    }

    fn is_standard_output(&self) -> bool {
        self.target == Target::StandardOutput || self.path == Path::new("/dev/stdout")
    }

    /// Writes all of `contents`.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`], or [`FileError::Exists`] if another process has created the file
    /// meanwhile; an existing file is then unchanged.
    pub fn write(&self, contents: &[u8]) -> Result<(), RunError> {
        self.fill(|file| {
            let written = file.write_all(contents);
            written.map_err(RunError::write(&self.path))
        })
    }

    /// The same with what `fill` writes, in pieces that are not too small.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write), and those of `fill`.
    pub fn fill(&self, fill: impl Fill) -> Result<(), RunError> {
        let told = |error| match error {
            RunError::Write { source, .. } => RunError::write(&self.path)(source),
            RunError::File(FileError::Exists { .. }) => FileError::Exists {
                path: self.path.clone(),
            }
            .into(),
            other => other,
        };
        match &self.target {
            Target::File(target) if self.force => fill_whole(target, fill).map_err(told),
            Target::File(target) => fill_new(target, fill).map_err(told),
            Target::Stream { is_file } => {
                let mut options = File::options();
                let opened = options.write(true).append(*is_file).open(&self.path);
                fill(&mut opened.map_err(RunError::write(&self.path))?)
            }
            Target::StandardOutput => {
                let mut out = io::stdout().lock();
                let named = RunError::write(Path::new("standard output"));
                match fill(&mut out).and_then(|()| out.flush().map_err(named)) {
                    // The reader has seen enough, as with `| head -1`.
                    Err(RunError::Write { source, .. })
                        if source.kind() == ErrorKind::BrokenPipe =>
                    {
                        Ok(())
                    }
                    Err(RunError::Write { source, .. }) => {
                        Err(RunError::write(Path::new("standard output"))(source))
                    }
                    filled => filled,
                }
            }
        }
    }
}

/// Whether what is at this absolute path, or would be, belongs to a run.
pub fn is_of_a_run(path: &Path) -> bool {
    let mut folders = path.ancestors().skip(1);
    let inside = |folder: &Path| path.strip_prefix(folder).is_ok_and(belongs_to_run);
    folders.any(|folder| inside(folder) && is_run(folder))
}

/// The file that a path refers to, after resolving all symbolic links, whether it exists or not;
/// its folder exists.
fn follow(path: &Path) -> Result<PathBuf, RunError> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder = folder.canonicalize().map_err(RunError::write(path))?;
        let Some(name) = target.file_name() else {
            return Err(RunError::write(path)(ErrorKind::IsADirectory.into()));
        };
        let found = folder.join(name);
        // A link in `/proc` is an open file of the process, whatever its name.
        let link = match found.starts_with("/proc") {
            true => None,
            false => fs::read_link(&found).ok(),
        };
        target = match link {
            Some(link) => folder.join(link),
            None => return Ok(found),
        };
    }
    Err(RunError::write(path)(ErrorKind::InvalidFilename.into()))
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
