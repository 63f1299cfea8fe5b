//! The settings of a link.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{Layout, WireFormat};

use crate::tls::Tls;

/// The settings of a link.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// The run's name. Nodes of other runs are ignored.
    pub run: String,
    /// This node, from 0.
    pub node: u32,
    /// Number of nodes in the run.
    pub nodes: u32,
    /// The node's incarnation: different for every process.
    pub incarnation: u64,
    /// Where others can connect: `tcp/HOST:PORT` or `tls/HOST:PORT`.
    pub listen: Vec<String>,
    /// Where to connect to, retried without end. Endpoints of this node itself are ignored.
    pub connect: Vec<String>,
    /// The endpoint under which the others connect to this node, if it is known: the node's
    /// certificate must be valid for it.
    pub known_as: Option<String>,
    /// Certificates, for `tls/` endpoints.
    pub tls: Option<Tls>,
    /// How long this node may be silent before the others take it for dead, such as
    /// [`LEASE`](crate::LEASE). Longer leases tolerate links that lose packets, and detect deaths later.
    /// From 0.5 s to 60 s, and the same on all nodes.
    pub lease: Duration,
    /// The format of values.
    pub wire: WireFormat,
    /// What must be the same on all nodes, by its name in the config. At most 64 KiB in total.
    pub description: BTreeMap<String, String>,
    /// The layout of vectors.
    pub layout: Arc<Layout>,
}
