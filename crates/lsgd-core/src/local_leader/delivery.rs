//! What an exchange delivers, and to which workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{LocalLeader, NodeUpdate};
use crate::method::BatchNorm;
use crate::snapshot::{add, divide};
use crate::{Command, Delivery, Event, ExchangeOutcome, Mode, Scope, Snapshot, VectorKind, within};

/// What a mean is made of.
struct Parts {
    /// By worker, in the order in which they are summed.
    parts: BTreeMap<u32, Arc<Snapshot>>,
    /// The lowest loss among these workers if the method filters, otherwise 0.
    lowest_loss: f64,
}

impl LocalLeader {
    /// The elected worker's snapshot has arrived: delivers it to this node's workers, and proposes
    /// it to other nodes.
    pub(super) fn deliver_leader(&mut self, snapshot: Arc<Snapshot>, loss: f64) {
        self.record_exchange(VectorKind::Parameters, &snapshot, snapshot.bytes());
        let delivery = Delivery {
            buffers: self.mean_buffers(snapshot.layout().buffer_len(), |_| true),
            local: ExchangeOutcome::leader(snapshot.clone()),
            global: ExchangeOutcome::default(),
        };
        self.conclude(delivery, Some((snapshot, loss)), None);
    }

    /// Ends an exchange without a delivery.
    pub(super) fn deliver_nothing(&mut self) {
        self.conclude(Delivery::default(), None, None);
    }

    /// Once all parts have arrived, delivers their mean, summed in order of worker id, and the
    /// leader's part if the method has one; in a global exchange, proposes their sum.
    pub(super) fn average(&mut self, vector: VectorKind) {
        if self.members.values().any(|member| member.part.is_none()) {
            return;
        }
        let Some(Parts { parts, lowest_loss }) = self.parts() else {
            return self.deliver_nothing();
        };
        let leader = match self.method.elects() {
            true => self.elect().and_then(|(worker, loss)| {
                let part = self.members.get(&worker)?.part.clone();
                Some((part?.ok()?, loss))
            }),
            false => None,
        };
        let snapshots = || parts.values().map(AsRef::as_ref);
        let is_global = self.is_global();
        // A local mean is not needed if a global one follows, unless there is a leader to go with
        // it.
        let wants_mean = !is_global || self.method.elects();
        let (sum, mean) = match Snapshot::sum(snapshots()) {
            Ok(sum) => {
                let for_nodes = is_global.then(|| sum.clone()).flatten().map(Arc::new);
                let mean = sum.filter(|_| wants_mean).map(Snapshot::divided);
                (for_nodes, mean.map(Arc::new))
            }
            Err(why) => {
                let lowest = self.live().next().unwrap_or_default();
                self.record_refusal(lowest, self.furthest_step(), why);
                return self.deliver_nothing();
            }
        };
        let mut delivery = Delivery::default();
        if let Some(brought) = mean.as_ref().or(sum.as_ref()) {
            // Workers publish their parts before it is known which of them count.
            let published = self.members.values().flat_map(|member| &member.part);
            let bytes = published.flatten().map(|part| part.bytes()).sum();
            self.record_exchange(vector, brought, bytes);
        }
        if let Some(mean) = mean {
            let len = mean.layout().buffer_len();
            delivery.buffers = self.mean_buffers(len, |worker| parts.contains_key(&worker));
            delivery.local = ExchangeOutcome {
                leader: leader.as_ref().map(|(leader, _)| leader.clone()),
                mean: Some(mean),
            };
        }
        self.conclude(delivery, leader, sum.map(|sum| (sum, lowest_loss)));
    }

    /// The parts of a mean: of all workers, or of the best if the method filters. `None` if one was rejected
    /// (a filter leaves its worker out), or no worker is eligible.
    fn parts(&mut self) -> Option<Parts> {
        let Some(margin) = self.method.filter_margin() else {
            let members = self.members.iter();
            let parts = members.map(|(&worker, member)| Some((worker, member.part.clone()?.ok()?)));
            return Some(Parts {
                parts: parts.collect::<Option<_>>()?,
                lowest_loss: 0.0,
            });
        };
        // For the record: the one that the others are measured by.
        let (_, lowest_loss) = self.elect()?;
        let best = within(&self.candidates(), self.method.max_staleness.local, margin);
        let parts = best.into_iter().map(|(id, _)| {
            let part = self.members.get(&id.worker)?.part.clone()?;
            Some((id.worker, part.ok()?))
        });
        Some(Parts {
            parts: parts.collect::<Option<_>>()?,
            lowest_loss,
        })
    }

