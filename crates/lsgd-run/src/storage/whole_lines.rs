//! Long files with one JSON value per line, read on several threads.
//!
//! The caller's thread reads blocks of whole lines and hands them out in turn; the values come back in the
//! same turn, so they are taken in the order of the file whatever the number of threads. A few blocks are
//! under way at a time, however long the file is.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use super::lines::MAX_LINE;
use crate::error::RunError;

/// Bytes of a block, more only where one line is longer.
const BLOCK: usize = 256 << 10;

/// Blocks that are under way for each thread: one that it reads, and the next or the last.
const UNDER_WAY: usize = 2;

/// How a line without its line break becomes a value.
pub trait Parse<T>: Fn(&[u8]) -> serde_json::Result<T> + Sync {}

impl<T, F: Fn(&[u8]) -> serde_json::Result<T> + Sync> Parse<T> for F {}

/// Calls `take` with the value of every line of a file, one at a time and in order, however many there are.
/// Lines are parsed on up to `threads` further threads; with less than two, on this one. What follows the
/// last line break is left out: a running process is still writing it, or a killed one never did.
///
/// # Errors
///
/// [`RunError::Read`]; [`RunError::Damaged`] with the number of the first invalid line, all lines before
/// which were taken; or that of `take`, which ends it.
pub fn read_whole_lines<T: Send>(
    path: &Path,
    threads: usize,
    parse: impl Parse<T>,
    take: impl FnMut(T) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let file = File::open(path).map_err(RunError::read(path))?;
    let length = file.metadata().map_err(RunError::read(path))?.len();
    let threads = threads.min((length / BLOCK as u64) as usize);
    let mut blocks = Blocks::new(file, BLOCK);
    let outcome = read(&mut blocks, threads, parse, take);
    outcome.map_err(|failure| match failure {
        Failure::Taken(error) => error,
        Failure::Read(error) => RunError::read(path)(error),
        Failure::Line(number, why) => RunError::damaged(path, format!("line {number}: {why}")),
    })
}

