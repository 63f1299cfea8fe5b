//! Why nodes do not train together.

use lsgd_link::Difference;

use crate::exit::{EXIT_FAILED, EXIT_RETRY, EXIT_USAGE};

/// Advice for nodes that did not connect.
const START_THEM: &str = "start them with the same config and cluster.connect, or wait longer with \
                          cluster.wait_seconds";

/// Why nodes do not train together, in the words of the config.
#[derive(Debug, thiserror::Error)]
pub enum NodesError {
    /// A connected node does not train the same run.
    #[error(
        "node {} does not fit: {}; start all nodes with the same config",
        u64::from(*node) + 1,
        differences.first().map_or_else(String::new, ToString::to_string)
    )]
    NodeDiffers {
        /// The node, from 0.
        node: u32,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// The node is running already.
    #[error(
        "node {} of this run is running already, in another process; give this one another \
         cluster.node, or end that one",
        u64::from(*node) + 1
    )]
    NodeRuns {
        /// The node, from 0.
        node: u32,
    },
    /// The node tried to join a run in progress, whose method does not allow that.
    #[error(
        "the other nodes train already, and with {method} nothing that they exchange is a place to \
         begin at; start all nodes anew, or use another method"
    )]
    CannotJoin {
        /// The method.
        method: &'static str,
    },
    /// Nodes did not connect.
    #[error("{nodes} did not come within {seconds} s; {}", seen.as_deref().unwrap_or(START_THEM))]
    NodesAbsent {
        /// The nodes, numbered from 1.
        nodes: String,
        /// How long this node waited for them.
        seconds: u64,
        /// The last obstacle: an untrusted certificate, or another run.
        seen: Option<String>,
    },
}

impl NodesError {
    /// The exit code: 2 if what was configured does not fit, 75 if the other process may end, or the other
    /// nodes may still connect.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NodeDiffers { .. } | Self::NodesAbsent { seen: Some(_), .. } => EXIT_USAGE,
            Self::NodeRuns { .. } | Self::NodesAbsent { seen: None, .. } => EXIT_RETRY,
            Self::CannotJoin { .. } => EXIT_FAILED,
        }
    }
}
