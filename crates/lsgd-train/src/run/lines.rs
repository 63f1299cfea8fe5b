//! Files of one JSON value a line: written, and read back.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::is_at;
use crate::error::TrainError;

/// A file of one JSON value a line.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    file: File,
    /// Length of the file, in bytes: all lines that were written whole.
    length: u64,
    /// The line that is being made.
    line: Vec<u8>,
}

/// How many bytes of a file are lines that have an end.
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

impl Lines {
    /// Opens the file, or makes it. A line that a process began and did not end goes.
    ///
    /// # Errors
    ///
    /// [`TrainError::Write`].
    pub fn open(path: PathBuf) -> Result<Self, TrainError> {
        let mut options = File::options();
        let options = options.read(true).append(true).create(true);
        let mut file = options.open(&path).map_err(TrainError::write(&path))?;
        let whole = whole_lines(&mut file).and_then(|length| {
            file.set_len(length)?;
            Ok(length)
        });
        Ok(Self {
            length: whole.map_err(TrainError::write(&path))?,
            path,
            file,
            line: Vec::new(),
        })
    }

    /// Adds a line, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`TrainError::Write`].
    pub fn add(&mut self, record: &impl Serialize) -> Result<(), TrainError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record)
            .map_err(|error| TrainError::write(&self.path)(error.into()))?;
        self.line.push(b'\n');
        match self.file.write_all(&self.line) {
            Ok(()) => {
                self.length += self.line.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A disk that is full takes a part of it.
                let _ = self.file.set_len(self.length);
                Err(TrainError::write(&self.path)(error))
            }
        }
    }

    /// Whether the file still is where it was opened.
    ///
    /// # Errors
    ///
    /// [`TrainError::Gone`] or [`TrainError::Write`].
    pub fn check(&self) -> Result<(), TrainError> {
        let path = &self.path;
        match is_at(&self.file, path).map_err(TrainError::write(path))? {
            true => Ok(()),
            false => Err(TrainError::Gone { path: path.clone() }),
        }
    }
}

/// Longest line that is read back, in bytes: far beyond an evaluation of thousands of workers.
const LONGEST_LINE: u64 = 16 << 20;

/// Hands every line of a file to `take`, one at a time, however many there are.
///
/// # Errors
///
/// [`TrainError::Read`], or [`TrainError::Damaged`] with the number of the line that is none.
pub(crate) fn read_lines<T: for<'a> Deserialize<'a>>(
    path: &Path,
    mut take: impl FnMut(T),
) -> Result<(), TrainError> {
    let mut file = BufReader::new(File::open(path).map_err(TrainError::read(path))?);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let mut rest = file.by_ref().take(LONGEST_LINE);
        let length = rest.read_until(b'\n', &mut line);
        if length.map_err(TrainError::read(path))? == 0 {
            break;
        }
        let value = serde_json::from_slice(&line)
            .map_err(|error| TrainError::damaged(path, format!("line {number}: {error}")))?;
        take(value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
