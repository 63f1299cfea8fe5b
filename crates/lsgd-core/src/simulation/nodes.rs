//! What the leaders of a simulated run say, done: to workers, and between nodes.

use std::sync::Arc;
use std::time::Duration;

use super::network::{self, Network};
use super::{Due, Fleet, KEPT, Simulation};
use crate::{Action, Event, GlobalLeader, Rank, Snapshot, SnapshotDigest, Status};

impl<F: Fleet> Simulation<F> {
    /// Does what a local leader says.
    pub(super) fn drive(&mut self, node: u32) -> Result<(), F::Error> {
        let now = self.now;
        let host = &mut self.nodes[node as usize];
        let mut orders = Vec::new();
        while let Some(order) = host.local.next_order() {
            orders.push(order);
        }
        while let Some(event) = host.local.next_event() {
            let event = scaled(event, &self.network);
            self.fleet.record(node, event, now)?;
        }
        while let Some(bid) = host.local.next_bid() {
            if let Some(global) = &mut host.global {
                global.bid(bid, now);
            }
        }
        for (worker, order) in orders {
            let rank = Rank::new(node, worker);
            let bytes = self.network.stand_for(network::order_bytes(&order));
            let arrives = self.network.local.arrival(now, bytes);
            let seat = self.seat(rank);
            seat.down_at = arrives.max(seat.down_at);
            let at = seat.down_at;
            self.at(at, Due::Ordered(rank, order));
        }
        self.act(node)
    }

    /// Does what a node's part of the exchange between nodes says.
    pub(super) fn act(&mut self, node: u32) -> Result<(), F::Error> {
        let now = self.now;
        while let Some(action) = self.live(node).and_then(GlobalLeader::next_action) {
            match action {
                Action::Tell { status, .. } => self.tell(node, status),
                Action::Publish(snapshot) => self.keep(node, snapshot.digest(), &snapshot),
                Action::Fetch { vector, holders } => self.fetch(node, vector.digest, &holders),
                Action::Deliver(delivered) => {
                    self.nodes[node as usize].local.adopt_global(delivered);
                    self.drive(node)?;
                }
                Action::Begin { .. } => self.begin_workers(node)?,
                Action::Record(event) => {
                    let event = scaled(event, &self.network);
                    self.fleet.record(node, event, now)?;
                }
                // Nodes are never away and back, and the end is evaluated outside.
                Action::Await(_) | Action::GiveUp(_) | Action::CannotJoin | Action::Conclude(_) => {
                }
            }
        }
        let host = &mut self.nodes[node as usize];
        if let Some(global) = &host.global
            && !host.is_dead
        {
            // Later than now in any case, or the clock would stand still.
            let at = global
                .deadline()
                .max(now.saturating_add(Duration::from_millis(1)));
            if host.wakes_at.is_none_or(|wakes| wakes > at) {
                host.wakes_at = Some(at);
                self.at(at, Due::Wake(node));
            }
        }
        Ok(())
    }

    pub(super) fn tell(&mut self, node: u32, status: Status) {
        let bytes = status.encode().len() as u64;
        let at = self.network.global.arrival(self.now, bytes);
        let status = Arc::new(status);
        for other in (0..self.nodes.len() as u32).filter(|other| *other != node) {
            self.network.traffic.statuses += 1;
            self.network.traffic.status_bytes += bytes;
            self.at(at, Due::Status(other, status.clone()));
        }
    }

    /// A node gets a vector from the first of `holders` that has it.
    pub(super) fn fetch(&mut self, node: u32, digest: SnapshotDigest, holders: &[u32]) {
        let now = self.now;
        let published = |holder: &u32| {
            let host = self
                .nodes
                .get(*holder as usize)
                .filter(|host| !host.is_dead)?;
            let found = host.published.iter().find(|(name, _)| *name == digest)?;
            Some((*holder, found.1.clone()))
        };
        let Some((holder, snapshot)) = holders.iter().find_map(published) else {
            let why = String::from("nobody has it");
            if let Some(global) = self.live(node) {
                global.fetched(digest, Err(why), now);
            }
            return;
        };
        let bytes = self.network.stand_for(self.wire.bytes_of(&snapshot));
        let at = self.network.fetch(self.now, holder, node, bytes);
        self.at(at, Due::Fetched(node, digest, snapshot));
    }

    pub(super) fn keep(&mut self, node: u32, digest: SnapshotDigest, snapshot: &Arc<Snapshot>) {
        let published = &mut self.nodes[node as usize].published;
        published.retain(|(name, _)| *name != digest);
        published.push_front((digest, snapshot.clone()));
        published.truncate(KEPT);
    }

    pub(super) fn live(&mut self, node: u32) -> Option<&mut GlobalLeader> {
        let host = self.nodes.get_mut(node as usize)?;
        host.global.as_mut().filter(|_| !host.is_dead)
    }
}

/// An event with the bytes that those of its vectors stand for.
fn scaled(mut event: Event, network: &Network) -> Event {
    if let Event::Exchange { bytes, .. } = &mut event {
        *bytes = network.stand_for(*bytes);
    }
    event
}
