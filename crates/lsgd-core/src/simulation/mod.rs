//! A run under a virtual clock: the same workers and leaders as on threads and over a network,
//! driven by events in order of time.
//!
//! The clock is that of the simulated run: the duration of a step is an argument, and transfers
//! between workers and nodes take as long as their bytes need on a link. Nothing waits for the real
//! clock, so a run repeats bit for bit in both modes.

mod network;
mod nodes;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::group::enqueue;
use crate::{
    Averaged, Command, Event, Fetched, GlobalLeader, LocalLeader, Message, Method, MethodError,
    Mode, Next, NodeConfig, Snapshot, SnapshotDigest, Status, WireFormat, WorkerId,
};
use network::Network;
pub use network::{SimulatedLink, SimulatedTraffic};

/// No node is given up for being slow: the simulation knows which are dead.
const FOREVER: Duration = Duration::from_secs(u64::MAX / 16);

/// The workers of a simulated run, wherever they are computed.
pub trait SimDriver {
    /// Why a worker could not continue.
    type Error;

    /// Called before every event: whether the simulation should continue.
    ///
    /// # Errors
    ///
    /// If it should not.
    fn check_interrupted(&self) -> Result<(), Self::Error>;

    /// Worker `id` begins its next gradient step. Returns how long it takes.
    fn begin(&mut self, id: WorkerId) -> Duration;

    /// The step ends `at` this time; `commands` have arrived meanwhile.
    ///
    /// # Errors
    ///
    /// If the step could not be taken.
    fn end(
        &mut self,
        id: WorkerId,
        at: Duration,
        commands: Vec<Command>,
    ) -> Result<WorkerTurn, Self::Error>;

    /// A command has arrived for a worker that waits.
    ///
    /// # Errors
    ///
    /// As [`end`](Self::end).
    fn handle(&mut self, id: WorkerId, command: Command) -> Result<WorkerTurn, Self::Error>;

    /// Worker `id` is at a step boundary. Returns whether it continues.
    ///
    /// # Errors
    ///
    /// If work that is due there fails.
    fn boundary(&mut self, id: WorkerId, at: Duration) -> Result<bool, Self::Error>;

    /// Node `node` has recorded an event.
    ///
    /// # Errors
    ///
    /// If it cannot be recorded.
    fn record(&mut self, node: u32, event: Event, at: Duration) -> Result<(), Self::Error>;

    /// The simulation ends `at` this time with an error: the last chance to save the workers.
    fn aborted(&mut self, _at: Duration) {}
}

/// What a worker did.
#[derive(Debug)]
pub struct WorkerTurn {
    /// Its messages to the local leader, oldest first.
    pub messages: Vec<Message>,
    /// What it does next.
    pub next: Next,
}

/// The settings of a simulation.
#[derive(Debug, Clone)]
pub struct SimulationConfig {
    /// Nodes, at least 1.
    pub nodes: u32,
    /// Workers of each node, at least 1.
    pub workers: u32,
    /// The method.
    pub method: Method,
    /// Whether workers wait for each other.
    pub mode: Mode,
    /// The format of values between nodes.
    pub wire: WireFormat,
    /// The link between a worker and its node's leader; each worker has its own.
    pub local: SimulatedLink,
    /// The links between nodes: each node has one for sending and one for receiving.
    pub global: SimulatedLink,
    /// How long it takes the others to detect that a node is dead.
    pub lease: Duration,
    /// Bytes that each byte of a vector stands for: 1, or more where small vectors replace large
    /// ones.
    pub scale: f64,
    /// Workers that die, and the times.
    pub deaths: Vec<(WorkerId, Duration)>,
}

/// A simulated run.
#[derive(Debug)]
pub struct Simulation<F> {
    driver: F,
    now: Duration,
    /// Scheduled events by time; those of the same time in the order in which they were scheduled.
    queue: BTreeMap<(Duration, u64), Scheduled>,
    count: u64,
    nodes: Vec<Host>,
    network: Network,
    lease: Duration,
    wire: WireFormat,
}

/// A scheduled event.
#[derive(Debug)]
enum Scheduled {
    StepEnds(WorkerId),
    Message(WorkerId, Message),
    Command(WorkerId, Command),
    Status(u32, Arc<Status>),
    Fetched(u32, SnapshotDigest, Arc<Snapshot>),
    Averaged(u32, SnapshotDigest, Averaged),
    Wake(u32),
    Dies(WorkerId),
    Disconnected(u32),
}

