//! Carries out what the leaders of a simulated run ask for.

use std::sync::Arc;
use std::time::Duration;

use super::network::{self, Network, Transfer};
use super::{KEPT, Scheduled, SimDriver, Simulation};
use crate::{
    Action, Averaged, Event, GlobalLeader, MeanRef, NotAveraged, Snapshot, SnapshotDigest, Status,
    VectorRef, WorkerId,
};

/// Why a vector cannot be had.
const NOBODY: &str = "nobody has it";

impl<F: SimDriver> Simulation<F> {
    /// Carries out what a local leader asks for.
    pub(super) fn drive(&mut self, node: u32) -> Result<(), F::Error> {
        let now = self.now;
        let host = &mut self.nodes[node as usize];
        let mut commands = Vec::new();
        while let Some(command) = host.local.next_command() {
            commands.push(command);
        }
        while let Some(event) = host.local.next_event() {
            let event = scaled(event, &self.network);
            self.driver.record(node, event, now)?;
        }
        while let Some(update) = host.local.next_update() {
            if let Some(global) = &mut host.global {
                global.propose(update, now);
            }
        }
        for (worker, command) in commands {
            let id = WorkerId::new(node, worker);
            let bytes = self.network.stand_for(network::command_bytes(&command));
            let arrives = self.network.local.arrival(now, bytes);
            let slot = self.slot(id);
            slot.down_at = arrives.max(slot.down_at);
            let at = slot.down_at;
            self.at(at, Scheduled::Command(id, command));
        }
        self.act(node)
    }

    /// Carries out the actions of a node's global leader.
    pub(super) fn act(&mut self, node: u32) -> Result<(), F::Error> {
        let now = self.now;
        while let Some(action) = self.live(node).and_then(GlobalLeader::next_action) {
            match action {
                Action::Broadcast(status) => self.broadcast(node, status),
                Action::Publish(snapshot) => self.keep(node, snapshot.digest(), &snapshot),
                Action::Fetch { vector, holders } => self.fetch(node, &vector, &holders),
                Action::Average(mean) => self.average(node, &mean),
                Action::Deliver(delivered) => {
                    self.nodes[node as usize].local.adopt_global(delivered);
                    self.drive(node)?;
                }
                Action::Begin { .. } => self.begin_workers(node)?,
                Action::Record(event) => {
                    let event = scaled(event, &self.network);
                    self.driver.record(node, event, now)?;
                }
                // Simulated nodes do not rejoin, and the end is evaluated by the caller.
                Action::Await(_) | Action::GiveUp(_) | Action::CannotJoin | Action::Conclude(_) => {
                }
            }
        }
        let host = &mut self.nodes[node as usize];
        if let Some(global) = &host.global
            && !host.is_dead
        {
            // Always later than now, or the clock would stand still.
            let at = global
                .deadline()
                .max(now.saturating_add(Duration::from_millis(1)));
            if host.wakes_at.is_none_or(|wakes| wakes > at) {
                host.wakes_at = Some(at);
                self.at(at, Scheduled::Wake(node));
            }
        }
        Ok(())
    }

    pub(super) fn broadcast(&mut self, node: u32, status: Status) {
        let bytes = status.encode().len() as u64;
        let at = self.network.global.arrival(self.now, bytes);
        let status = Arc::new(status);
        for other in (0..self.nodes.len() as u32).filter(|other| *other != node) {
            self.network.traffic.statuses += 1;
            self.network.traffic.status_bytes += bytes;
            self.at(at, Scheduled::Status(other, status.clone()));
        }
    }

    /// Fetches a vector from the first of `holders` that has it.
    pub(super) fn fetch(&mut self, node: u32, vector: &VectorRef, holders: &[u32]) {
        let (now, digest) = (self.now, vector.digest);
        let published = |holder: &u32| Some((*holder, self.published(*holder, digest)?));
        let Some((holder, snapshot)) = holders.iter().find_map(published) else {
            let why = String::from(NOBODY);
            if let Some(global) = self.live(node) {
                global.fetched(digest, Err(why), now);
            }
            return;
        };
        let bytes = self.network.stand_for(self.wire.bytes_of(&snapshot));
        let transfer = Transfer {
            digest,
            from: holder,
            to: node,
            bytes,
            is_handed_on: vector.kind.is_handed_on(),
        };
        let at = self.network.fetch(self.now, transfer);
        self.at(at, Scheduled::Fetched(node, digest, snapshot));
    }

    /// Makes a mean together with the other nodes, if its vectors are large enough for that.
    fn average(&mut self, node: u32, mean: &MeanRef) {
        let (now, name) = (self.now, mean.name());
        match self.averaged(mean) {
            Ok(averaged) => {
                let bytes = self.network.stand_for(averaged.bytes);
                let at = self.network.average(now, node, bytes);
                self.at(at, Scheduled::Averaged(node, name, averaged));
            }
            Err(why) => {
                if let Some(global) = self.live(node) {
                    global.averaged(name, Err(why), now);
                }
            }
        }
    }

    /// The mean, if all of its sums are there and it is worth sharing.
    fn averaged(&self, mean: &MeanRef) -> Result<Averaged, NotAveraged> {
        let (mut sums, mut missing) = (Vec::new(), Vec::new());
        for (member, sum) in &mean.sums {
            match self.published(*member, sum.digest) {
                Some(sum) => sums.push(sum),
                None => missing.push((*member, String::from(NOBODY))),
            }
        }
        if !missing.is_empty() {
            return Err(NotAveraged::Missing(missing));
        }
        let bytes = sums.first().map_or(0, |sum| sum.bytes());
        match mean.is_shared(self.network.stand_for(bytes) / 4) {
            true => mean.simulated(sums.iter().map(Arc::as_ref), self.wire),
            false => Err(NotAveraged::Declined),
        }
    }

    /// A vector that a node has, if it lives.
    fn published(&self, node: u32, digest: SnapshotDigest) -> Option<Arc<Snapshot>> {
        let host = self.nodes.get(node as usize).filter(|host| !host.is_dead)?;
        let mut published = host.published.iter();
        let (_, snapshot) = published.find(|(name, _)| *name == digest)?;
        Some(snapshot.clone())
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

/// The event, with its bytes scaled to what its vectors stand for.
fn scaled(mut event: Event, network: &Network) -> Event {
    if let Event::Exchange { bytes, .. } = &mut event {
        *bytes = network.stand_for(*bytes);
    }
    event
}
