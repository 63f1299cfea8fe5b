//! Why no learning rate or batch size can be sought.

/// Why no learning rate or batch size can be sought as asked.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
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
}
