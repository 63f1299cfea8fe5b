//! Why a method cannot be made.

/// Why a method cannot be made.
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
    /// A number is not in the range that it has to be in.
    #[error("{key} {value} is not {range}")]
    Range {
        /// Which number.
        key: &'static str,
        /// Its value.
        value: f64,
        /// In words.
        range: &'static str,
    },
    /// A period or a window is nought.
    #[error("{key} is 0; it must be at least 1")]
    Nought {
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
    /// The method has no leader whose statistics could be followed.
    #[error(
        "batch_norm \"leader\" needs a leader, which {method} does not have; use \"own\" or \"mean\""
    )]
    NoLeader {
        /// The method.
        method: &'static str,
    },
    /// Workers of the method neither follow a leader nor meet.
    #[error("workers of {method} follow no leader and never meet; set batch_norm to \"own\"")]
    OnlyOwn {
        /// The method.
        method: &'static str,
    },
    /// Workers of the method come to a centre one by one.
    #[error("{method} cannot run in mode \"sync\": its workers never meet; use \"async\"")]
    NeverMeets {
        /// The method.
        method: &'static str,
    },
    /// The method needs all workers to meet.
    #[error(
        "{method} cannot run in mode \"async\": a mean of all workers needs all to meet; use \"sync\""
    )]
    NeedsMeeting {
        /// The method.
        method: &'static str,
    },
}
