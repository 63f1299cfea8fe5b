//! How long what passes between workers and nodes takes.

use std::time::Duration;

use super::SimulationConfig;
use crate::{Message, Order};

/// A link: how long something takes that passes over it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatedLink {
    /// From the last byte's leaving to its coming.
    pub latency: Duration,
    /// Bytes a second; infinite where bytes take no time.
    pub bandwidth: f64,
}

impl SimulatedLink {
    /// A link over which everything passes at once.
    pub const INSTANT: Self = Self {
        latency: Duration::ZERO,
        bandwidth: f64::INFINITY,
    };

    /// When `bytes` that leave `now` have come.
    pub(super) fn arrival(&self, now: Duration, bytes: u64) -> Duration {
        now.saturating_add(self.latency)
            .saturating_add(self.busy(bytes))
    }

    /// How long the link is busy with `bytes`.
    fn busy(&self, bytes: u64) -> Duration {
        // No bandwidth is nought or less, so that only what takes centuries does not fit.
        Duration::try_from_secs_f64(bytes as f64 / self.bandwidth).unwrap_or(Duration::MAX / 4)
    }
}

/// What has passed between nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SimulatedTraffic {
    /// Vectors.
    pub vectors: u64,
    /// Their bytes.
    pub vector_bytes: u64,
    /// Statuses.
    pub statuses: u64,
    /// Their bytes.
    pub status_bytes: u64,
}

/// The links of a simulated run.
#[derive(Debug)]
pub(super) struct Network {
    pub local: SimulatedLink,
    pub global: SimulatedLink,
    pub traffic: SimulatedTraffic,
    scale: f64,
    /// Until when each node is busy with sending vectors, and with receiving them.
    sends_until: Vec<Duration>,
    receives_until: Vec<Duration>,
}

impl Network {
    pub fn new(config: &SimulationConfig) -> Self {
        let idle = vec![Duration::ZERO; config.nodes.max(1) as usize];
        Self {
            local: config.local,
            global: config.global,
            traffic: SimulatedTraffic::default(),
            scale: config.scale,
            sends_until: idle.clone(),
            receives_until: idle,
        }
    }

    /// What `bytes` of vectors stand for.
    pub fn stand_for(&self, bytes: u64) -> u64 {
        match self.scale == 1.0 {
            true => bytes,
            false => (bytes as f64 * self.scale).round() as u64,
        }
    }

    /// When node `to`, which asks `now`, has a vector of node `from`. A node sends one vector after
    /// another and receives one after another; small messages pass beside them.
    pub fn fetch(&mut self, now: Duration, from: u32, to: u32, bytes: u64) -> Duration {
        self.traffic.vectors += 1;
        self.traffic.vector_bytes += bytes;
        let (sends, receives) = (from as usize, to as usize);
        let asked = now.saturating_add(self.global.latency);
        let begins = asked
            .max(self.sends_until[sends])
            .max(self.receives_until[receives]);
        let ends = begins.saturating_add(self.global.busy(bytes));
        self.sends_until[sends] = ends;
        self.receives_until[receives] = ends;
        ends.saturating_add(self.global.latency)
    }
}

/// Bytes of vectors in what a worker tells its local leader.
pub(super) fn message_bytes(message: &Message) -> u64 {
    match message {
        // Where all begin is known to all.
        Message::Publish(_, Ok(snapshot)) => snapshot.bytes(),
        _ => 0,
    }
}

/// Bytes of vectors in what a worker is ordered.
pub(super) fn order_bytes(order: &Order) -> u64 {
    match order {
        Order::Adopt(adoption) => {
            let vectors = adoption.local.vectors().chain(adoption.global.vectors());
            let buffers = adoption
                .buffers
                .as_ref()
                .map_or(0, |buffers| 4 * buffers.len());
            vectors.map(|vector| vector.bytes()).sum::<u64>() + buffers as u64
        }
        Order::Centre(centre) => centre.bytes(),
        Order::Publish | Order::Close => 0,
    }
}
