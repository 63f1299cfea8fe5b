//! Carries out what the leaders of a simulated run ask for.

use std::sync::Arc;
use std::time::Duration;

use super::network::{self, Network, Transfer};
use super::{KEPT, Scheduled, SimDriver, Simulation};
use crate::{
    Action, Averaged, Event, GlobalLeader, MeanRef, NotAveraged, Snapshot, SnapshotDigest, Status,
    VectorRef, WorkerId,
};

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
        let now = self.now;
        let published = |(of, sum): &(u32, VectorRef)| {
            let host = self.nodes.get(*of as usize).filter(|host| !host.is_dead);
            let found = host.and_then(|host| {
                let mut published = host.published.iter();
                published.find(|(name, _)| *name == sum.digest)
            });
            let missing = (*of, String::from("nobody has it"));
            found.map(|(_, sum)| sum.clone()).ok_or(missing)
        };
        let (sums, missing): (Vec<_>, Vec<_>) =
            mean.sums.iter().map(published).partition(Result::is_ok);
        let sums: Vec<Arc<Snapshot>> = sums.into_iter().flatten().collect();
        let values = sums
            .first()
            .map_or(0, |sum| self.network.stand_for(sum.bytes()) / 4);
        let made = match missing
            .into_iter()
            .filter_map(Result::err)
            .collect::<Vec<_>>()
        {
            missing if !missing.is_empty() => Err(NotAveraged::Missing(missing)),
            _ if !mean.is_shared(values) => Err(NotAveraged::Declined),
            _ => match mean.of(sums.iter().map(Arc::as_ref), self.wire) {
                Ok(Some(made)) => Ok(Arc::new(made)),
                Ok(None) => Err(NotAveraged::Declined),
                Err(why) => Err(NotAveraged::Unfit(why)),
            },
        };
        let name = mean.name();
        match made {
            Ok(made) => {
                let nodes = mean.sums.len() as u64;
                let bytes = 2 * (nodes - 1) * self.wire.bytes_of(&made) / nodes;
                let at = self
                    .network
                    .average(now, node, self.network.stand_for(bytes));
                let averaged = Averaged { mean: made, bytes };
                self.at(at, Scheduled::Averaged(node, name, averaged));
            }
            Err(why) => {
                if let Some(global) = self.live(node) {
                    global.averaged(name, Err(why), now);
                }
            }
        }
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
