//! The exchange between nodes, as a state machine: updates and statuses in, actions out.
//!
//! Every node runs the same state machine on the statuses that it has: there is no coordinator. In
//! `sync` each node proposes a vector for every round and waits until all training nodes have
//! proposed, disconnected, or made no progress for the limit. In `async` each node takes the
//! freshest proposals that it has whenever its trigger fires (arXiv 1905.10395, Algorithm 1). A
//! node that joins, or that was left behind, starts from a recent join point of the others.
//!
//! It uses no socket, thread or clock: the time is an argument, and the driver carries out its
//! [`Action`]s.

mod action;
mod changes;
mod ending;
mod fetching;
mod following;
mod joining;
mod node_config;
mod peers;
mod proposing;
mod resuming;
mod round;
mod visiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Averaged, CheckpointRef, Event, ExchangeOutcome, JoinPoint, Method, MethodError, Mode,
    NodeLoss, NodePhase, NotAveraged, Proposal, Scope, Snapshot, SnapshotDigest, Source, Status,
    Trigger, VectorKind, VectorRef,
};
pub use action::Action;
use changes::Unsent;
pub use fetching::Fetched;
use fetching::Fetching;
use joining::CatchUp;
pub use node_config::NodeConfig;
use peers::Peers;

/// Delay before a newly connected node is sent this node's status. Where many connect at once, one
/// broadcast serves all of them: with one for each, the start of 512 nodes would take 10^8
/// messages.
const GREETING: Duration = Duration::from_millis(50);

/// One node's state in the exchange between nodes.
#[derive(Debug)]
pub struct GlobalLeader {
    config: NodeConfig,
    method: Method,
    mode: Mode,
    phase: NodePhase,
    stage: Stage,
    peers: Peers,
    trigger: Trigger,
    /// Other fields of its status.
    sequence: u64,
    progress: u64,
    rounds: u64,
    steps: u64,
    trained: Duration,
    proposals: [Option<Proposal>; 2],
    /// Where nodes join, and the parameters that they start from.
    join_point: Option<(JoinPoint, Arc<Snapshot>)>,
    /// This node's sum at the end of the run.
    result: Option<(VectorRef, Arc<Snapshot>)>,
    /// This node's vectors in its last proposal.
    own: BTreeMap<VectorKind, Arc<Snapshot>>,
    /// Steps per worker that this node had taken when it proposed them.
    own_at: u64,
    /// What it keeps of its workers' changes, in a format for changes.
    unsent: Unsent,
    /// The node whose centre was fetched last, and the centre last fetched from each node.
    visited: (Option<u32>, BTreeMap<u32, SnapshotDigest>),
    /// The furthest step of its workers at its last update.
    step: u64,
    workers: u32,
    /// A name for what the last exchange delivered: see [`Status::exchanged`].
    exchanged: u64,
    /// The checkpoints that it can continue from, if it is to continue a run; while it
    /// [is loading](Self::is_loading), the one that it continues from.
    checkpoints: Vec<CheckpointRef>,
    /// Whether its driver loads the checkpoint that it continues from. Until then it has no parameters
    /// for nodes that join, and others see it as joining.
    is_loading: bool,
    /// When it started waiting to begin.
    began_waiting: Duration,
    awaited: BTreeSet<u32>,
    broadcast_at: Duration,
    /// When it next broadcasts its status to nodes that have connected since the last broadcast.
    greeting_at: Option<Duration>,
    actions: VecDeque<Action>,
}

/// The state of the next exchange.
#[derive(Debug)]
enum Stage {
    /// None: its workers are training, or it is waiting to begin.
    Idle,
    /// `sync`: it has proposed, and waits for the others since then. No node can have stalled for
    /// too long before the deadline.
    AwaitingProposals { since: Duration, deadline: Duration },
    /// It is fetching the vectors that the exchange delivers.
    Fetching(Fetching),
    /// It is fetching the parameters that it starts from.
    CatchingUp(CatchUp),
    /// It has trained to its end, and waits since then for the others. All of them that make
    /// progress had finished by `settled`.
    Ending { since: Duration, settled: Duration },
    /// It is fetching the others' results.
    Concluding(Fetching),
}

