//! What nodes have written of themselves, and what is left of it when they start again.

use std::time::Duration;

use lsgd_core::{CheckpointRef, GlobalLeaderState, Status};
use rand::RngExt;

use super::{Host, Network, Seen};

/// Checkpoints that a node keeps.
const KEPT: usize = 4;

/// What a node continues from.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    step: u64,
    values: Vec<f32>,
    state: GlobalLeaderState,
}

impl Checkpoint {
    /// Its name among the node's checkpoints.
    pub fn named(&self) -> CheckpointRef {
        CheckpointRef {
            step: self.step,
            exchanged: self.state.counters.exchanged,
        }
    }
}

/// What is left of a node's checkpoints when it starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// Nothing, or it is not asked.
    New,
    /// All but the newest ones, which were torn when the process ended.
    Torn(usize),
}

impl Network {
    /// Starts a node's process, which continues from its checkpoints as far as they are whole.
    pub fn start_again(&mut self, node: u32, disk: Disk) {
        let left = &mut self.disks[node as usize];
        match disk {
            Disk::New => left.clear(),
            Disk::Torn(newest) => left.truncate(left.len().saturating_sub(newest)),
        }
        let left = left.clone();
        self.start_from(node, left);
    }

    /// From now on there is no room, or again some, for a node's checkpoints.
    pub fn fill_disk(&mut self, node: u32, full: bool) {
        self.full_disks[node as usize] = full;
    }

    /// After some exchanges a node writes a checkpoint, at this or a later step before the next.
    pub(super) fn write_checkpoint(&mut self, node: u32) {
        let share = self.setting.harshness.checkpoints;
        if share == 0.0 || !self.mischief.random_bool(share) || self.full_disks[node as usize] {
            return;
        }
        let Some(host) = &self.hosts[node as usize] else {
            return;
        };
        let later = self.mischief.random_range(0..host.trainer.period());
        let written = Checkpoint {
            step: host.trainer.step() + later,
            values: host.trainer.values().to_vec(),
            state: host.leader.state(),
        };
        let disk = &mut self.disks[node as usize];
        disk.retain(|checkpoint| checkpoint.step < written.step);
        let step = written.step;
        disk.push(written);
        if disk.len() > KEPT.min(Status::MAX_CHECKPOINTS) {
            disk.remove(0);
        }
        self.see(node, || Seen::Saved(step));
    }
}

impl Host {
    /// Continues from its checkpoint of this step.
    pub(super) fn resume(&mut self, step: u64, now: Duration) {
        let mut checkpoints = self.checkpoints.iter();
        let checkpoint = checkpoints.find(|checkpoint| checkpoint.step == step);
        let checkpoint = checkpoint.expect("it is asked to continue from what it has");
        self.trainer.begin_again(step, &checkpoint.values);
        let now = self.clock.at(now);
        self.leader.resume(checkpoint.state.clone(), now);
    }
}