/// A node.
#[derive(Debug)]
struct Host {
    local: LocalLeader,
    global: Option<GlobalLeader>,
    slots: Vec<WorkerSlot>,
    /// The vectors that others can fetch, the newest first.
    published: VecDeque<(SnapshotDigest, Arc<Snapshot>)>,
    wakes_at: Option<Duration>,
    is_dead: bool,
}

/// Vectors that a node keeps for others: those of two rounds and their outcomes.
const KEPT: usize = 8;

/// A worker's state in the simulation.
#[derive(Debug)]
struct WorkerSlot {
    state: State,
    /// Commands that it has not taken yet.
    commands: VecDeque<Command>,
    /// When the last message to or from it arrives: messages arrive in order.
    up_at: Duration,
    down_at: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its node has not started.
    Idle,
    Stepping,
    Waiting,
    Over,
}

impl<F: SimDriver> Simulation<F> {
    /// A run that has not started.
    ///
    /// # Errors
    ///
    /// [`MethodError`] when the method cannot run in the mode.
    pub fn new(config: &SimulationConfig, driver: F) -> Result<Self, MethodError> {
        let host = |node| -> Result<Host, MethodError> {
            let (method, mode) = (&config.method, config.mode);
            let local = LocalLeader::new(node, config.workers, method.clone(), mode)?;
            let node_config = NodeConfig {
                node,
                nodes: config.nodes,
                workers: config.workers,
                incarnation: 1,
                wire: config.wire,
                wait: FOREVER,
                limit: FOREVER,
            };
            let alone = config.nodes <= 1;
            let global = match alone {
                true => None,
                false => Some(GlobalLeader::new(
                    node_config,
                    method.clone(),
                    mode,
                    Duration::ZERO,
                )?),
            };
            let slot = |_| WorkerSlot {
                state: State::Idle,
                commands: VecDeque::new(),
                up_at: Duration::ZERO,
                down_at: Duration::ZERO,
            };
            Ok(Host {
                local: if alone { local } else { local.among_nodes() },
                global,
                slots: (0..config.workers).map(slot).collect(),
                published: VecDeque::new(),
                wakes_at: None,
                is_dead: false,
            })
        };
        let nodes: Result<Vec<Host>, _> = (0..config.nodes.max(1)).map(host).collect();
        let mut simulation = Self {
            driver,
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            count: 0,
            nodes: nodes?,
            network: Network::new(config),
            lease: config.lease,
            wire: config.wire,
        };
        for &(id, at) in &config.deaths {
            simulation.at(at, Scheduled::Dies(id));
        }
        Ok(simulation)
    }

    /// Runs until no worker continues. Returns the workers, the time when the last of them stopped,
    /// and the traffic between nodes.
    ///
    /// # Errors
    ///
    /// The error of a worker.
    pub fn run(mut self) -> Result<(F, Duration, SimulatedTraffic), F::Error> {
        match self.run_to_end() {
            Ok(end) => Ok((self.driver, end, self.network.traffic)),
            Err(error) => {
                self.driver.aborted(self.now);
                Err(error)
            }
        }
    }

    /// Returns when the last worker stopped.
    fn run_to_end(&mut self) -> Result<Duration, F::Error> {
        self.begin()?;
        while self.is_running() {
            let Some(((now, _), scheduled)) = self.queue.pop_first() else {
                break;
            };
            self.now = now;
            self.driver.check_interrupted()?;
            self.handle(scheduled)?;
        }
        let end = self.now;
        // The last messages of workers are still on their way: deliver them for the record.
        while let Some(((now, _), scheduled)) = self.queue.pop_first() {
            if let Scheduled::Message(..) = scheduled {
                self.now = now;
                self.handle(scheduled)?;
            }
        }
        Ok(end)
    }

    /// Whether some worker has not finished.
    fn is_running(&self) -> bool {
        let mut slots = self.nodes.iter().flat_map(|host| &host.slots);
        slots.any(|slot| slot.state != State::Over)
    }

    fn begin(&mut self) -> Result<(), F::Error> {
        let count = self.nodes.len() as u32;
        for node in 0..count {
            let Some(global) = &mut self.nodes[node as usize].global else {
                self.begin_workers(node)?;
                continue;
            };
            for other in (0..count).filter(|other| *other != node) {
                global.connected(other, 1, self.now);
            }
        }
        (0..count).try_for_each(|node| self.act(node))
    }

    fn begin_workers(&mut self, node: u32) -> Result<(), F::Error> {
        for worker in 0..self.nodes[node as usize].slots.len() as u32 {
            let id = WorkerId::new(node, worker);
            if self.slot(id).state == State::Idle {
                self.continue_worker(id)?;
            }
        }
        Ok(())
    }

