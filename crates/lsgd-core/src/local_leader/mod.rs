//! The leader of a node's workers, as a state machine: messages in, commands and events out.
//!
//! It elects, collects the elected worker's snapshot (or every worker's part of a mean) and
//! delivers it. With several nodes, it makes a [`NodeUpdate`] for each exchange between them and
//! delivers the outcome. It touches no tensor, thread or clock; [`Group`](crate::Group) drives it
//! for threads.

mod centre;
mod delivery;
mod restarting;
mod resuming;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::{
    Candidate, Command, Delivery, Event, ExchangeOutcome, Layout, Message, Method, MethodError,
    Mode, Report, Scope, Snapshot, SnapshotError, Trigger, VectorKind, WindowLoss, WorkerId,
    elect_or_keep,
};

pub use delivery::mean_of as mean_statistics;
use restarting::LastExchange;
pub use restarting::RestartPoint;

/// The state of a node's local exchange.
#[derive(Debug)]
pub struct LocalLeader {
    node: u32,
    method: Method,
    mode: Mode,
    layout: Option<Arc<Layout>>,
    members: BTreeMap<u32, Member>,
    /// The elected worker, whose snapshot has not arrived yet, and its mean loss.
    elected: Option<(u32, f64)>,
    /// The last leader.
    leader: Option<WorkerId>,
    trigger: Trigger,
    /// Whether there are other nodes.
    among_nodes: bool,
    /// The step that workers start at.
    start: u64,
    /// Steps taken by all workers since the last update.
    taken: u64,
    /// `sync`: the local delivery, held back until the exchange between nodes is over.
    pending: Option<Delivery>,
    updates: VecDeque<NodeUpdate>,
    /// Steps reported by all workers so far.
    steps: u64,
    exchanges: u64,
    centre: Option<Arc<Snapshot>>,
    /// What a worker that fails starts from.
    last: LastExchange,
    commands: VecDeque<(u32, Command)>,
    events: VecDeque<Event>,
}

/// What is known about one worker.
#[derive(Debug, Default)]
struct Member {
    report: Option<Report>,
    /// `LocalLeader::steps` when the report arrived.
    reported_at: u64,
    /// By how many steps its losses were older than the report then.
    behind: u64,
    /// Whether it waits for an exchange (`sync`).
    waiting: bool,
    /// Its part of a mean, or why that was rejected.
    part: Option<Result<Arc<Snapshot>, SnapshotError>>,
    /// The running statistics that it sent last, and its step then.
    buffers: Option<(u64, Arc<[f32]>)>,
    /// Its step at the last delivery.
    delivered_at: u64,
}

/// What a node contributes to the exchange between nodes: its local leader's parameters, or the sum
/// over its workers.
#[derive(Debug, Clone)]
pub struct NodeUpdate {
    /// The furthest step of its workers.
    pub step: u64,
    /// Steps its workers have taken together since the last update.
    pub taken: u64,
    /// Its live workers.
    pub workers: u32,
    /// The leader's parameters and the mean loss that it was elected for, or the node's centre;
    /// `None` when the method has neither, no worker is eligible, or the vector was rejected.
    pub leader: Option<(Arc<Snapshot>, f64)>,
    /// The sum over its workers, or over the best of them if the method filters, and then the lowest loss
    /// among these (otherwise 0); `None` when the method has no mean, or a vector was rejected.
    pub sum: Option<(Arc<Snapshot>, f64)>,
}

impl LocalLeader {
    /// The local leader of node `node` with `workers` live workers, numbered from 0.
    ///
    /// # Errors
    ///
    /// [`MethodError`] when `method` cannot run in `mode`.
    pub fn new(node: u32, workers: u32, method: Method, mode: Mode) -> Result<Self, MethodError> {
        method.check_mode(mode)?;
        Ok(Self {
            node,
            method,
            mode,
            layout: None,
            members: (0..workers).map(|w| (w, Member::default())).collect(),
            elected: None,
            leader: None,
            trigger: Trigger::default(),
            among_nodes: false,
            start: 0,
            taken: 0,
            pending: None,
            updates: VecDeque::new(),
            steps: 0,
            exchanges: 0,
            centre: None,
            last: LastExchange::default(),
            commands: VecDeque::new(),
            events: VecDeque::new(),
        })
    }

    /// For a run of several nodes: it makes a [`NodeUpdate`] whenever an exchange between them may
    /// be due, and in `sync` workers then also wait for [`adopt_global`](Self::adopt_global).
    pub fn among_nodes(mut self) -> Self {
        self.among_nodes = true;
        self
    }

    /// For workers that start at step `step`.
    pub fn starting_at(mut self, step: u64) -> Self {
        self.start = step;
        self
    }

    /// Whether workers wait for each other.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The node.
    pub fn node(&self) -> u32 {
        self.node
    }

