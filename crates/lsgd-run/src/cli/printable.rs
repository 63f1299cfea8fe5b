//! Errors about folders that were only looked at, whose names and contents may be anyone's.

use std::path::{Path, PathBuf};

use crate::error::RunError;
use crate::words::printable;

/// An error whose path and text are printable on any terminal.
pub(super) fn printable_error(error: RunError) -> RunError {
    match error {
        RunError::Absent { path, why } => RunError::Absent {
            path: shown(&path),
            why,
        },
        RunError::Read { path, source } => RunError::Read {
            path: shown(&path),
            source,
        },
        RunError::Damaged { path, why } => RunError::Damaged {
            path: shown(&path),
            why: printable(&why),
        },
        other => other,
    }
}

fn shown(path: &Path) -> PathBuf {
    PathBuf::from(printable(&path.display().to_string()))
}
