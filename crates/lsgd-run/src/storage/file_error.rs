//! Why a file is not written.

use std::path::PathBuf;

/// Why a file is not written, though it could be.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A file to be written exists already.
    #[error("{} exists; give another path, or replace it with --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file to be written belongs to a run.
    #[error("{} belongs to a run, which could not be read without it; give another path", path.display())]
    OfARun {
        /// The file.
        path: PathBuf,
    },
}
