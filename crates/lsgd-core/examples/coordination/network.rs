//! Nodes of a run in memory: their exchange as it is, workers that only pretend to train, and a
//! network that delays, loses and cuts. The clock moves to what is due next, so a minute of many
//! nodes takes no time, and the same seed gives the same history.

#![allow(
    dead_code,
    reason = "shared by examples and tests, each of which uses a part"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{
    Action, Event, Fetched, GlobalLeader, Layout, Membership, Method, Mode, Offered, Snapshot,
    SnapshotDigest, Status, Wire,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::trainer::Trainer;

/// Until a connection that carries nothing is given up.
pub const LEASE: Duration = Duration::from_millis(1500);
/// Longest time until two nodes that can reach each other are connected.
const RECONNECT: Duration = Duration::from_millis(1000);
/// `sync`: how long the nodes wait for one that gets on with nothing.
pub const LIMIT: Duration = Duration::from_secs(5);
/// Vectors that a node keeps for others of its own, and as many of those it has fetched.
const KEPT: usize = 3;

/// What the nodes of a run are, and what lies between them.
#[derive(Debug, Clone)]
pub struct Setting {
    /// How many.
    pub nodes: u32,
    /// Whether they wait for each other.
    pub mode: Mode,
    /// What they do to each other's parameters.
    pub method: Method,
    /// How values cross the network.
    pub wire: Wire,
    /// What the workers train.
    pub layout: Arc<Layout>,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Share of statuses that get lost.
    pub loss: f64,
    /// Least and longest time that a message takes.
    pub delay: [Duration; 2],
    /// What a step of a worker takes, in the mean.
    pub step: Duration,
}

type Board = Vec<(SnapshotDigest, Arc<Snapshot>)>;

/// A node's process.
pub struct Host {
    leader: GlobalLeader,
    trainer: Trainer,
    life: u64,
    /// Others that it is connected to, with their lives.
    up: BTreeMap<u32, u64>,
    published: Board,
    fetched: Board,
    /// When it is to be woken.
    wakes_at: Option<Duration>,
}

/// Something a node recorded, and when.
pub type Entry = (Duration, u32, Event);

/// What has crossed the network.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Times that a node told the others something.
    pub tellings: u64,
    /// Statuses, one for each that was told.
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
    lives: u64,
    due: BTreeMap<(Duration, u64), Due>,
    counter: u64,
    random: ChaCha8Rng,
    /// What the nodes recorded, in order.
    pub history: Vec<Entry>,
    /// How long each bid of `sync` waited for its answer.
    pub waits: Vec<(Duration, u32, Duration)>,
    pub sent: Sent,
}

