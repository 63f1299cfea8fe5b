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
        /// Within the node or over all nodes.
        scope: Scope,
        /// What kind of vector.
        vector: Vector,
        /// Where it came from.
        source: Source,
        /// Workers it was delivered to.
        workers: usize,
        /// Within a node, the payload published for it; over all nodes, the payload that came from
        /// other nodes for it, without what was here already. In bytes.
        bytes: u64,
        /// Over all nodes in `async`: this node's own steps, per worker, since the report of the
        /// one that leads came.
        staleness: u64,
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
    /// The node brought a vector to a global exchange.
    Offered {
        /// The furthest step reported.
        step: u64,
        /// Which exchange.
        round: u64,
        /// Whose vector; nothing when no worker of the node may lead.
        source: Option<Source>,
        /// What rounding it for the wire changed, relative to its norm; nothing if it is not
        /// rounded.
        rounding: Option<f64>,
    },
    /// Another node is there, and trains the same run.
    NodeAppeared {
        /// This node's furthest step.
        step: u64,
        /// The node.
        node: u32,
    },
    /// Another node is not waited for, and not followed, any more.
    NodeLost {
        /// This node's furthest step.
        step: u64,
        /// The node.
        node: u32,
        /// Why.
        why: Lost,
    },
    /// The node begins to train.
    Joined {
        /// The step its workers begin at.
        step: u64,
        /// Whose parameters they begin with; nothing for the initial weights.
        source: Option<Source>,
        /// Bytes of parameters that came from other nodes for it, those that were too old included.
        bytes: u64,
    },
    /// A vector could not be had from any node.
    NotFetched {
        /// This node's furthest step.
        step: u64,
        /// Whose vector.
        source: Source,
        /// What each node that was asked said.
        why: String,
    },
    /// A worker takes part no longer: it has finished or failed.
    Left {
        /// Its last reported step.
        step: u64,
        /// The worker.
        worker: Rank,
    },
}

/// Why a node is not waited for any more.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// Its connection is gone: it died, froze or was cut off.
    Vanished,
    /// It is connected but makes no progress.
    Silent {
        /// For so long.
        seconds: f64,
    },
}