    /// The live workers.
    pub fn live(&self) -> impl Iterator<Item = u32> + '_ {
        self.members.keys().copied()
    }

    /// Takes a message of worker `worker`; ignored if that worker has left.
    pub fn receive(&mut self, worker: u32, message: Message) {
        if !self.members.contains_key(&worker) {
            return;
        }
        match message {
            Message::Report {
                report,
                behind,
                buffers,
            } => self.report(worker, report, behind, buffers),
            Message::Publish(vector, snapshot) => self.publish(worker, vector, snapshot),
            Message::Begin(start) => self.begin_centre(worker, start),
            Message::WantCentre => self.answer_centre(worker),
            Message::Refused { step, why } => self.record_refusal(worker, step, why),
            Message::Adopted {
                step,
                scope,
                source,
                strength,
                digest,
                factors,
            } => {
                let delivered_at = self.members.get(&worker).map_or(step, |m| m.delivered_at);
                self.events.push_back(Event::Adoption {
                    step,
                    worker: WorkerId::new(self.node, worker),
                    scope,
                    source,
                    strength,
                    staleness: step.saturating_sub(delivered_at),
                    digest,
                    factors,
                });
            }
            Message::Led { step, source } => self.events.push_back(Event::Led {
                step,
                worker: WorkerId::new(self.node, worker),
                source,
            }),
        }
    }

    /// Worker `worker` has left. The others no longer wait for it; if it was elected, the election
    /// is repeated.
    pub fn leave(&mut self, worker: u32) {
        let Some(member) = self.members.remove(&worker) else {
            return;
        };
        self.events.push_back(Event::Left {
            step: member.report.map_or(0, |report| report.step),
            worker: WorkerId::new(self.node, worker),
        });
        let was_elected = self.is_elected(worker);
        if was_elected {
            self.elected = None;
        }
        match self.mode {
            Mode::Sync => self.try_to_exchange(),
            Mode::Async if was_elected => self.hold_election(),
            Mode::Async => {}
        }
    }

    /// An exchange between nodes is over: delivers its outcome to the workers, or merges it into
    /// the centre if the method has one. In `sync` this completes the round of the last update.
    pub fn adopt_global(&mut self, delivered: ExchangeOutcome) {
        if self.method.has_centre() {
            if let Some(other) = &delivered.leader {
                self.merge_centre(other);
            }
            return;
        }
        let delivery = match self.mode {
            Mode::Sync => self.pending.take(),
            Mode::Async => (!delivered.is_empty()).then(Delivery::default),
        };
        let Some(mut delivery) = delivery else {
            return;
        };
        if let Some(mean) = delivered.mean.as_ref().filter(|_| self.averages_buffers()) {
            delivery.buffers = Some(mean.buffers().into());
        }
        delivery.global = delivered;
        self.deliver_to_all(&delivery);
    }

    /// The next update for the exchange between nodes.
    pub fn next_update(&mut self) -> Option<NodeUpdate> {
        self.updates.pop_front()
    }

    /// Tells every worker that the run is over.
    pub fn close(&mut self) {
        let workers: Vec<u32> = self.live().collect();
        self.commands
            .extend(workers.into_iter().map(|w| (w, Command::Close)));
    }

    /// The next command, and the worker that it is for.
    pub fn next_command(&mut self) -> Option<(u32, Command)> {
        self.commands.pop_front()
    }

    /// The next event for the record.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn report(&mut self, worker: u32, report: Report, behind: u64, buffers: Option<Arc<[f32]>>) {
        self.steps += 1;
        let Some(member) = self.members.get_mut(&worker) else {
            return;
        };
        let before = member.report.map_or(self.start, |report| report.step);
        self.taken += report.step.saturating_sub(before);
        member.report = Some(report);
        member.reported_at = self.steps;
        member.behind = behind;
        // A report without any leaves those of an earlier one.
        let sent = buffers.map(|buffers| (report.step, buffers));
        member.buffers = sent.or(member.buffers.take());
        member.waiting = true;
        match self.mode {
            Mode::Sync => self.try_to_exchange(),
            Mode::Async => {
                self.trigger.count(1);
                match self.elected {
                    // The elected worker has not reached a step boundary for too long.
                    Some((elected, _)) if self.age(elected) > self.method.max_staleness.local => {
                        self.elected = None;
                        self.hold_election();
                    }
                    Some(_) => {}
                    None => {
                        let period = self.method.periods().local;
                        if self.trigger.fire(self.members.len(), period) {
                            match self.method.has_centre() {
                                true => self.propose_centre(),
                                false => self.hold_election(),
                            }
                        }
                    }
                }
            }
        }
    }

    /// `sync`: continues once every live worker is waiting.
    fn try_to_exchange(&mut self) {
        let everyone = self.members.values().all(|member| member.waiting);
        let busy = self.elected.is_some() || self.pending.is_some();
        if self.members.is_empty() || !everyone || busy {
            return;
        }
        match self.method.averages() {
            Some(vector) => self.average(vector),
            None => self.hold_election(),
        }
    }

    /// Elects by the current reports and asks the elected worker for its snapshot.
    fn hold_election(&mut self) {
        if self.members.is_empty() {
            return;
        }
        self.elected = self.elect();
        match self.elected {
            Some((worker, _)) => self.commands.push_back((worker, Command::Publish)),
            None => self.deliver_nothing(),
        }
    }

    /// The leader by the current reports, and its mean loss.
    fn elect(&mut self) -> Option<(u32, f64)> {
        let candidates = self.candidates();
        let incumbent = self.method.incumbent(self.leader);
        let longest = self.method.max_staleness.local;
        let election = elect_or_keep(&candidates, longest, incumbent);
        self.leader = election.leader.or(self.leader);
        let led = |c: &&Candidate| Some(c.report.id) == election.leader;
        let elected = candidates.iter().find(led).and_then(|leader| {
            let WindowLoss::Mean(loss) = leader.report.loss else {
                return None;
            };
            Some((leader.report.id.worker, loss))
        });
        self.events.push_back(Event::Election {
            step: self.furthest_step(),
            scope: Scope::Local,
            election,
        });
        elected
    }

    /// The workers that have reported, but for those whose part of a mean was rejected.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let sound = self
            .members
            .iter()
            .filter(|(_, member)| !matches!(member.part, Some(Err(_))));
        let candidates = sound.filter_map(|(&worker, member)| {
            Some(Candidate {
                report: member.report?,
                age: self.age(worker),
            })
        });
        candidates.collect()
    }

    /// Age of the losses in a worker's report, in steps of the node per worker. During a
    /// synchronous exchange no worker steps, so no report is old.
    fn age(&self, worker: u32) -> u64 {
        let member = self.members.get(&worker);
        let (reported_at, behind) = member.map_or((0, 0), |m| (m.reported_at, m.behind));
        match self.mode {
            Mode::Sync => 0,
            Mode::Async => behind + (self.steps - reported_at) / self.members.len().max(1) as u64,
        }
    }

    fn publish(
        &mut self,
        worker: u32,
        vector: VectorKind,
        snapshot: Result<Arc<Snapshot>, SnapshotError>,
    ) {
        let snapshot = match snapshot.and_then(|snapshot| self.check(snapshot)) {
            Ok(snapshot) => snapshot,
            Err(why) => return self.refuse(worker, vector, why),
        };
        match vector {
            VectorKind::Parameters => {
                // A worker that was elected before the election was repeated is ignored.
                let elected = self.elected.take_if(|(elected, _)| *elected == worker);
                if let Some((_, loss)) = elected {
                    self.deliver_leader(snapshot, loss);
                }
            }
            VectorKind::Mean | VectorKind::Gradient => self.add_part(worker, Ok(snapshot)),
            VectorKind::Centre => self.add_to_centre(worker, &snapshot),
        }
    }

    /// Returns the snapshot if it is finite and has the node's layout.
    fn check(&mut self, snapshot: Arc<Snapshot>) -> Result<Arc<Snapshot>, SnapshotError> {
        let layout = self.layout.get_or_insert_with(|| snapshot.layout().clone());
        snapshot.check(layout)?;
        Ok(snapshot)
    }

    /// Records a rejected vector and ends its exchange: there is no pull.
    fn refuse(&mut self, worker: u32, vector: VectorKind, why: SnapshotError) {
        self.record_refusal(worker, self.furthest_step(), why);
        match vector {
            // The exchange ends only once all workers have reported: a late worker would take an
            // earlier command to continue for its own exchange, and stay one exchange ahead.
            VectorKind::Mean | VectorKind::Gradient => self.add_part(worker, Err(why)),
            VectorKind::Parameters => {
                if self
                    .elected
                    .take_if(|(elected, _)| *elected == worker)
                    .is_some()
                {
                    self.deliver_nothing();
                }
            }
            VectorKind::Centre => {}
        }
    }

    fn record_refusal(&mut self, worker: u32, step: u64, why: SnapshotError) {
        let worker = WorkerId::new(self.node, worker);
        self.events.push_back(Event::Refused { step, worker, why });
    }

    fn add_part(&mut self, worker: u32, part: Result<Arc<Snapshot>, SnapshotError>) {
        if let Some(member) = self.members.get_mut(&worker) {
            member.part = Some(part);
        }
        self.try_to_exchange();
    }

    fn is_elected(&self, worker: u32) -> bool {
        matches!(self.elected, Some((elected, _)) if elected == worker)
    }

    fn furthest_step(&self) -> u64 {
        let reports = self.members.values().filter_map(|m| m.report);
        reports.map(|report| report.step).max().unwrap_or(0)
    }
}