    /// Delivers the outcome of the local exchange. If an exchange between nodes follows, queues the
    /// update for it and, in `sync`, keeps the workers waiting for its end.
    fn conclude(
        &mut self,
        delivery: Delivery,
        leader: Option<(Arc<Snapshot>, f64)>,
        sum: Option<(Arc<Snapshot>, f64)>,
    ) {
        let nodes_follow = match self.mode {
            Mode::Sync => self.is_global(),
            Mode::Async => self.among_nodes,
        };
        if nodes_follow {
            self.queue_update(leader, sum);
        }
        match self.mode {
            Mode::Sync if nodes_follow => self.pending = Some(delivery),
            // An exchange ends even if it delivers nothing.
            Mode::Sync => self.deliver_to_all(&delivery),
            Mode::Async if !delivery.local.is_empty() => self.deliver_to_all(&delivery),
            Mode::Async => {}
        }
    }

    /// Queues an update for the exchange between nodes.
    pub(super) fn queue_update(
        &mut self,
        leader: Option<(Arc<Snapshot>, f64)>,
        sum: Option<(Arc<Snapshot>, f64)>,
    ) {
        self.updates.push_back(NodeUpdate {
            step: self.furthest_step(),
            taken: std::mem::take(&mut self.taken),
            workers: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
            leader,
            sum,
        });
    }

    /// `sync`: whether the exchange under way is a global one.
    fn is_global(&self) -> bool {
        self.among_nodes && self.method.exchange_steps.due(self.furthest_step()).global
    }

    pub(super) fn deliver_to_all(&mut self, delivery: &Delivery) {
        self.last.remember(self.furthest_step(), delivery);
        for (&worker, member) in &mut self.members {
            member.waiting = false;
            member.part = None;
            member.delivered_at = member.report.map_or(0, |report| report.step);
            self.commands
                .push_back((worker, Command::Adopt(delivery.clone())));
        }
    }

    fn record_exchange(&mut self, vector: VectorKind, snapshot: &Snapshot, bytes: u64) {
        self.exchanges += 1;
        self.events.push_back(Event::Exchange {
            step: self.furthest_step(),
            exchange: self.exchanges,
            scope: Scope::Local,
            vector,
            source: snapshot.source(),
            workers: self.members.len(),
            bytes,
            staleness: 0,
            added: None,
            averaged: match self.mode {
                Mode::Async => self.reporters(snapshot.layout().buffer_len()),
                Mode::Sync => Vec::new(),
            },
            // In `async` the worker has computed it before it published the vector.
            digest: (self.mode == Mode::Async).then(|| snapshot.digest().into()),
        });
    }

    pub(super) fn averages_buffers(&self) -> bool {
        self.method.batch_norm == BatchNorm::Mean
    }

    /// The mean of the running statistics of the workers that count, if the method averages them. Left out
    /// are workers that have sent none yet, and statistics that are not finite or have the wrong
    /// length: one of them would spoil the mean for all.
    fn mean_buffers(&self, len: usize, counts: impl Fn(u32) -> bool) -> Option<Arc<[f32]>> {
        let sound = self.sound_buffers(len);
        mean_of(
            sound
                .filter(|(worker, ..)| counts(*worker))
                .map(|(_, _, buffers)| buffers),
        )
    }

    /// The workers of that mean, each with the step at which it sent its statistics.
    fn reporters(&self, len: usize) -> Vec<(u32, u64)> {
        let sound = self.sound_buffers(len);
        sound.map(|(worker, step, _)| (worker, step)).collect()
    }

    /// The statistics that can be averaged, in order of worker, with the steps at which they were sent.
    fn sound_buffers(&self, len: usize) -> impl Iterator<Item = (u32, u64, &[f32])> {
        let averages = self.averages_buffers();
        let members = self.members.iter().filter(move |_| averages);
        let sent = members.filter_map(|(worker, member)| {
            let (step, values) = member.buffers.as_ref()?;
            Some((*worker, *step, values.as_ref()))
        });
        sent.filter(move |(.., values)| values.len() == len && values.iter().all(|v| v.is_finite()))
    }
}

/// The mean of running statistics, summed in this order; `None` of none.
pub fn mean_of<'a>(mut buffers: impl Iterator<Item = &'a [f32]>) -> Option<Arc<[f32]>> {
    let mut sum = buffers.next()?.to_vec();
    let mut count = 1;
    for values in buffers {
        add(&mut sum, values);
        count += 1;
    }
    divide(&mut sum, count);
    Some(sum.into())
}
