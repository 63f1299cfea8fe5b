//! The end of a file of lines, read backward: the last line of a long record costs no more than that of a
//! short one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::lines::MAX_LINE;
use crate::error::RunError;

/// How much is read at first, in bytes.
const FIRST: u64 = 64 << 10;

/// Calls `take` with the last whole lines of a file, without their line breaks, from the last one backward,
/// until it returns false, the file begins, or `most` bytes were looked at. What follows the last line break
/// is no line yet. Up to the longest line of a record is read beyond `most` if no line was found before.
///
/// # Errors
///
/// [`RunError::Read`]; [`RunError::Damaged`] for a line that is longer than those of records.
pub fn last_lines(
    path: &Path,
    most: u64,
    mut take: impl FnMut(&[u8]) -> bool,
) -> Result<(), RunError> {
    let mut file = File::open(path).map_err(RunError::read(path))?;
    match search(&mut file, most, &mut take).map_err(RunError::read(path))? {
        true => Ok(()),
        false => Err(RunError::damaged(
            path,
            format!("a line is longer than {MAX_LINE} bytes"),
        )),
    }
}

/// Whether a line was found, or there can be none.
fn search(
    file: &mut (impl Read + Seek),
    most: u64,
    take: &mut impl FnMut(&[u8]) -> bool,
) -> io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut block = Vec::new();
    // Bytes at the end of the file whose lines were taken already.
    let mut seen = 0;
    let mut size = FIRST;
    loop {
        let start = length.saturating_sub(size);
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(length - start).read_to_end(&mut block)?;
        // The file may have become shorter meanwhile.
        let rest = block.len().saturating_sub(seen);
        let whole = match seen {
            0 => block
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1),
            _ => rest,
        };
        // Where the first line begins that is whole: another may end in this block.
        let begin = match start {
            0 => 0,
            _ => block[..whole]
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(whole, |end| end + 1),
        };
        if begin < whole {
            let lines = block[begin..whole - 1].rsplit(|byte| *byte == b'\n');
            for line in lines {
                if !take(line) {
                    return Ok(true);
                }
            }
            seen = block.len() - begin;
        }
        if start == 0 || seen > 0 && size >= most {
            return Ok(true);
        }
        if seen == 0 && size > MAX_LINE {
            return Ok(false);
        }
        size *= 8;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// Counts what is read.
    struct Counted(Cursor<Vec<u8>>, u64);

    impl Read for Counted {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(bytes)?;
            self.1 += read as u64;
            Ok(read)
        }
    }

    impl Seek for Counted {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    /// The lines that are taken until one is `until`, and the bytes that were read.
    fn lines(text: &str, most: u64, until: &str) -> (Vec<String>, u64) {
        let mut file = Counted(Cursor::new(text.as_bytes().to_vec()), 0);
        let mut taken = Vec::new();
        let found = search(&mut file, most, &mut |line| {
            taken.push(String::from_utf8(line.to_vec()).unwrap());
            taken.last().is_some_and(|line| line != until)
        });
        assert!(found.unwrap());
        (taken, file.1)
    }

    #[test]
    fn lines_come_from_the_last_backward() {
        for (text, expected) in [
            ("", &[][..]),
            ("half", &[]),
            ("a\n", &["a"]),
            ("a\nbb\nhalf", &["bb", "a"]),
            ("a\n\nb\n", &["b", "", "a"]),
            ("\n", &[""]),
        ] {
            assert_eq!(lines(text, 1 << 20, "none").0, expected, "{text:?}");
        }
        assert_eq!(lines("a\nb\nc\n", 1 << 20, "b").0, ["c", "b"]);
    }

    /// Lines of all lengths around that of a block: each is taken once, whole and in order.
    #[test]
    fn lines_that_lie_across_blocks_are_whole() {
        let block = FIRST as usize;
        for length in [block - 2, block - 1, block, block + 1, 3 * block] {
            let long = "x".repeat(length);
            let text = format!("first\n{long}\nlast\nhalf");
            let (taken, _) = lines(&text, u64::MAX, "none");
            assert_eq!(taken, ["last", &long, "first"], "{length}");
        }
        let all: Vec<String> = (0..60_000).map(|number| number.to_string()).collect();
        let text = all.join("\n") + "\n";
        let (mut taken, _) = lines(&text, u64::MAX, "none");
        taken.reverse();
        assert_eq!(taken, all);
    }

    #[test]
    fn no_more_is_read_than_is_asked_for() {
        let text = "0123456789\n".repeat(1 << 20);
        assert_eq!(lines(&text, 1 << 20, "0123456789").1, FIRST);
        let (taken, read) = lines(&text, 512 << 10, "none");
        assert_eq!(taken.len(), (512 << 10) / 11);
        assert_eq!(read, FIRST + (512 << 10));
    }

    #[test]
    fn a_line_longer_than_any_is_damage() {
        let text = vec![b'x'; 2 * MAX_LINE as usize + 1];
        let mut file = Cursor::new(text);
        assert!(!search(&mut file, 1, &mut |_| true).unwrap());
    }
}
