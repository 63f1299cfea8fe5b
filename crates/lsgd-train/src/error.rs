//! Why a command failed.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};

use lsgd_core::{MethodError, Refusal};
use lsgd_models::ModelError;

use crate::cli::{EXIT_FAILED, EXIT_INTERRUPTED, EXIT_RETRY, EXIT_USAGE};
use crate::cluster::{Difference, LinkError};
use crate::config::ConfigError;
use crate::data::DataError;
use crate::device::DeviceError;
use crate::open_files;
use crate::train::BatchError;
use crate::words::count;

/// What to do about nodes that did not come.
const START_THEM: &str = "start them with the same config and cluster.connect, or wait longer with \
                          cluster.wait_seconds";

/// Why a command failed: one line that says where, what value, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The config.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data set.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model that the config names.
    #[error("model.name: {0}")]
    Model(#[from] ModelError),
    /// The method's strengths and periods.
    #[error("method: {0}")]
    Method(#[from] MethodError),
    /// The size of a batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A worker's device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A run of this name is there already.
    #[error(
        "{} exists; choose another run.name, or replace it with --set run.overwrite=true",
        path.display()
    )]
    RunExists {
        /// Its folder.
        path: PathBuf,
    },
    /// Where a run would be is something that is not a run, and is left alone.
    #[error("{} {why}", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What is there, and what to do.
        why: String,
    },
    /// Another process writes to the run.
    #[error(
        "{} is being written to by {holder}; wait until it ends, or choose another run.name",
        path.display()
    )]
    InUse {
        /// Its folder.
        path: PathBuf,
        /// The process, where and since when, as far as it is known.
        holder: String,
    },
    /// The folder of a run, or a file in it, is no longer there while the run writes to it.
    #[error(
        "{} was removed, moved or replaced while the run was writing to it",
        path.display()
    )]
    Gone {
        /// The folder or file.
        path: PathBuf,
    },
    /// A file that would be written is there already.
    #[error("{} exists; give another path, or replace it with --force", path.display())]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// A file that would be written is one of a run's own.
    #[error("{} belongs to a run, which could not be read without it; give another path", path.display())]
    OfARun {
        /// The file.
        path: PathBuf,
    },
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
    /// A file of a run does not hold what it should.
    #[error("{}: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The run has no parameters of the kind asked for.
    #[error("{}: {why}", path.display())]
    Absent {
        /// The run or checkpoint.
        path: PathBuf,
        /// What is missing, and what there is instead.
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
        why: Refusal,
    },
    /// Values do not fit the model, or are not finite.
    #[error("cannot evaluate: {why}")]
    Unfit {
        /// Why.
        why: Refusal,
    },
    /// A worker's thread panicked.
    #[error(
        "worker {worker} panicked: {message}; what was recorded until then is in the run's folder"
    )]
    WorkerPanicked {
        /// The worker.
        worker: usize,
        /// What it said.
        message: String,
    },
    /// The machine gives no thread.
    #[error("cannot start {thread}: {why}")]
    NoThread {
        /// What for.
        thread: String,
        /// Why.
        why: String,
    },
    /// The link to the other nodes.
    #[error("cluster: {0}")]
    Link(#[from] LinkError),
    /// A node is there that does not train the same run.
    #[error("node {} does not fit: {}; start all nodes with the same config", u64::from(*node) + 1, differences.first().map_or_else(String::new, ToString::to_string))]
    NodeDiffers {
        /// The node, from 0.
        node: u32,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// The node runs already.
    #[error(
        "node {} of this run is running already, in another process; give this one another \
         cluster.node, or end that one",
        u64::from(*node) + 1
    )]
    NodeRuns {
        /// The node, from 0.
        node: u32,
    },
    /// The node comes to a run that others train already, and could not begin as they are.
    #[error(
        "the other nodes train already, and with {method} nothing that they exchange is a place to \
         begin at; start all nodes anew, or use another method"
    )]
    CannotJoin {
        /// The method.
        method: &'static str,
    },
    /// Something in the config is of no use to a simulation.
    #[error("{key} counts real time, which a simulation does not have; set {instead} instead")]
    NotSimulated {
        /// The key.
        key: &'static str,
        /// What to set.
        instead: &'static str,
    },
    /// Somebody is to die who is not there.
    #[error(
        "simulate.deaths[{index}].worker {worker} is not among the {}, counted from 0",
        count(workers, "worker")
    )]
    NobodyDies {
        /// Which entry.
        index: usize,
        /// The worker's number.
        worker: u64,
        /// How many there are.
        workers: usize,
    },
    /// A bench file makes no sense.
    #[error("{}: {why}", path.display())]
    Bench {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Where a run of a bench would be is one of another config.
    #[error(
        "{} is a run of another config than this bench's; remove it, or give the bench another name",
        path.display()
    )]
    OtherRun {
        /// The run's folder.
        path: PathBuf,
    },
    /// No worker is left.
    #[error("no worker came to the end of the run: all of them died, or wait for each other")]
    NobodyLeft,
    /// Nodes did not come.
    #[error("{nodes} did not come within {seconds} s; {}", seen.as_deref().unwrap_or(START_THEM))]
    NodesAbsent {
        /// Which, as users count.
        nodes: String,
        /// How long they were waited for.
        seconds: u64,
        /// What was seen that keeps nodes apart: a certificate that is not trusted, another run.
        seen: Option<String>,
    },
    /// There are not so many free ports.
    #[error("cannot find ports for {}: {source}", count(nodes, "node"))]
    NoPorts {
        /// How many were looked for.
        nodes: u32,
        /// What the system says.
        source: io::Error,
    },
    /// `launch` is told of a place that it gives each node itself.
    #[error("launch gives each node its number and endpoints on loopback; leave {key} out")]
    Placed {
        /// The key.
        key: &'static str,
    },
    /// A node's process cannot be started.
    #[error("cannot start node {node}: {why}")]
    NoNode {
        /// The node, from 1.
        node: u32,
        /// Why.
        why: String,
    },
    /// Nothing in the run is finite any more.
    #[error(
        "{}: every worker has diverged, the last at step {since}; train with a lower \
         schedule.learning_rate",
        path.display()
    )]
    Diverged {
        /// The run's folder.
        path: PathBuf,
        /// The first step of a worker since when no loss is finite.
        since: u64,
    },
    /// Somebody asked for the end, and it came before the run was at a pause.
    #[error("stopped before the end")]
    Interrupted,
}

