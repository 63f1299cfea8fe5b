//! `[cluster]`: the other nodes of a run.

use std::path::PathBuf;

use lsgd_core::WireFormat;
use serde::{Deserialize, Serialize};

/// `cluster.silence_seconds` where it is not given: a death is noticed within 2 s. The link's usual lease
/// (`lsgd_link::LEASE`).
pub(super) const USUAL_SILENCE: f64 = 1.25;

/// `[cluster]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// This node, from 1.
    pub node: Option<u64>,
    /// Number of nodes in the run.
    pub nodes: u64,
    /// Where this node can be reached; if absent, its own entry of `connect`, which must then list
    /// all nodes in order.
    pub listen: Vec<String>,
    /// Where the other nodes can be reached; this node's own endpoint among them is ignored.
    pub connect: Vec<String>,
    /// The format of values between nodes.
    pub wire: WireFormat,
    /// Certificates for `tls/` endpoints. Both sides of a connection show one.
    pub tls: Option<Tls>,
    /// Allow endpoints that others on the network can reach without certificates.
    pub insecure: bool,
    /// How long this node may be silent before the others take it for dead.
    pub silence_seconds: f64,
    /// How long a node waits for the others at the start.
    pub wait_seconds: u64,
    /// `sync`: how long the others wait for a node that makes no progress.
    pub round_limit_seconds: u64,
}

/// `cluster.tls`: files for mutual TLS, in PEM. They are read in place and never copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate of the authority that signs all nodes' certificates.
    pub ca: PathBuf,
    /// This node's certificate, for the names or addresses under which others connect to it.
    pub certificate: PathBuf,
    /// The private key of that certificate.
    pub key: PathBuf,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            node: None,
            nodes: 1,
            listen: Vec::new(),
            connect: Vec::new(),
            wire: WireFormat::F32,
            tls: None,
            insecure: false,
            silence_seconds: USUAL_SILENCE,
            wait_seconds: 300,
            round_limit_seconds: 30,
        }
    }
}
