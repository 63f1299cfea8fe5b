//! A file of lines that grows while it is followed, and that a run that continues cuts back: bytes in, lines
//! out.
//!
//! A run that continues removes the lines after its checkpoint and writes them anew, perhaps more of them
//! before anyone looks. So the end of what was read is compared each time. Where it is no longer there, the
//! last line that was told and still is says where to go on: what follows is new, or of the kind that is not
//! told.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

use crate::storage::MAX_LINE;

/// How much of the last line is compared, in bytes.
const COMPARED: usize = 256;

/// Most lines that are remembered.
const MARKS: usize = 4096;

/// How much of the end of a file is read at first, in bytes: where a run goes on is hardly further back.
const WINDOW: u64 = 1 << 20;

/// A file that is followed.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Bytes of whole lines that were read.
    length: u64,
    /// The last of them.
    end: Vec<u8>,
    /// Lines that were told, the last ones, in order.
    marks: VecDeque<Mark>,
    /// Whether there were no others before them.
    all: bool,
    hasher: RandomState,
}

/// A line that was told.
#[derive(Debug, Clone, Copy)]
struct Mark {
    begin: u64,
    end: u64,
    hash: u64,
}

/// What has become of the lines that were read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// All are there.
    All,
    /// The last ones are not.
    Some,
    /// None is known to be: where to go on cannot be told.
    Unknown,
}

impl Tail {
    /// Follows a file from its end on. `told` says whether a line is one that would have been told.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn at_end(
        file: &mut (impl Read + Seek),
        told: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        let begin = window(file, length)?;
        let mut tail = Self {
            length: begin,
            end: bytes(file, begin.saturating_sub(COMPARED as u64), begin)?,
            all: begin == 0,
            ..Self::default()
        };
        tail.read(file, told)?;
        Ok(tail)
    }

    /// Follows a file of which all lines are new.
    pub fn at_begin() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// Reads what is new: `tell` is called with each whole line, without its line break, and says whether it
    /// was told. Nothing is read if it is unknown where to go on.
    ///
    /// # Errors
    ///
    /// If it cannot be read; [`ErrorKind::InvalidData`] for a line that is longer than those of records.
    pub fn news(
        &mut self,
        file: &mut (impl Read + Seek),
        tell: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<Kept> {
        let kept = match self.is_whole(file)? {
            true => Kept::All,
            false if self.go_back(file)? => Kept::Some,
            false => return Ok(Kept::Unknown),
        };
        self.read(file, tell)?;
        Ok(kept)
    }

    /// Bytes of whole lines that were read.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether what was read last is still there.
    fn is_whole(&self, file: &mut (impl Read + Seek)) -> io::Result<bool> {
        let begin = self.length - self.end.len() as u64;
        Ok(bytes(file, begin, self.length)? == self.end)
    }

    /// Goes back to the last line that was told and still is there, or to the begin of the file if none was
    /// told before. Returns whether it has.
    fn go_back(&mut self, file: &mut (impl Read + Seek)) -> io::Result<bool> {
        while let Some(mark) = self.marks.back().copied() {
            let line = bytes(file, mark.begin, mark.end)?;
            if line.len() as u64 == mark.end - mark.begin
                && self.hasher.hash_one(&line) == mark.hash
            {
                self.passed(&line, mark.end);
                return Ok(true);
            }
            self.marks.pop_back();
        }
        self.passed(&[], 0);
        Ok(self.all)
    }

    /// Reads whole lines from where it is.
    fn read(
        &mut self,
        file: &mut (impl Read + Seek),
        mut tell: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.length))?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
            match line.last() {
                Some(b'\n') => {}
                _ if line.len() as u64 == MAX_LINE => {
                    let why = format!("a line is longer than {MAX_LINE} bytes");
                    return Err(io::Error::new(ErrorKind::InvalidData, why));
                }
                // What is not finished is read again.
                _ => return Ok(()),
            }
            let begin = self.length;
            let end = begin + line.len() as u64;
            if tell(&line[..line.len() - 1]) {
                let hash = self.hasher.hash_one(&line);
                self.marks.push_back(Mark { begin, end, hash });
                if self.marks.len() > MARKS {
                    self.marks.pop_front();
                    self.all = false;
                }
            }
            self.passed(&line, end);
        }
    }

    /// A line that ends at this byte is the last one that was read.
    fn passed(&mut self, line: &[u8], end: u64) {
        self.length = end;
        self.end = line[line.len().saturating_sub(COMPARED)..].to_vec();
    }
}

/// Where the first line begins in the end of a file of this length.
fn window(file: &mut (impl Read + Seek), length: u64) -> io::Result<u64> {
    let mut size = WINDOW;
    while size < length {
        let begin = length - size;
        let found = bytes(file, begin, length)?;
        if let Some(newline) = found.iter().position(|byte| *byte == b'\n') {
            return Ok(begin + newline as u64 + 1);
        }
        size *= 4;
    }
    Ok(0)
}

