//! Transfer times between workers and nodes.

use std::time::Duration;

use super::SimulationConfig;
use crate::{Command, Message};

/// A simulated link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatedLink {
    /// From sending the last byte to receiving it.
    pub latency: Duration,
    /// Bytes per second; infinite if bytes take no time.
    pub bandwidth: f64,
}

impl SimulatedLink {
    /// A link without latency or transfer time.
    pub const INSTANT: Self = Self {
        latency: Duration::ZERO,
        bandwidth: f64::INFINITY,
    };

    /// When `bytes` sent at `now` have arrived.
    pub(super) fn arrival(&self, now: Duration, bytes: u64) -> Duration {
        now.saturating_add(self.latency)
            .saturating_add(self.busy(bytes))
    }

    /// How long the link is busy with `bytes`.
    fn busy(&self, bytes: u64) -> Duration {
        // No bandwidth is zero or negative, so only durations of centuries do not fit.
        Duration::try_from_secs_f64(bytes as f64 / self.bandwidth).unwrap_or(Duration::MAX / 4)
    }
}

/// Traffic between nodes.
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
    /// When each node is done sending vectors, and receiving them.
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

    /// The number of bytes that `bytes` of vectors stand for.
    pub fn stand_for(&self, bytes: u64) -> u64 {
        match self.scale == 1.0 {
            true => bytes,
            false => (bytes as f64 * self.scale).round() as u64,
        }
    }

    /// When node `to`, which requests it at `now`, has received a vector from node `from`. A node
    /// sends and receives one vector after another; small messages pass in parallel.
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

/// Bytes of vectors in a worker's message.
pub(super) fn message_bytes(message: &Message) -> u64 {
    match message {
        // All workers know the initial weights.
        Message::Publish(_, Ok(snapshot)) => snapshot.bytes(),
        _ => 0,
    }
}

/// Bytes of vectors in a command.
pub(super) fn command_bytes(command: &Command) -> u64 {
    match command {
        Command::Adopt(delivery) => {
            let vectors = delivery.local.vectors().chain(delivery.global.vectors());
            let buffers = delivery
                .buffers
                .as_ref()
                .map_or(0, |buffers| 4 * buffers.len());
            vectors.map(|vector| vector.bytes()).sum::<u64>() + buffers as u64
        }
        Command::Centre(centre) => centre.bytes(),
        Command::Publish | Command::Close => 0,
    }
}