/// Why reading ended early.
#[derive(Debug)]
enum Failure {
    Read(io::Error),
    Taken(RunError),
    /// The number of a line, from 1, and what is wrong with it.
    Line(u64, String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

fn read<T: Send>(
    blocks: &mut Blocks<impl Read>,
    threads: usize,
    parse: impl Parse<T>,
    take: impl FnMut(T) -> Result<(), RunError>,
) -> Result<(), Failure> {
    let mut taker = Taker { taken: 0, take };
    let parse = &parse;
    thread::scope(|scope| {
        let threads = if threads < 2 { 0 } else { threads };
        // Where no more threads are to be had, fewer do.
        let lanes = (0..threads).map_while(|_| Lane::open(scope, parse).ok());
        let lanes: Vec<Lane<T>> = lanes.collect();
        if lanes.is_empty() {
            while let Some(block) = blocks.next_block()? {
                taker.all_of(Parsed::of(&block, parse))?;
            }
            return Ok(());
        }
        let (mut given, mut received) = (0, 0);
        let mut has_more = true;
        loop {
            while has_more && given - received < UNDER_WAY * lanes.len() {
                match blocks.next_block()? {
                    Some(block) => lanes[given % lanes.len()].give(block),
                    None => has_more = false,
                }
                given += usize::from(has_more);
            }
            if received == given {
                return Ok(());
            }
            // A thread that panicked answers nothing; the end of the scope repeats the panic.
            let Some(parsed) = lanes[received % lanes.len()].receive() else {
                return Ok(());
            };
            taker.all_of(parsed)?;
            received += 1;
        }
    })
}

/// Blocks of whole lines of a file; what follows the last line break is part of the last block.
struct Blocks<R> {
    file: R,
    size: usize,
    /// What follows the last line break of the block before.
    rest: Vec<u8>,
    /// Whether the end was reached. What a running process has written since is not read: it may be the
    /// second half of a line.
    is_over: bool,
}

impl<R: Read> Blocks<R> {
    fn new(file: R, size: usize) -> Self {
        Self {
            file,
            size,
            rest: Vec::new(),
            is_over: false,
        }
    }

    /// The next block; `None` at the end of the file. A line that is too long is one without its end.
    fn next_block(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.is_over {
            return Ok(None);
        }
        let mut block = Vec::with_capacity(self.rest.len() + self.size);
        block.append(&mut self.rest);
        loop {
            let before = block.len();
            let mut more = self.file.by_ref().take(self.size as u64);
            if more.read_to_end(&mut block)? == 0 {
                self.is_over = true;
                return Ok((!block.is_empty()).then_some(block));
            }
            let end = block[before..].iter().rposition(|byte| *byte == b'\n');
            if let Some(end) = end {
                self.rest.extend_from_slice(&block[before + end + 1..]);
                block.truncate(before + end + 1);
                return Ok(Some(block));
            }
            if block.len() as u64 > MAX_LINE {
                return Ok(Some(block));
            }
        }
    }
}

/// The values of a block's lines.
struct Parsed<T> {
    values: Vec<T>,
    /// What is wrong with the line after them.
    failure: Option<String>,
}

impl<T> Parsed<T> {
    fn of(block: &[u8], parse: &impl Parse<T>) -> Self {
        let mut parsed = Self {
            values: Vec::new(),
            failure: None,
        };
        let mut rest = block;
        while !rest.is_empty() {
            let before = rest;
            // Of a slice it cannot fail.
            let Ok(length) = rest.skip_until(b'\n') else {
                break;
            };
            let line = &before[..length];
            let why = match line.strip_suffix(b"\n") {
                _ if line.len() as u64 > MAX_LINE => format!("longer than {MAX_LINE} bytes"),
                None => break,
                Some(line) => match parse(line) {
                    Ok(value) => {
                        parsed.values.push(value);
                        continue;
                    }
                    Err(why) => why.to_string(),
                },
            };
            parsed.failure = Some(why);
            break;
        }
        parsed
    }
}

/// Takes values, and counts them.
struct Taker<F> {
    taken: u64,
    take: F,
}

impl<F> Taker<F> {
    fn all_of<T>(&mut self, parsed: Parsed<T>) -> Result<(), Failure>
    where
        F: FnMut(T) -> Result<(), RunError>,
    {
        for value in parsed.values {
            (self.take)(value).map_err(Failure::Taken)?;
            self.taken += 1;
        }
        match parsed.failure {
            Some(why) => Err(Failure::Line(self.taken + 1, why)),
            None => Ok(()),
        }
    }
}

/// A thread that parses blocks, in the order in which it gets them. It ends when this is dropped.
struct Lane<T> {
    blocks: SyncSender<Vec<u8>>,
    parsed: Receiver<Parsed<T>>,
}

impl<T: Send> Lane<T> {
    fn open<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        parse: &'scope impl Parse<T>,
    ) -> io::Result<Self>
    where
        T: 'scope,
    {
        let (blocks, given) = sync_channel::<Vec<u8>>(UNDER_WAY);
        let (results, parsed) = sync_channel(UNDER_WAY);
        let name = String::from("records");
        thread::Builder::new()
            .name(name)
            .spawn_scoped(scope, move || {
                for block in given {
                    if results.send(Parsed::of(&block, parse)).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self { blocks, parsed })
    }

    /// Never waits: no more than [`UNDER_WAY`] blocks are given before one is received.
    fn give(&self, block: Vec<u8>) {
        // If the thread has panicked, nothing will be received.
        let _ = self.blocks.send(block);
    }

    fn receive(&self) -> Option<Parsed<T>> {
        self.parsed.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of a text with blocks of this size.
    fn read_text(text: &str, size: usize, threads: usize) -> (Vec<u64>, Option<String>) {
        let mut taken = Vec::new();
        let mut blocks = Blocks::new(text.as_bytes(), size);
        let parse = |line: &[u8]| serde_json::from_slice(line);
        let outcome = read(&mut blocks, threads, parse, |value| {
            taken.push(value);
            Ok(())
        });
        let why = outcome.err().map(|failure| match failure {
            Failure::Line(number, _) => format!("line {number}"),
            other => format!("{other:?}"),
        });
        (taken, why)
    }

    #[test]
    fn every_number_of_threads_and_size_of_blocks_takes_the_same_in_order() {
        let numbers: Vec<u64> = (0..500).map(|number| number * number).collect();
        let whole: String = numbers.iter().map(|number| format!("{number}\n")).collect();
        for (end, expected) in [
            ("", None),
            ("12", None),
            ("x\n1\n", Some("line 501")),
            ("\n1\n", Some("line 501")),
            ("1\n\"half", None),
        ] {
            let text = whole.clone() + end;
            let mut numbers = numbers.clone();
            numbers.extend((end == "1\n\"half").then_some(1));
            for size in [1, 2, 7, 64, 1 << 20] {
                for threads in [0, 1, 2, 3, 8] {
                    let (taken, why) = read_text(&text, size, threads);
                    assert_eq!(taken, numbers, "{end:?}, {size}, {threads}");
                    assert_eq!(why.as_deref(), expected, "{end:?}, {size}, {threads}");
                }
            }
        }
    }

    #[test]
    fn the_first_invalid_line_is_named_and_nothing_after_it_is_taken() {
        let text = "1\n2\nx\n4\ny\n6\n";
        for threads in [0, 2, 3] {
            let expected = (vec![1, 2], Some(String::from("line 3")));
            assert_eq!(read_text(text, 4, threads), expected);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_an_error_with_and_without_an_end() {
        let long = "1".repeat(MAX_LINE as usize + 1);
        for end in ["", "\n", "\n2\n"] {
            for threads in [0, 2] {
                let text = format!("7\n{long}{end}");
                let expected = (vec![7], Some(String::from("line 2")));
                assert_eq!(read_text(&text, BLOCK, threads), expected);
            }
        }
    }

    #[test]
    fn an_error_of_the_disk_is_passed_on() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StaleNetworkFileHandle.into())
            }
        }
        let mut blocks = Blocks::new(b"1\n2\n".chain(Broken), 2);
        let parse = |line: &[u8]| serde_json::from_slice::<u64>(line);
        let mut taken = 0;
        let outcome = read(&mut blocks, 2, parse, |_| {
            taken += 1;
            Ok(())
        });
        assert!(matches!(outcome, Err(Failure::Read(_))), "{outcome:?}");
        assert!(taken <= 2);
    }

    #[test]
    fn a_file_is_read_and_an_error_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let parse = |line: &[u8]| serde_json::from_slice::<u64>(line);
        let mut text: String = (0..100_000).map(|number| format!("{number}\n")).collect();
        std::fs::write(&path, text.clone() + "12").unwrap();
        let mut sum = 0;
        let add = |value| {
            sum += value;
            Ok(())
        };
        read_whole_lines(&path, 3, parse, add).unwrap();
        assert_eq!(sum, 100_000 * 99_999 / 2);

        text += "x\n";
        std::fs::write(&path, text).unwrap();
        let error = read_whole_lines(&path, 3, parse, |_| Ok(())).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("lines") && error.contains("line 100001: "),
            "{error}"
        );
    }

