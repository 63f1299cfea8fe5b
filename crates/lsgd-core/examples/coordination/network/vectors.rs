//! How vectors get from the nodes that have them to those that want them.

use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{Averaged, Fetched, MeanRef, NotAveraged, Snapshot, SnapshotDigest, VectorRef};
use rand::RngExt;

use super::{Host, LEASE, Network, Planted, RECONNECT, Scheduled, Seen};

/// Vectors that a node keeps for others of its own, and as many of those it has fetched.
const KEPT: usize = 3;

pub(super) type SnapshotStore = Vec<(SnapshotDigest, Arc<Snapshot>)>;

impl Network {
    /// A node wants a vector: it has it, is getting it already, or asks the holders in turn.
    pub(super) fn want(&mut self, node: u32, vector: VectorRef, mut holders: Vec<u32>) {
        self.see(node, || Seen::Asked(vector));
        let digest = vector.digest;
        let Some(host) = &mut self.hosts[node as usize] else {
            return;
        };
        let incarnation = host.incarnation;
        if let Some(snapshot) = host.has(digest) {
            return self.after(
                Duration::ZERO,
                Scheduled::Found(node, incarnation, snapshot),
            );
        }
        if let Some(left) = host.under_way.get_mut(&digest) {
            holders.retain(|holder| !left.contains(holder));
            // The next to ask is the last.
            left.splice(0..0, holders.into_iter().rev());
            return;
        }
        holders.reverse();
        host.under_way.insert(digest, holders);
        let wait = self.delay() * 3;
        self.after(wait, Scheduled::Fetch(node, incarnation, digest));
    }

    /// Asks the holder that is next for a vector that a node of that incarnation wants.
    pub(super) fn fetch(&mut self, node: u32, incarnation: u64, digest: SnapshotDigest) {
        if self.is_frozen(node) {
            return self.after(RECONNECT, Scheduled::Fetch(node, incarnation, digest));
        }
        let Some(host) = self.process(node, incarnation) else {
            return;
        };
        let left = host.under_way.get_mut(&digest);
        let Some(holder) = left.and_then(Vec::pop) else {
            host.under_way.remove(&digest);
            self.see(node, || Seen::Unfetched(digest));
            return self.drive(node, |host, now| {
                let why = String::from("nobody has it");
                host.leader.fetched(digest, Err(why), now);
            });
        };
        let reached = self.meets(node, holder);
        let found = self.host(holder).filter(|_| reached);
        match found.and_then(|host| host.has(digest)) {
            // It stays there as long as it is on its way.
            Some(snapshot) => {
                let held = self.clogs.get(&(holder, node)).copied().unwrap_or_default();
                let held = held.saturating_sub(self.now);
                let wait = held + self.transfers[node as usize];
                self.after(wait, Scheduled::Arrival(node, incarnation, snapshot));
            }
            None => {
                let wait = if reached { self.delay() } else { LEASE };
                self.after(wait, Scheduled::Fetch(node, incarnation, digest));
            }
        }
    }

    /// A vector has arrived at a node of that incarnation. Like a real link, it does not take one
    /// that no module may take, and asks the next holder.
    pub(super) fn arrival(&mut self, node: u32, incarnation: u64, snapshot: Arc<Snapshot>) {
        if self.is_frozen(node) {
            return self.after(RECONNECT, Scheduled::Arrival(node, incarnation, snapshot));
        }
        let layout = self.setting.layout.clone();
        let Some(host) = self.process(node, incarnation) else {
            return;
        };
        let digest = snapshot.digest();
        if snapshot.check(&layout).is_err() {
            return self.fetch(node, incarnation, digest);
        }
        host.under_way.remove(&digest);
        keep(&mut host.fetched, digest, &snapshot);
        self.sent.vectors += 1;
        self.see(node, || Seen::Arrived(snapshot.clone()));
        let crossed = !self.strikes(Planted::Uncounted);
        self.drive(node, |host, now| {
            host.leader
                .fetched(digest, Ok(Fetched { snapshot, crossed }), now);
        });
    }

    /// A vector that a node of that incarnation wanted was there.
    pub(super) fn found(&mut self, node: u32, incarnation: u64, snapshot: Arc<Snapshot>) {
        if self.is_frozen(node) {
            return self.after(RECONNECT, Scheduled::Found(node, incarnation, snapshot));
        }
        if self.process(node, incarnation).is_some() {
            let (digest, crossed) = (snapshot.digest(), false);
            self.drive(node, |host, now| {
                host.leader
                    .fetched(digest, Ok(Fetched { snapshot, crossed }), now);
            });
        }
    }

