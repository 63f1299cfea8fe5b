//! Why a command failed.

use std::any::Any;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use lsgd_core::{MethodError, OptimizerStateError, SnapshotError};
#[cfg(feature = "nodes")]
use lsgd_link::LinkError;

#[cfg(feature = "bench")]
use crate::bench::BenchError;
#[cfg(all(feature = "cli", unix))]
use crate::chaos::ChaosError;
#[cfg(feature = "cli")]
use crate::cli::{FindError, LaunchError};
use crate::config::ConfigError;
use crate::device::{DeviceError, DeviceFailure};
use crate::exit::{EXIT_FAILED, EXIT_INTERRUPTED, EXIT_RETRY, EXIT_USAGE, is_full_disk, passes};
#[cfg(feature = "report")]
use crate::landscape::LandscapeError;
use crate::open_files;
#[cfg(feature = "report")]
use crate::report::ReportError;
#[cfg(feature = "serve")]
use crate::serve::ServeError;
use crate::storage::{FileError, FolderError};
#[cfg(feature = "nodes")]
use crate::train::NodesError;
use crate::train::SettingsError;
use crate::words::one_line;

/// Why a command failed: one line that says where, which value, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The config is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The task failed: its module or a batch could not be made.
    #[error(transparent)]
    Task(Box<dyn Error + Send + Sync>),
    /// The task could not be set up: its config, or something the config names, is wrong.
    #[error(transparent)]
    TaskConfig(Box<dyn Error + Send + Sync>),
    /// The task panicked during set-up.
    #[error("the task panicked before the run began: {message}")]
    TaskPanicked {
        /// The panic message.
        message: String,
    },
    /// The method's settings are invalid.
    #[error("method: {0}")]
    Method(#[from] MethodError),
    /// A worker's inner optimizer has a state that cannot be saved.
    #[error("worker {worker} at step {step}: its optimizer's state cannot be saved: {why}")]
    Unsaved {
        /// The worker.
        worker: usize,
        /// Its step.
        step: u64,
        /// Why.
        why: OptimizerStateError,
    },
    /// A worker cannot continue from its saved state.
    #[error("worker {worker} cannot continue from its checkpoint: {why}")]
    Unresumable {
        /// The worker.
        worker: usize,
        /// Why.
        why: String,
    },
    /// A worker's losses have not been finite for too long.
    #[error(
        "worker {worker} has diverged: its loss has not been finite since step {since}; a lower \
         schedule.learning_rate may help"
    )]
    WorkerDiverged {
        /// The worker.
        worker: usize,
        /// The step of the first such loss.
        since: u64,
    },
    /// A worker has no device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The config asks for what its task or this build does not have.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The folder of a run cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file is not written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file or folder of a run cannot be written.
    #[error("cannot write {}: {}", path.display(), open_files::explain(source))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of a run cannot be read.
    #[error("cannot read {}: {}", path.display(), open_files::explain(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of a run is damaged.
    #[error("{}: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The records of a run do not suffice to replay it, or it needs none.
    #[error("cannot replay {}: {why}", path.display())]
    NotReplayed {
        /// The run, or one of its files.
        path: PathBuf,
        /// Where, and what is missing.
        why: String,
    },
    /// The run has no parameters of the requested kind.
    #[error("{}: {why}", path.display())]
    Absent {
        /// The run or checkpoint.
        path: PathBuf,
        /// What is missing, and what is available.
        why: String,
    },
    /// The parameters have diverged.
    #[error("worker {worker} cannot be read after step {step}: {why}")]
    Snapshot {
        /// The worker.
        worker: usize,
        /// Its step.
        step: u64,
        /// Why.
        why: SnapshotError,
    },
    /// Values do not match the model, or are not finite.
    #[error("cannot evaluate: {why}")]
    Unfit {
        /// Why.
        why: SnapshotError,
    },
    /// A parameter occurs in the module twice.
    #[error(
        "{second} is the same parameter as {first}, and Burn's optimizers would train only the first; \
         keep it in one place of the module and use it from there"
    )]
    SharedParameter {
        /// Its first path.
        first: String,
        /// Its second path.
        second: String,
    },
    /// A worker's thread panicked.
    #[error(
        "worker {worker} panicked: {message}; what was recorded until then is in the run's folder"
    )]
    WorkerPanicked {
        /// The worker.
        worker: usize,
        /// The panic message.
        message: String,
    },
    /// A worker's GPU failed.
    #[error(
        "worker {worker}: {device}, with {title} in batches of {batch_size}, is {failure}: {message}"
    )]
    DeviceFailed {
        /// The worker.
        worker: usize,
        /// Its device.
        device: String,
        /// What is trained.
        title: String,
        /// Examples in a batch.
        batch_size: u64,
        /// How.
        failure: DeviceFailure,
        /// The first line of what Burn says.
        message: String,
    },
    /// No learning rate or batch size can be sought as asked.
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Find(#[from] FindError),
    /// A thread that prepares batches panicked.
    #[error("the thread {thread} panicked while preparing batches: {message}")]
    LoaderPanicked {
        /// Its name.
        thread: String,
        /// The panic message.
        message: String,
    },
    /// A thread that prepares batches has ended earlier.
    #[error("the thread {thread} has ended after an error; no batches are left")]
    LoaderEnded {
        /// Its name.
        thread: String,
    },
    /// The thread that writes checkpoints panicked.
    #[error("the thread that writes checkpoints panicked: {message}")]
    CheckpointsPanicked {
        /// The panic message.
        message: String,
    },
    /// The system started no thread.
    #[error("cannot start {thread}: {why}")]
    NoThread {
        /// Its purpose.
        thread: String,
        /// Why.
        why: String,
    },
    /// The link to the other nodes failed.
    #[cfg(feature = "nodes")]
    #[error("cluster: {0}")]
    Link(#[from] LinkError),
    /// Nodes do not train together.
    #[cfg(feature = "nodes")]
    #[error(transparent)]
    Nodes(#[from] NodesError),
    /// Nodes cannot be started.
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// No worker is left.
    #[error("no worker came to the end of the run: all of them died, or wait for each other")]
    NobodyLeft,
    /// A bench: its file, or its report.
    #[cfg(feature = "bench")]
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// Chaos cannot be run.
    #[cfg(all(feature = "cli", unix))]
    #[error(transparent)]
    Chaos(#[from] ChaosError),
    /// A landscape cannot be made as asked.
    #[cfg(feature = "report")]
    #[error(transparent)]
    Landscape(#[from] LandscapeError),
    /// Runs cannot be shown or exported as asked.
    #[cfg(feature = "report")]
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A folder whose runs are to be shown while they go on has none.
    #[cfg(feature = "serve")]
    #[error("{}: no run has begun here yet", path.display())]
    NothingToShow {
        /// The folder.
        path: PathBuf,
    },
    /// Runs cannot be shown while they go on.
    #[cfg(feature = "serve")]
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// All workers have diverged.
    #[error(
        "{}: every worker has diverged, the last at step {since}; train with a lower \
         schedule.learning_rate",
        path.display()
    )]
    Diverged {
        /// The run's folder.
        path: PathBuf,
        /// The worker's step since which no loss is finite.
        since: u64,
    },
    /// The end was requested, and came before the next pause.
    #[error("stopped before the end")]
    Interrupted,
}

impl RunError {
    /// The exit code: 2 if the config or something it names is wrong and nothing was started, 75 if
    /// the obstacle may be temporary.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::TaskConfig(_)
            | Self::Method(_)
            | Self::Device(_)
            | Self::Settings(_) => EXIT_USAGE,
            Self::Write { source, .. } | Self::Read { source, .. } if passes(source) => EXIT_RETRY,
            Self::Folder(why) => why.exit_code(),
            #[cfg(feature = "cli")]
            Self::Find(_) => EXIT_USAGE,
            #[cfg(feature = "cli")]
            Self::Launch(why) => why.exit_code(),
            #[cfg(feature = "report")]
            Self::Report(why) => why.exit_code(),
            #[cfg(feature = "report")]
            Self::Landscape(LandscapeError::OtherData { .. }) => EXIT_FAILED,
            #[cfg(feature = "report")]
            Self::Landscape(_) => EXIT_USAGE,
            #[cfg(feature = "serve")]
            Self::Serve(ServeError::Listen { source, .. }) if passes(source) => EXIT_RETRY,
            #[cfg(feature = "serve")]
            Self::Serve(_) => EXIT_USAGE,
            #[cfg(feature = "bench")]
            Self::Bench(_) => EXIT_USAGE,
            #[cfg(all(feature = "cli", unix))]
            Self::Chaos(
                ChaosError::NoRun { .. } | ChaosError::RunFailed { .. } | ChaosError::Proxy { .. },
            ) => EXIT_FAILED,
            #[cfg(all(feature = "cli", unix))]
            Self::Chaos(_) => EXIT_USAGE,
            #[cfg(feature = "nodes")]
            Self::Link(LinkError::Listen { source, .. }) if passes(source) => EXIT_RETRY,
            #[cfg(feature = "nodes")]
            Self::Link(LinkError::Unresolved { .. }) => EXIT_RETRY,
            #[cfg(feature = "nodes")]
            Self::Link(_) => EXIT_USAGE,
            #[cfg(feature = "nodes")]
            Self::Nodes(why) => why.exit_code(),
            Self::Interrupted => EXIT_INTERRUPTED,
            _ => EXIT_FAILED,
        }
    }

    /// For `map_err` on a task's error.
    pub fn task(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Task(error.into())
    }

    /// Whether the same command may succeed later without any change.
    pub fn may_pass(&self) -> bool {
        self.exit_code() == EXIT_RETRY
    }

    /// Whether the disk was full.
    pub fn is_full_disk(&self) -> bool {
        matches!(self, Self::Write { source, .. } if is_full_disk(source))
    }

    /// For `map_err` on writing `path`.
    pub fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Write {
            path: path.to_owned(),
            source,
        }
    }

    /// For `map_err` on reading `path`.
    pub fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    /// The error for a damaged file.
    pub fn damaged(path: &Path, why: impl ToString) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            // It may quote the file, with line breaks and what a terminal obeys.
            why: one_line(&why.to_string()),
        }
    }
}

