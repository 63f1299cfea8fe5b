//! Invalid methods.

/// Invalid methods.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MethodError {
    /// A strength is not a number in [0, 1].
    #[error("{key} {value} is not in [0, 1]")]
    Strength {
        /// Which strength.
        key: &'static str,
        /// Its value.
        value: f64,
    },
    /// A number is outside its range.
    #[error("{key} {value} is not {range}")]
    Range {
        /// Which number.
        key: &'static str,
        /// Its value.
        value: f64,
        /// In words.
        range: &'static str,
    },
    /// A period or a window is zero.
    #[error("{key} is 0; it must be at least 1")]
    Zero {
        /// Which one.
        key: &'static str,
    },
    /// The global period is not a multiple of the local one.
    #[error("global_period {global} is not a multiple of local_period {local}")]
    NotAMultiple {
        /// tau_G.
        global: u64,
        /// tau.
        local: u64,
    },
    /// Steps of exchanges that are not in ascending order, or begin with 0.
    #[error("the steps of exchanges are not in ascending order from 1")]
    Steps,
    /// The method has no leader whose statistics could be followed.
    #[error(
        "batch_norm \"leader\" needs a leader, which {method} does not have; use \"own\" or \"mean\""
    )]
    NoLeader {
        /// The method.
        method: &'static str,
    },
    /// The method's workers neither follow a leader nor exchange synchronously.
    #[error("workers of {method} follow no leader and never meet; set batch_norm to \"own\"")]
    OwnStatisticsOnly {
        /// The method.
        method: &'static str,
    },
    /// The method's workers access a centre one by one.
    #[error("{method} cannot run in mode \"sync\": its workers never meet; use \"async\"")]
    NeedsAsync {
        /// The method.
        method: &'static str,
    },
    /// The method's workers do not go on from the mean or near it, or with momentum of their own.
    #[error(
        "wire \"topk\" sends changes since the last mean, and workers of {method} do not begin there; use it \
         with local_sgd, or with diloco or slowmo, outer_momentum 0 and outer_learning_rate from 0.5 to 1.5"
    )]
    NotFromMean {
        /// The method.
        method: &'static str,
    },
    /// The method needs all workers at an exchange.
    #[error(
        "{method} cannot run in mode \"async\": a mean of all workers needs all to meet; use \"sync\""
    )]
    NeedsSync {
        /// The method.
        method: &'static str,
    },
}
