//! Why nodes cannot be started.

use std::io;

use crate::exit::{EXIT_FAILED, EXIT_RETRY, EXIT_USAGE, passes};
use crate::words::count;

/// Why `launch` cannot start nodes.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There are not enough free ports.
    #[error("cannot find ports for {}: {source}", count(nodes, "node"))]
    NoPorts {
        /// Number of ports needed.
        nodes: u32,
        /// The system's error.
        source: io::Error,
    },
    /// `launch` was given a setting that it chooses itself for each node.
    #[error("launch gives each node its number and endpoints on loopback; leave {key} out")]
    Placed {
        /// The key.
        key: &'static str,
    },
    /// A node's process cannot be started.
    #[error("cannot start node {node}: {why}")]
    NoNode {
        /// The node, from 1.
        node: u32,
        /// Why.
        why: String,
    },
}

impl LaunchError {
    /// The exit code: 2 if the config is wrong, 75 if ports may become free.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Placed { .. } => EXIT_USAGE,
            Self::NoPorts { source, .. } if passes(source) => EXIT_RETRY,
            Self::NoPorts { .. } | Self::NoNode { .. } => EXIT_FAILED,
        }
    }
}