/// These bytes of a file, as far as it has them.
fn bytes(file: &mut (impl Read + Seek), begin: u64, end: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(end - begin).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// Lines that begin with `+` are told.
    fn is_told(line: &[u8]) -> bool {
        line.starts_with(b"+")
    }

    fn news(tail: &mut Tail, file: &str) -> (Kept, Vec<String>) {
        let mut told = Vec::new();
        let kept = tail.news(&mut Cursor::new(file), |line| {
            if is_told(line) {
                told.push(String::from_utf8(line.to_vec()).unwrap());
            }
            is_told(line)
        });
        (kept.unwrap(), told)
    }

    fn at_end(file: &str) -> Tail {
        Tail::at_end(&mut Cursor::new(file), is_told).unwrap()
    }

    #[test]
    fn lines_are_told_once_and_whole() {
        let mut tail = at_end("+old\nolder\n+ha");
        for (file, expected) in [
            ("+old\nolder\n+ha", &[][..]),
            ("+old\nolder\n+half", &[]),
            ("+old\nolder\n+half\n+next\nquiet\n+", &["+half", "+next"]),
            ("+old\nolder\n+half\n+next\nquiet\n+\n", &["+"]),
        ] {
            let (kept, told) = news(&mut tail, file);
            assert_eq!(
                (kept, told.as_slice()),
                (Kept::All, expected_of(expected).as_slice()),
                "{file:?}"
            );
        }
    }

    fn expected_of(lines: &[&str]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    /// Whether it is then shorter, as long, or longer than before.
    #[test]
    fn a_file_that_was_cut_back_is_told_from_there_on() {
        for (file, expected) in [
            ("+a\nq\n", &[][..]),
            ("+a\nq\n+x\n", &["+x"]),
            ("+a\n+y\n+z\n", &["+y", "+z"]),
            ("+a\nq\n+resumed\n+b2\nqqqqqqqq\n", &["+resumed", "+b2"]),
            ("", &[]),
            ("+other\n", &["+other"]),
        ] {
            let mut tail = at_end("+a\nq\n");
            assert_eq!(news(&mut tail, "+a\nq\n+b\nq\n").1, ["+b"]);
            let (kept, told) = news(&mut tail, file);
            assert_eq!(
                (kept, told),
                (Kept::Some, expected_of(expected)),
                "{file:?}"
            );
            assert_eq!(news(&mut tail, file), (Kept::All, Vec::new()));
        }
    }

    /// It was followed from its end on, and is shorter than that.
    #[test]
    fn without_a_line_that_is_known_it_is_unknown_where_to_go_on() {
        let old = "+old\n".repeat(1 << 18);
        let mut tail = at_end(&old);
        assert_eq!(tail.length(), old.len() as u64);
        assert_eq!(news(&mut tail, &(old.clone() + "+new\n")).1, ["+new"]);
        let before = &old[..old.len() - (2 << 10) * 5];
        // Of lines that were told, this one is still there.
        assert_eq!(news(&mut tail, &format!("{before}+x\n")).1, ["+x"]);
        assert_eq!(news(&mut tail, "+other\n"), (Kept::Unknown, Vec::new()));
    }

    #[test]
    fn a_line_longer_than_any_is_an_error() {
        let mut tail = at_end("");
        let long = "x".repeat(MAX_LINE as usize);
        let error = tail.news(&mut Cursor::new(long), is_told).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    proptest! {
        /// However a file grows and is cut back between looks, every line that is there was told, in order,
        /// after the last one that stayed.
        #[test]
        fn nothing_is_told_twice_or_left_out(
            changes in proptest::collection::vec((0..30usize, 0..30usize, any::<bool>()), 1..20),
        ) {
            let mut file: Vec<String> = Vec::new();
            let mut tail = at_end("");
            let mut known: Vec<String> = Vec::new();
            let mut number = 0;
            for (cut, grown, half) in changes {
                file.truncate(file.len().saturating_sub(cut / 3));
                for _ in 0..grown / 3 {
                    number += 1;
                    let kind = if number % 3 == 0 { "quiet" } else { "+told" };
                    file.push(format!("{kind}{number}\n"));
                }
                let text = file.concat() + if half { "+ha" } else { "" };
                let (_, told) = news(&mut tail, &text);
                let there: Vec<String> = file
                    .iter()
                    .filter(|line| line.starts_with('+'))
                    .map(|line| line.trim_end().to_owned())
                    .collect();
                let kept = known.iter().zip(&there).take_while(|(one, other)| one == other).count();
                prop_assert_eq!(told, there[kept..].to_vec());
                known = there;
            }
        }
    }
}
