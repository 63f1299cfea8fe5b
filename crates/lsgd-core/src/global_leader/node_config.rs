//! A node's settings within a run, and the format of values between nodes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Snapshot;

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

/// The format of values between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireFormat {
    /// Unchanged, 4 bytes each.
    F32,
    /// Rounded once to bf16 by the proposing node: 2 bytes each. All nodes use the rounded values,
    /// the proposing node too.
    Bf16,
}

impl WireFormat {
    /// Bytes per value.
    pub fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// Bytes of a whole vector.
    pub fn bytes_of(self, vector: &Snapshot) -> u64 {
        (vector.values() * self.width()) as u64
    }
}
