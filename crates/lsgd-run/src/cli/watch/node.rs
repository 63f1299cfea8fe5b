//! The records of one node, followed.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::tail::{Kept, Tail};
use crate::error::RunError;
use crate::storage::{MetricInfo, RunFolder};
use crate::wording::{self, Told};

/// The records that are followed.
const RECORDS: [&str; 2] = ["metrics.jsonl", "events.jsonl"];

/// A node, or a run of one.
#[derive(Debug)]
pub(super) struct Node {
    folder: PathBuf,
    /// Its number among several, from 1.
    number: Option<u32>,
    metrics: Vec<MetricInfo>,
    /// When the run began, which tells it from another in its place.
    start: String,
    tails: [Tail; 2],
    /// Which files were followed last: a run that continues cuts its own back.
    files: [Option<FileId>; 2],
}

/// A file among all that there are: its device and its number, where the system has them.
type FileId = (u64, u64);

/// Where a node is followed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// The end of what is on record.
    Now,
    /// Its first line.
    TheBegin,
}

/// What has become known of a node.
#[derive(Debug, PartialEq)]
pub(super) enum News {
    /// These lines, in order; and whether anything was written at all.
    Lines(Vec<String>, bool),
    /// It is another run, or continues too far back: it has to be followed anew.
    Another,
}

impl Node {
    /// Follows the records in `folder`, of node `number`, if there are several.
    ///
    /// # Errors
    ///
    /// [`RunError`] if they cannot be read.
    pub fn open(folder: PathBuf, number: Option<u32>, since: Since) -> Result<Self, RunError> {
        let record = RunFolder::look(&folder).record()?;
        let mut node = Self {
            folder,
            number,
            metrics: record.metrics,
            start: record.start,
            tails: [Tail::at_begin(), Tail::at_begin()],
            files: [None, None],
        };
        if since == Since::Now {
            for (index, name) in RECORDS.into_iter().enumerate() {
                let path = node.folder.join(name);
                let is_told = |line: &[u8]| node.told(index, line).is_some();
                let (tail, id) = match open(&path)? {
                    Some((mut file, id)) => {
                        let tail = Tail::at_end(&mut file, is_told);
                        (tail.map_err(RunError::read(&path))?, id)
                    }
                    None => (Tail::at_begin(), None),
                };
                (node.tails[index], node.files[index]) = (tail, id);
            }
        }
        Ok(node)
    }

    /// Its number, if there are several.
    pub fn number(&self) -> Option<u32> {
        self.number
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is new since the last call.
    ///
    /// # Errors
    ///
    /// [`RunError`] if a record cannot be read.
    pub fn news(&mut self) -> Result<News, RunError> {
        let (mut told, mut grew, mut is_another) = (Vec::new(), false, false);
        for (index, name) in RECORDS.into_iter().enumerate() {
            let path = self.folder.join(name);
            let mut tail = std::mem::take(&mut self.tails[index]);
            let before = tail.length();
            let tell = |line: &[u8]| match self.told(index, line) {
                Some(line) => {
                    told.push(line);
                    true
                }
                None => false,
            };
            let (kept, id) = match open(&path)? {
                Some((mut file, id)) => (tail.news(&mut file, tell), id),
                None => (tail.news(&mut io::empty(), tell), None),
            };
            let kept = kept.map_err(RunError::read(&path))?;
            grew |= tail.length() != before || kept != Kept::All;
            self.tails[index] = tail;
            let was = std::mem::replace(&mut self.files[index], id);
            is_another |= match kept {
                Kept::All => false,
                Kept::Some => (was.is_some() && was != id) || !self.is_same_run(),
                Kept::Unknown => true,
            };
        }
        if is_another {
            return Ok(News::Another);
        }
        told.sort_by(|one: &Told, other| one.seconds.total_cmp(&other.seconds));
        let lines = told.into_iter().map(|told| match self.number {
            Some(number) => format!("node {number} | {}", told.line),
            None => told.line,
        });
        Ok(News::Lines(lines.collect(), grew))
    }

    /// Whether the run is the one that it was. A `run.json` that cannot be read is being replaced.
    fn is_same_run(&self) -> bool {
        let record = RunFolder::look(&self.folder).record();
        record.is_ok_and(|record| record.start == self.start)
    }

    /// What a line of a record tells, if anything.
    fn told(&self, index: usize, line: &[u8]) -> Option<Told> {
        let told = match index {
            0 => wording::metric(line, &self.metrics),
            _ => wording::event(line, self.number.unwrap_or(1) - 1),
        };
        told.unwrap_or_else(|why| {
            Some(Told {
                seconds: f64::INFINITY,
                line: format!("{}: a line is no record: {why}", RECORDS[index]),
            })
        })
    }
}

/// Opens a record; `None` if it is not there.
fn open(path: &Path) -> Result<Option<(File, Option<FileId>)>, RunError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(RunError::read(path))?,
    };
    let id = id(&file).map_err(RunError::read(path))?;
    Ok(Some((file, id)))
}

