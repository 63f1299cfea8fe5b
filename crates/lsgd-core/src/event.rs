//! What happened, for the record.

use serde::{Deserialize, Serialize};

use crate::{Election, Rank, Refusal, Scope, Source, Vector};

/// Something the local leader decided or learned. `step` is the step of the worker concerned, or
/// the furthest step any live worker has reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An election, with its outcome and reason.
    Election {
        /// The furthest step reported.
        step: u64,
        /// Within the node or over all nodes.
        scope: Scope,
        /// Outcome.
        #[serde(flatten)]
        election: Election,
    },
    /// An exchange delivered a vector.
    Exchange {
        /// The furthest step reported.
        step: u64,
        /// Its number, from 1.
        exchange: u64,
        /// What kind of vector.
        vector: Vector,
        /// Where it came from.
        source: Source,
        /// Workers it was delivered to.
        workers: usize,
        /// Payload published for it, in bytes.
        bytes: u64,
    },
    /// A worker moved toward what an exchange delivered.
    Adoption {
        /// The worker's step.
        step: u64,
        /// The worker.
        worker: Rank,
        /// Which leader.
        scope: Scope,
        /// Whose parameters.
        source: Source,
        /// How strongly.
        strength: f64,
        /// The worker's own steps since the vector was published.
        staleness: u64,
    },
    /// A published vector was not used; there is no pull.
    Refused {
        /// The furthest step reported, or that of the worker that could not adopt it.
        step: u64,
        /// Who published it, or who could not adopt it; for a mean whose parts overflow, the
        /// lowest rank in it.
        worker: Rank,
        /// Why it was refused.
        why: Refusal,
    },
    /// A worker takes part no longer: it has finished or failed.
    Left {
        /// Its last reported step.
        step: u64,
        /// The worker.
        worker: Rank,
    },
}