/// A panic's message.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| String::from("no message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_by_itself_has_a_code_of_its_own() {
        let write = |kind: io::ErrorKind| RunError::write(Path::new("x"))(kind.into());
        let absent = |seen: Option<&str>| {
            RunError::Nodes(NodesError::NodesAbsent {
                nodes: String::from("node 2"),
                seconds: 1,
                seen: seen.map(String::from),
            })
        };
        let listen = |kind: io::ErrorKind| {
            RunError::Link(LinkError::Listen {
                endpoint: String::from("tcp/127.0.0.1:7447"),
                source: kind.into(),
            })
        };
        let unresolved = LinkError::Unresolved {
            endpoint: String::from("tcp/node-a:7447"),
            source: io::ErrorKind::Other.into(),
        };
        for (error, code) in [
            (write(io::ErrorKind::StorageFull), EXIT_RETRY),
            (write(io::ErrorKind::QuotaExceeded), EXIT_RETRY),
            (write(io::ErrorKind::PermissionDenied), EXIT_FAILED),
            (absent(None), EXIT_RETRY),
            (absent(Some("its certificate is not trusted")), EXIT_USAGE),
            (
                RunError::Nodes(NodesError::NodeRuns { node: 0 }),
                EXIT_RETRY,
            ),
            (listen(io::ErrorKind::AddrInUse), EXIT_RETRY),
            (listen(io::ErrorKind::PermissionDenied), EXIT_USAGE),
            (RunError::Link(unresolved), EXIT_RETRY),
            (RunError::Interrupted, EXIT_INTERRUPTED),
        ] {
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }
}
