//! What a config asks for, and its task or this build does not have.

use crate::words::count;

/// What a config asks for, and its task or this build does not have.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
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
        "method.local_period {local_period} gives the run more than {most} exchanges; give a longer \
         method.local_period, or leave out method.quadratic_period"
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
    /// Other nodes are configured, but this build cannot connect to any.
    #[cfg(not(feature = "nodes"))]
    #[error(
        "cluster.nodes {nodes}: this build trains on one node; build it with the feature nodes"
    )]
    OneNode {
        /// The configured number of nodes.
        nodes: u32,
    },
}