    /// A node wants a mean: it asks the nodes whose sums that has. Half of the time it is too small for that.
    pub(super) fn average(&mut self, node: u32, mean: MeanRef) {
        self.see(node, || Seen::AskedForMean(mean.clone()));
        let Some(incarnation) = self.host(node).map(|host| host.incarnation) else {
            return;
        };
        if self.random.random_bool(0.5) {
            return self.not_averaged(node, &mean, NotAveraged::Declined);
        }
        let wait = self.delay() * 3;
        self.after(wait, Scheduled::Average(node, incarnation, mean));
    }

    /// All that a mean is made of is on its way, if the nodes that have it can be asked.
    pub(super) fn make_mean(&mut self, node: u32, incarnation: u64, mean: MeanRef) {
        if self.is_frozen(node) {
            return self.after(RECONNECT, Scheduled::Average(node, incarnation, mean));
        }
        if self.process(node, incarnation).is_none() {
            return;
        }
        let layout = self.setting.layout.clone();
        let (mut sums, mut missing) = (Vec::new(), Vec::new());
        for (member, sum) in &mean.sums {
            let reached = *member == node || self.meets(node, *member);
            let host = self.host(*member).filter(|_| reached);
            let found = host.and_then(|host| host.has(sum.digest));
            match found.filter(|sum| sum.check(&layout).is_ok()) {
                Some(sum) => sums.push(sum),
                None => missing.push((*member, String::from("it is gone"))),
            }
        }
        if !missing.is_empty() {
            return self.not_averaged(node, &mean, NotAveraged::Missing(missing));
        }
        match mean.simulated(sums.iter().map(Arc::as_ref), self.setting.wire) {
            Ok(averaged) => {
                let wait = self.delay() + self.transfers[node as usize];
                let name = mean.name();
                self.after(wait, Scheduled::Averaged(node, incarnation, name, averaged));
            }
            Err(why) => self.not_averaged(node, &mean, why),
        }
    }

    /// All parts of a mean have arrived at a node of that incarnation.
    pub(super) fn averaged(
        &mut self,
        node: u32,
        incarnation: u64,
        name: SnapshotDigest,
        averaged: Averaged,
    ) {
        if self.is_frozen(node) {
            let again = Scheduled::Averaged(node, incarnation, name, averaged);
            return self.after(RECONNECT, again);
        }
        if self.process(node, incarnation).is_some() {
            self.see(node, || Seen::Averaged(name, averaged.bytes));
            let bytes = match self.strikes(Planted::Uncounted) {
                true => 0,
                false => averaged.bytes,
            };
            let averaged = Averaged { bytes, ..averaged };
            self.drive(node, |host, now| {
                host.leader.averaged(name, Ok(averaged), now)
            });
        }
    }

    fn not_averaged(&mut self, node: u32, mean: &MeanRef, why: NotAveraged) {
        let name = mean.name();
        let missing = match &why {
            NotAveraged::Missing(missing) => missing.iter().map(|(node, _)| *node).collect(),
            NotAveraged::Declined | NotAveraged::Unfit(_) => Vec::new(),
        };
        self.see(node, || Seen::Unaveraged(name, missing));
        self.drive(node, |host, now| host.leader.averaged(name, Err(why), now));
    }

    /// A node's process, if it is of that incarnation.
    fn process(&mut self, node: u32, incarnation: u64) -> Option<&mut Host> {
        let host = self.hosts[node as usize].as_mut();
        host.filter(|host| host.incarnation == incarnation)
    }
}

impl Host {
    /// A vector that it has, its own or another's.
    fn has(&self, digest: SnapshotDigest) -> Option<Arc<Snapshot>> {
        let mut boards = self.published.iter().chain(&self.fetched);
        let found = boards.find(|(name, _)| *name == digest);
        found.map(|(_, snapshot)| snapshot.clone())
    }
}

pub(super) fn keep(store: &mut SnapshotStore, digest: SnapshotDigest, snapshot: &Arc<Snapshot>) {
    store.retain(|(name, _)| *name != digest);
    store.insert(0, (digest, snapshot.clone()));
    store.truncate(KEPT);
}
