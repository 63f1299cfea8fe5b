//! Files with one JSON value per line: written, and read back.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::is_at;
use super::folder_error::FolderError;
use crate::error::RunError;
use crate::injection::Disk;
use crate::open_files::when_free;

/// A file with one JSON value per line.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    file: File,
    /// Length of the file in bytes: all complete lines.
    length: u64,
    /// Lines that are yet to be written.
    waiting: Waiting,
    /// Why they wait.
    full: Option<RunError>,
    disk: Disk,
}

/// Most bytes that wait for room on the disk.
const MAX_WAITING: usize = 8 << 20;

/// Lines that are yet to be written.
#[derive(Debug, Default)]
struct Waiting(Vec<u8>);

/// What a write of several lines has done.
struct Progress {
    /// Bytes of complete lines.
    whole: usize,
    /// Bytes of an incomplete line after them.
    torn: usize,
    /// The error that it ended with.
    outcome: std::io::Result<()>,
}

impl Waiting {
    /// Writes as much as there is room for. Complete lines no longer wait.
    fn write(&mut self, file: &mut impl Write) -> Progress {
        let mut written = 0;
        let outcome = loop {
            let rest = &self.0[written..];
            if rest.is_empty() {
                break Ok(());
            }
            match file.write(rest) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        let newline = self.0[..written].iter().rposition(|byte| *byte == b'\n');
        let whole = newline.map_or(0, |newline| newline + 1);
        self.0.drain(..whole);
        Progress {
            whole,
            torn: written - whole,
            outcome,
        }
    }
}

/// Number of bytes in complete lines.
fn whole_lines(file: &mut File) -> std::io::Result<u64> {
    const BLOCK: u64 = 4096;
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.resize((end - start) as usize, 0);
        file.read_exact(&mut block)?;
        if let Some(newline) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Whether a line of the file ends after `length` bytes.
fn ends_a_line(file: &mut File, length: u64) -> std::io::Result<bool> {
    let Some(last) = length.checked_sub(1) else {
        return Ok(true);
    };
    let mut byte = [0];
    file.seek(SeekFrom::Start(last))?;
    file.read_exact(&mut byte)?;
    Ok(byte == *b"\n")
}

impl Lines {
    /// Opens or creates the file. An incomplete line of a killed process is removed.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn open(path: PathBuf) -> Result<Self, RunError> {
        let mut options = File::options();
        let options = options.read(true).append(true).create(true);
        let mut file = when_free(|| options.open(&path)).map_err(RunError::write(&path))?;
        let whole = whole_lines(&mut file).and_then(|length| {
            file.set_len(length)?;
            Ok(length)
        });
        Ok(Self {
            length: whole.map_err(RunError::write(&path))?,
            path,
            file,
            waiting: Waiting::default(),
            full: None,
            disk: Disk::default(),
        })
    }

    /// With the faults of this disk.
    pub fn on(mut self, disk: &Disk) -> Self {
        self.disk = disk.clone();
        self
    }

    /// Adds a line, whole or not at all. On a full disk it waits in memory for the next call.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`], also if 8 MiB wait already.
    pub fn add(&mut self, record: &impl Serialize) -> Result<(), RunError> {
        serde_json::to_writer(&mut self.waiting.0, record)
            .map_err(|error| RunError::write(&self.path)(error.into()))?;
        self.waiting.0.push(b'\n');
        match self.finish() {
            Err(error) if error.is_full_disk() && self.waiting.0.len() <= MAX_WAITING => {
                self.full = Some(error);
                Ok(())
            }
            written => written,
        }
    }

    /// Writes the lines that wait.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`] if there is no room for all of them.
    pub fn finish(&mut self) -> Result<(), RunError> {
        if self.waiting.0.is_empty() {
            return Ok(());
        }
        let ready = self.disk.before_write();
        ready.map_err(RunError::write(&self.path))?;
        let Progress {
            whole,
            torn,
            outcome,
        } = self.waiting.write(&mut self.file);
        self.length += whole as u64;
        let outcome = match torn {
            0 => outcome,
            // What is added later must not follow a part of a line.
            _ => self.file.set_len(self.length).and(outcome),
        };
        outcome.map_err(RunError::write(&self.path))?;
        self.full = None;
        Ok(())
    }

    /// Why lines wait, if any do.
    pub fn full(&self) -> Option<&RunError> {
        self.full.as_ref()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Removes what is after the first `length` bytes.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`], or [`RunError::Damaged`] if the file is shorter, or its line does not end
    /// there.
    pub fn truncate(&mut self, length: u64) -> Result<(), RunError> {
        check_length(&self.path, length)?;
        let cut = self.file.set_len(length);
        cut.map_err(RunError::write(&self.path))?;
        self.length = length;
        Ok(())
    }

    /// Checks that the file is still in place.
    ///
    /// # Errors
    ///
    /// [`FolderError::Gone`] or [`RunError::Write`].
    pub fn check(&self) -> Result<(), RunError> {
        let path = &self.path;
        match is_at(&self.file, path).map_err(RunError::write(path))? {
            true => Ok(()),
            false => Err(FolderError::Gone { path: path.clone() }.into()),
        }
    }
}

/// Checks that a file has at least this length in bytes, and that a line ends there.
///
/// # Errors
///
/// [`RunError::Read`] or [`RunError::Damaged`].
pub(super) fn check_length(path: &Path, length: u64) -> Result<(), RunError> {
    let mut file = when_free(|| File::open(path)).map_err(RunError::read(path))?;
    let found = file.metadata().map_err(RunError::read(path))?.len();
    if found < length {
        let why = format!("{found} bytes, where the checkpoint was written after {length}");
        return Err(RunError::damaged(path, why));
    }
    match ends_a_line(&mut file, length).map_err(RunError::read(path))? {
        true => Ok(()),
        false => {
            let why = format!("no line ends at byte {length}, where the checkpoint was written");
            Err(RunError::damaged(path, why))
        }
    }
}

/// Longest line that is read, in bytes: far more than an evaluation of thousands of workers.
pub const MAX_LINE: u64 = 16 << 20;

/// Calls `take` with every line of a file, one at a time, however many there are.
///
/// # Errors
///
/// [`RunError::Read`], or [`RunError::Damaged`] with the number of the invalid line.
pub fn read_lines<T: for<'a> Deserialize<'a>>(
    path: &Path,
    mut take: impl FnMut(T),
) -> Result<(), RunError> {
    each_line(path, |line| {
        take(serde_json::from_slice(line).map_err(|error| error.to_string())?);
        Ok(())
    })
}

/// Calls `take` with the bytes of every line; of a longer one than [`MAX_LINE`], with its beginning.
fn each_line(
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), RunError> {
    let file = when_free(|| File::open(path)).map_err(RunError::read(path))?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let mut rest = file.by_ref().take(MAX_LINE);
        let length = rest.read_until(b'\n', &mut line);
        if length.map_err(RunError::read(path))? == 0 {
            break;
        }
        take(&line).map_err(|why| RunError::damaged(path, format!("line {number}: {why}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has room for so many bytes.
    struct Disk {
        room: usize,
        contents: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let fits = bytes.len().min(self.room);
            if fits == 0 && !bytes.is_empty() {
                return Err(ErrorKind::StorageFull.into());
            }
            self.room -= fits;
            self.contents.extend(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Whatever room there is at each attempt, all lines arrive in order, and none twice.
    #[test]
    fn lines_wait_for_room() {
        for room in 0..12 {
            let mut disk = Disk {
                room: 0,
                contents: Vec::new(),
            };
            let mut waiting = Waiting::default();
            let mut expected = String::new();
            for line in 0..20 {
                let line = format!("line {line}\n");
                waiting.0.extend(line.bytes());
                expected += &line;
                disk.room = room;
                let progress = waiting.write(&mut disk);
                disk.contents.truncate(disk.contents.len() - progress.torn);
                assert_eq!(progress.outcome.is_err(), !waiting.0.is_empty());
                let written = std::str::from_utf8(&disk.contents).unwrap();
                assert!(expected.starts_with(written), "{written:?}");
                assert!(written.is_empty() || written.ends_with('\n'), "{written:?}");
            }
            disk.room = usize::MAX;
            let progress = waiting.write(&mut disk);
            assert!(progress.outcome.is_ok() && progress.torn == 0);
            assert_eq!(disk.contents, expected.as_bytes());
        }
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        for (text, expected) in [
            ("", Ok(vec![])),
            ("1\n2\n", Ok(vec![1, 2])),
            ("1\n2", Ok(vec![1, 2])),
            ("1\nx\n3\n", Err("line 2: ")),
            ("1\n\n", Err("line 2: ")),
        ] {
            std::fs::write(&path, text).unwrap();
            let mut read: Vec<u64> = Vec::new();
            match (read_lines(&path, |value| read.push(value)), expected) {
                (Ok(()), Ok(expected)) => assert_eq!(read, expected, "{text:?}"),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{error}");
                }
                (found, expected) => panic!("{text:?}: {found:?}, not {expected:?}"),
            }
        }
    }
}