impl GlobalLeader {
    /// A node that has not connected to any other. It starts once all are connected, or when one of
    /// them is training already.
    ///
    /// # Errors
    ///
    /// [`MethodError`] when `method` cannot run in `mode`, or with the wire format.
    pub fn new(
        config: NodeConfig,
        method: Method,
        mode: Mode,
        now: Duration,
    ) -> Result<Self, MethodError> {
        method.check_mode(mode)?;
        method.check_wire(config.wire)?;
        let peers = Peers::new(config.nodes, config.node);
        let mut leader = Self {
            workers: config.workers,
            exchanged: 0,
            checkpoints: Vec::new(),
            is_loading: false,
            config,
            method,
            mode,
            phase: NodePhase::Joining,
            stage: Stage::Idle,
            peers,
            trigger: Trigger::default(),
            sequence: 0,
            progress: 0,
            rounds: 0,
            steps: 0,
            trained: Duration::ZERO,
            proposals: [None, None],
            join_point: None,
            result: None,
            own: BTreeMap::new(),
            own_at: 0,
            unsent: Unsent::default(),
            visited: Default::default(),
            step: 0,
            began_waiting: now,
            awaited: BTreeSet::new(),
            broadcast_at: now,
            greeting_at: None,
            actions: VecDeque::new(),
        };
        leader.broadcast(now, false);
        leader.advance(now);
        Ok(leader)
    }

    /// A node of the same run has connected.
    pub fn connected(&mut self, node: u32, incarnation: u64, now: Duration) {
        if node == self.config.node || node >= self.config.nodes {
            return;
        }
        self.peers.connected(node, incarnation, now);
        let step = self.step;
        self.record(Event::NodeConnected { step, node });
        // It may have missed earlier statuses; others may connect at the same moment.
        self.greeting_at.get_or_insert(now + GREETING);
        self.advance(now);
    }

    /// A node has disconnected.
    pub fn disconnected(&mut self, node: u32, incarnation: u64, now: Duration) {
        if self.peers.disconnected(node, incarnation) {
            // A node that needs nothing more of the others loses none: they leave as it does.
            if self.phase != NodePhase::Closed {
                self.record_loss(node, NodeLoss::Disconnected);
            }
            self.advance(now);
        }
    }

    /// A status has arrived.
    pub fn receive(&mut self, status: Status, now: Duration) {
        let (node, trained) = (status.node, status.trained);
        let may_continue = !status.checkpoints.is_empty();
        let Some(change) = self.peers.receive(status, self.own_steps(), now) else {
            return;
        };
        if change.back {
            let step = self.step;
            self.record(Event::NodeConnected { step, node });
        }
        self.trigger.count(change.steps);
        self.trained(Duration::from_millis(trained));
        // It looks at all nodes, and few statuses name checkpoints.
        if may_continue {
            self.expect_continuing();
        }
        self.advance(now);
    }

    /// How long the run has been trained. A node that starts later starts from there.
    pub fn trained(&mut self, time: Duration) {
        self.trained = self.trained.max(time);
    }

    /// The node has made progress: its workers took a step or were evaluated, or part of a vector
    /// arrived.
    pub fn progress(&mut self) {
        self.progress += 1;
    }

    /// The outcome of an [`Action::Fetch`]; an error holds the answer of each node that was asked.
    pub fn fetched(
        &mut self,
        digest: SnapshotDigest,
        outcome: Result<Fetched, String>,
        now: Duration,
    ) {
        match &mut self.stage {
            Stage::Fetching(fetching) | Stage::Concluding(fetching) => {
                let failed = fetching.take(digest, &outcome);
                for source in failed {
                    let why = outcome.as_ref().err().cloned().unwrap_or_default();
                    self.record_unfetched(source, why);
                }
            }
            Stage::CatchingUp(catch_up) if catch_up.wants(digest) => {
                let catch_up = catch_up.clone();
                self.on_caught_up(catch_up, outcome, now);
            }
            _ => return,
        }
        self.advance(now);
    }

    /// The outcome of an [`Action::Average`].
    pub fn averaged(
        &mut self,
        name: SnapshotDigest,
        outcome: Result<Averaged, NotAveraged>,
        now: Duration,
    ) {
        if let Stage::Fetching(fetching) = &mut self.stage {
            for (source, why) in fetching.take_mean(name, outcome) {
                self.record_unfetched(source, why);
            }
            self.advance(now);
        }
    }

    /// Time has passed. Call it at [`deadline`](Self::deadline) or more often.
    pub fn tick(&mut self, now: Duration) {
        if now >= self.next_broadcast() {
            self.broadcast(now, true);
        }
        self.advance(now);
    }

    /// When to call [`tick`](Self::tick) next if nothing else happens.
    pub fn deadline(&self) -> Duration {
        let beat = self.next_broadcast();
        let other = match self.stage {
            Stage::AwaitingProposals { deadline, .. } => Some(deadline),
            _ if !self.awaited.is_empty() => Some(self.began_waiting + self.config.wait),
            _ => None,
        };
        other.map_or(beat, |other| other.min(beat))
    }

