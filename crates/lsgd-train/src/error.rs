//! Why a command failed.

use std::path::Path;

use lsgd_models::ModelError;
use lsgd_run::RunError;
use lsgd_run::config::ConfigError;
use lsgd_run::device::DeviceError;
use lsgd_run::exit::{EXIT_FAILED, EXIT_RETRY, EXIT_USAGE, passes};

use crate::batches::BatchError;
use crate::data::DataError;

/// Why a command failed: one line that says where, which value, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The run.
    #[error(transparent)]
    Run(RunError),
    /// The data set.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model that the config names.
    #[error("model.name: {0}")]
    Model(#[from] ModelError),
    /// The size that images of a folder come out as, which the model does not take.
    #[error("data.side {side}: {why}")]
    Side {
        /// `data.side`, in pixels.
        side: u32,
        /// Why the model does not take them.
        why: ModelError,
    },
    /// What `eval --confusion` cannot write.
    #[error("--confusion {why}")]
    Confusion {
        /// Why, and what to do.
        why: String,
    },
    /// `eval --on holdout` of a run that held no images out.
    #[error("--on holdout: the run held out no images (data.holdout); give --on test")]
    NoHoldout,
    /// `eval --on holdout` with other data than the run's, or another split of them.
    #[error(
        "--on holdout: {what} is not the run's, so that these images may have been trained on; leave out \
         what was set, or give --on test"
    )]
    OtherHoldout {
        /// What differs.
        what: &'static str,
    },
    /// The size of a batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl TrainError {
    /// A file with unexpected contents.
    pub(crate) fn damaged(path: &Path, why: impl ToString) -> Self {
        Self::Run(RunError::damaged(path, why))
    }

    /// The exit code: 2 when the config or what it names is wrong and nothing was started, 75 when
    /// the obstacle may be temporary.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run(error) => error.exit_code(),
            Self::Data(DataError::Io { source, .. }) if passes(source) => EXIT_RETRY,
            Self::Model(_)
            | Self::Side { .. }
            | Self::Confusion { .. }
            | Self::NoHoldout
            | Self::OtherHoldout { .. }
            | Self::Batch(_) => EXIT_USAGE,
            // What the config says of workers or examples that are not there.
            Self::Data(DataError::NoSuchWorker { .. } | DataError::Split { .. }) => EXIT_USAGE,
            Self::Data(_) => EXIT_FAILED,
        }
    }
}

/// An error of this program's task comes back unchanged.
impl From<RunError> for TrainError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Task(error) => match error.downcast() {
                Ok(error) => *error,
                Err(error) => Self::Run(RunError::Task(error)),
            },
            RunError::TaskConfig(error) => match error.downcast() {
                Ok(error) => *error,
                Err(error) => Self::Run(RunError::TaskConfig(error)),
            },
            error => Self::Run(error),
        }
    }
}

impl From<ConfigError> for TrainError {
    fn from(error: ConfigError) -> Self {
        Self::Run(error.into())
    }
}

impl From<DeviceError> for TrainError {
    fn from(error: DeviceError) -> Self {
        Self::Run(error.into())
    }
}
