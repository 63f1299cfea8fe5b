//! How a worker sees its peers: one small trait and the messages that pass through it.

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::{Rank, Refusal, Report, Snapshot, Source};

/// Whether workers wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Every worker takes exactly tau steps, then all meet. Same seed, same bits.
    Sync,
    /// The total number of steps triggers an exchange; nobody waits for anybody (Algorithm 1 of
    /// arXiv 1905.10395).
    Async,
}

/// The kinds of vector an exchange carries, counted apart.
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
pub enum Vector {
    /// One worker's parameters, to all.
    Snapshot,
    /// The mean of all workers' parameters, summed in rank order.
    Mean,
    /// The centre variable of asynchronous EASGD and DOWNPOUR, to which workers add.
    Centre,
    /// The mean of all workers' gradients, summed in rank order.
    Gradient,
}

/// Which leader: the node's own, or that of all nodes.
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
    /// The worker is at a step boundary. In `sync` sent where an exchange is due, and the worker
    /// then waits; in `async` sent after every step.
    Report {
        /// How it does.
        report: Report,
        /// Its BatchNorm running statistics, where an exchange averages them.
        buffers: Option<Arc<[f32]>>,
    },
    /// A vector: the snapshot the worker was asked to publish, its part of a mean, or what it adds
    /// to the centre; or why it could not be read.
    Publish(Vector, Result<Arc<Snapshot>, Refusal>),
    /// The parameters that the worker begins with, where the method has a centre: the first worker's
    /// are where that begins.
    Begin(Arc<Snapshot>),
    /// Asks for the centre as it is.
    WantCentre,
    /// The worker did not move toward what an exchange delivered.
    Refused {
        /// Its step.
        step: u64,
        /// Why it cannot take it.
        why: Refusal,
    },
    /// The worker has moved toward what an exchange delivered.
    Adopted {
        /// Its step.
        step: u64,
        /// Which leader.
        scope: Scope,
        /// Whose parameters.
        source: Source,
        /// How strongly.
        strength: f64,
    },
}

/// From the local leader to a worker.
#[derive(Debug, Clone)]
pub enum Order {
    /// The worker is elected: publish a snapshot, now that it is at a step boundary.
    Publish,
    /// The exchange is over: move toward what it delivered and go on.
    Adopt(Adoption),
    /// The centre, as asked for.
    Centre(Arc<Snapshot>),
    /// The run is over for everybody: stop.
    Close,
}

/// What exchanges deliver. All empty when nobody could lead: the worker goes on as it is.
#[derive(Debug, Clone, Default)]
pub struct Adoption {
    /// Of the node's own workers.
    pub local: Delivered,
    /// Of all nodes' workers; what it leads to comes after what the local one leads to.
    pub global: Delivered,
    /// BatchNorm running statistics to take over as they are.
    pub buffers: Option<Arc<[f32]>>,
}

/// What one exchange delivers, of what its method asks for.
#[derive(Debug, Clone, Default)]
pub struct Delivered {
    /// The leader's parameters.
    pub leader: Option<Arc<Snapshot>>,
    /// The mean of all parameters, or of all gradients.
    pub mean: Option<Arc<Snapshot>>,
}

impl Delivered {
    /// A leader's parameters alone.
    pub fn leader(leader: Arc<Snapshot>) -> Self {
        Self {
            leader: Some(leader),
            mean: None,
        }
    }

    /// A mean alone.
    pub fn mean(mean: Arc<Snapshot>) -> Self {
        Self {
            leader: None,
            mean: Some(mean),
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.leader.is_none() && self.mean.is_none()
    }

    /// All there is.
    pub fn vectors(&self) -> impl Iterator<Item = &Arc<Snapshot>> {
        self.leader.iter().chain(&self.mean)
    }

    /// This, with what it lacks from `older`.
    pub(crate) fn or(self, older: Self) -> Self {
        match self.is_empty() {
            true => older,
            false => self,
        }
    }
}

/// A worker's connection to its peers.
///
/// An implementation may block in [`receive`](Exchange::receive) when the worker says it waits (as
/// [`Member`](crate::Member) does for threads) or answer `None` and leave the waiting to whoever
/// drives the worker (as a simulator does).
pub trait Exchange: Send {
    /// Whose connection this is.
    fn rank(&self) -> Rank;

    /// Whether workers wait for each other.
    fn mode(&self) -> Mode;

    /// Tells the local leader something.
    fn send(&mut self, message: Message);

    /// The next order, if there is one. `waiting` says that the worker cannot go on without.
    fn receive(&mut self, waiting: bool) -> Option<Order>;
}
