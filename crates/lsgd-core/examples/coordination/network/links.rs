//! Statuses on their way from node to node: some get lost, some arrive twice or again much later,
//! and a clogged link holds them all back.

use std::sync::Arc;
use std::time::Duration;

use lsgd_core::Status;
use rand::RngExt;

use super::{Host, LEASE, Network, Planted, Scheduled, Seen};

/// Longest time after which an old status arrives once more.
const LONGEST_REPLAY: Duration = Duration::from_secs(8);

impl Network {
    /// Whatever is sent from one node to another within that time arrives after it. Shorter than
    /// [`LEASE`], or the connection would be given up.
    pub fn clog(&mut self, from: u32, to: u32, time: Duration) {
        let until = self.now + time.min(LEASE.mul_f64(0.9));
        self.clogs.insert((from, to), until);
    }

    /// How long something that is sent now takes from one node to another.
    pub(super) fn transit(&mut self, from: u32, to: u32) -> Duration {
        let held = self.clogs.get(&(from, to)).copied().unwrap_or_default();
        held.saturating_sub(self.now) + self.delay()
    }

    pub(super) fn tell(&mut self, node: u32, status: &Status) {
        let bytes: Arc<[u8]> = status.encode().into();
        self.sent.broadcasts += 1;
        let Some(host) = self.host(node) else {
            return;
        };
        let (incarnation, others) = (
            host.incarnation,
            host.up.keys().copied().collect::<Vec<_>>(),
        );
        for other in others {
            self.sent.statuses += 1;
            self.sent.bytes += bytes.len() as u64;
            let lost = self.random.random_bool(self.setting.loss);
            if !lost && self.deaf != Some(other) {
                let wait = self.transit(node, other);
                self.after(wait, Scheduled::Status(other, incarnation, bytes.clone()));
                self.repeat(node, other, &bytes);
            }
        }
    }

    /// A status may arrive more than once.
    fn repeat(&mut self, from: u32, to: u32, bytes: &Arc<[u8]>) {
        let (duplicates, replays) = {
            let harshness = &self.setting.harshness;
            (harshness.duplicates, harshness.replays)
        };
        if duplicates > 0.0 && self.mischief.random_bool(duplicates) {
            let wait = self.transit(from, to);
            self.after(wait, Scheduled::Replay(to, bytes.clone()));
        }
        if replays > 0.0 && self.mischief.random_bool(replays) {
            let wait = LONGEST_REPLAY.mul_f64(self.mischief.random_range(0.0..=1.0));
            self.after(wait, Scheduled::Replay(to, bytes.clone()));
        }
    }

    /// A status reaches a node over the connection to this incarnation of its sender.
    pub(super) fn arrive(&mut self, to: u32, incarnation: u64, bytes: &[u8]) {
        let status = Status::decode(bytes).expect("as it was encoded");
        let from = status.node;
        let same = |host: &Host| host.up.get(&from) == Some(&incarnation);
        if self.reaches(from, to) && self.host(to).is_some_and(same) {
            self.take_status(to, status);
        }
    }

    /// A status reaches a node once more, whoever its sender is by now.
    pub(super) fn arrive_again(&mut self, to: u32, bytes: &[u8]) {
        let status = Status::decode(bytes).expect("as it was encoded");
        if self.is_alive(to) && !self.is_frozen(to) {
            self.take_status(to, status);
        }
    }

    fn take_status(&mut self, to: u32, mut status: Status) {
        if self.strikes(Planted::Forged) {
            status.rounds += 1;
        }
        self.see(to, || Seen::Received(status.clone()));
        self.drive(to, |host, now| host.leader.receive(status, now));
    }
}
