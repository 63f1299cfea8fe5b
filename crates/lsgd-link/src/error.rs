//! Errors of a link, and of a fetch over it.

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use lsgd_core::SnapshotDigest;

/// Why a link cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The node's number is outside the run's range.
    #[error("node {} of {nodes}: nodes are numbered from 1 to {nodes}", u64::from(*node) + 1)]
    Number {
        /// The number, from 0.
        node: u32,
        /// Number of nodes.
        nodes: u32,
    },
    /// An endpoint is malformed.
    #[error("{endpoint} is not an endpoint ({why}); write it as tcp/HOST:PORT or tls/HOST:PORT")]
    Endpoint {
        /// As given.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate or key cannot be used.
    #[error("{}: {why}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// An endpoint cannot be listened on.
    #[error("cannot listen on {endpoint}: {source}")]
    Listen {
        /// The endpoint.
        endpoint: String,
        /// Why.
        source: io::Error,
    },
    /// The name of an endpoint does not resolve, or not yet.
    #[error("cannot listen on {endpoint}: its name does not resolve: {source}")]
    Unresolved {
        /// The endpoint.
        endpoint: String,
        /// The system's error.
        source: io::Error,
    },
    /// The process may not open as many files as the link and the run need.
    #[error(
        "{nodes} nodes need {needed} open files, and the limit is {limit}: raise it, as with \
         ulimit -n {needed}"
    )]
    OpenFiles {
        /// Number of nodes in the run.
        nodes: u32,
        /// Files needed.
        needed: u64,
        /// Files that the process may open.
        limit: u64,
    },
    /// The lease is too short to keep a connection alive, or too long to notice a death.
    #[error("a lease of {lease:?}: it must be between 0.5 s and 60 s")]
    Lease {
        /// As given.
        lease: Duration,
    },
    /// The description of the node is too long to send.
    #[error("the description of this node has {found} bytes, more than the {most} that are sent")]
    Description {
        /// Its length in bytes.
        found: usize,
        /// The maximum.
        most: usize,
    },
    /// The system started no thread.
    #[error("cannot start a thread of the link: {why}")]
    NoThread {
        /// Why.
        why: String,
    },
    /// Zenoh failed.
    #[error("cannot open the link to the other nodes: {why}")]
    Session {
        /// Zenoh's error.
        why: String,
    },
}

/// Why no holder delivered a vector: the fault of each that was asked, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    /// The vector.
    pub digest: SnapshotDigest,
    /// Each node that was asked, from 0, and its fault.
    pub faults: Vec<(u32, HolderFault)>,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.digest.to_string();
        write!(f, "vector {} could not be fetched", &digest[..16])?;
        if self.faults.is_empty() {
            return f.write_str(": nobody was named that has it");
        }
        let mut separator = ": ";
        for (node, fault) in &self.faults {
            write!(f, "{separator}node {} {fault}", u64::from(*node) + 1)?;
            separator = "; ";
        }
        Ok(())
    }
}

impl std::error::Error for FetchError {}

/// A fault of one holder of a vector. Its text continues "node 3".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HolderFault {
    /// It is not connected.
    #[error("is not connected")]
    Absent,
    /// It disconnected, or did not answer in time.
    #[error("gave no answer for value {first}")]
    Silent {
        /// The first value of the range asked for.
        first: u64,
    },
    /// It refused.
    #[error("refused: {why}")]
    Refused {
        /// Its reason.
        why: String,
    },
    /// The length of an answer is wrong.
    #[error("sent {found} bytes where value {first} and those after it have {expected}")]
    Length {
        /// The first value of the range asked for.
        first: u64,
        /// Bytes asked for.
        expected: usize,
        /// Bytes sent.
        found: usize,
    },
    /// A value is NaN or infinite.
    #[error("sent a value {index} that is not finite")]
    NotFinite {
        /// Its position, parameters first, then buffers.
        index: usize,
    },
    /// It was not asked: the system started no thread for it.
    #[error("has no thread left to fetch with")]
    NoThread,
    /// The values are not those requested.
    #[error(
        "sent other values than those named (their digest is {})",
        short(found)
    )]
    Digest {
        /// The digest of the values sent.
        found: SnapshotDigest,
    },
}

fn short(digest: &SnapshotDigest) -> String {
    digest.to_string()[..16].to_owned()
}
