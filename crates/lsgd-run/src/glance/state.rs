//! How a run stands, as far as its folder tells.

use std::path::Path;

use crate::error::RunError;
use crate::storage::{End, Held, NewestCheckpoint, Summary};

/// How a run stands. Of several nodes it is the first of these in which any of them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A process has it open.
    Running,
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
    /// That of the run in `folder`, with its summary, if it has one; `held` was looked at before the summary.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`] if its newest checkpoint cannot be read.
    pub fn of(folder: &Path, held: Held, summary: Option<&Summary>) -> Result<Self, RunError> {
        Ok(match (held, summary.map(|summary| summary.end)) {
            (Held::Yes, _) => Self::Running,
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

    /// In a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ended => "ended",
            Self::Stopped => "stopped",
            Self::Diverged => "diverged",
            Self::BrokenOff => "broken off",
            Self::Killed => "killed",
            Self::NotEnded => "not ended",
        }
    }
}
