//! What chaos did to a run and saw of it, with times of one clock.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use lsgd_core::{Scope, WorkerId};
use serde::{Deserialize, Serialize};

use super::fault::Act;
use crate::error::RunError;
use crate::storage::read_lines;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Seconds since the launch began.
    pub at: f64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. Nodes count from 1, faults from 0 in the order of the schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// A node's process was started.
    Started {
        /// The node.
        node: u32,
        /// The id of its process.
        process: u32,
        /// Whether it had died.
        again: bool,
    },
    /// A node's process has ended.
    Ended {
        /// The node.
        node: u32,
        /// How.
        end: String,
    },
    /// A fault was injected.
    Fault {
        /// Its number.
        number: usize,
        /// What was done.
        #[serde(flatten)]
        act: Act,
    },
    /// A fault could not be made: its node was not running.
    Missed {
        /// Its number.
        number: usize,
    },
    /// A fault is over.
    Healed {
        /// Its number.
        number: usize,
    },
    /// A node's record has a line.
    Seen {
        /// The node.
        node: u32,
        /// The line.
        line: Seen,
    },
    /// A node has taken steps.
    Trained {
        /// The node.
        node: u32,
        /// Its furthest step.
        step: u64,
    },
    /// Lines are gone from a node's record, since it continues from an earlier checkpoint.
    Removed {
        /// The node.
        node: u32,
        /// The file.
        file: String,
        /// How many lines.
        lines: u64,
        /// Steps that they told of.
        steps: u64,
    },
}

/// The lines of `events.jsonl` that a report needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Seen {
    /// An exchange.
    Exchange {
        /// The furthest step.
        step: u64,
        /// Its number.
        exchange: u64,
        /// Within the node or over all.
        scope: Scope,
    },
    /// The node no longer waits for another.
    NodeLost {
        /// The other one, from 0.
        #[serde(alias = "node")]
        lost: u32,
    },
    /// Another node has connected.
    NodeConnected {
        /// The other one, from 0.
        #[serde(alias = "node")]
        met: u32,
    },
    /// The node starts training among others.
    Joined {
        /// At this step.
        step: u64,
    },
    /// The node continues from a checkpoint.
    Resumed {
        /// Of this step.
        step: u64,
    },
    /// A checkpoint was written.
    Checkpoint {
        /// Of this step.
        step: u64,
    },
    /// A worker has failed, and starts again.
    Restarted {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker has left.
    Left {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker has diverged.
    Diverged {
        /// The worker.
        worker: WorkerId,
    },
    /// Any other.
    #[serde(other)]
    Other,
}

/// Writes the log of a run.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Log {
    /// Creates the file.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn create(path: PathBuf) -> Result<Self, RunError> {
        let file = File::create_new(&path).map_err(RunError::write(&path))?;
        Ok(Self {
            file: BufWriter::new(file),
            path,
        })
    }

    /// Adds a line.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn add(&mut self, at: f64, what: What) -> Result<(), RunError> {
        let line = serde_json::to_writer(&mut self.file, &Entry { at, what });
        let line = line.map_err(std::io::Error::from);
        let written = line.and_then(|()| self.file.write_all(b"\n"));
        written.map_err(RunError::write(&self.path))
    }

    /// Passes all lines to the system.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn flush(&mut self) -> Result<(), RunError> {
        self.file.flush().map_err(RunError::write(&self.path))
    }
}

/// Reads a log.
///
/// # Errors
///
/// [`RunError::Read`] or [`RunError::Damaged`].
pub fn read_log(path: &Path) -> Result<Vec<Entry>, RunError> {
    let mut entries = Vec::new();
    read_lines(path, |entry| entries.push(entry))?;
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let act = Act::Stop {
            node: 2,
            seconds: 1.5,
        };
        let all = [
            What::Started {
                node: 1,
                process: 7,
                again: true,
            },
            What::Fault { number: 3, act },
            What::Seen {
                node: 2,
                line: Seen::NodeLost { lost: 0 },
            },
            What::Trained { node: 1, step: 4 },
        ];
        let mut log = Log::create(path.clone()).unwrap();
        for what in all.clone() {
            log.add(0.5, what).unwrap();
        }
        log.flush().unwrap();
        let read: Vec<What> = read_log(&path)
            .unwrap()
            .into_iter()
            .map(|e| e.what)
            .collect();
        assert_eq!(read, all);
    }

    #[test]
    fn events_of_nodes_are_understood() {
        let read = |line: &str| serde_json::from_str::<Seen>(line).unwrap();
        assert_eq!(
            read(r#"{"event":"node_lost","step":8,"node":1,"why":"disconnected","seconds":1.5}"#),
            Seen::NodeLost { lost: 1 }
        );
        assert_eq!(
            read(r#"{"event":"resumed","step":8,"seconds":1.5}"#),
            Seen::Resumed { step: 8 }
        );
        assert_eq!(read(r#"{"event":"adoption","step":8}"#), Seen::Other);
    }
}
