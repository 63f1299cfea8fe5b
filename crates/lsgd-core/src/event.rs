//! Events for the run's record.

use serde::{Deserialize, Serialize};

use crate::{Election, Factors, Scope, ShortDigest, SnapshotError, Source, VectorKind, WorkerId};

/// An event recorded by a leader. `step` is the step of the worker concerned, or the furthest step
/// that any live worker has reported.
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
        vector: VectorKind,
        /// Where it came from.
        source: Source,
        /// Number of workers that received it.
        workers: usize,
        /// Bytes. Within a node, the payload that was published for it; over all nodes, the payload
        /// fetched from other nodes, without vectors that this node already had.
        bytes: u64,
        /// Over all nodes in `async`: steps per worker that this node has taken since the leader's
        /// report arrived.
        staleness: u64,
        /// The worker that added to the node's centre, and its step when it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        added: Option<Source>,
        /// `async`: the workers of the node whose running statistics were averaged and delivered with
        /// it, each with the step at which it sent them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        averaged: Vec<(u32, u64)>,
        /// `async`: of the vector that was published or fetched, or added to the node's centre.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<ShortDigest>,
    },
    /// A worker was pulled toward a vector that an exchange delivered.
    Adoption {
        /// The worker's step.
        step: u64,
        /// The worker.
        worker: WorkerId,
        /// Which leader.
        scope: Scope,
        /// Whose parameters.
        source: Source,
        /// How strongly.
        strength: f64,
        /// Steps that the worker has taken since the vector was published.
        staleness: u64,
        /// `async`: of the leader's parameters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<ShortDigest>,
        /// The worker's own factors from now on, if it took over the leader's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        factors: Option<Factors>,
    },
    /// `async`: an exchange over all nodes delivered a worker's own parameters to it. It is not pulled,
    /// and has no proximal target until another leads.
    Led {
        /// The worker's step.
        step: u64,
        /// The worker.
        worker: WorkerId,
        /// Its parameters that were delivered.
        source: Source,
    },
    /// The node's centre moved half way to that of another node.
    Merged {
        /// The furthest step reported.
        step: u64,
        /// This node's centre afterwards.
        source: Source,
        /// The other node's centre.
        other: Source,
        /// Of the other node's centre, as it arrived.
        digest: ShortDigest,
    },
    /// A published vector was rejected; there is no pull.
    Refused {
        /// The furthest step reported, or the step of the worker that rejected the vector.
        step: u64,
        /// The worker that published the vector or rejected it; for a mean that overflows, the
        /// lowest id in it.
        worker: WorkerId,
        /// Why it was rejected.
        why: SnapshotError,
    },
    /// The node proposed a vector for a global exchange.
    Proposed {
        /// The furthest step reported.
        step: u64,
        /// Which exchange.
        round: u64,
        /// Where the vector comes from; `None` when no worker of the node is eligible.
        source: Option<Source>,
        /// Relative error of rounding it for the wire; `None` if it is not rounded.
        rounding: Option<f64>,
        /// Of the vector, as rounded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<ShortDigest>,
    },
    /// Another node of the run has connected.
    NodeConnected {
        /// This node's furthest step.
        step: u64,
        /// The node.
        node: u32,
    },
    /// This node no longer waits for another node, nor follows it.
    NodeLost {
        /// This node's furthest step.
        step: u64,
        /// The node.
        node: u32,
        /// Why.
        why: NodeLoss,
    },
    /// The node starts training.
    Joined {
        /// The step its workers start at.
        step: u64,
        /// Where their parameters come from; `None` for the initial weights.
        source: Option<Source>,
        /// Bytes of parameters fetched from other nodes for it, including those that were outdated
        /// when they arrived.
        bytes: u64,
        /// Of the parameters that came from other nodes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<ShortDigest>,
    },
    /// A vector could not be fetched from any node.
    NotFetched {
        /// This node's furthest step.
        step: u64,
        /// Whose vector.
        source: Source,
        /// The answer of each node that was asked.
        why: String,
    },
    /// A worker has failed, and starts again from what was delivered last.
    Restarted {
        /// The step that it starts at, unless it starts as it did at first.
        step: u64,
        /// The worker.
        worker: WorkerId,
        /// What it starts from; `None` if it starts as it did at first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<Source>,
        /// Which exchange delivered that; `None` for a centre.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<Scope>,
        /// `async`: of what an exchange delivered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<ShortDigest>,
    },
    /// A worker has left: it finished or failed.
    Left {
        /// Its last reported step.
        step: u64,
        /// The worker.
        worker: WorkerId,
    },
}

impl Event {
    /// What a user is told at once, as one line that counts nodes from 1: that a node connected or is
    /// lost, and that a vector could not be fetched. `None`: the record of events is enough.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        let number = |node: &u32| u64::from(*node) + 1;
        Some(match self {
            Self::NodeConnected { node, .. } => format!("node {} connected", number(node)),
            Self::NodeLost { step, node, why } => match why {
                NodeLoss::Disconnected => format!(
                    "node {} disconnected at step {step}; continuing without it",
                    number(node)
                ),
                NodeLoss::Stalled { seconds } => format!(
                    "node {} made no progress for {seconds:.0} s; continuing without it from step {step}",
                    number(node)
                ),
            },
            Self::NotFetched { source, why, .. } => format!("{source}: {why}"),
            _ => return None,
        })
    }
}

/// Why this node no longer waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeLoss {
    /// The connection was lost: the node died, froze or was cut off.
    Disconnected,
    /// It is connected but makes no progress.
    Stalled {
        /// How long it has made none.
        seconds: f64,
    },
}
