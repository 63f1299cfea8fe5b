//! Why a training with this strategy cannot start.

use lsgd_core::MethodError;

/// Why a training with this strategy cannot start.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SetupError {
    /// There are no devices, so no workers.
    #[error("no devices; give one for each worker, the same one twice for two workers on it")]
    NoDevices,
    /// The method cannot run in the mode.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// The method ranks workers by a probe.
    #[error(
        "{method} ranks workers by their loss on a probe, which a Learner does not have; leave out \
         ranked_by_probe()"
    )]
    Probe {
        /// The method.
        method: &'static str,
    },
    /// The training data cannot be shared among the workers. Detected when the training is
    /// launched, so it is returned as the `error` of its result.
    #[error(
        "{items} training items cannot be shared among {workers} workers; take at most as many \
         devices as there are items"
    )]
    TooFewItems {
        /// Items of the data loader.
        items: usize,
        /// Workers, one per device.
        workers: usize,
    },
    /// A worker's share of the training data has items, but no batch. Detected when it is trained
    /// on.
    #[error("the data loader gives worker {worker} no batch of its {items} items")]
    NoBatches {
        /// The worker, from 0.
        worker: usize,
        /// Items of its share.
        items: usize,
    },
}
