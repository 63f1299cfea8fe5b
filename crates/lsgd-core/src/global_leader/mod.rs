//! The exchange between nodes, as a state machine: bids and statuses in, actions out.
//!
//! Every node runs the same one over the statuses it has: there is no coordinator. In `sync` the
//! nodes meet: each offers its vector for a round, and goes on once all that train have offered, or
//! are gone, or have got on with nothing for a limit. In `async` each takes the freshest offers it
//! has whenever its trigger fires (arXiv 1905.10395, Algorithm 1). A node that joins, or that others
//! have gone on without, starts from what was delivered to them last, or shortly before.
//!
//! It knows no socket, thread or clock: the time is an argument, and whoever drives it does what
//! [`Action`]s say.

mod action;
mod ending;
mod fetching;
mod following;
mod joining;
mod meeting;
mod membership;
mod offering;
mod peers;
mod visiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Basis, Delivered, Event, Lost, Method, MethodError, Mode, Offer, Offered, Phase, Scope,
    Snapshot, SnapshotDigest, Source, Status, Trigger, Vector,
};
pub use action::Action;
pub use fetching::Fetched;
use fetching::{Fetching, Wanted};
use joining::Catching;
pub use membership::{Membership, Wire};
use peers::Peers;

/// Within so long a node that has appeared is told what was said before. Where many appear, one
/// status is for all of them: with one for each, the start of 512 nodes would take 10^8 messages.
const GREETING: Duration = Duration::from_millis(50);

/// The state of the exchange between nodes, at one of them.
#[derive(Debug)]
pub struct GlobalLeader {
    membership: Membership,
    method: Method,
    mode: Mode,
    phase: Phase,
    stage: Stage,
    peers: Peers,
    trigger: Trigger,
    /// What a status says besides.
    sequence: u64,
    progress: u64,
    rounds: u64,
    steps: u64,
    trained: Duration,
    offers: [Option<Offer>; 2],
    delivered: Option<Basis>,
    /// The own sum at the end of the run.
    result: Option<(Offered, Arc<Snapshot>)>,
    /// The own vectors that were offered last.
    own: BTreeMap<Vector, Arc<Snapshot>>,
    /// This node's steps per worker when they were offered.
    own_at: u64,
    /// The node whose centre was visited last, and which centre of each was.
    visited: (Option<u32>, BTreeMap<u32, SnapshotDigest>),
    /// The furthest step of its workers at its last bid.
    step: u64,
    workers: u32,
    /// Since when it has waited to begin.
    began_waiting: Duration,
    awaited: BTreeSet<u32>,
    told_at: Duration,
    /// When it repeats its status to those that have appeared since it was told.
    greets_at: Option<Duration>,
    actions: VecDeque<Action>,
}

/// What the node is doing about the next exchange.
#[derive(Debug)]
enum Stage {
    /// Nothing: its workers train, or it waits to begin.
    Idle,
    /// `sync`: it has offered, and waits for others since. Until then nobody can have been silent
    /// for too long.
    Meeting {
        since: Duration,
        patient_until: Duration,
    },
    /// It fetches what the exchange delivers.
    Fetching(Fetching),
    /// It fetches the parameters that it begins with.
    Catching(Catching),
    /// It has trained to its end, and waits since for the others to come to theirs. All have since
    /// they were `settled`, as far as they get on.
    Ending { since: Duration, settled: Duration },
    /// It fetches what the others have come to.
    Concluding(Fetching),
}

impl GlobalLeader {
    /// A node that has not met any other. It begins when all are there, or when one of them trains
    /// already.
    ///
    /// # Errors
    ///
    /// [`MethodError`] when `method` cannot run in `mode`.
    pub fn new(
        membership: Membership,
        method: Method,
        mode: Mode,
        now: Duration,
    ) -> Result<Self, MethodError> {
        method.check_mode(mode)?;
        let peers = Peers::new(membership.nodes, membership.node);
        let mut leader = Self {
            workers: membership.workers,
            membership,
            method,
            mode,
            phase: Phase::Joining,
            stage: Stage::Idle,
            peers,
            trigger: Trigger::default(),
            sequence: 0,
            progress: 0,
            rounds: 0,
            steps: 0,
            trained: Duration::ZERO,
            offers: [None, None],
            delivered: None,
            result: None,
            own: BTreeMap::new(),
            own_at: 0,
            visited: Default::default(),
            step: 0,
            began_waiting: now,
            awaited: BTreeSet::new(),
            told_at: now,
            greets_at: None,
            actions: VecDeque::new(),
        };
        leader.tell(now, false);
        leader.advance(now);
        Ok(leader)
    }

    /// A node is connected, and trains the same run.
    pub fn appeared(&mut self, node: u32, life: u64, now: Duration) {
        if node == self.membership.node || node >= self.membership.nodes {
            return;
        }
        self.peers.appeared(node, life, now);
        let step = self.step;
        self.record(Event::NodeAppeared { step, node });
        // It may have missed what was said before; others may appear in the same moment.
        self.greets_at.get_or_insert(now + GREETING);
        self.advance(now);
    }

    /// A node is connected no longer.
    pub fn vanished(&mut self, node: u32, life: u64, now: Duration) {
        if self.peers.vanished(node, life) {
            self.record_loss(node, Lost::Vanished);
            self.advance(now);
        }
    }

    /// A node has said something.
    pub fn receive(&mut self, status: Status, now: Duration) {
        let (node, trained) = (status.node, status.trained);
        let Some(news) = self.peers.receive(status, self.own_steps(), now) else {
            return;
        };
        if news.back {
            let step = self.step;
            self.record(Event::NodeAppeared { step, node });
        }
        self.trigger.count(news.steps);
        self.trained(Duration::from_millis(trained));
        self.advance(now);
    }

