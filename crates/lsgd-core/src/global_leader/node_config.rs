//! A node's settings within a run.

use std::time::Duration;

use crate::WireFormat;

/// A node's settings within a run.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Its number, from 0.
    pub node: u32,
    /// Number of nodes in the run.
    pub nodes: u32,
    /// Its workers.
    pub workers: u32,
    /// The node's incarnation: different after every start of its process.
    pub incarnation: u64,
    /// The format of values between nodes.
    pub wire: WireFormat,
    /// How long it waits for the other nodes at the start.
    pub wait: Duration,
    /// `sync`: how long it waits for a node that makes no progress.
    pub limit: Duration,
}