    /// A run goes on while its page is made.
    #[test]
    fn what_is_written_behind_the_end_is_not_the_rest_of_a_line() {
        /// A part, the end of the file as it is, and another part.
        struct Growing(Vec<&'static [u8]>);
        impl Read for Growing {
            fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
                let part = self.0.pop().unwrap_or_default();
                bytes[..part.len()].copy_from_slice(part);
                Ok(part.len())
            }
        }
        for threads in [0, 2] {
            let mut blocks = Blocks::new(Growing(vec![b"45\n", b"", b"", b"12\n3"]), 64);
            let parse = |line: &[u8]| serde_json::from_slice::<u64>(line);
            let mut taken = Vec::new();
            let take = |value| {
                taken.push(value);
                Ok(())
            };
            read(&mut blocks, threads, parse, take).unwrap();
            assert_eq!(taken, [12]);
        }
    }

    /// However much is under way on other threads.
    #[test]
    fn whoever_takes_the_lines_can_end_it() {
        let text: String = (0..1_000).map(|number| format!("{number}\n")).collect();
        for threads in [0, 2, 3] {
            let mut blocks = Blocks::new(text.as_bytes(), 8);
            let parse = |line: &[u8]| serde_json::from_slice::<u64>(line);
            let outcome = read(&mut blocks, threads, parse, |value| match value {
                0..100 => Ok(()),
                _ => Err(RunError::Interrupted),
            });
            let is_that = matches!(outcome, Err(Failure::Taken(RunError::Interrupted)));
            assert!(is_that, "{outcome:?}");
        }
    }
}