/// What comes at its time.
enum Due {
    /// A status reaches a node: its number, the sender's life, and the bytes.
    Status(u32, u64, Arc<[u8]>),
    /// A node sees whether it is connected to another, as it now should be.
    Look(u32, u32),
    /// A node asked others for a vector, those left to ask last first.
    Fetch(u32, u64, Offered, Vec<u32>),
    /// The workers of a node's life come to the end of a period.
    Bid(u32, u64, u64),
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
            lives: 0,
            due: BTreeMap::new(),
            counter: 0,
            random: ChaCha8Rng::seed_from_u64(setting.seed),
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
        while let Some(entry) = self.due.first_entry().filter(|e| e.key().0 <= end) {
            let ((at, _), due) = entry.remove_entry();
            self.now = at;
            self.happen(due);
        }
        self.now = end;
    }

    /// Starts a node's process; one that runs is killed first.
    pub fn start(&mut self, node: u32) {
        self.kill(node);
        self.lives += 1;
        let membership = Membership {
            node,
            nodes: self.setting.nodes,
            workers: Trainer::WORKERS,
            life: self.lives,
            wire: self.setting.wire,
            wait: Duration::from_secs(60),
            limit: LIMIT,
        };
        let (method, mode) = (self.setting.method.clone(), self.setting.mode);
        let leader = GlobalLeader::new(membership, method, mode, self.now)
            .expect("the method fits the mode");
        self.hosts[node as usize] = Some(Host {
            leader,
            trainer: Trainer::new(node, &self.setting),
            life: self.lives,
            up: BTreeMap::new(),
            published: Board::new(),
            fetched: Board::new(),
            wakes_at: None,
        });
        self.meet(node);
        self.act(node);
    }

    /// A node's process ends at once. Half of the others are told by their system.
    pub fn kill(&mut self, node: u32) {
        self.frozen.remove(&node);
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

    /// A stopped process goes on. It notices that it was stopped, and connects anew.
    pub fn thaw(&mut self, node: u32) {
        if !self.frozen.remove(&node) {
            return;
        }
        let now = self.now;
        if let Some(host) = &mut self.hosts[node as usize] {
            host.trainer.thaw(now);
            for (other, life) in std::mem::take(&mut host.up) {
                host.leader.vanished(other, life, now);
            }
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

    /// From now on a worker's loss depends only on its node, and each bids.
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

    /// Lets all nodes' workers come to the end of their budget.
    pub fn finish(&mut self) {
        for node in 0..self.setting.nodes {
            let now = self.now;
            if let Some(host) = &mut self.hosts[node as usize] {
                let sum = host.trainer.stop();
                host.leader.finish(Some(sum), now);
                self.act(node);
            }
        }
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

    /// Means of all nodes' workers that were handed out for evaluation, by node.
    pub fn conclusions(&self) -> Vec<(u32, bool)> {
        let concluded = |node: u32| Some((node, self.host(node)?.trainer.concluded?));
        (0..self.setting.nodes).filter_map(concluded).collect()
    }

    /// A node's settled loss.
    pub fn settled_loss(&self, node: u32) -> f64 {
        Trainer::settled_loss(node, self.setting.seed)
    }

    fn host(&self, node: u32) -> Option<&Host> {
        self.hosts.get(node as usize)?.as_ref()
    }

    fn reaches(&self, from: u32, to: u32) -> bool {
        let awake = |node| self.is_alive(node) && !self.is_frozen(node);
        awake(from) && awake(to) && self.parts[from as usize] == self.parts[to as usize]
    }

    fn after(&mut self, wait: Duration, due: Due) {
        self.counter += 1;
        self.due.insert((self.now + wait, self.counter), due);
    }

    fn delay(&mut self) -> Duration {
        let [least, most] = self.setting.delay;
        least + (most - least).mul_f64(self.random.random_range(0.0..=1.0))
    }

    /// Those that `node` can reach notice within a while, and it them.
    fn meet(&mut self, node: u32) {
        for other in 0..self.setting.nodes {
            if other != node && self.reaches(node, other) {
                let wait = RECONNECT.mul_f64(self.random.random_range(0.0..=1.0));
                self.after(wait, Due::Look(node, other));
                self.after(wait, Due::Look(other, node));
            }
        }
    }

    /// Those that `node` can no longer reach notice at once or after the lease, and it them.
    fn part_with(&mut self, node: u32) {
        for other in 0..self.setting.nodes {
            if other != node && !self.reaches(node, other) {
                let at_once = !self.is_alive(node) && self.random.random_bool(0.5);
                let wait = if at_once { Duration::ZERO } else { LEASE };
                self.after(wait, Due::Look(node, other));
                self.after(wait, Due::Look(other, node));
            }
        }
    }

    fn happen(&mut self, due: Due) {
        let now = self.now;
        match due {
            Due::Status(to, life, bytes) => {
                let status = Status::decode(&bytes).expect("as it was encoded");
                let from = status.node;
                let same = |host: &Host| host.up.get(&from) == Some(&life);
                if self.reaches(from, to) && self.host(to).is_some_and(same) {
                    self.drive(to, |host| host.leader.receive(status, now));
                }
            }
            Due::Look(node, other) => self.look(node, other),
            Due::Fetch(node, life, vector, holders) => self.fetch(node, life, vector, holders),
            Due::Bid(node, life, crew) => {
                if self.is_frozen(node) {
                    // Its workers stand still as well.
                    return self.after(RECONNECT, Due::Bid(node, life, crew));
                }
                let current = |host: &Host| host.life == life && host.trainer.crew() == crew;
                if self.host(node).is_some_and(current) {
                    self.bid(node);
                }
            }
            // No time passes for one that is stopped.
            Due::Wake(node) if self.is_frozen(node) => self.after(RECONNECT, Due::Wake(node)),
            Due::Wake(node) => {
                let due = |host: &Host| host.wakes_at.is_some_and(|at| at <= now);
                if self.host(node).is_some_and(due) {
                    self.drive(node, |host| {
                        host.wakes_at = None;
                        host.leader.tick(now);
                    });
                }
            }
        }
    }

    /// `node` sees who the other is now, if it can reach it.
    fn look(&mut self, node: u32, other: u32) {
        if self.is_frozen(node) {
            return;
        }
        let now = self.now;
        let life = self.host(other).map(|host| host.life);
        let life = life.filter(|_| self.reaches(node, other));
        self.drive(node, |host| {
            let known = host.up.get(&other).copied();
            if known == life {
                return;
            }
            if let Some(known) = known {
                host.up.remove(&other);
                host.leader.vanished(other, known, now);
            }
            if let Some(life) = life {
                host.up.insert(other, life);
                host.leader.appeared(other, life, now);
            }
        });
    }

    fn bid(&mut self, node: u32) {
        let now = self.now;
        let mut draws = ChaCha8Rng::seed_from_u64(self.random.random());
        self.drive(node, |host| {
            let bid = host.trainer.bid(now, &mut draws);
            host.leader.bid(bid, now);
        });
        if self.setting.mode == Mode::Async {
            self.train(node);
        }
    }

    /// A node's workers set out on their next period.
    fn train(&mut self, node: u32) {
        let speed = self.random.random_range(0.7..1.5);
        let Some(host) = self.host(node).filter(|host| !host.trainer.is_over()) else {
            return;
        };
        let steps = host.trainer.period();
        let (life, crew) = (host.life, host.trainer.crew());
        let wait = self.setting.step.mul_f64(steps as f64 * speed);
        self.after(wait, Due::Bid(node, life, crew));
    }

    /// Asks the holder that is next for a vector that a node of that life wants.
    fn fetch(&mut self, node: u32, life: u64, vector: Offered, mut holders: Vec<u32>) {
        let now = self.now;
        if self.host(node).is_none_or(|host| host.life != life) {
            return;
        }
        if self.is_frozen(node) {
            holders.push(node);
            return self.after(RECONNECT, Due::Fetch(node, life, vector, holders));
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
            Some(snapshot) => {
                self.sent.vectors += 1;
                self.drive(node, |host| {
                    keep(&mut host.fetched, digest, &snapshot);
                    let crossed = true;
                    host.leader
                        .fetched(digest, Ok(Fetched { snapshot, crossed }), now);
                });
            }
            None => {
                let wait = if reached { self.delay() } else { LEASE };
                self.after(wait, Due::Fetch(node, life, vector, holders));
            }
        }
    }

    fn drive(&mut self, node: u32, act: impl FnOnce(&mut Host)) {
        if let Some(host) = self.hosts.get_mut(node as usize).and_then(Option::as_mut) {
            act(host);
            self.act(node);
        }
    }

    /// Does what a node's exchange says.
    fn act(&mut self, node: u32) {
        let now = self.now;
        while let Some(host) = &mut self.hosts[node as usize]
            && let Some(action) = host.leader.next_action()
        {
            match action {
                Action::Tell { status, .. } => self.tell(node, &status),
                Action::Publish(snapshot) => {
                    let digest = snapshot.digest();
                    keep(&mut host.published, digest, &snapshot);
                }
                Action::Fetch {
                    vector,
                    mut holders,
                } => {
                    holders.reverse();
                    let life = host.life;
                    let wait = self.delay() * 3;
                    self.after(wait, Due::Fetch(node, life, vector, holders));
                }
                Action::Deliver(delivered) => {
                    let waited = host.trainer.deliver(&delivered, now);
                    if self.setting.mode == Mode::Sync {
                        self.waits.extend(waited.map(|waited| (now, node, waited)));
                        self.train(node);
                    }
                }
                Action::Begin { step, parameters } => {
                    host.trainer.begin(step, parameters.as_deref());
                    self.train(node);
                }
                Action::Conclude(mean) => host.trainer.concluded = Some(mean.is_some()),
                Action::Record(event) => self.history.push((now, node, event)),
                Action::Await(_) | Action::GiveUp(_) | Action::CannotJoin => {}
            }
        }
        if let Some(host) = &mut self.hosts[node as usize] {
            // Later than now in any case, or the clock would stand still.
            let at = host.leader.deadline().max(now + Duration::from_millis(1));
            if host.wakes_at.is_none_or(|wakes| wakes > at || wakes <= now) {
                host.wakes_at = Some(at);
                self.after(at - now, Due::Wake(node));
            }
        }
    }

    fn tell(&mut self, node: u32, status: &Status) {
        let bytes: Arc<[u8]> = status.encode().into();
        self.sent.tellings += 1;
        let Some(host) = self.host(node) else {
            return;
        };
        let (life, others) = (host.life, host.up.keys().copied().collect::<Vec<_>>());
        for other in others {
            self.sent.statuses += 1;
            self.sent.bytes += bytes.len() as u64;
            if !self.random.random_bool(self.setting.loss) {
                let delay = self.delay();
                self.after(delay, Due::Status(other, life, bytes.clone()));
            }
        }
    }
}

fn keep(board: &mut Board, digest: SnapshotDigest, snapshot: &Arc<Snapshot>) {
    board.retain(|(name, _)| *name != digest);
    board.insert(0, (digest, snapshot.clone()));
    board.truncate(KEPT);
}