impl TrainError {
    /// The exit code: 2 when the config or what it names is wrong and nothing was started, 75 when
    /// what was in the way may pass by itself.
    pub fn exit_code(&self) -> u8 {
        match self {
            _ if self.may_pass() => EXIT_RETRY,
            Self::Config(_)
            | Self::Model(_)
            | Self::Method(_)
            | Self::Batch(_)
            | Self::Device(_)
            | Self::Link(_)
            | Self::NodeDiffers { .. }
            | Self::NodesAbsent { .. }
            | Self::Placed { .. }
            | Self::NotSimulated { .. }
            | Self::NobodyDies { .. }
            | Self::Bench { .. }
            | Self::OtherRun { .. }
            | Self::RunExists { .. }
            | Self::NotARun { .. } => EXIT_USAGE,
            Self::Interrupted => EXIT_INTERRUPTED,
            _ => EXIT_FAILED,
        }
    }

    /// Whether the same command may work later, though nobody changes anything.
    fn may_pass(&self) -> bool {
        match self {
            Self::Write { source, .. }
            | Self::Read { source, .. }
            | Self::NoPorts { source, .. }
            | Self::Data(DataError::Io { source, .. })
            | Self::Link(LinkError::Listen { source, .. }) => passes(source),
            // The other process may end, or others may still come.
            Self::InUse { .. } | Self::NodeRuns { .. } | Self::NodesAbsent { seen: None, .. } => {
                true
            }
            Self::Link(LinkError::Unresolved { .. }) => true,
            _ => false,
        }
    }

    /// For `map_err` on writing `path`.
    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Write {
            path: path.to_owned(),
            source,
        }
    }

    /// For `map_err` on reading `path`.
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    /// A file that does not hold what it should.
    pub(crate) fn damaged(path: &Path, why: impl ToString) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            why: why.to_string(),
        }
    }
}

/// Whether what the system says may pass by itself.
fn passes(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrInUse, QuotaExceeded, StorageFull};
    matches!(error.kind(), AddrInUse | QuotaExceeded | StorageFull)
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| String::from("no message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_by_itself_has_a_code_of_its_own() {
        let write = |kind: io::ErrorKind| TrainError::write(Path::new("x"))(kind.into());
        let absent = |seen: Option<&str>| TrainError::NodesAbsent {
            nodes: String::from("node 2"),
            seconds: 1,
            seen: seen.map(String::from),
        };
        let listen = |kind: io::ErrorKind| {
            TrainError::Link(LinkError::Listen {
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
            (TrainError::NodeRuns { node: 0 }, EXIT_RETRY),
            (listen(io::ErrorKind::AddrInUse), EXIT_RETRY),
            (listen(io::ErrorKind::PermissionDenied), EXIT_USAGE),
            (TrainError::Link(unresolved), EXIT_RETRY),
            (TrainError::Interrupted, EXIT_INTERRUPTED),
        ] {
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }
}
