//! Events of the link for its driver.

use std::sync::Arc;

use lsgd_core::{Averaged, NotAveraged, Snapshot, SnapshotDigest, Status};

use crate::error::FetchError;
use crate::hello::Difference;

/// An event of the link for its driver.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "few at a time, and soon done")]
pub enum Incoming {
    /// A node with the same settings has connected.
    Connected {
        /// The node, from 0.
        node: u32,
        /// Its incarnation.
        incarnation: u64,
    },
    /// A connected node has ended, hangs or is cut off.
    Disconnected {
        /// The node, from 0.
        node: u32,
        /// Its incarnation.
        incarnation: u64,
    },
    /// A node with different settings has tried to connect: it does not take part.
    Refused {
        /// The node, from 0.
        node: u32,
        /// What differs: at least one setting.
        differences: Vec<Difference>,
    },
    /// A status of a connected node.
    Status(Status),
    /// Part of a vector that is being fetched has arrived.
    Arrived,
    /// A fetch has ended.
    Fetched {
        /// The vector's digest.
        digest: SnapshotDigest,
        /// The vector, and the node that delivered it (this one, if it was here already).
        outcome: Result<(Arc<Snapshot>, u32), FetchError>,
    },
    /// A mean over nodes has been made, or not.
    Averaged {
        /// Its [name](lsgd_core::MeanRef::name).
        name: SnapshotDigest,
        /// What has come of it.
        outcome: Result<Averaged, NotAveraged>,
    },
    /// Another process has this node's number. Of the two incarnations, the one that started later
    /// must exit.
    DuplicateNode {
        /// This node.
        node: u32,
        /// The other's incarnation.
        incarnation: u64,
    },
    /// The node at an endpoint does not trust this node's certificate, or is not trusted itself.
    /// Reported once per endpoint.
    Untrusted {
        /// The node's endpoint.
        endpoint: String,
        /// Which of the two, and why.
        why: String,
    },
    /// A node of another run answers at an endpoint of this run. Reported once for each such run.
    OtherRun {
        /// The names of the two.
        name: Difference,
    },
    /// Other machines cannot connect to this node, although nodes run there: a line with the reason
    /// and the remedy.
    Unreachable(String),
    /// Invalid messages were rejected: a line for the log. There is at most one every few seconds,
    /// with the number of messages.
    Rejected(String),
}
