//! The user's description of the other nodes.

use std::time::Duration;

use lsgd_core::WireFormat;
use lsgd_link::Tls;

/// Which node of a run this process is, and where the others are.
///
/// All nodes run the same program, with the same model, data, method and number of devices; only
/// `node`, `listen` and `tls` differ.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The run's name, which must be unique among runs on the same machines. `lsgd` unless set.
    pub run: String,
    /// This node, from 0. Messages count from 1.
    pub node: u32,
    /// How many nodes the run has, at least 1.
    pub nodes: u32,
    /// Where others can connect to this node: `tcp/HOST:PORT` or `tls/HOST:PORT`.
    pub listen: Vec<String>,
    /// Where the others listen; an endpoint of this node itself does no harm.
    pub connect: Vec<String>,
    /// Certificates for `tls/` endpoints; both sides of a connection present one. A `tcp/` endpoint
    /// is open to anyone who can reach it. None unless set.
    pub tls: Option<Tls>,
    /// How long this node may be silent before the others take it for dead, from 0.5 s to 60 s; 1.25 s
    /// unless set. The same on all nodes. More tolerates links
    /// that lose packets.
    pub lease: Duration,
    /// The encoding of parameters on the network; `f32` unless set.
    pub wire: WireFormat,
    /// How long this node waits for the others at the start; 5 minutes unless set.
    pub wait: Duration,
    /// How long the others wait, in `sync` and at the end, for a node that makes no progress; 30 seconds
    /// unless set. A worker makes progress with every batch.
    pub round_limit: Duration,
}

impl ClusterConfig {
    /// Node `node`, from 0, of as many as there are `endpoints`: each node listens at its own, in
    /// this order.
    pub fn new(node: u32, endpoints: Vec<String>) -> Self {
        Self {
            run: String::from("lsgd"),
            node,
            nodes: u32::try_from(endpoints.len()).unwrap_or(u32::MAX),
            listen: endpoints.get(node as usize).cloned().into_iter().collect(),
            connect: endpoints,
            tls: None,
            lease: lsgd_link::LEASE,
            wire: WireFormat::F32,
            wait: Duration::from_secs(300),
            round_limit: Duration::from_secs(30),
        }
    }
}
