//! A run under a virtual clock: the same workers and leaders as between threads and over a network,
//! driven by events in the order of their times.
//!
//! The clock is that of the run which is simulated: how long a step takes is an argument, and what
//! passes between workers and nodes takes as long as its bytes do on a link. Nothing waits for the
//! real clock, so a run repeats to the bit in both modes.

mod network;
mod nodes;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::group::enqueue;
use crate::{
    Event, Fetched, GlobalLeader, LocalLeader, Membership, Message, Method, MethodError, Mode,
    Next, Order, Rank, Snapshot, SnapshotDigest, Status, Wire,
};
use network::Network;
pub use network::{SimulatedLink, SimulatedTraffic};

/// Nobody is given up for being slow: the clock knows who is dead.
const PATIENCE: Duration = Duration::from_secs(u64::MAX / 16);

/// The workers of a simulated run, wherever they compute.
pub trait Fleet {
    /// Why a worker could not go on.
    type Error;

    /// Asked before whatever happens next: whether the simulation goes on.
    ///
    /// # Errors
    ///
    /// If it does not.
    fn goes_on(&self) -> Result<(), Self::Error>;

    /// Worker `rank` begins its next gradient step. Returns how long it takes.
    fn begin(&mut self, rank: Rank) -> Duration;

    /// The step is over `at` this time, and `orders` have come meanwhile.
    ///
    /// # Errors
    ///
    /// If the step could not be taken.
    fn end(&mut self, rank: Rank, at: Duration, orders: Vec<Order>) -> Result<Turn, Self::Error>;

    /// An order has come to a worker that waits.
    ///
    /// # Errors
    ///
    /// As [`end`](Self::end).
    fn obey(&mut self, rank: Rank, order: Order) -> Result<Turn, Self::Error>;

    /// Worker `rank` is at a step boundary. Says whether it goes on.
    ///
    /// # Errors
    ///
    /// If what is due there cannot be done.
    fn boundary(&mut self, rank: Rank, at: Duration) -> Result<bool, Self::Error>;

    /// Something happened at node `node`, for the record.
    ///
    /// # Errors
    ///
    /// If it cannot be recorded.
    fn record(&mut self, node: u32, event: Event, at: Duration) -> Result<(), Self::Error>;

    /// The simulation ends `at` this time, with an error: the last chance to save what the workers have.
    fn broke_off(&mut self, _at: Duration) {}
}

/// What a worker did.
#[derive(Debug)]
pub struct Turn {
    /// What it tells its local leader, oldest first.
    pub said: Vec<Message>,
    /// What it does next.
    pub next: Next,
}

/// What is simulated.
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
    /// How values cross between nodes.
    pub wire: Wire,
    /// Between a worker and its node's leader, each worker's own.
    pub local: SimulatedLink,
    /// Between nodes: each node has one for all it sends, and one for all it receives.
    pub global: SimulatedLink,
    /// How long the others take to notice that a node is dead.
    pub lease: Duration,
    /// How many bytes each byte of a vector stands for: 1, or more where small vectors take the place
    /// of large ones.
    pub scale: f64,
    /// Workers that die, and when.
    pub deaths: Vec<(Rank, Duration)>,
}

/// A simulated run.
#[derive(Debug)]
pub struct Simulation<F> {
    fleet: F,
    now: Duration,
    /// What is due, by its time and, at one time, in the order in which it came up.
    due: BTreeMap<(Duration, u64), Due>,
    count: u64,
    nodes: Vec<Host>,
    network: Network,
    lease: Duration,
    wire: Wire,
}

/// Something that happens at a time.
#[derive(Debug)]
enum Due {
    StepEnds(Rank),
    Told(Rank, Message),
    Ordered(Rank, Order),
    Status(u32, Arc<Status>),
    Fetched(u32, SnapshotDigest, Arc<Snapshot>),
    Wake(u32),
    Dies(Rank),
    Vanished(u32),
}

/// A node.
#[derive(Debug)]
struct Host {
    local: LocalLeader,
    global: Option<GlobalLeader>,
    seats: Vec<Seat>,
    /// The vectors that others can fetch, the newest first.
    published: VecDeque<(SnapshotDigest, Arc<Snapshot>)>,
    wakes_at: Option<Duration>,
    is_dead: bool,
}

/// Vectors that a node keeps for others: those of two rounds, and what they came to.
const KEPT: usize = 8;

