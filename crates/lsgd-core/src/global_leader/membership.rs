//! What a node is among the nodes of a run, and how values pass between them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Snapshot;

/// What a node is among the nodes of a run.
#[derive(Debug, Clone)]
pub struct Membership {
    /// Its number, from 0.
    pub node: u32,
    /// How many nodes the run has.
    pub nodes: u32,
    /// Its workers.
    pub workers: u32,
    /// Which life of the node this is; another one after every start.
    pub life: u64,
    /// How values cross the network.
    pub wire: Wire,
    /// How long it waits for the others at the start.
    pub wait: Duration,
    /// `sync`: how long it waits for a node that makes no progress.
    pub limit: Duration,
}

/// How values cross the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// As they are, 4 bytes each.
    F32,
    /// Rounded once, by the node that offers them, to bf16: 2 bytes each. All nodes, its own
    /// included, use the rounded values.
    Bf16,
}

impl Wire {
    /// Bytes of a value.
    pub fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// Bytes of a vector.
    pub fn bytes_of(self, vector: &Snapshot) -> u64 {
        (vector.values() * self.width()) as u64
    }
}
