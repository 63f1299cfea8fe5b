//! A worker's connection to its peers: one small trait and the messages that pass through it.

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::{Factors, Report, ShortDigest, Snapshot, SnapshotError, Source, WorkerId};

/// Whether workers wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Every worker takes exactly tau steps, then all exchange. Same seed, same bits.
    Sync,
    /// The total number of steps triggers an exchange; workers never block (Algorithm 1 of arXiv
    /// 1905.10395).
    Async,
}

/// The kinds of vector that an exchange carries.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum VectorKind {
    /// One worker's parameters.
    Parameters,
    /// The mean of all workers' parameters, summed in order of worker id.
    Mean,
    /// The centre variable of methods whose workers come to it one by one, and add to it.
    Centre,
    /// The mean of all workers' gradients, summed in order of worker id.
    Gradient,
}

impl VectorKind {
    /// Whether nodes that fetch such a vector of one node's hand it on to each other: a leader's is for
    /// all of them, while for a mean each node has a vector of its own for all others.
    pub fn is_handed_on(self) -> bool {
        self == Self::Parameters
    }
}

/// Within a node or over all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Within the node.
    Local,
    /// Over all nodes.
    Global,
}

/// From a worker to its local leader.
#[derive(Debug, Clone)]
pub enum Message {
    /// The worker is at a step boundary. In `sync` it sends this when an exchange is due and then
    /// waits; in `async` after every step.
    Report {
        /// The worker's state.
        report: Report,
        /// How many steps before the report's the newest loss in it was measured; it ages the report.
        /// 0 in `sync`.
        behind: u64,
        /// Its BatchNorm running statistics, if exchanges average them; in `async` only every tau
        /// steps.
        buffers: Option<Arc<[f32]>>,
    },
    /// A vector: the snapshot that the worker was told to publish, its part of a mean, or what it
    /// adds to the centre. An error if it could not be read.
    Publish(VectorKind, Result<Arc<Snapshot>, SnapshotError>),
    /// The parameters that the worker starts from, if the method has a centre: the centre starts
    /// from the first worker's.
    Begin(Arc<Snapshot>),
    /// Requests the current centre.
    WantCentre,
    /// The worker rejected a vector that an exchange delivered.
    Refused {
        /// Its step.
        step: u64,
        /// Why it rejected it.
        why: SnapshotError,
    },
    /// The worker was pulled toward a vector that an exchange delivered.
    Adopted {
        /// Its step.
        step: u64,
        /// Which leader.
        scope: Scope,
        /// Whose parameters.
        source: Source,
        /// How strongly.
        strength: f64,
        /// `async`: the digest of a leader's parameters.
        digest: Option<ShortDigest>,
        /// Its own factors from now on, if it took over the leader's.
        factors: Option<Factors>,
    },
    /// `async`: an exchange over all nodes delivered the worker's own parameters: it is not pulled.
    Led {
        /// Its step.
        step: u64,
        /// Its parameters that were delivered.
        source: Source,
    },
}

/// From the local leader to a worker.
#[derive(Debug, Clone)]
pub enum Command {
    /// The worker is elected and at a step boundary: publish a snapshot.
    Publish,
    /// The exchange is over: apply what it delivered and continue.
    Adopt(Delivery),
    /// The centre, as requested.
    Centre(Arc<Snapshot>),
    /// The run is over for all workers: stop.
    Close,
}

/// What exchanges deliver. Empty if no worker was eligible: the worker then continues unchanged.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// From the exchange within the node.
    pub local: ExchangeOutcome,
    /// From the exchange over all nodes; applied after the local one.
    pub global: ExchangeOutcome,
    /// BatchNorm running statistics to copy.
    pub buffers: Option<Arc<[f32]>>,
}

/// The vectors that one exchange delivers; which of them depends on the method.
#[derive(Debug, Clone, Default)]
pub struct ExchangeOutcome {
    /// The leader's parameters.
    pub leader: Option<Arc<Snapshot>>,
    /// The mean of all parameters or gradients.
    pub mean: Option<Arc<Snapshot>>,
}

impl ExchangeOutcome {
    /// Only a leader's parameters.
    pub fn leader(leader: Arc<Snapshot>) -> Self {
        Self {
            leader: Some(leader),
            mean: None,
        }
    }

    /// Only a mean.
    pub fn mean(mean: Arc<Snapshot>) -> Self {
        Self {
            leader: None,
            mean: Some(mean),
        }
    }

    /// Whether it holds no vector.
    pub fn is_empty(&self) -> bool {
        self.leader.is_none() && self.mean.is_none()
    }

    /// All vectors in it.
    pub fn vectors(&self) -> impl Iterator<Item = &Arc<Snapshot>> {
        self.leader.iter().chain(&self.mean)
    }

    /// `self`, or `older` if `self` is empty.
    pub(crate) fn or(self, older: Self) -> Self {
        match self.is_empty() {
            true => older,
            false => self,
        }
    }
}

/// A worker's connection to its peers.
///
/// An implementation may block in [`receive`](Exchange::receive) while the worker waits, as
/// [`Member`](crate::Member) does for threads, or return `None` and let the caller that drives the
/// worker wait, as a simulator does.
pub trait Exchange: Send {
    /// The worker that this connection belongs to.
    fn id(&self) -> WorkerId;

    /// Whether workers wait for each other.
    fn mode(&self) -> Mode;

    /// Sends a message to the local leader.
    fn send(&mut self, message: Message);

    /// The next command, if there is one. `waiting` means that the worker cannot continue without
    /// one.
    fn receive(&mut self, waiting: bool) -> Option<Command>;
}
