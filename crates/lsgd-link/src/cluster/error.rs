//! Why a node cannot train with the others.

use lsgd_core::MethodError;

use crate::error::LinkError;
use crate::hello::Difference;

/// Why a node cannot train with the others. Messages count nodes from 1.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The link cannot be opened.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The method cannot run in the mode.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// A connected node does not train the same.
    #[error(
        "node {} does not fit: {}; start all nodes with the same program and settings",
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
        "node {} of this run is running already, in another process; give this one another number, \
         or end that one",
        u64::from(*node) + 1
    )]
    NodeRuns {
        /// The node, from 0.
        node: u32,
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
    /// The others train already, and what they exchange is no place to begin at.
    #[error(
        "the other nodes train already, and with {method} nothing that they exchange is a place to \
         begin at; start all nodes anew, or use another method"
    )]
    CannotJoin {
        /// The method.
        method: &'static str,
    },
}

/// Advice for nodes that did not connect.
const START_THEM: &str = "start them with the same settings and endpoints, or wait longer for them";