/// A worker's place.
#[derive(Debug)]
struct Seat {
    state: State,
    /// Orders that it has not taken yet.
    orders: VecDeque<Order>,
    /// When the last that it told, or was ordered, has arrived: what is told in order arrives so.
    up_at: Duration,
    down_at: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its node has not begun.
    Idle,
    Stepping,
    Waiting,
    Over,
}

impl<F: Fleet> Simulation<F> {
    /// A run that has not begun.
    ///
    /// # Errors
    ///
    /// [`MethodError`] when the method cannot run in the mode.
    pub fn new(config: &SimulationConfig, fleet: F) -> Result<Self, MethodError> {
        let host = |node| -> Result<Host, MethodError> {
            let (method, mode) = (&config.method, config.mode);
            let local = LocalLeader::new(node, config.workers, method.clone(), mode)?;
            let membership = Membership {
                node,
                nodes: config.nodes,
                workers: config.workers,
                life: 1,
                wire: config.wire,
                wait: PATIENCE,
                limit: PATIENCE,
            };
            let alone = config.nodes <= 1;
            let global = match alone {
                true => None,
                false => Some(GlobalLeader::new(
                    membership,
                    method.clone(),
                    mode,
                    Duration::ZERO,
                )?),
            };
            let seat = |_| Seat {
                state: State::Idle,
                orders: VecDeque::new(),
                up_at: Duration::ZERO,
                down_at: Duration::ZERO,
            };
            Ok(Host {
                local: if alone { local } else { local.among_nodes() },
                global,
                seats: (0..config.workers).map(seat).collect(),
                published: VecDeque::new(),
                wakes_at: None,
                is_dead: false,
            })
        };
        let nodes: Result<Vec<Host>, _> = (0..config.nodes.max(1)).map(host).collect();
        let mut simulation = Self {
            fleet,
            now: Duration::ZERO,
            due: BTreeMap::new(),
            count: 0,
            nodes: nodes?,
            network: Network::new(config),
            lease: config.lease,
            wire: config.wire,
        };
        for &(rank, at) in &config.deaths {
            simulation.at(at, Due::Dies(rank));
        }
        Ok(simulation)
    }

    /// Runs until no worker goes on. Returns the workers, when the last of them stopped, and what
    /// passed between nodes.
    ///
    /// # Errors
    ///
    /// What a worker fails with.
    pub fn run(mut self) -> Result<(F, Duration, SimulatedTraffic), F::Error> {
        match self.run_to_end() {
            Ok(end) => Ok((self.fleet, end, self.network.traffic)),
            Err(error) => {
                self.fleet.broke_off(self.now);
                Err(error)
            }
        }
    }

    /// Returns when the last worker stopped.
    fn run_to_end(&mut self) -> Result<Duration, F::Error> {
        self.begin()?;
        while self.goes_on() {
            let Some(((now, _), due)) = self.due.pop_first() else {
                break;
            };
            self.now = now;
            self.fleet.goes_on()?;
            self.handle(due)?;
        }
        let end = self.now;
        // What workers told last is still on its way: for the record.
        while let Some(((now, _), due)) = self.due.pop_first() {
            if let Due::Told(..) = due {
                self.now = now;
                self.handle(due)?;
            }
        }
        Ok(end)
    }

    /// Whether a worker is left that has not come to its end.
    fn goes_on(&self) -> bool {
        let mut seats = self.nodes.iter().flat_map(|host| &host.seats);
        seats.any(|seat| seat.state != State::Over)
    }

    fn begin(&mut self) -> Result<(), F::Error> {
        let count = self.nodes.len() as u32;
        for node in 0..count {
            let Some(global) = &mut self.nodes[node as usize].global else {
                self.begin_workers(node)?;
                continue;
            };
            for other in (0..count).filter(|other| *other != node) {
                global.appeared(other, 1, self.now);
            }
        }
        (0..count).try_for_each(|node| self.act(node))
    }

    fn begin_workers(&mut self, node: u32) -> Result<(), F::Error> {
        for worker in 0..self.nodes[node as usize].seats.len() as u32 {
            let rank = Rank::new(node, worker);
            if self.seat(rank).state == State::Idle {
                self.go_on(rank)?;
            }
        }
        Ok(())
    }

