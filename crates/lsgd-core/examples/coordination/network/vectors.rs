//! How vectors get from the nodes that have them to those that want them.

use std::sync::Arc;

use lsgd_core::{Fetched, Snapshot, SnapshotDigest, VectorRef};

use super::{LEASE, Network, RECONNECT, Scheduled};

/// Vectors that a node keeps for others of its own, and as many of those it has fetched.
const KEPT: usize = 3;

pub(super) type SnapshotStore = Vec<(SnapshotDigest, Arc<Snapshot>)>;

impl Network {
    /// Asks the holder that is next for a vector that a node of that incarnation wants.
    pub(super) fn fetch(
        &mut self,
        node: u32,
        incarnation: u64,
        vector: VectorRef,
        mut holders: Vec<u32>,
    ) {
        let now = self.now;
        if self
            .host(node)
            .is_none_or(|host| host.incarnation != incarnation)
        {
            return;
        }
        if self.is_frozen(node) {
            holders.push(node);
            return self.after(
                RECONNECT,
                Scheduled::Fetch(node, incarnation, vector, holders),
            );
        }
        let digest = vector.digest;
        let Some(holder) = holders.pop() else {
            return self.drive(node, |host| {
                let why = String::from("nobody has it");
                host.leader.fetched(digest, Err(why), now);
            });
        };
        let reached = self.reaches(node, holder);
        let host = self.host(holder).filter(|_| reached);
        let boards = host.map(|host| host.published.iter().chain(&host.fetched));
        let found = boards.and_then(|mut boards| boards.find(|(name, _)| *name == digest));
        match found.map(|(_, snapshot)| snapshot.clone()) {
            // It stays there as long as it is on its way.
            Some(snapshot) => {
                let wait = self.transfers[node as usize];
                self.after(wait, Scheduled::Arrival(node, incarnation, snapshot));
            }
            None => {
                let wait = if reached { self.delay() } else { LEASE };
                self.after(wait, Scheduled::Fetch(node, incarnation, vector, holders));
            }
        }
    }

    /// A vector has arrived at a node of that incarnation.
    pub(super) fn arrival(&mut self, node: u32, incarnation: u64, snapshot: Arc<Snapshot>) {
        let now = self.now;
        if self
            .host(node)
            .is_none_or(|host| host.incarnation != incarnation)
        {
            return;
        }
        if self.is_frozen(node) {
            return self.after(RECONNECT, Scheduled::Arrival(node, incarnation, snapshot));
        }
        self.sent.vectors += 1;
        self.drive(node, |host| {
            let digest = snapshot.digest();
            keep(&mut host.fetched, digest, &snapshot);
            let crossed = true;
            host.leader
                .fetched(digest, Ok(Fetched { snapshot, crossed }), now);
        });
    }
}

pub(super) fn keep(store: &mut SnapshotStore, digest: SnapshotDigest, snapshot: &Arc<Snapshot>) {
    store.retain(|(name, _)| *name != digest);
    store.insert(0, (digest, snapshot.clone()));
    store.truncate(KEPT);
}
