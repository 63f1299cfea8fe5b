//! What auditors get to see of a run, and what the network does wrong so that they find something.

use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{
    Event, ExchangeOutcome, MeanRef, NodeUpdate, Snapshot, SnapshotDigest, Source, Status,
    VectorRef,
};
use rand::RngExt;

use super::Network;

/// Something that happened at a node.
#[derive(Debug, Clone)]
pub struct Sight {
    /// When.
    pub at: Duration,
    /// Where.
    pub node: u32,
    /// In which of its processes.
    pub incarnation: u64,
    /// What.
    pub what: Seen,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Seen {
    /// Its process starts.
    Started,
    /// Its process ends.
    Ended,
    /// It is connected to another's process.
    Connected(u32, u64),
    /// It is no longer connected to it.
    Disconnected(u32, u64),
    /// Its exchange takes a status.
    Received(Status),
    /// Its workers come with this.
    Offered(NodeUpdate),
    /// It tells all others this.
    Said(Status),
    /// It wants a vector.
    Asked(VectorRef),
    /// It wants a mean.
    AskedForMean(MeanRef),
    /// So many bytes have crossed the network for the mean of this name.
    Averaged(SnapshotDigest, u64),
    /// It is told that it cannot have the mean of this name, since it cannot have the sums of these nodes.
    Unaveraged(SnapshotDigest, Vec<u32>),
    /// A vector has crossed the network for it.
    Arrived(Arc<Snapshot>),
    /// It is told that it cannot have a vector.
    Unfetched(SnapshotDigest),
    /// An exchange delivers this to its workers, which have taken so many steps.
    Delivered(u64, ExchangeOutcome),
    /// Its workers begin at this step, from these parameters, or from its own checkpoint.
    Began {
        step: u64,
        parameters: Option<Arc<Snapshot>>,
        resumes: bool,
    },
    /// It has written a checkpoint, at this step.
    Saved(u64),
    /// Its workers' values after they took what was delivered.
    Holds(Vec<f32>),
    /// It records this.
    Recorded(Event),
}

/// What the network itself does wrong, now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// One bit of a delivered vector is wrong.
    Bit,
    /// A delivered value is not a number.
    NotANumber,
    /// A vector of another origin is delivered in place of the right one.
    Stray,
    /// A vector that has crossed the network is said to have been there already.
    Uncounted,
    /// A status says that its node has ended one round more than it has.
    Forged,
    /// Once all is well, one node still hears nothing.
    Deaf,
}

/// Share of the occasions on which a planted fault strikes.
const STRIKES: f64 = 0.05;

impl Network {
    /// What has happened since this was last called.
    pub fn take_sights(&mut self) -> Vec<Sight> {
        std::mem::take(&mut self.sights)
    }

    pub(super) fn see(&mut self, node: u32, what: impl FnOnce() -> Seen) {
        if !self.setting.harshness.observed {
            return;
        }
        let Some(host) = self.host(node) else {
            return;
        };
        let incarnation = host.incarnation;
        let at = self.now;
        self.sights.push(Sight {
            at,
            node,
            incarnation,
            what: what(),
        });
    }

    /// Whether a planted fault of this kind strikes now.
    pub(super) fn strikes(&mut self, planted: Planted) -> bool {
        self.setting.harshness.planted == Some(planted) && self.mischief.random_bool(STRIKES)
    }

    /// What reaches the workers of what is delivered to them.
    pub(super) fn tampered(&mut self, node: u32, delivered: ExchangeOutcome) -> ExchangeOutcome {
        let ExchangeOutcome { leader, mean } = delivered;
        let mut tamper = |vector: Option<Arc<Snapshot>>| Some(self.tamper(node, vector?));
        ExchangeOutcome {
            leader: tamper(leader),
            mean: tamper(mean),
        }
    }

    fn tamper(&mut self, node: u32, vector: Arc<Snapshot>) -> Arc<Snapshot> {
        let mut values = vector.parameters().to_vec();
        if self.strikes(Planted::Bit) {
            values[0] = f32::from_bits(values[0].to_bits() ^ 1);
        }
        if self.strikes(Planted::NotANumber) {
            values[1] = f32::NAN;
        }
        if self.strikes(Planted::Stray)
            && let Some(host) = self.host(node)
        {
            let kept = host.published.iter().chain(&host.fetched);
            let worker = |source| matches!(source, Source::Worker { .. });
            let mut others = kept.filter(|(digest, other)| {
                *digest != vector.digest() && worker(other.source()) == worker(vector.source())
            });
            if let Some((_, other)) = others.next() {
                return other.clone();
            }
        }
        if values == vector.parameters() {
            return vector;
        }
        let buffers = vector.buffers().to_vec();
        let changed = Snapshot::new(vector.layout().clone(), vector.source(), values, buffers);
        Arc::new(changed.expect("as long as before"))
    }
}