    fn handle(&mut self, due: Due) -> Result<(), F::Error> {
        let now = self.now;
        match due {
            Due::StepEnds(rank) if self.seat(rank).state == State::Stepping => {
                let orders = self.seat(rank).orders.drain(..).collect();
                let turn = self.fleet.end(rank, now, orders)?;
                if let Some(global) = &mut self.nodes[rank.node as usize].global {
                    global.progress();
                }
                self.take(rank, turn)
            }
            Due::Told(rank, message) => {
                let host = &mut self.nodes[rank.node as usize];
                host.local.receive(rank.worker, message);
                self.drive(rank.node)
            }
            Due::Ordered(rank, order) => match self.seat(rank).state {
                State::Waiting => {
                    let turn = self.fleet.obey(rank, order)?;
                    self.take(rank, turn)
                }
                State::Stepping => {
                    enqueue(&mut self.seat(rank).orders, order);
                    Ok(())
                }
                State::Idle | State::Over => Ok(()),
            },
            Due::Status(node, status) => {
                if let Some(global) = self.live(node) {
                    global.receive(Status::clone(&status), now);
                }
                self.act(node)
            }
            Due::Fetched(node, digest, snapshot) => {
                self.keep(node, digest, &snapshot);
                if let Some(global) = self.live(node) {
                    let crossed = true;
                    global.fetched(digest, Ok(Fetched { snapshot, crossed }), now);
                }
                self.act(node)
            }
            Due::Wake(node) => {
                self.nodes[node as usize].wakes_at = None;
                if let Some(global) = self.live(node) {
                    global.tick(now);
                }
                self.act(node)
            }
            Due::Dies(rank) if self.seat(rank).state != State::Over => self.die(rank),
            Due::Vanished(gone) => {
                for node in 0..self.nodes.len() as u32 {
                    if let Some(global) = self.live(node).filter(|_| node != gone) {
                        global.vanished(gone, 1, now);
                    }
                    self.act(node)?;
                }
                Ok(())
            }
            Due::StepEnds(_) | Due::Dies(_) => Ok(()),
        }
    }

    /// What a worker did has come about.
    fn take(&mut self, rank: Rank, turn: Turn) -> Result<(), F::Error> {
        for message in turn.said {
            let bytes = self.network.stand_for(network::message_bytes(&message));
            let arrives = self.network.local.arrival(self.now, bytes);
            let seat = self.seat(rank);
            seat.up_at = arrives.max(seat.up_at);
            let at = seat.up_at;
            self.at(at, Due::Told(rank, message));
        }
        match turn.next {
            Next::Continue => self.go_on(rank),
            Next::Wait => {
                self.seat(rank).state = State::Waiting;
                Ok(())
            }
            Next::Stop => self.stop(rank),
        }
    }

    fn go_on(&mut self, rank: Rank) -> Result<(), F::Error> {
        if !self.fleet.boundary(rank, self.now)? {
            return self.stop(rank);
        }
        let takes = self.fleet.begin(rank);
        self.seat(rank).state = State::Stepping;
        self.at(self.now.saturating_add(takes), Due::StepEnds(rank));
        Ok(())
    }

    /// A worker has come to its end; with the last one, its node.
    fn stop(&mut self, rank: Rank) -> Result<(), F::Error> {
        self.seat(rank).state = State::Over;
        let (node, now) = (rank.node, self.now);
        let host = &mut self.nodes[node as usize];
        if host.seats.iter().any(|seat| seat.state != State::Over) {
            return Ok(());
        }
        if let Some(global) = &mut host.global {
            global.finish(None, now);
        }
        self.act(node)
    }

    /// A worker dies; with the last one, its node, which the others notice after the lease.
    fn die(&mut self, rank: Rank) -> Result<(), F::Error> {
        self.seat(rank).state = State::Over;
        let at = self.now.saturating_add(self.lease);
        let host = &mut self.nodes[rank.node as usize];
        host.local.leave(rank.worker);
        if host.local.live().next().is_none() {
            host.is_dead = true;
            self.at(at, Due::Vanished(rank.node));
        }
        self.drive(rank.node)
    }

    fn seat(&mut self, rank: Rank) -> &mut Seat {
        &mut self.nodes[rank.node as usize].seats[rank.worker as usize]
    }

    fn at(&mut self, at: Duration, due: Due) {
        self.count += 1;
        self.due.insert((at, self.count), due);
    }
}
