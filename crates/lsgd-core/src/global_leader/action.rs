//! What the state machine of the exchange between nodes asks its driver to do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::{Event, ExchangeOutcome, MeanRef, Snapshot, Status, VectorRef};

/// Something for the driver to do.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "few at a time, and soon done")]
pub enum Action {
    /// Send this status to all other nodes.
    Broadcast(Status),
    /// Make this vector available to other nodes.
    Publish(Arc<Snapshot>),
    /// Fetch a vector from one of the nodes that hold it, and report the outcome with
    /// [`fetched`](crate::GlobalLeader::fetched).
    Fetch {
        /// Which.
        vector: VectorRef,
        /// Nodes to ask, in this order.
        holders: Vec<u32>,
    },
    /// Make a mean over nodes together with them, and report the outcome with
    /// [`averaged`](crate::GlobalLeader::averaged).
    Average(MeanRef),
    /// Pass this to [`LocalLeader::adopt_global`](crate::LocalLeader::adopt_global).
    Deliver(ExchangeOutcome),
    /// Start training at this step, from these parameters or else the initial weights. If the
    /// node's workers are training already, stop them first: the other nodes have moved on without
    /// this one.
    Begin {
        /// The step.
        step: u64,
        /// The parameters.
        parameters: Option<Arc<Snapshot>>,
        /// How long the run has been trained so far, as far as is known.
        trained: Duration,
        /// Whether to continue from this node's own checkpoint of that step, and with the
        /// [state](crate::GlobalLeader::resume) that it has of the exchange.
        resumes: bool,
    },
    /// The node is waiting for these nodes to connect; empty once it no longer waits.
    Await(BTreeSet<u32>),
    /// Evaluate the mean over all nodes' workers at the end of the run, then
    /// [`close`](crate::GlobalLeader::close). `None` when another node has evaluated it, or it
    /// cannot be fetched.
    Conclude(Option<Arc<Snapshot>>),
    /// These nodes did not connect in time: the run cannot start.
    GiveUp(BTreeSet<u32>),
    /// The other nodes are training already, and their method exchanges nothing that a node could
    /// start from: this node cannot take part.
    CannotJoin,
    /// Record this event.
    Record(Event),
}
