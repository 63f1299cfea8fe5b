//! Why runs cannot be shown or exported as asked.

use std::path::PathBuf;

use crate::exit::{EXIT_FAILED, EXIT_USAGE};

/// Why runs cannot be shown or exported as asked.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A picture cannot be drawn.
    #[error("{what}: cannot be drawn: {reason}")]
    Drawing {
        /// Which, or the folder that it was for.
        what: String,
        /// Why.
        reason: String,
    },
    /// A page cannot show so many runs.
    #[error(
        "{runs} runs, counting each node as one, are more than the {most} that a report shows; give fewer"
    )]
    NotReported {
        /// How many.
        runs: usize,
        /// How many there may be.
        most: usize,
    },
    /// A table is to be made of several runs.
    #[error(
        "a table is of one run, not of {runs}; give one folder, of several nodes one such as RUN/node-1"
    )]
    NotOneTable {
        /// How many, counting each node as one.
        runs: usize,
    },
    /// A folder that runs are to be exported to holds something else.
    #[error(
        "{} is neither empty nor a store of MLflow; give a folder that is new, empty or such a store",
        path.display()
    )]
    NoMlflowStore {
        /// The folder.
        path: PathBuf,
    },
    /// Two runs that are to be exported would be one entry in MLflow.
    #[error(
        "{} and {} have the same name, start and seed, so MLflow would take them for one run; export them to \
         stores of their own",
        first.display(),
        second.display()
    )]
    OneMlflowEntry {
        /// The folder of one.
        first: PathBuf,
        /// That of the other.
        second: PathBuf,
    },
}

impl ReportError {
    /// The exit code: 2 if something else has to be asked for.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Drawing { .. } => EXIT_FAILED,
            Self::NotReported { .. }
            | Self::NotOneTable { .. }
            | Self::NoMlflowStore { .. }
            | Self::OneMlflowEntry { .. } => EXIT_USAGE,
        }
    }
}
