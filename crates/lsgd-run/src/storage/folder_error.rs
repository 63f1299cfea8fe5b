//! Why the folder of a run cannot be used.

use std::path::PathBuf;

use super::RunChange;
use crate::exit::{EXIT_FAILED, EXIT_RETRY, EXIT_USAGE};

/// All changes in one line.
fn listed(changes: &[RunChange]) -> String {
    let changes: Vec<String> = changes.iter().map(RunChange::to_string).collect();
    changes.join("; ")
}

/// Why the folder of a run cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A run of this name exists already.
    #[error(
        "{} exists; choose another run.name, or replace it with --set run.overwrite=true",
        path.display()
    )]
    RunExists {
        /// Its folder.
        path: PathBuf,
    },
    /// The path of a run holds something that is not a run, which is left alone.
    #[error("{} {why}", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What it holds, and what to do.
        why: String,
    },
    /// A run is to continue with settings that would make it another run.
    #[error(
        "{} cannot continue with other settings: {}; change them back, or choose another run.name",
        path.display(),
        listed(changes)
    )]
    OtherSettings {
        /// Its folder.
        path: PathBuf,
        /// The settings.
        changes: Vec<RunChange>,
    },
    /// The other nodes have begun a new run, while this one has a run to continue.
    #[error(
        "{} is to continue, but the other nodes have begun anew; start all nodes with --resume, or move \
         it away",
        path.display()
    )]
    OthersBegin {
        /// Its folder.
        path: PathBuf,
    },
    /// Another process writes to the run.
    #[error(
        "{} is being written to by {holder}; wait until it ends, or choose another run.name",
        path.display()
    )]
    InUse {
        /// Its folder.
        path: PathBuf,
        /// That process, with its machine and start time, as far as known.
        holder: String,
    },
    /// The folder of a run, or a file in it, has disappeared during the run.
    #[error(
        "{} was removed, moved or replaced while the run was writing to it",
        path.display()
    )]
    Gone {
        /// The folder or file.
        path: PathBuf,
    },
    /// A newer version wrote the run, in a format that this version does not know.
    #[error(
        "{}: format {format}, written by version {version}, is newer than {newest}, the newest that \
         this program reads; use a newer version of it",
        path.display()
    )]
    NewerFormat {
        /// Its `run.json`.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// The newest format that can be read.
        newest: u32,
        /// Version of the program that wrote it.
        version: String,
    },
}

impl FolderError {
    /// The exit code: 2 if nothing was started, 75 if the other process may end.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::RunExists { .. } | Self::NotARun { .. } | Self::OtherSettings { .. } => {
                EXIT_USAGE
            }
            Self::InUse { .. } => EXIT_RETRY,
            Self::OthersBegin { .. } | Self::Gone { .. } | Self::NewerFormat { .. } => EXIT_FAILED,
        }
    }
}
