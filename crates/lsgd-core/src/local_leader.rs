//! The leader of a node's workers, as a state machine: messages in, orders and events out.
//!
//! It elects, collects the elected worker's snapshot (or every worker's part of a mean) and delivers
//! it. It touches no tensor, thread or clock; [`Group`](crate::Group) drives it for threads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::method::BatchNorm;
use crate::snapshot::{add, divide};
use crate::{
    Adoption, Candidate, Event, Layout, Message, Method, MethodError, Mode, Order, Rank, Refusal,
    Report, Scope, Snapshot, Source, Trigger, Vector, elect,
};

/// The state of a node's exchange.
#[derive(Debug)]
pub struct LocalLeader {
    node: u32,
    method: Method,
    mode: Mode,
    layout: Option<Arc<Layout>>,
    members: BTreeMap<u32, Member>,
    /// The worker whose snapshot is awaited.
    elected: Option<u32>,
    trigger: Trigger,
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
            trigger: Trigger::default(),
            steps: 0,
            exchanges: 0,
            centre: None,
            orders: VecDeque::new(),
            events: VecDeque::new(),
        })
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

    /// Sets the centre variable that workers will add to.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when `start` is not finite or not of the model that the node trains.
    pub fn set_centre(&mut self, start: &Snapshot) -> Result<(), Refusal> {
        start.check(self.layout.as_ref().unwrap_or(start.layout()))?;
        self.layout = Some(start.layout().clone());
        self.centre = Some(Arc::new(recentred(start, start.parameters().to_vec(), 0)?));
        Ok(())
    }

    /// Takes a message of worker `worker`; one of a worker that has left is ignored.
    pub fn receive(&mut self, worker: u32, message: Message) {
        if !self.members.contains_key(&worker) {
            return;
        }
        match message {
            Message::Report { report, buffers } => self.report(worker, report, buffers),
            Message::Publish(vector, snapshot) => self.publish(worker, vector, snapshot),
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
        let was_elected = self.elected == Some(worker);
        if was_elected {
            self.elected = None;
        }
        match self.mode {
            Mode::Sync => self.meet(),
            Mode::Async if was_elected => self.hold_election(),
            Mode::Async => {}
        }
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
        member.report = Some(report);
        member.reported_at = self.steps;
        member.buffers = buffers;
        member.waiting = true;
        match self.mode {
            Mode::Sync => self.meet(),
            Mode::Async => {
                self.trigger.count();
                match self.elected {
                    // The elected worker has come to no step boundary for too long.
                    Some(elected) if self.age(elected) > self.method.max_staleness => {
                        self.elected = None;
                        self.hold_election();
                    }
                    Some(_) => {}
                    None => {
                        let period = self.method.periods.local;
                        if self.trigger.fire(self.members.len(), period) {
                            self.hold_election();
                        }
                    }
                }
            }
        }
    }

    /// `sync`: goes on once every live worker has come to the meeting.
    fn meet(&mut self) {
        let everyone = self.members.values().all(|member| member.waiting);
        if self.members.is_empty() || !everyone || self.elected.is_some() {
            return;
        }
        match self.method.vector {
            Some(Vector::Mean) => self.average(),
            _ => self.hold_election(),
        }
    }

    /// Elects by the reports at hand and asks the elected worker for its snapshot.
    fn hold_election(&mut self) {
        if self.members.is_empty() {
            return;
        }
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
        let election = elect(&candidates, self.method.max_staleness);
        self.elected = election.leader.map(|rank| rank.worker);
        self.events.push_back(Event::Election {
            step: self.furthest_step(),
            scope: Scope::Local,
            election,
        });
        match self.elected {
            Some(worker) => self.orders.push_back((worker, Order::Publish)),
            None => self.deliver_nothing(),
        }
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
            Vector::Snapshot if self.elected == Some(worker) => {
                self.elected = None;
                let bytes = snapshot.bytes();
                self.deliver(Vector::Snapshot, snapshot, bytes);
            }
            // Elected once, but the election has been repeated since.
            Vector::Snapshot => {}
            Vector::Mean => {
                self.bring_part(worker, Ok(snapshot));
            }
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
            Vector::Mean => self.bring_part(worker, Err(why)),
            Vector::Snapshot if self.elected == Some(worker) => {
                self.elected = None;
                self.deliver_nothing();
            }
            Vector::Snapshot => {}
            Vector::Centre => self.answer_centre(worker),
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

    /// Delivers the mean of all parts, summed in rank order, once they are all there; nothing if
    /// one of them was refused.
    fn average(&mut self) {
        let brought = self.members.values().map(|member| member.part.as_ref());
        let Some(brought) = brought.collect::<Option<Vec<_>>>() else {
            return;
        };
        let parts: Result<Vec<&Snapshot>, _> = brought
            .into_iter()
            .map(|part| part.as_deref().map_err(|why| *why))
            .collect();
        let Ok(parts) = parts else {
            return self.deliver_nothing();
        };
        let bytes = parts.iter().map(|part| part.bytes()).sum();
        match Snapshot::mean(parts) {
            Ok(Some(mean)) => self.deliver(Vector::Mean, Arc::new(mean), bytes),
            Ok(None) => self.deliver_nothing(),
            Err(why) => {
                let lowest = self.live().next().unwrap_or_default();
                self.record_refusal(lowest, self.furthest_step(), why);
                self.deliver_nothing();
            }
        }
    }

    fn deliver(&mut self, vector: Vector, snapshot: Arc<Snapshot>, bytes: u64) {
        self.exchanges += 1;
        self.events.push_back(Event::Exchange {
            step: self.furthest_step(),
            exchange: self.exchanges,
            vector,
            source: snapshot.source(),
            workers: self.members.len(),
            bytes,
        });
        let buffers = self.mean_buffers(snapshot.layout().buffer_len());
        let adoption = Adoption {
            local: Some(snapshot),
            global: None,
            buffers,
        };
        self.order_all(&adoption);
    }

    /// Ends an exchange that has nothing to deliver. Only a meeting has anybody waiting for it.
    fn deliver_nothing(&mut self) {
        if self.mode == Mode::Sync {
            self.order_all(&Adoption::default());
        }
    }

    fn order_all(&mut self, adoption: &Adoption) {
        for (&worker, member) in &mut self.members {
            member.waiting = false;
            member.part = None;
            member.ordered_at = member.report.map_or(0, |report| report.step);
            self.orders
                .push_back((worker, Order::Adopt(adoption.clone())));
        }
    }

    /// The mean of the workers' running statistics, where the method asks for it. Left out are
    /// workers that have sent none yet, and those whose are not finite or not of this model: one
    /// of them would spoil everybody's.
    fn mean_buffers(&self, len: usize) -> Option<Arc<[f32]>> {
        if self.method.batch_norm != BatchNorm::Mean {
            return None;
        }
        let sent = self.members.values().filter_map(|m| m.buffers.as_deref());
        let mut buffers =
            sent.filter(|values| values.len() == len && values.iter().all(|v| v.is_finite()));
        let mut sum = buffers.next()?.to_vec();
        let mut count = 1;
        for values in buffers {
            add(&mut sum, values);
            count += 1;
        }
        divide(&mut sum, count);
        Some(sum.into())
    }

    fn answer_centre(&mut self, worker: u32) {
        if let Some(centre) = &self.centre {
            self.orders
                .push_back((worker, Order::Centre(centre.clone())));
        }
    }

    /// `centre <- centre + addition`, then tells the worker what it became.
    fn add_to_centre(&mut self, worker: u32, addition: &Snapshot) {
        let Some(centre) = &self.centre else {
            return;
        };
        let Source::Centre { version } = centre.source() else {
            return;
        };
        let mut sum = centre.parameters().to_vec();
        add(&mut sum, addition.parameters());
        let next = match recentred(centre, sum, version + 1) {
            Ok(next) => next,
            Err(why) => return self.refuse(worker, Vector::Centre, why),
        };
        let source = next.source();
        self.centre = Some(Arc::new(next));
        self.exchanges += 1;
        self.events.push_back(Event::Exchange {
            step: self.furthest_step(),
            exchange: self.exchanges,
            vector: Vector::Centre,
            source,
            workers: 1,
            bytes: addition.bytes(),
        });
        self.answer_centre(worker);
    }

    fn furthest_step(&self) -> u64 {
        let reports = self.members.values().filter_map(|m| m.report);
        reports.map(|report| report.step).max().unwrap_or(0)
    }
}

/// The centre of `version` with these values, if they are finite.
fn recentred(like: &Snapshot, values: Vec<f32>, version: u64) -> Result<Snapshot, Refusal> {
    let layout = like.layout();
    let source = Source::Centre { version };
    let next = Snapshot::new(layout.clone(), source, values, like.buffers().to_vec())?;
    next.check(layout)?;
    Ok(next)
}
