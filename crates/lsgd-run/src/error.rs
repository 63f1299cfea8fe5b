//! Why a command failed.

use std::any::Any;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use lsgd_core::{MethodError, OptimizerStateError, SnapshotError};
#[cfg(feature = "nodes")]
use lsgd_link::{Difference, LinkError};

#[cfg(feature = "bench")]
use crate::bench::BenchError;
#[cfg(all(feature = "cli", unix))]
use crate::chaos::ChaosError;
use crate::config::ConfigError;
use crate::device::{DeviceError, DeviceFailure};
use crate::exit::{EXIT_FAILED, EXIT_INTERRUPTED, EXIT_RETRY, EXIT_USAGE};
#[cfg(feature = "report")]
use crate::landscape::LandscapeError;
use crate::open_files;
#[cfg(feature = "serve")]
use crate::serve::ServeError;
use crate::storage::RunChange;
use crate::words::{count, one_line};

/// All changes in one line.
fn listed(changes: &[RunChange]) -> String {
    let changes: Vec<String> = changes.iter().map(RunChange::to_string).collect();
    changes.join("; ")
}

/// Advice for nodes that did not connect.
const START_THEM: &str = "start them with the same config and cluster.connect, or wait longer with \
                          cluster.wait_seconds";

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
    /// A file to be written exists already.
    #[error("{} exists; give another path, or replace it with --force", path.display())]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// A file to be written belongs to a run.
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
    /// A file of a run is damaged.
    #[error("{}: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
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
    /// Learning rates to try that do not rise.
    #[error("--from {from} --to {to}: give two learning rates over 0, the lower one first")]
    NoRates {
        /// The first.
        from: f64,
        /// The last.
        to: f64,
    },
    /// Batch sizes to try that do not rise.
    #[error("--from {from} --to {to}: give two batch sizes, the smaller one first")]
    NoSizes {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Batch sizes are to be tried of a task that has no key for them.
    #[error("this task's config has no key for the size of a batch")]
    NoBatchKey,
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
    /// Other nodes are configured, but this build cannot connect to any.
    #[cfg(not(feature = "nodes"))]
    #[error(
        "cluster.nodes {nodes}: this build trains on one node; build it with the feature nodes"
    )]
    OneNode {
        /// The configured number of nodes.
        nodes: u32,
    },
    /// A connected node does not train the same run.
    #[cfg(feature = "nodes")]
    #[error("node {} does not fit: {}; start all nodes with the same config", u64::from(*node) + 1, differences.first().map_or_else(String::new, ToString::to_string))]
    NodeDiffers {
        /// The node, from 0.
        node: u32,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// The node is running already.
    #[error(
        "node {} of this run is running already, in another process; give this one another \
         cluster.node, or end that one",
        u64::from(*node) + 1
    )]
    NodeRuns {
        /// The node, from 0.
        node: u32,
    },
    /// The node tried to join a run in progress, whose method does not allow that.
    #[error(
        "the other nodes train already, and with {method} nothing that they exchange is a place to \
         begin at; start all nodes anew, or use another method"
    )]
    CannotJoin {
        /// The method.
        method: &'static str,
    },
    /// A key is set that only the task can follow, and does not.
    #[error("{key} {value} is not used by this task; leave it out")]
    UnusedKey {
        /// The key.
        key: &'static str,
        /// Its value.
        value: usize,
    },
    /// A setting that a simulation does not support.
    #[error("{key} counts real time, which a simulation does not have; set {instead} instead")]
    NotSimulated {
        /// The key.
        key: &'static str,
        /// The setting to use instead.
        instead: &'static str,
    },
    /// A quadratic period of a run with more exchanges than are kept in memory.
    #[error(
        "method.local_period {local_period} gives the run more than {most} exchanges; give a longer method.local_period, or leave out method.quadratic_period"
    )]
    TooManyExchanges {
        /// `method.local_period`.
        local_period: u64,
        /// Most exchanges.
        most: usize,
    },
    /// A worker that a list names does not exist.
    #[error(
        "{key}[{index}].worker {worker} is not among the {}, counted from 0",
        count(workers, "worker")
    )]
    NoSuchWorker {
        /// The list's key.
        key: &'static str,
        /// The index of the entry.
        index: usize,
        /// The worker's number.
        worker: u64,
        /// Number of workers.
        workers: u64,
    },
    /// A worker has a factor for a weight decay that there is not.
    #[error(
        "workers.vary[{index}].weight_decay {factor} makes no difference: the optimizer of {title} has no \
         weight decay; leave it out"
    )]
    NoWeightDecay {
        /// The index of the entry.
        index: usize,
        /// The factor.
        factor: f64,
        /// What is trained on what.
        title: String,
    },
    /// No worker is left.
    #[error("no worker came to the end of the run: all of them died, or wait for each other")]
    NobodyLeft,
    /// Nodes did not connect.
    #[error("{nodes} did not come within {seconds} s; {}", seen.as_deref().unwrap_or(START_THEM))]
    NodesAbsent {
        /// The nodes, numbered from 1.
        nodes: String,
        /// How long this node waited for them.
        seconds: u64,
        /// The last obstacle: an untrusted certificate, or another run.
        seen: Option<String>,
    },
    /// There are not enough free ports.
    #[error("cannot find ports for {}: {source}", count(nodes, "node"))]
    NoPorts {
        /// Number of ports needed.
        nodes: u32,
        /// The system's error.
        source: io::Error,
    },
    /// `launch` was given a setting that it chooses itself for each node.
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
    /// A bench: its file, or its report.
    #[cfg(feature = "bench")]
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// Chaos cannot be run.
    #[cfg(all(feature = "cli", unix))]
    #[error(transparent)]
    Chaos(#[from] ChaosError),
    /// A picture cannot be drawn.
    #[cfg(feature = "report")]
    #[error("{what}: cannot be drawn: {reason}")]
    Drawing {
        /// Which, or the folder that it was for.
        what: String,
        /// Why.
        reason: String,
    },
    /// A landscape cannot be made as asked.
    #[cfg(feature = "report")]
    #[error(transparent)]
    Landscape(#[from] LandscapeError),
    /// A page cannot show so many runs.
    #[cfg(feature = "report")]
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
    #[cfg(feature = "report")]
    #[error(
        "a table is of one run, not of {runs}; give one folder, of several nodes one such as RUN/node-1"
    )]
    NotOneTable {
        /// How many, counting each node as one.
        runs: usize,
    },
    /// A folder that runs are to be exported to holds something else.
    #[cfg(feature = "report")]
    #[error(
        "{} is neither empty nor a store of MLflow; give a folder that is new, empty or such a store",
        path.display()
    )]
    NoMlflowStore {
        /// The folder.
        path: PathBuf,
    },
    /// Two runs that are to be exported would be one entry in MLflow.
    #[cfg(feature = "report")]
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
            _ if self.may_pass() => EXIT_RETRY,
            Self::Config(_)
            | Self::TaskConfig(_)
            | Self::Method(_)
            | Self::Device(_)
            | Self::NodesAbsent { .. }
            | Self::Placed { .. }
            | Self::NotSimulated { .. }
            | Self::UnusedKey { .. }
            | Self::NoSuchWorker { .. }
            | Self::NoWeightDecay { .. }
            | Self::TooManyExchanges { .. }
            | Self::RunExists { .. }
            | Self::NotARun { .. }
            | Self::NoRates { .. }
            | Self::NoBatchKey
            | Self::NoSizes { .. }
            | Self::OtherSettings { .. } => EXIT_USAGE,
            #[cfg(feature = "report")]
            Self::Landscape(LandscapeError::OtherData { .. }) => EXIT_FAILED,
            #[cfg(feature = "report")]
            Self::NotReported { .. }
            | Self::NotOneTable { .. }
            | Self::NoMlflowStore { .. }
            | Self::OneMlflowEntry { .. }
            | Self::Landscape(_) => EXIT_USAGE,
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
            Self::Link(_) | Self::NodeDiffers { .. } => EXIT_USAGE,
            #[cfg(not(feature = "nodes"))]
            Self::OneNode { .. } => EXIT_USAGE,
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
        match self {
            Self::Write { source, .. }
            | Self::Read { source, .. }
            | Self::NoPorts { source, .. } => passes(source),
            #[cfg(feature = "nodes")]
            Self::Link(LinkError::Listen { source, .. }) => passes(source),
            #[cfg(feature = "serve")]
            Self::Serve(ServeError::Listen { source, .. }) => passes(source),
            #[cfg(feature = "nodes")]
            Self::Link(LinkError::Unresolved { .. }) => true,
            // The other process may end, or the other nodes may still connect.
            Self::InUse { .. } | Self::NodeRuns { .. } | Self::NodesAbsent { seen: None, .. } => {
                true
            }
            _ => false,
        }
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

/// Whether a system error may be temporary.
pub fn passes(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse || is_full_disk(error)
}

/// Whether there was no room on the disk, or no more of a user's share of it.
pub fn is_full_disk(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), QuotaExceeded | StorageFull)
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
        let absent = |seen: Option<&str>| RunError::NodesAbsent {
            nodes: String::from("node 2"),
            seconds: 1,
            seen: seen.map(String::from),
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
            (RunError::NodeRuns { node: 0 }, EXIT_RETRY),
            (listen(io::ErrorKind::AddrInUse), EXIT_RETRY),
            (listen(io::ErrorKind::PermissionDenied), EXIT_USAGE),
            (RunError::Link(unresolved), EXIT_RETRY),
            (RunError::Interrupted, EXIT_INTERRUPTED),
        ] {
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }
}
