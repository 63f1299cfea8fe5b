//! Counts the bytes that cross the link.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use lsgd_core::{Source, Status};
use serde::{Deserialize, Serialize};

/// What bytes are used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrafficKind {
    /// Statuses about an exchange.
    Report,
    /// Workers' parameters.
    Parameters,
    /// Sums or means over workers.
    Mean,
    /// The centre of asynchronous EASGD and DOWNPOUR.
    Centre,
    /// Sums over workers at the end of the run, for the evaluated mean.
    Evaluation,
    /// Heartbeats, hellos, requests for chunks.
    Other,
}

impl TrafficKind {
    /// The kind of a status.
    pub(crate) fn of_status(status: &Status) -> Self {
        match status.heartbeat {
            true => Self::Other,
            false => Self::Report,
        }
    }

    /// The kind of a vector from `source`.
    pub(crate) fn of(source: Source) -> Self {
        match source {
            Source::Worker { .. } => Self::Parameters,
            Source::Mean { .. } | Source::Sum { .. } | Source::Change { .. } => Self::Mean,
            Source::Final { .. } => Self::Evaluation,
            Source::Centre { .. } => Self::Centre,
        }
    }
}

/// Bytes both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Sent by this node.
    pub sent: u64,
    /// Received by this node.
    pub received: u64,
}

/// Bytes since the link was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Payload by peer (a node, from 0) and kind. A vector that is fetched again after a fault
    /// counts again.
    pub peers: BTreeMap<u32, BTreeMap<TrafficKind, Flow>>,
    /// All bytes on the links as Zenoh counts them (payload, keys, headers, keep-alives; without
    /// the overhead of TLS, TCP and IP); `None` if it does not report them.
    pub link: Option<Flow>,
}

impl Traffic {
    /// Fraction of the bytes on the links, both ways, that is not payload.
    pub fn protocol_share(&self) -> Option<f64> {
        let link = self.link.filter(|link| link.sent + link.received > 0)?;
        let flows = self.peers.values().flat_map(BTreeMap::values);
        let payload: u64 = flows.map(|flow| flow.sent + flow.received).sum();
        Some(1.0 - payload as f64 / (link.sent + link.received) as f64)
    }

    /// Payload of one kind, over all peers.
    pub fn total(&self, kind: TrafficKind) -> Flow {
        let flows = self.peers.values().filter_map(|peer| peer.get(&kind));
        flows.fold(Flow::default(), |sum, flow| Flow {
            sent: sum.sent + flow.sent,
            received: sum.received + flow.received,
        })
    }
}

/// Counts payload.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<BTreeMap<u32, BTreeMap<TrafficKind, Flow>>>);

impl Meter {
    /// `bytes` of `kind` were sent to `peer`.
    pub fn sent(&self, peer: u32, kind: TrafficKind, bytes: usize) {
        self.with(peer, kind, |flow| flow.sent += bytes as u64);
    }

    /// `bytes` of `kind` were received from `peer`.
    pub fn received(&self, peer: u32, kind: TrafficKind, bytes: usize) {
        self.with(peer, kind, |flow| flow.received += bytes as u64);
    }

    fn with(&self, peer: u32, kind: TrafficKind, count: impl FnOnce(&mut Flow)) {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        count(peers.entry(peer).or_default().entry(kind).or_default());
    }

    /// The counts so far.
    pub fn read(&self) -> BTreeMap<u32, BTreeMap<TrafficKind, Flow>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
