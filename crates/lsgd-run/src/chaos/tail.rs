//! Follows a file of lines that a node writes, and that may become shorter when the node continues from
//! an earlier checkpoint.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;

/// What a line of a run that continues contains, after lines have been removed.
const RESUMED: &str = "\"event\":\"resumed\"";

/// A file that is followed.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    /// Of each line that was read, its hash and its weight.
    lines: Vec<(u64, u64)>,
    /// Bytes that they take.
    length: u64,
    hasher: RandomState,
    weigh: fn(&str) -> u64,
}

/// What has changed in a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Lines that were there before.
    pub removed: u64,
    /// Their weight.
    pub removed_weight: u64,
    /// New lines.
    pub lines: Vec<String>,
}

impl Tail {
    /// Follows the file at `path`, which may not exist yet. `weigh` gives what a line that is removed
    /// counts.
    pub fn new(path: PathBuf, weigh: fn(&str) -> u64) -> Self {
        Self {
            path,
            lines: Vec::new(),
            length: 0,
            hasher: RandomState::new(),
            weigh,
        }
    }

    /// What has changed since the last call.
    ///
    /// # Errors
    ///
    /// If the file is there and cannot be read.
    pub fn news(&mut self) -> io::Result<News> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(News::default()),
            file => file?,
        };
        if let Some(added) = self.added(&mut file)?
            && !added.contains(RESUMED)
        {
            let lines = added.lines().map(String::from).collect();
            return Ok(self.take(0, lines));
        }
        file.seek(SeekFrom::Start(0))?;
        let all = whole_lines(&mut file)?;
        let known = self.lines.iter().zip(all.lines());
        let same = known.take_while(|((hash, _), line)| *hash == self.hasher.hash_one(line));
        let kept = same.count();
        self.length = all
            .lines()
            .take(kept)
            .map(|line| line.len() as u64 + 1)
            .sum();
        let lines = all.lines().skip(kept).map(String::from).collect();
        let removed = self.lines.len() - kept;
        Ok(self.take(removed, lines))
    }

    /// What has been added, if the file may be the same up to there.
    fn added(&self, file: &mut File) -> io::Result<Option<String>> {
        let Some(last) = self.length.checked_sub(1) else {
            return Ok(Some(whole_lines(file)?));
        };
        file.seek(SeekFrom::Start(last))?;
        let mut byte = [0];
        match file.read(&mut byte)? {
            1 if byte == *b"\n" => Ok(Some(whole_lines(file)?)),
            _ => Ok(None),
        }
    }

    /// The last `removed` lines are gone, and these are new.
    fn take(&mut self, removed: usize, lines: Vec<String>) -> News {
        let gone = self.lines.split_off(self.lines.len() - removed);
        for line in &lines {
            self.length += line.len() as u64 + 1;
            let hash = self.hasher.hash_one(line.as_str());
            self.lines.push((hash, (self.weigh)(line)));
        }
        News {
            removed: removed as u64,
            removed_weight: gone.iter().map(|(_, weight)| weight).sum(),
            lines,
        }
    }
}

/// The rest of a file up to its last line break.
fn whole_lines(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n');
    bytes.truncate(end.map_or(0, |end| end + 1));
    // Records are ASCII; another byte would make its line one that is not understood.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn news(removed: u64, removed_weight: u64, lines: &[&str]) -> News {
        News {
            removed,
            removed_weight,
            lines: lines.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn lines_are_told_once_and_removed_ones_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut tail = Tail::new(path.clone(), |line| line.len() as u64);
        assert_eq!(tail.news().unwrap(), news(0, 0, &[]));
        let resumed = format!("{{{RESUMED}}}");
        for (contents, expected) in [
            ("", news(0, 0, &[])),
            ("a\nbb", news(0, 0, &["a"])),
            ("a\nbb\nccc\n", news(0, 0, &["bb", "ccc"])),
            ("a\nbb\nccc\n", news(0, 0, &[])),
            // Shorter.
            ("a\n", news(2, 5, &[])),
            ("a\nbb\nccc\n", news(0, 0, &["bb", "ccc"])),
            // Shorter, and longer again.
            ("a\nxxxxxxxxxxxx\n", news(2, 5, &["xxxxxxxxxxxx"])),
            // No shorter, with a line break at the same place.
            (
                &format!("a\ny\nzzzzzzzzzz\n{resumed}\n"),
                news(1, 12, &["y", "zzzzzzzzzz", &resumed]),
            ),
            ("", news(4, 11 + 1 + resumed.len() as u64, &[])),
        ] {
            fs::write(&path, contents).unwrap();
            assert_eq!(tail.news().unwrap(), expected, "{contents:?}");
        }
    }
}
