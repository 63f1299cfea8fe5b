//! Transfer times between workers and nodes.

use std::collections::VecDeque;
use std::time::Duration;

use super::{KEPT, SimulationConfig};
use crate::{Command, Message, SnapshotDigest};

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
    /// When the holder of each vector that nodes hand on has sent all of it, newest first.
    sent_once: VecDeque<((SnapshotDigest, u32), Duration)>,
}

/// A vector that a node fetches from another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer {
    pub digest: SnapshotDigest,
    pub from: u32,
    pub to: u32,
    pub bytes: u64,
    /// Whether the nodes that fetch it hand it on to each other, part by part, as `lsgd-link` does
    /// with a leader's parameters.
    pub is_handed_on: bool,
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
            sent_once: VecDeque::new(),
        }
    }

    /// The number of bytes that `bytes` of vectors stand for.
    pub fn stand_for(&self, bytes: u64) -> u64 {
        match self.scale == 1.0 {
            true => bytes,
            false => (bytes as f64 * self.scale).round() as u64,
        }
    }

    /// When a vector that is requested at `now` has been received. A node sends and receives one
    /// vector after another; small messages pass in parallel. One that is handed on its holder sends
    /// once, to all who fetch it: each has it when the holder has sent it and its own link has carried
    /// it. That its parts cross one node more, and that those who fetch send parts too, is left out.
    pub fn fetch(&mut self, now: Duration, transfer: Transfer) -> Duration {
        self.traffic.vectors += 1;
        self.traffic.vector_bytes += transfer.bytes;
        let receives = transfer.to as usize;
        let busy = self.global.busy(transfer.bytes);
        let asked = now.saturating_add(self.global.latency);
        let ready = asked.max(self.receives_until[receives]);
        let ends = match transfer.is_handed_on {
            true => self
                .sent_at(asked, &transfer)
                .max(ready.saturating_add(busy)),
            false => {
                let sends_until = &mut self.sends_until[transfer.from as usize];
                *sends_until = ready.max(*sends_until).saturating_add(busy);
                *sends_until
            }
        };
        self.receives_until[receives] = ends;
        ends.saturating_add(self.global.latency)
    }

    /// When a node has its chunks of a mean's sums from all others and their chunks of the mean, of which it receives `bytes`
    /// in all, and sends as many. That it depends on the others' links too is left out.
    pub fn average(&mut self, now: Duration, node: u32, bytes: u64) -> Duration {
        self.traffic.vectors += 1;
        self.traffic.vector_bytes += bytes;
        let busy = self.global.busy(bytes);
        let asked = now.saturating_add(self.global.latency);
        let [sends, receives] = [&mut self.sends_until, &mut self.receives_until].map(|until| {
            let until = &mut until[node as usize];
            *until = asked.max(*until).saturating_add(busy);
            *until
        });
        // The sums come back, and the mean when it is made: it has been asked for by then.
        let ways = self.global.latency.saturating_mul(2);
        sends.max(receives).saturating_add(ways)
    }

    /// When the holder of a vector that is handed on, `asked` for it by then, has sent all of it.
    fn sent_at(&mut self, asked: Duration, transfer: &Transfer) -> Duration {
        let vector = (transfer.digest, transfer.from);
        if let Some((_, sent_at)) = self.sent_once.iter().find(|(sent, _)| *sent == vector) {
            return *sent_at;
        }
        let busy = self.global.busy(transfer.bytes);
        let sends_until = &mut self.sends_until[transfer.from as usize];
        *sends_until = asked.max(*sends_until).saturating_add(busy);
        self.sent_once.push_front((vector, *sends_until));
        self.sent_once.truncate(KEPT * self.receives_until.len());
        *sends_until
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