    /// The run has been trained for so long. A node that begins later begins there.
    pub fn trained(&mut self, time: Duration) {
        self.trained = self.trained.max(time);
    }

    /// The node got on with something: its workers took a step or were evaluated, or part of a vector
    /// came.
    pub fn progress(&mut self) {
        self.progress += 1;
    }

    /// What came of an [`Action::Fetch`]; the error says what each node that was asked said.
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
            Stage::Catching(catching) if catching.wants(digest) => {
                let catching = catching.clone();
                self.caught(catching, outcome, now);
            }
            _ => return,
        }
        self.advance(now);
    }

    /// Time has passed. Call it at [`deadline`](Self::deadline) or more often.
    pub fn tick(&mut self, now: Duration) {
        if now >= self.tells_at() {
            self.tell(now, true);
        }
        self.advance(now);
    }

    /// When the passing of time alone may lead to something.
    pub fn deadline(&self) -> Duration {
        let beat = self.tells_at();
        let other = match self.stage {
            Stage::Meeting { patient_until, .. } => Some(patient_until),
            _ if !self.awaited.is_empty() => Some(self.began_waiting + self.membership.wait),
            _ => None,
        };
        other.map_or(beat, |other| other.min(beat))
    }

    /// The next thing to do.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Does whatever the state of things allows.
    fn advance(&mut self, now: Duration) {
        match (self.phase, self.mode) {
            (Phase::Joining, _) => self.try_to_begin(now),
            (Phase::Training, _) if !self.method.exchanges() => {}
            (Phase::Training, Mode::Sync) => self.try_to_meet(now),
            (Phase::Training, Mode::Async) => self.try_to_follow(),
            (Phase::Done, _) => self.try_to_conclude(now),
            (Phase::Closed, _) => {}
        }
    }

    fn enter(&mut self, phase: Phase, now: Duration) {
        if self.phase != phase {
            self.phase = phase;
            self.tell(now, false);
        }
    }

    /// Ends an exchange: the node's workers get what it came to.
    fn deliver(
        &mut self,
        round: u64,
        leader: Option<(Offered, Arc<Snapshot>)>,
        mean: Option<(Offered, Arc<Snapshot>)>,
        fetching: Fetching,
    ) {
        self.stage = Stage::Idle;
        self.rounds = round;
        for (offered, snapshot) in leader.iter().chain(&mean) {
            let of_kind = |w: &&Wanted| w.vector.kind == offered.kind && w.crossed;
            let crossed = fetching.wanted.values().filter(of_kind);
            let vectors = crossed.filter_map(|wanted| wanted.got.as_ref());
            let wire = self.membership.wire;
            let bytes = vectors.map(|vector| wire.bytes_of(vector)).sum();
            self.record(Event::Exchange {
                step: self.step,
                exchange: round,
                scope: Scope::Global,
                vector: offered.kind,
                source: snapshot.source(),
                workers: self.workers as usize,
                bytes,
                staleness: fetching.staleness,
            });
        }
        // Of the two a leader's, which is what somebody trained. A gradient is no place to begin at.
        let basis = leader.as_ref().or(mean.as_ref());
        let begins = !self.method.shares_gradients() && !self.method.has_centre();
        if let Some((vector, snapshot)) = basis.filter(|_| begins) {
            self.actions.push_back(Action::Publish(snapshot.clone()));
            self.delivered = Some(Basis {
                round,
                vector: *vector,
            });
        }
        self.actions.push_back(Action::Deliver(Delivered {
            leader: leader.map(|(_, leader)| leader),
            mean: mean.map(|(_, mean)| mean),
        }));
    }

    /// Asks for vectors; `holders` besides the node that offered each are all that are connected.
    fn fetch(&mut self, offerer: u32, vector: Offered) {
        let others = self.peers.running().map(|(_, status)| status.node);
        let mut holders = vec![offerer];
        holders.extend(others.filter(|node| *node != offerer));
        self.actions.push_back(Action::Fetch { vector, holders });
    }

    fn tell(&mut self, now: Duration, heartbeat: bool) {
        self.sequence += 1;
        self.told_at = now;
        self.greets_at = None;
        let status = Status {
            node: self.membership.node,
            life: self.membership.life,
            sequence: self.sequence,
            phase: self.phase,
            progress: self.progress,
            rounds: self.rounds,
            steps: self.steps,
            trained: u64::try_from(self.trained.as_millis()).unwrap_or(u64::MAX),
            workers: self.workers,
            offers: self.offers,
            delivered: self.delivered,
            result: self.result.as_ref().map(|(offered, _)| *offered),
        };
        self.actions.push_back(Action::Tell { status, heartbeat });
    }

    /// When it tells its status even if nothing happens.
    fn tells_at(&self) -> Duration {
        let beat = self.told_at + self.heartbeat();
        self.greets_at.map_or(beat, |at| at.min(beat))
    }

    /// Often enough that a status that is lost costs the others a second, and that a node that gets
    /// on is not taken for one that stands still.
    fn heartbeat(&self) -> Duration {
        (self.membership.limit / 4).min(Duration::from_secs(1))
    }

    /// Steps per worker that this node has taken.
    fn own_steps(&self) -> u64 {
        self.steps / u64::from(self.workers.max(1))
    }

    fn record(&mut self, event: Event) {
        self.actions.push_back(Action::Record(event));
    }

    fn record_loss(&mut self, node: u32, why: Lost) {
        let step = self.step;
        self.record(Event::NodeLost { step, node, why });
    }

    fn record_unfetched(&mut self, source: Source, why: String) {
        let step = self.step;
        self.record(Event::NotFetched { step, source, why });
    }
}