#[cfg(unix)]
fn id(file: &File) -> io::Result<Option<FileId>> {
    use std::os::unix::fs::MetadataExt;
    let found = file.metadata()?;
    Ok(Some((found.dev(), found.ino())))
}

#[cfg(not(unix))]
fn id(_: &File) -> io::Result<Option<FileId>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const RECORD: &str = r#"{ "version": "0.1.0", "burn": "0.22.1", "devices": ["flex"], "seed": 1,
        "machine": { "os": "linux", "architecture": "x86_64", "threads": 2 }, "agreement": {},
        "layout": "", "parameters": 4, "start": "then" }"#;

    fn evaluation(step: u64) -> String {
        format!(
            "{{\"kind\":\"evaluation\",\"step\":{step},\"epoch\":1.0,\"samples\":1,\"seconds\":{step}.0,\
             \"examples\":1,\"leader\":null,\"replica_mean\":{{\"error\":2.0}},\"workers\":[]}}\n"
        )
    }

    fn checkpoint(step: u64) -> String {
        format!("{{\"event\":\"checkpoint\",\"step\":{step},\"seconds\":{step}.0}}\n")
    }

    fn evaluated(step: u64) -> String {
        format!("step {step}, epoch 1.00: leader none; replica mean error 2.000")
    }

    fn lines(node: &mut Node) -> (Vec<String>, bool) {
        match node.news().unwrap() {
            News::Lines(lines, grew) => (lines, grew),
            News::Another => panic!("another run"),
        }
    }

    #[test]
    fn a_run_is_followed_through_its_continuation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let write = |name: &str, text: &str| fs::write(path.join(name), text).unwrap();
        write("run.json", RECORD);
        let mut node = Node::open(path.to_owned(), None, Since::Now).unwrap();
        assert_eq!(lines(&mut node), (vec![], false));

        let metrics = evaluation(4) + &evaluation(8);
        write("metrics.jsonl", &metrics);
        write("events.jsonl", &(checkpoint(4) + &checkpoint(8)));
        let expected = [
            evaluated(4),
            "step 4: checkpoint".into(),
            evaluated(8),
            "step 8: checkpoint".into(),
        ];
        assert_eq!(lines(&mut node), (expected.to_vec(), true));
        assert_eq!(lines(&mut node), (vec![], false));

        // It continues from step 4, and comes further than it was before anyone looks.
        write("metrics.jsonl", &(metrics.clone() + &evaluation(12)));
        let resumed = "{\"event\":\"resumed\",\"step\":4,\"seconds\":4.0,\"changes\":[]}\n";
        write("events.jsonl", &(checkpoint(4) + resumed + &checkpoint(9)));
        let expected = [
            "continuing after 4 steps",
            "step 9: checkpoint",
            &evaluated(12),
        ];
        assert_eq!(lines(&mut node).0, expected);

        write("metrics.jsonl", "what?\n");
        write("run.json", &RECORD.replace("then", "later"));
        assert_eq!(node.news().unwrap(), News::Another);
        let mut node = Node::open(path.to_owned(), Some(2), Since::TheBegin).unwrap();
        let (told, _) = lines(&mut node);
        assert_eq!(told[0], "node 2 | step 4: checkpoint");
        let last = "node 2 | metrics.jsonl: a line is no record: expected value at line 1 column 1";
        assert_eq!(told[3], last);
    }
}
