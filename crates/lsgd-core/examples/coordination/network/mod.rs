//! Nodes of a run in memory: their exchange as it is, workers that only pretend to train, and a
//! network that delays, loses and cuts. The clock moves to what is due next, so a minute of many
//! nodes takes no time, and the same seed gives the same history.

#![allow(
    dead_code,
    unused_imports,
    reason = "shared by examples and tests, each of which uses a part"
)]

mod disks;
mod driving;
mod faults;
mod links;
mod setting;
mod sights;
mod vectors;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{
    Averaged, Event, GlobalLeader, MeanRef, Mode, NodeConfig, Snapshot, SnapshotDigest,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::trainer::Trainer;
pub use disks::{Checkpoint, Disk};
pub use setting::{Clock, Harshness, Setting};
pub use sights::{Planted, Seen, Sight};
use vectors::{SnapshotStore, keep};

/// Until a connection that carries nothing is given up.
pub const LEASE: Duration = Duration::from_millis(1500);
/// Longest time until two nodes that can reach each other are connected.
pub const RECONNECT: Duration = Duration::from_millis(1000);
/// `sync`: how long the nodes wait for one that makes no progress.
pub const LIMIT: Duration = Duration::from_secs(5);
/// How long a node that starts waits for the others.
const WAIT: Duration = Duration::from_secs(60);
/// How long a node evaluates the mean of all.
pub const EVALUATION: Duration = Duration::from_secs(2);

/// A node's process.
pub struct Host {
    leader: GlobalLeader,
    trainer: Trainer,
    incarnation: u64,
    /// Others that it is connected to, with their incarnations.
    up: BTreeMap<u32, u64>,
    published: SnapshotStore,
    fetched: SnapshotStore,
    /// Vectors that it is getting, and whom it may ask for each, the next one last.
    under_way: BTreeMap<SnapshotDigest, Vec<u32>>,
    /// When it is to be woken.
    wakes_at: Option<Duration>,
    clock: Clock,
    /// What it can continue from.
    checkpoints: Vec<Checkpoint>,
}

/// Something a node recorded, and when.
pub type Entry = (Duration, u32, Event);

/// What has crossed the network.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Times that a node told the others something.
    pub broadcasts: u64,
    /// Statuses, one for each recipient.
    pub statuses: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Vectors.
    pub vectors: u64,
}

/// The nodes of a run and their network.
pub struct Network {
    pub setting: Setting,
    pub now: Duration,
    /// By number; nothing where the process is dead.
    hosts: Vec<Option<Host>>,
    /// Those that are stopped as by SIGSTOP.
    frozen: BTreeSet<u32>,
    /// Which part of a cut network each node is in.
    parts: Vec<u32>,
    /// Ways that are blocked: from a node, to a node.
    blocked: BTreeSet<(u32, u32)>,
    /// Links that hold everything back, and until when.
    clogs: BTreeMap<(u32, u32), Duration>,
    /// How long a vector is on its way to each node.
    transfers: Vec<Duration>,
    /// How many times as long each node's steps take.
    paces: Vec<f64>,
    /// Each node's checkpoints, oldest first.
    disks: Vec<Vec<Checkpoint>>,
    full_disks: Vec<bool>,
    /// A node that no status reaches any more.
    deaf: Option<u32>,
    incarnations: u64,
    queue: BTreeMap<(Duration, u64), Scheduled>,
    counter: u64,
    random: ChaCha8Rng,
    /// Of what [`Harshness`] adds.
    mischief: ChaCha8Rng,
    sights: Vec<Sight>,
    /// What the nodes recorded, in order.
    pub history: Vec<Entry>,
    /// How long each update of `sync` waited for its answer.
    pub waits: Vec<(Duration, u32, Duration)>,
    pub sent: Sent,
}

/// What comes at its time.
enum Scheduled {
    /// A status reaches a node: its number, the sender's incarnation, and the bytes.
    Status(u32, u64, Arc<[u8]>),
    /// A status reaches a node once more.
    Replay(u32, Arc<[u8]>),
    /// A node sees whether it is connected to another, as it now should be.
    Look(u32, u32),
    /// A node asks the next holder for a vector.
    Fetch(u32, u64, SnapshotDigest),
    /// A node had a vector that it wanted.
    Found(u32, u64, Arc<Snapshot>),
    /// A node's incarnation asks others for their parts of a mean.
    Average(u32, u64, MeanRef),
    /// All parts of the mean of this name have arrived.
    Averaged(u32, u64, SnapshotDigest, Averaged),
    /// A vector reaches a node's incarnation.
    Arrival(u32, u64, Arc<Snapshot>),
    /// The workers of a node's incarnation reach the end of a period.
    Update(u32, u64, u64),
    /// A node's incarnation has evaluated the mean of all, or knows that another has.
    Closed(u32, u64),
    /// Time has passed for a node.
    Wake(u32),
}

