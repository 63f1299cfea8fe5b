//! How a run stands, as far as its folder tells.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use super::lock::{Held, locked_at};
use super::newest::NewestCheckpoint;
use super::records::{End, Summary};
use crate::error::RunError;

/// How a run stands. Of several nodes it is the first of these in which any of them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A process has it open, and has recorded something.
    Running,
    /// A process has it open, and has recorded nothing yet: it loads its data, or waits for other nodes.
    Starting,
    /// Its budget is used up.
    Ended,
    /// It was stopped by a signal, and can be continued.
    Stopped,
    /// All its workers have diverged.
    Diverged,
    /// It ended with an error, which its newest checkpoint tells.
    BrokenOff,
    /// No process has it open, and it has no end: it was killed, or an error left no checkpoint.
    Killed,
    /// It has no end, and whether a process has it open cannot be told here.
    NotEnded,
}

impl State {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Running,
        Self::Starting,
        Self::Ended,
        Self::Stopped,
        Self::Diverged,
        Self::BrokenOff,
        Self::Killed,
        Self::NotEnded,
    ];

    /// That of the run in `folder`, with its summary, if it has one; `held` was looked at before the summary.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`] if its newest checkpoint cannot be read.
    pub fn of(folder: &Path, held: Held, summary: Option<&Summary>) -> Result<Self, RunError> {
        Ok(match (held, summary.map(|summary| summary.end)) {
            (Held::Yes, _) if has_recorded(folder) => Self::Running,
            (Held::Yes, _) => Self::Starting,
            (_, Some(End::Budget)) => Self::Ended,
            (_, Some(End::Interrupted)) => Self::Stopped,
            (_, Some(End::Diverged)) => Self::Diverged,
            (Held::Unknown, None) => Self::NotEnded,
            (Held::No, None) => match NewestCheckpoint::of(folder)? {
                Some(newest) if newest.broken_off => Self::BrokenOff,
                _ => Self::Killed,
            },
        })
    }

    /// Whether a process has it open, or may have.
    pub fn may_go_on(self) -> bool {
        matches!(self, Self::Running | Self::Starting | Self::NotEnded)
    }

    /// In a word or two: the same wherever it is said, in lists, on pages and in figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Ended => "ended",
            Self::Stopped => "stopped",
            Self::Diverged => "diverged",
            Self::BrokenOff => "broken off",
            Self::Killed => "killed",
            Self::NotEnded => "not ended",
        }
    }

    /// What its name means, in a few words more.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Running => "a process has it open",
            Self::Starting => "a process has it open and has recorded nothing yet",
            Self::Ended => "its budget is used up",
            Self::Stopped => "by a signal; it can be continued",
            Self::Diverged => "no worker has a finite value",
            Self::BrokenOff => "it ended with an error",
            Self::Killed => "no process has it open, and it has no end",
            Self::NotEnded => {
                "it has no end, and the file system cannot tell whether a process has it open"
            }
        }
    }
}

/// The files that a run writes when it begins or continues, and then until it ends.
const RECORDS: [&str; 3] = ["run.json", "metrics.jsonl", "events.jsonl"];

/// Whether a record in `folder` is of the process that has it open, not of a run that this one continues or
/// replaces: it was written after the lock.
fn has_recorded(folder: &Path) -> bool {
    match locked_at(folder) {
        Some(locked) => last_written(folder).is_some_and(|written| written >= locked),
        None => true,
    }
}

/// When the newest record in `folder` was written, if there is any.
pub fn last_written(folder: &Path) -> Option<SystemTime> {
    RECORDS
        .iter()
        .filter_map(|name| written(&folder.join(name)))
        .max()
}

/// When a file or folder was last changed, if it is there.
pub fn written(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|found| found.modified()).ok()
}
