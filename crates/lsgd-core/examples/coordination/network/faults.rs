//! Who runs, who is connected to whom, and how either ends.

use std::time::Duration;

use rand::RngExt;

use super::{LEASE, Network, RECONNECT, Scheduled, Seen};

impl Network {
    /// A node's process ends immediately. Half of the others are notified by their system.
    pub fn kill(&mut self, node: u32) {
        self.frozen.remove(&node);
        self.see(node, || Seen::Ended);
        if self.hosts[node as usize].take().is_some() {
            self.part_with(node);
        }
    }

    /// A node's process is stopped, and its connections stay open.
    pub fn freeze(&mut self, node: u32) {
        if self.is_alive(node) && self.frozen.insert(node) {
            self.part_with(node);
        }
    }

    /// A stopped process continues. It notices that it was stopped, and reconnects.
    pub fn thaw(&mut self, node: u32) {
        if !self.frozen.remove(&node) {
            return;
        }
        let now = self.now;
        let Some(host) = &mut self.hosts[node as usize] else {
            return;
        };
        host.trainer.thaw(host.clock.at(now));
        for (other, incarnation) in std::mem::take(&mut host.up) {
            self.see(node, || Seen::Disconnected(other, incarnation));
            self.drive(node, |host, now| {
                host.leader.disconnected(other, incarnation, now);
            });
        }
        self.meet(node);
        self.act(node);
    }

    /// Nodes reach only those of the same part from now on.
    pub fn cut(&mut self, part_of: impl Fn(u32) -> u32) {
        self.parts = (0..self.setting.nodes).map(part_of).collect();
        (0..self.setting.nodes).for_each(|node| self.part_with(node));
        (0..self.setting.nodes).for_each(|node| self.meet(node));
    }

    /// Nothing gets from one node to another from now on, though it does the other way.
    pub fn block(&mut self, from: u32, to: u32) {
        if from != to && self.blocked.insert((from, to)) {
            // The one that hears nothing gives the connection up, and says so to the other.
            self.after(LEASE, Scheduled::Look(to, from));
            let heard = LEASE + self.delay();
            self.after(heard, Scheduled::Look(from, to));
        }
    }

    /// All ways among nodes of the same part are open again.
    pub fn unblock(&mut self) {
        self.blocked.clear();
        (0..self.setting.nodes).for_each(|node| self.meet(node));
    }

    /// Whether a node's process runs, or is only stopped.
    pub fn is_alive(&self, node: u32) -> bool {
        self.hosts[node as usize].is_some()
    }

    pub fn is_frozen(&self, node: u32) -> bool {
        self.frozen.contains(&node)
    }

    /// The nodes that take part: they run, and are not stopped.
    pub fn awake(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.setting.nodes).filter(|&node| self.is_alive(node) && !self.is_frozen(node))
    }

    /// From now on a vector takes so long on its way to a node.
    pub fn slow(&mut self, node: u32, transfer: Duration) {
        self.transfers[node as usize] = transfer;
    }

    /// From now on a node's steps take so many times as long.
    pub fn pace(&mut self, node: u32, times: f64) {
        self.paces[node as usize] = times;
    }

    /// From now on no status reaches a node.
    pub fn deafen(&mut self, node: u32) {
        self.deaf = Some(node);
    }

    /// Whether what one node sends gets to another.
    pub(super) fn reaches(&self, from: u32, to: u32) -> bool {
        let awake = |node| self.is_alive(node) && !self.is_frozen(node);
        let same_part = self.parts[from as usize] == self.parts[to as usize];
        awake(from) && awake(to) && same_part && !self.blocked.contains(&(from, to))
    }

    /// Whether two nodes can be connected.
    pub(super) fn meets(&self, node: u32, other: u32) -> bool {
        self.reaches(node, other) && self.reaches(other, node)
    }

    /// Those that `node` can reach notice within a while, and it them.
    pub(super) fn meet(&mut self, node: u32) {
        for other in 0..self.setting.nodes {
            if other != node && self.meets(node, other) {
                let wait = RECONNECT.mul_f64(self.random.random_range(0.0..=1.0));
                self.after(wait, Scheduled::Look(node, other));
                self.after(wait, Scheduled::Look(other, node));
            }
        }
    }

    /// Those that `node` can no longer reach notice at once or after the lease, and it them.
    fn part_with(&mut self, node: u32) {
        for other in 0..self.setting.nodes {
            if other != node && !self.meets(node, other) {
                let at_once = !self.is_alive(node) && self.random.random_bool(0.5);
                let wait = if at_once { Duration::ZERO } else { LEASE };
                self.after(wait, Scheduled::Look(node, other));
                self.after(wait, Scheduled::Look(other, node));
            }
        }
    }

    /// `node` sees who the other is now, if it can reach it.
    pub(super) fn look(&mut self, node: u32, other: u32) {
        if self.is_frozen(node) {
            return;
        }
        let Some(known) = self.host(node).map(|host| host.up.get(&other).copied()) else {
            return;
        };
        let incarnation = self.host(other).map(|host| host.incarnation);
        let incarnation = incarnation.filter(|_| self.meets(node, other));
        if known == incarnation {
            return;
        }
        if let Some(known) = known {
            self.see(node, || Seen::Disconnected(other, known));
        }
        if let Some(incarnation) = incarnation {
            self.see(node, || Seen::Connected(other, incarnation));
        }
        self.drive(node, |host, now| {
            if let Some(known) = known {
                host.up.remove(&other);
                host.leader.disconnected(other, known, now);
            }
            if let Some(incarnation) = incarnation {
                host.up.insert(other, incarnation);
                host.leader.connected(other, incarnation, now);
            }
        });
    }
}