    fn handle(&mut self, scheduled: Scheduled) -> Result<(), F::Error> {
        let now = self.now;
        match scheduled {
            Scheduled::StepEnds(id) if self.slot(id).state == State::Stepping => {
                let commands = self.slot(id).commands.drain(..).collect();
                let turn = self.driver.end(id, now, commands)?;
                if let Some(global) = &mut self.nodes[id.node as usize].global {
                    global.progress();
                }
                self.take(id, turn)
            }
            Scheduled::Message(id, message) => {
                let host = &mut self.nodes[id.node as usize];
                host.local.receive(id.worker, message);
                self.drive(id.node)
            }
            Scheduled::Command(id, command) => match self.slot(id).state {
                State::Waiting => {
                    let turn = self.driver.handle(id, command)?;
                    self.take(id, turn)
                }
                State::Stepping => {
                    enqueue(&mut self.slot(id).commands, command);
                    Ok(())
                }
                State::Idle | State::Over => Ok(()),
            },
            Scheduled::Status(node, status) => {
                if let Some(global) = self.live(node) {
                    global.receive(Status::clone(&status), now);
                }
                self.act(node)
            }
            Scheduled::Fetched(node, digest, snapshot) => {
                self.keep(node, digest, &snapshot);
                if let Some(global) = self.live(node) {
                    let crossed = true;
                    global.fetched(digest, Ok(Fetched { snapshot, crossed }), now);
                }
                self.act(node)
            }
            Scheduled::Averaged(node, name, averaged) => {
                if let Some(global) = self.live(node) {
                    global.averaged(name, Ok(averaged), now);
                }
                self.act(node)
            }
            Scheduled::Wake(node) => {
                self.nodes[node as usize].wakes_at = None;
                if let Some(global) = self.live(node) {
                    global.tick(now);
                }
                self.act(node)
            }
            Scheduled::Dies(id) if self.slot(id).state != State::Over => self.die(id),
            Scheduled::Disconnected(gone) => {
                for node in 0..self.nodes.len() as u32 {
                    if let Some(global) = self.live(node).filter(|_| node != gone) {
                        global.disconnected(gone, 1, now);
                    }
                    self.act(node)?;
                }
                Ok(())
            }
            Scheduled::StepEnds(_) | Scheduled::Dies(_) => Ok(()),
        }
    }

    /// Handles the messages of a worker's turn and its next state.
    fn take(&mut self, id: WorkerId, turn: WorkerTurn) -> Result<(), F::Error> {
        for message in turn.messages {
            let bytes = self.network.stand_for(network::message_bytes(&message));
            let arrives = self.network.local.arrival(self.now, bytes);
            let slot = self.slot(id);
            slot.up_at = arrives.max(slot.up_at);
            let at = slot.up_at;
            self.at(at, Scheduled::Message(id, message));
        }
        match turn.next {
            Next::Continue => self.continue_worker(id),
            Next::Wait => {
                self.slot(id).state = State::Waiting;
                Ok(())
            }
            Next::Stop => self.stop(id),
        }
    }

    fn continue_worker(&mut self, id: WorkerId) -> Result<(), F::Error> {
        if !self.driver.boundary(id, self.now)? {
            return self.stop(id);
        }
        let takes = self.driver.begin(id);
        self.slot(id).state = State::Stepping;
        self.at(self.now.saturating_add(takes), Scheduled::StepEnds(id));
        Ok(())
    }

    /// A worker has finished; with the last one, its node.
    fn stop(&mut self, id: WorkerId) -> Result<(), F::Error> {
        self.slot(id).state = State::Over;
        let (node, now) = (id.node, self.now);
        let host = &mut self.nodes[node as usize];
        if host.slots.iter().any(|slot| slot.state != State::Over) {
            return Ok(());
        }
        if let Some(global) = &mut host.global {
            global.finish(None, now);
        }
        self.act(node)
    }

    /// A worker dies; with the last one, its node, which the others detect after the lease.
    fn die(&mut self, id: WorkerId) -> Result<(), F::Error> {
        self.slot(id).state = State::Over;
        let at = self.now.saturating_add(self.lease);
        let host = &mut self.nodes[id.node as usize];
        host.local.leave(id.worker);
        if host.local.live().next().is_none() {
            host.is_dead = true;
            self.at(at, Scheduled::Disconnected(id.node));
        }
        self.drive(id.node)
    }

    fn slot(&mut self, id: WorkerId) -> &mut WorkerSlot {
        &mut self.nodes[id.node as usize].slots[id.worker as usize]
    }

    fn at(&mut self, at: Duration, scheduled: Scheduled) {
        self.count += 1;
        self.queue.insert((at, self.count), scheduled);
    }
}
