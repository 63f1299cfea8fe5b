//! Bytes that crossed the link, counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use lsgd_core::Source;
use serde::{Deserialize, Serialize};

/// What bytes were for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Statuses that tell of an exchange.
    Report,
    /// Workers' parameters.
    Snapshot,
    /// Sums or means over workers.
    Mean,
    /// The centre of asynchronous EASGD and DOWNPOUR.
    Centre,
    /// Sums over workers at the end of the run, from which the mean of all is evaluated.
    Evaluation,
    /// Heartbeats, hellos, requests for chunks.
    Other,
}

impl Kind {
    /// Of a vector from `source`.
    pub(crate) fn of(source: Source) -> Self {
        match source {
            Source::Worker { .. } => Self::Snapshot,
            Source::Mean { .. } | Source::Sum { .. } => Self::Mean,
            Source::Final { .. } => Self::Evaluation,
            Source::Centre { .. } => Self::Centre,
        }
    }
}

/// Bytes both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// From here.
    pub sent: u64,
    /// To here.
    pub received: u64,
}

/// Bytes since the link was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Payload by peer (a node, from 0) and kind. A vector that had to be fetched again after a
    /// fault counts again.
    pub peers: BTreeMap<u32, BTreeMap<Kind, Flow>>,
    /// All bytes on the links as Zenoh counts them (payload, keys, headers, keep-alives; not what
    /// TLS, TCP and IP add); `None` when it does not tell.
    pub link: Option<Flow>,
}

impl Traffic {
    /// Share of the bytes on the links, both ways, that is no payload.
    pub fn protocol_share(&self) -> Option<f64> {
        let link = self.link.filter(|link| link.sent + link.received > 0)?;
        let flows = self.peers.values().flat_map(BTreeMap::values);
        let payload: u64 = flows.map(|flow| flow.sent + flow.received).sum();
        Some(1.0 - payload as f64 / (link.sent + link.received) as f64)
    }

    /// Payload of one kind, over all peers.
    pub fn total(&self, kind: Kind) -> Flow {
        let flows = self.peers.values().filter_map(|peer| peer.get(&kind));
        flows.fold(Flow::default(), |sum, flow| Flow {
            sent: sum.sent + flow.sent,
            received: sum.received + flow.received,
        })
    }
}

/// Counts payload.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<BTreeMap<u32, BTreeMap<Kind, Flow>>>);

impl Meter {
    /// `bytes` of `kind` went to `peer`.
    pub fn sent(&self, peer: u32, kind: Kind, bytes: usize) {
        self.with(peer, kind, |flow| flow.sent += bytes as u64);
    }

    /// `bytes` of `kind` came from `peer`.
    pub fn received(&self, peer: u32, kind: Kind, bytes: usize) {
        self.with(peer, kind, |flow| flow.received += bytes as u64);
    }

    fn with(&self, peer: u32, kind: Kind, count: impl FnOnce(&mut Flow)) {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        count(peers.entry(peer).or_default().entry(kind).or_default());
    }

    /// What was counted so far.
    pub fn read(&self) -> BTreeMap<u32, BTreeMap<Kind, Flow>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
