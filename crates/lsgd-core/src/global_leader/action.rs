//! What a node does for the exchange between nodes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::{Delivered, Event, Offered, Snapshot, Status};

/// What is to be done for the exchange between nodes.
#[derive(Debug, Clone)]
pub enum Action {
    /// Tell all other nodes. Those marked as heartbeat say nothing that another would not.
    Tell {
        /// What.
        status: Status,
        /// Whether it says only that the node is there and gets on.
        heartbeat: bool,
    },
    /// Let others fetch this vector.
    Publish(Arc<Snapshot>),
    /// Get a vector from one of the nodes that have it, and answer with
    /// [`fetched`](crate::GlobalLeader::fetched).
    Fetch {
        /// Which.
        vector: Offered,
        /// Nodes to ask, in this order.
        holders: Vec<u32>,
    },
    /// Hand this to [`LocalLeader::adopt_global`](crate::LocalLeader::adopt_global).
    Deliver(Delivered),
    /// Begin to train at this step, from these parameters or else the initial weights. If the
    /// node's workers train already, they are stopped first: others have gone on without them.
    Begin {
        /// The step.
        step: u64,
        /// The parameters.
        parameters: Option<Arc<Snapshot>>,
        /// How long the run has been trained by now, as far as is known.
        trained: Duration,
    },
    /// The node waits for these to come; empty when it waits no longer.
    Await(BTreeSet<u32>),
    /// The mean of all nodes' workers at the end of the run, for this node to evaluate, after which
    /// it is to [`close`](crate::GlobalLeader::close); nothing when another node has evaluated it, or
    /// it cannot be had.
    Conclude(Option<Arc<Snapshot>>),
    /// The nodes waited for did not come in time: there is no run.
    GiveUp(BTreeSet<u32>),
    /// Others train already, and what their method exchanges is nothing to begin with: this node
    /// cannot take part.
    CannotJoin,
    /// For the record.
    Record(Event),
}