    /// The next action for the driver.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Advances as far as the current state allows.
    fn advance(&mut self, now: Duration) {
        match (self.phase, self.mode) {
            (NodePhase::Joining, _) => self.try_to_begin(now),
            (NodePhase::Training, _) if !self.method.exchanges() => {}
            (NodePhase::Training, Mode::Sync) => self.try_to_complete_round(now),
            (NodePhase::Training, Mode::Async) => self.try_to_follow(),
            (NodePhase::Done, _) => self.try_to_conclude(now),
            (NodePhase::Closed, _) => {}
        }
    }

    fn enter(&mut self, phase: NodePhase, now: Duration) {
        if self.phase != phase {
            self.phase = phase;
            self.broadcast(now, false);
        }
    }

    /// Ends an exchange: its outcome goes to the node's workers.
    fn deliver(
        &mut self,
        round: u64,
        leader: Option<(VectorRef, Arc<Snapshot>)>,
        mean: Option<(VectorRef, Arc<Snapshot>)>,
        fetching: Fetching,
    ) {
        self.stage = Stage::Idle;
        self.rounds = round;
        self.expect_continuing();
        for (vector, snapshot) in leader.iter().chain(&mean) {
            let bytes = fetching.bytes(vector.kind, self.config.wire);
            self.record(Event::Exchange {
                step: self.step,
                exchange: round,
                scope: Scope::Global,
                vector: vector.kind,
                source: snapshot.source(),
                workers: self.workers as usize,
                bytes,
                staleness: fetching.staleness,
                added: None,
                averaged: Vec::new(),
                digest: (self.mode == Mode::Async).then(|| vector.digest.into()),
            });
        }
        // Of the two the leader's, since a worker trained it. A gradient is not a starting point.
        let join_point = leader.as_ref().or(mean.as_ref());
        let begins = !self.method.shares_gradients() && !self.method.has_centre();
        if let Some((vector, snapshot)) = join_point.filter(|_| begins) {
            // A node that joins begins with the factors of its own config.
            let vector = VectorRef {
                factors: None,
                ..*vector
            };
            self.set_join_point(JoinPoint { round, vector }, snapshot.clone());
        }
        self.actions.push_back(Action::Deliver(ExchangeOutcome {
            leader: leader.map(|(_, leader)| leader),
            mean: mean.map(|(_, mean)| mean),
        }));
    }

    /// Requests a vector; `holders` are the node that proposed it, then all other connected nodes.
    fn fetch(&mut self, proposer: u32, vector: VectorRef) {
        let others = self.peers.running().map(|(_, status)| status.node);
        let mut holders = vec![proposer];
        holders.extend(others.filter(|node| *node != proposer));
        self.actions.push_back(Action::Fetch { vector, holders });
    }

    fn broadcast(&mut self, now: Duration, heartbeat: bool) {
        self.sequence += 1;
        self.broadcast_at = now;
        self.greeting_at = None;
        let status = Status {
            node: self.config.node,
            incarnation: self.config.incarnation,
            sequence: self.sequence,
            heartbeat,
            phase: match self.is_loading {
                true => NodePhase::Joining,
                false => self.phase,
            },
            progress: self.progress,
            rounds: self.rounds,
            exchanged: self.exchanged,
            steps: self.steps,
            trained: u64::try_from(self.trained.as_millis()).unwrap_or(u64::MAX),
            workers: self.workers,
            proposals: self.proposals,
            join_point: self.join_point.as_ref().map(|(join_point, _)| *join_point),
            result: self.result.as_ref().map(|(vector, _)| *vector),
            checkpoints: self.checkpoints.clone(),
        };
        self.actions.push_back(Action::Broadcast(status));
    }

    /// When it broadcasts its status if nothing else happens.
    fn next_broadcast(&self) -> Duration {
        let beat = self.broadcast_at + self.heartbeat();
        self.greeting_at.map_or(beat, |at| at.min(beat))
    }

    /// Often enough that a lost status delays the others by at most a second, and that a node which
    /// makes progress is not taken for stalled.
    fn heartbeat(&self) -> Duration {
        (self.config.limit / 4).min(Duration::from_secs(1))
    }

    /// Steps per worker that this node has taken.
    fn own_steps(&self) -> u64 {
        self.steps / u64::from(self.workers.max(1))
    }

    fn record(&mut self, event: Event) {
        self.actions.push_back(Action::Record(event));
    }

    fn record_loss(&mut self, node: u32, why: NodeLoss) {
        let step = self.step;
        self.record(Event::NodeLost { step, node, why });
    }

    fn record_unfetched(&mut self, source: Source, why: String) {
        let step = self.step;
        self.record(Event::NotFetched { step, source, why });
    }
}
