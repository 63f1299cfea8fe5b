//! What can go wrong with a link, and with a fetch over it.

use std::path::PathBuf;
use std::{fmt, io};

use lsgd_core::SnapshotDigest;

use crate::open_files::explain;

/// Why a link cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The node's number is not one of the run's.
    #[error("node {} of {nodes}: nodes are numbered from 1 to {nodes}", u64::from(*node) + 1)]
    Number {
        /// The number, from 0.
        node: u32,
        /// How many nodes there are.
        nodes: u32,
    },
    /// An endpoint is not written as one.
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
    /// Nothing can be received at an endpoint.
    #[error("cannot listen on {endpoint}: {}", explain(source))]
    Listen {
        /// The endpoint.
        endpoint: String,
        /// Why.
        source: io::Error,
    },
    /// The name of an endpoint has no address, or none yet.
    #[error("cannot listen on {endpoint}: its name does not resolve: {source}")]
    Unresolved {
        /// The endpoint.
        endpoint: String,
        /// What the system says.
        source: io::Error,
    },
    /// The process may not open as many files as the link and the run need.
    #[error(
        "{nodes} nodes need {needed} open files, and the limit is {limit}: raise it, as with \
         ulimit -n {needed}"
    )]
    OpenFiles {
        /// Nodes of the run.
        nodes: u32,
        /// How many files are needed.
        needed: u64,
        /// How many the process may open.
        limit: u64,
    },
    /// What describes the node is too long to be sent.
    #[error("the description of this node has {found} bytes, more than the {most} that are sent")]
    Description {
        /// Its length.
        found: usize,
        /// The greatest length.
        most: usize,
    },
    /// The machine gives no thread.
    #[error("cannot start a thread of the link: {why}")]
    NoThread {
        /// Why.
        why: String,
    },
    /// Zenoh refuses.
    #[error("cannot open the link to the other nodes: {why}")]
    Session {
        /// What it says.
        why: String,
    },
}

/// Why no holder delivered a vector: what became of each that was asked, in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    /// The vector.
    pub digest: SnapshotDigest,
    /// Each node that was asked, from 0, and what was wrong.
    pub told: Vec<(u32, HolderFault)>,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.digest.to_string();
        write!(f, "vector {} could not be fetched", &digest[..16])?;
        if self.told.is_empty() {
            return f.write_str(": nobody was named that has it");
        }
        let mut separator = ": ";
        for (node, fault) in &self.told {
            write!(f, "{separator}node {} {fault}", u64::from(*node) + 1)?;
            separator = "; ";
        }
        Ok(())
    }
}

impl std::error::Error for FetchError {}

/// What was wrong with one holder of a vector. Reads on after "node 3".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HolderFault {
    /// It is not there.
    #[error("is not there")]
    Absent,
    /// It vanished, or did not answer in time.
    #[error("gave no answer for value {first}")]
    Silent {
        /// The first value of the range asked for.
        first: u64,
    },
    /// It refused.
    #[error("refused: {why}")]
    Refused {
        /// What it said.
        why: String,
    },
    /// An answer has another length than was asked for.
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
    /// It was not asked: the machine gives no thread for it.
    #[error("has no thread left to fetch with")]
    NoThread,
    /// The values are not those asked for.
    #[error(
        "sent other values than those named (their digest is {})",
        short(found)
    )]
    Digest {
        /// The digest of what was sent.
        found: SnapshotDigest,
    },
}

fn short(digest: &SnapshotDigest) -> String {
    digest.to_string()[..16].to_owned()
}
