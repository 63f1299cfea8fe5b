//! The leader of a node's workers, as a state machine: messages in, orders and events out.
//!
//! It elects, collects the elected worker's snapshot (or every worker's part of a mean) and delivers
//! it. Where there are other nodes, it makes a [`Bid`] for each exchange with them and delivers what
//! comes of it. It touches no tensor, thread or clock; [`Group`](crate::Group) drives it for threads.

mod centre;
mod delivery;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::{
    Adoption, Candidate, Delivered, Event, Layout, Message, Method, MethodError, Mode, Order, Rank,
    Refusal, Report, Scope, Snapshot, Trigger, Vector, WindowLoss, elect_or_keep,
};

/// The state of a node's exchange.
#[derive(Debug)]
pub struct LocalLeader {
    node: u32,
    method: Method,
    mode: Mode,
    layout: Option<Arc<Layout>>,
    members: BTreeMap<u32, Member>,
    /// The worker whose snapshot is awaited, and its mean loss.
    elected: Option<(u32, f64)>,
    /// Who led last.
    leader: Option<Rank>,
    trigger: Trigger,
    /// Whether there are other nodes.
    among_nodes: bool,
    /// The step that workers begin at.
    start: u64,
    /// Steps taken since the last bid, by all workers.
    taken: u64,
    /// `sync`: what this node's meeting delivers once the exchange between nodes is over.
    pending: Option<Adoption>,
    bids: VecDeque<Bid>,
    /// Steps reported by all workers, ever.
    steps: u64,
    exchanges: u64,
    centre: Option<Arc<Snapshot>>,
    orders: VecDeque<(u32, Order)>,
    events: VecDeque<Event>,
}

/// What is known of one worker.
#[derive(Debug, Default)]
struct Member {
    report: Option<Report>,
    /// `LocalLeader::steps` when the report came.
    reported_at: u64,
    /// Whether it waits at a meeting (`sync`).
    waiting: bool,
    /// Its part of a mean, or why that was refused.
    part: Option<Result<Arc<Snapshot>, Refusal>>,
    buffers: Option<Arc<[f32]>>,
    /// Its step when it was last sent something to adopt.
    ordered_at: u64,
}

/// What a node brings to the exchange between nodes: its local leader's parameters, or the sum over
/// its workers.
#[derive(Debug, Clone)]
pub struct Bid {
    /// The furthest step of its workers.
    pub step: u64,
    /// Steps its workers have taken together since its last bid.
    pub taken: u64,
    /// Its live workers.
    pub workers: u32,
    /// The leader's vector and the mean loss it was elected for, or the node's centre; nothing when the
    /// method has neither, nobody may lead, or the vector was refused.
    pub leader: Option<(Arc<Snapshot>, f64)>,
    /// The sum over its workers; nothing when the method has no mean, or a vector was refused.
    pub sum: Option<Arc<Snapshot>>,
}