impl Network {
    /// All nodes start within a second.
    pub fn new(setting: Setting) -> Self {
        let nodes = setting.nodes;
        let mut network = Self {
            now: Duration::ZERO,
            hosts: (0..nodes).map(|_| None).collect(),
            frozen: BTreeSet::new(),
            parts: vec![0; nodes as usize],
            blocked: BTreeSet::new(),
            clogs: BTreeMap::new(),
            transfers: vec![Duration::ZERO; nodes as usize],
            paces: vec![1.0; nodes as usize],
            disks: vec![Vec::new(); nodes as usize],
            full_disks: vec![false; nodes as usize],
            deaf: None,
            incarnations: 0,
            queue: BTreeMap::new(),
            counter: 0,
            random: ChaCha8Rng::seed_from_u64(setting.seed),
            mischief: ChaCha8Rng::seed_from_u64(!setting.seed),
            sights: Vec::new(),
            history: Vec::new(),
            waits: Vec::new(),
            sent: Sent::default(),
            setting,
        };
        (0..nodes).for_each(|node| network.start(node));
        network
    }

    /// Lets `time` pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= end) {
            let ((at, _), due) = entry.remove_entry();
            self.now = at;
            self.happen(due);
        }
        self.now = end;
    }

    /// Starts a node's process anew; one that runs is killed first.
    pub fn start(&mut self, node: u32) {
        self.start_from(node, Vec::new());
    }

    fn start_from(&mut self, node: u32, checkpoints: Vec<Checkpoint>) {
        self.kill(node);
        self.incarnations += 1;
        let node_config = NodeConfig {
            node,
            nodes: self.setting.nodes,
            workers: Trainer::WORKERS,
            incarnation: self.incarnations,
            wire: self.setting.wire,
            wait: WAIT,
            limit: LIMIT,
        };
        let (method, mode) = (self.setting.method.clone(), self.setting.mode);
        let clocks = &self.setting.harshness.clocks;
        let clock = clocks.get(node as usize).copied().unwrap_or_default();
        let now = clock.at(self.now);
        let leader =
            GlobalLeader::new(node_config, method, mode, now).expect("the method fits the mode");
        let named = checkpoints.iter().map(Checkpoint::named).collect();
        let leader = leader.continuing(named, now);
        let host = Host {
            leader,
            trainer: Trainer::new(node, &self.setting),
            incarnation: self.incarnations,
            up: BTreeMap::new(),
            published: SnapshotStore::new(),
            fetched: SnapshotStore::new(),
            under_way: BTreeMap::new(),
            wakes_at: None,
            clock,
            checkpoints,
        };
        self.hosts[node as usize] = Some(host);
        self.see(node, || Seen::Started);
        self.meet(node);
        self.act(node);
    }

    /// From now on a worker's loss depends only on its node, and each node proposes.
    pub fn settle(&mut self) {
        for host in self.hosts.iter_mut().flatten() {
            host.trainer.settle();
        }
    }

    /// From now on steps change nothing: all workers keep the values that they have.
    pub fn stand_still(&mut self) {
        for host in self.hosts.iter_mut().flatten() {
            host.trainer.stand_still();
        }
    }

    /// Lets all nodes' workers reach the end of their budget.
    pub fn finish(&mut self) {
        (0..self.setting.nodes).for_each(|node| self.finish_node(node));
    }

    /// Lets a node's workers reach the end of their budget.
    pub fn finish_node(&mut self, node: u32) {
        self.drive(node, |host, now| {
            let sum = host.trainer.stop();
            host.leader.finish(Some(sum), now);
        });
    }

    /// A node's workers make no progress from now on.
    pub fn halt(&mut self, node: u32) {
        self.drive(node, |host, _| drop(host.trainer.stop()));
    }

    /// A node's workers have trained for so long.
    pub fn trained(&mut self, node: u32, time: Duration) {
        self.drive(node, |host, _| host.leader.trained(time));
    }

    /// The nodes that know of their end, each with the workers whose mean it was given to evaluate.
    pub fn conclusions(&self) -> Vec<(u32, usize)> {
        let concluded = |node: u32| Some((node, self.host(node)?.trainer.concluded?));
        (0..self.setting.nodes).filter_map(concluded).collect()
    }

    /// How long the run had been trained where a node's workers began last.
    pub fn began_at(&self, node: u32) -> Option<Duration> {
        Some(self.host(node)?.trainer.began_at)
    }

    /// Whether no other needs a node any more.
    pub fn may_leave(&self, node: u32) -> bool {
        self.host(node)
            .is_some_and(|host| host.leader.others_are_done())
    }

    /// Whether a node's workers have begun.
    pub fn has_begun(&self, node: u32) -> bool {
        self.host(node)
            .is_some_and(|host| host.trainer.generation() > 0)
    }

    /// A node's settled loss.
    pub fn settled_loss(&self, node: u32) -> f64 {
        Trainer::settled_loss(node, self.setting.seed)
    }

    fn host(&self, node: u32) -> Option<&Host> {
        self.hosts.get(node as usize)?.as_ref()
    }

    fn after(&mut self, wait: Duration, due: Scheduled) {
        self.counter += 1;
        self.queue.insert((self.now + wait, self.counter), due);
    }

    fn delay(&mut self) -> Duration {
        let [least, most] = self.setting.delay;
        least + (most - least).mul_f64(self.random.random_range(0.0..=1.0))
    }

    fn happen(&mut self, due: Scheduled) {
        let now = self.now;
        match due {
            Scheduled::Status(to, incarnation, bytes) => self.arrive(to, incarnation, &bytes),
            Scheduled::Replay(to, bytes) => self.arrive_again(to, &bytes),
            Scheduled::Look(node, other) => self.look(node, other),
            Scheduled::Fetch(node, incarnation, digest) => self.fetch(node, incarnation, digest),
            Scheduled::Found(node, incarnation, snapshot) => {
                self.found(node, incarnation, snapshot)
            }
            Scheduled::Average(node, incarnation, mean) => self.make_mean(node, incarnation, mean),
            Scheduled::Averaged(node, incarnation, name, averaged) => {
                self.averaged(node, incarnation, name, averaged)
            }
            Scheduled::Arrival(node, incarnation, snapshot) => {
                self.arrival(node, incarnation, snapshot)
            }
            Scheduled::Update(node, incarnation, generation) => {
                if self.is_frozen(node) {
                    // Its workers stand still as well.
                    return self.after(RECONNECT, Scheduled::Update(node, incarnation, generation));
                }
                let current = |host: &Host| {
                    host.incarnation == incarnation && host.trainer.generation() == generation
                };
                if self.host(node).is_some_and(current) {
                    self.update(node);
                }
            }
            Scheduled::Closed(node, incarnation) => {
                if self
                    .host(node)
                    .is_some_and(|host| host.incarnation == incarnation)
                {
                    self.drive(node, |host, now| host.leader.close(now));
                }
            }
            // No time passes for one that is stopped.
            Scheduled::Wake(node) if self.is_frozen(node) => {
                self.after(RECONNECT, Scheduled::Wake(node))
            }
            Scheduled::Wake(node) => {
                let due = |host: &Host| host.wakes_at.is_some_and(|at| at <= now);
                if self.host(node).is_some_and(due) {
                    self.drive(node, |host, now| {
                        host.wakes_at = None;
                        host.leader.tick(now);
                    });
                }
            }
        }
    }

    fn update(&mut self, node: u32) {
        let now = self.now;
        let mut draws = ChaCha8Rng::seed_from_u64(self.random.random());
        let Some(host) = &mut self.hosts[node as usize] else {
            return;
        };
        let update = host.trainer.update(host.clock.at(now), &mut draws);
        self.see(node, || Seen::Offered(update.clone()));
        self.drive(node, |host, now| host.leader.propose(update, now));
        if self.setting.mode == Mode::Async {
            self.write_checkpoint(node);
            self.train(node);
        }
    }

    /// A node's workers set out on their next period.
    fn train(&mut self, node: u32) {
        let speed = self.random.random_range(0.7..1.5) * self.paces[node as usize];
        let Some(host) = self.host(node).filter(|host| !host.trainer.is_over()) else {
            return;
        };
        let steps = host.trainer.steps_to_update();
        let (incarnation, generation) = (host.incarnation, host.trainer.generation());
        let wait = self.setting.step.mul_f64(steps as f64 * speed);
        self.after(wait, Scheduled::Update(node, incarnation, generation));
    }
}