impl LocalLeader {
    /// The local leader of node `node` with `workers` workers, all live, ranks from 0.
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
            bids: VecDeque::new(),
            steps: 0,
            exchanges: 0,
            centre: None,
            orders: VecDeque::new(),
            events: VecDeque::new(),
        })
    }

    /// With other nodes: it makes a [`Bid`] whenever an exchange with them may be due, and in `sync`
    /// workers then wait for [`adopt_global`](Self::adopt_global) too.
    pub fn among_nodes(mut self) -> Self {
        self.among_nodes = true;
        self
    }

    /// With workers that begin at step `step`.
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

    /// Takes a message of worker `worker`; one of a worker that has left is ignored.
    pub fn receive(&mut self, worker: u32, message: Message) {
        if !self.members.contains_key(&worker) {
            return;
        }
        match message {
            Message::Report { report, buffers } => self.report(worker, report, buffers),
            Message::Publish(vector, snapshot) => self.publish(worker, vector, snapshot),
            Message::Begin(start) => self.begin_centre(worker, start),
            Message::WantCentre => self.answer_centre(worker),
            Message::Refused { step, why } => self.record_refusal(worker, step, why),
            Message::Adopted {
                step,
                scope,
                source,
                strength,
            } => {
                let ordered_at = self.members.get(&worker).map_or(step, |m| m.ordered_at);
                self.events.push_back(Event::Adoption {
                    step,
                    worker: Rank::new(self.node, worker),
                    scope,
                    source,
                    strength,
                    staleness: step.saturating_sub(ordered_at),
                });
            }
        }
    }

    /// Worker `worker` takes part no longer. Nobody waits for it; if it was elected, the election
    /// is repeated.
    pub fn leave(&mut self, worker: u32) {
        let Some(member) = self.members.remove(&worker) else {
            return;
        };
        self.events.push_back(Event::Left {
            step: member.report.map_or(0, |report| report.step),
            worker: Rank::new(self.node, worker),
        });
        let was_elected = self.is_elected(worker);
        if was_elected {
            self.elected = None;
        }
        match self.mode {
            Mode::Sync => self.meet(),
            Mode::Async if was_elected => self.hold_election(),
            Mode::Async => {}
        }
    }

    /// An exchange between nodes is over: workers move to what it delivered, if anything, or the
    /// centre does where the method has one. In `sync` it answers this node's bid.
    pub fn adopt_global(&mut self, delivered: Delivered) {
        if self.method.has_centre() {
            if let Some(other) = &delivered.leader {
                self.meet_centre(other);
            }
            return;
        }
        let adoption = match self.mode {
            Mode::Sync => self.pending.take(),
            Mode::Async => (!delivered.is_empty()).then(Adoption::default),
        };
        let Some(mut adoption) = adoption else {
            return;
        };
        if let Some(mean) = delivered.mean.as_ref().filter(|_| self.averages_buffers()) {
            adoption.buffers = Some(mean.buffers().into());
        }
        adoption.global = delivered;
        self.order_all(&adoption);
    }

    /// The next bid for an exchange between nodes.
    pub fn next_bid(&mut self) -> Option<Bid> {
        self.bids.pop_front()
    }

    /// Tells every worker that the run is over.
    pub fn close(&mut self) {
        let workers: Vec<u32> = self.live().collect();
        self.orders
            .extend(workers.into_iter().map(|w| (w, Order::Close)));
    }

    /// The next order and the worker it is for.
    pub fn next_order(&mut self) -> Option<(u32, Order)> {
        self.orders.pop_front()
    }

    /// The next event for the record.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn report(&mut self, worker: u32, report: Report, buffers: Option<Arc<[f32]>>) {
        self.steps += 1;
        let Some(member) = self.members.get_mut(&worker) else {
            return;
        };
        let before = member.report.map_or(self.start, |report| report.step);
        self.taken += report.step.saturating_sub(before);
        member.report = Some(report);
        member.reported_at = self.steps;
        member.buffers = buffers;
        member.waiting = true;
        match self.mode {
            Mode::Sync => self.meet(),
            Mode::Async => {
                self.trigger.count(1);
                match self.elected {
                    // The elected worker has come to no step boundary for too long.
                    Some((elected, _)) if self.age(elected) > self.method.max_staleness.local => {
                        self.elected = None;
                        self.hold_election();
                    }
                    Some(_) => {}
                    None => {
                        let period = self.method.periods.local;
                        if self.trigger.fire(self.members.len(), period) {
                            match self.method.has_centre() {
                                true => self.bid_centre(),
                                false => self.hold_election(),
                            }
                        }
                    }
                }
            }
        }
    }

    /// `sync`: goes on once every live worker has come to the meeting.
    fn meet(&mut self) {
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

    /// Elects by the reports at hand and asks the elected worker for its snapshot.
    fn hold_election(&mut self) {
        if self.members.is_empty() {
            return;
        }
        self.elected = self.elect();
        match self.elected {
            Some((worker, _)) => self.orders.push_back((worker, Order::Publish)),
            None => self.deliver_nothing(),
        }
    }

    /// The leader by the reports at hand, and its mean loss.
    fn elect(&mut self) -> Option<(u32, f64)> {
        let candidates: Vec<Candidate> = self
            .members
            .iter()
            .filter_map(|(&worker, member)| {
                Some(Candidate {
                    report: member.report?,
                    age: self.age(worker),
                })
            })
            .collect();
        let incumbent = self.method.incumbent(self.leader);
        let longest = self.method.max_staleness.local;
        let election = elect_or_keep(&candidates, longest, incumbent);
        self.leader = election.leader.or(self.leader);
        let led = |c: &&Candidate| Some(c.report.rank) == election.leader;
        let elected = candidates.iter().find(led).and_then(|leader| {
            let WindowLoss::Mean(loss) = leader.report.loss else {
                return None;
            };
            Some((leader.report.rank.worker, loss))
        });
        self.events.push_back(Event::Election {
            step: self.furthest_step(),
            scope: Scope::Local,
            election,
        });
        elected
    }

    /// Age of a worker's report in the node's own steps: those reported since, shared by all.
    /// In a meeting nobody steps, so no report is old.
    fn age(&self, worker: u32) -> u64 {
        let reported_at = self.members.get(&worker).map_or(0, |m| m.reported_at);
        match self.mode {
            Mode::Sync => 0,
            Mode::Async => (self.steps - reported_at) / self.members.len().max(1) as u64,
        }
    }

    fn publish(&mut self, worker: u32, vector: Vector, snapshot: Result<Arc<Snapshot>, Refusal>) {
        let snapshot = match snapshot.and_then(|snapshot| self.check(snapshot)) {
            Ok(snapshot) => snapshot,
            Err(why) => return self.refuse(worker, vector, why),
        };
        match vector {
            Vector::Snapshot => {
                // One that was elected once, before the election was repeated, is not heard.
                let elected = self.elected.take_if(|(elected, _)| *elected == worker);
                if let Some((_, loss)) = elected {
                    self.deliver_leader(snapshot, loss);
                }
            }
            Vector::Mean | Vector::Gradient => self.bring_part(worker, Ok(snapshot)),
            Vector::Centre => self.add_to_centre(worker, &snapshot),
        }
    }

    /// Passes a snapshot on if it is finite and has the layout that the node trains.
    fn check(&mut self, snapshot: Arc<Snapshot>) -> Result<Arc<Snapshot>, Refusal> {
        let layout = self.layout.get_or_insert_with(|| snapshot.layout().clone());
        snapshot.check(layout)?;
        Ok(snapshot)
    }

    /// Records a refusal and ends the exchange that the vector was for: there is no pull.
    fn refuse(&mut self, worker: u32, vector: Vector, why: Refusal) {
        self.record_refusal(worker, self.furthest_step(), why);
        match vector {
            // The meeting ends only when all have come: whoever is still on its way would take
            // the order to go on for one of its own, and be a meeting ahead for ever.
            Vector::Mean | Vector::Gradient => self.bring_part(worker, Err(why)),
            Vector::Snapshot => {
                if self
                    .elected
                    .take_if(|(elected, _)| *elected == worker)
                    .is_some()
                {
                    self.deliver_nothing();
                }
            }
            Vector::Centre => {}
        }
    }

    fn record_refusal(&mut self, worker: u32, step: u64, why: Refusal) {
        let worker = Rank::new(self.node, worker);
        self.events.push_back(Event::Refused { step, worker, why });
    }

    fn bring_part(&mut self, worker: u32, part: Result<Arc<Snapshot>, Refusal>) {
        if let Some(member) = self.members.get_mut(&worker) {
            member.part = Some(part);
        }
        self.meet();
    }

    fn is_elected(&self, worker: u32) -> bool {
        matches!(self.elected, Some((elected, _)) if elected == worker)
    }

    fn furthest_step(&self) -> u64 {
        let reports = self.members.values().filter_map(|m| m.report);
        reports.map(|report| report.step).max().unwrap_or(0)
    }
}
