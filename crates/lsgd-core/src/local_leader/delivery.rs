//! What an exchange delivers, and to whom.

use std::sync::Arc;

use super::{Bid, LocalLeader};
use crate::method::BatchNorm;
use crate::snapshot::{add, divide};
use crate::{Adoption, Delivered, Event, Mode, Order, Scope, Snapshot, Vector};

impl LocalLeader {
    /// The elected worker's snapshot is there: this node's workers move to it, and other nodes'
    /// may.
    pub(super) fn deliver_leader(&mut self, snapshot: Arc<Snapshot>, loss: f64) {
        self.record_exchange(Vector::Snapshot, &snapshot, snapshot.bytes());
        let adoption = Adoption {
            buffers: self.mean_buffers(snapshot.layout().buffer_len()),
            local: Delivered::leader(snapshot.clone()),
            global: Delivered::default(),
        };
        self.conclude(adoption, Some((snapshot, loss)), None);
    }

    /// Ends an exchange that has nothing to deliver.
    pub(super) fn deliver_nothing(&mut self) {
        self.conclude(Adoption::default(), None, None);
    }

    /// Once all parts are there, delivers their mean, summed in rank order, and the leader's part
    /// where the method has one; where nodes meet, bids their sum. Nothing if one of them was
    /// refused.
    pub(super) fn average(&mut self, vector: Vector) {
        let brought = self.members.values().map(|member| member.part.clone());
        let Some(brought) = brought.collect::<Option<Vec<_>>>() else {
            return;
        };
        let Ok(parts) = brought.into_iter().collect::<Result<Vec<_>, _>>() else {
            return self.deliver_nothing();
        };
        let leader = match self.method.elects() {
            true => self.elect().and_then(|(worker, loss)| {
                let part = self.members.get(&worker)?.part.clone();
                Some((part?.ok()?, loss))
            }),
            false => None,
        };
        let parts = || parts.iter().map(AsRef::as_ref);
        let meets_nodes = self.meets_nodes();
        // A mean of the node's own is not needed where one of all nodes follows, unless there is a
        // leader to go with it.
        let wants_mean = !meets_nodes || self.method.elects();
        let (sum, mean) = match Snapshot::sum(parts()) {
            Ok(sum) => {
                let for_nodes = meets_nodes.then(|| sum.clone()).flatten().map(Arc::new);
                let mean = sum.filter(|_| wants_mean).map(Snapshot::divided);
                (for_nodes, mean.map(Arc::new))
            }
            Err(why) => {
                let lowest = self.live().next().unwrap_or_default();
                self.record_refusal(lowest, self.furthest_step(), why);
                return self.deliver_nothing();
            }
        };
        let mut adoption = Adoption::default();
        if let Some(brought) = mean.as_ref().or(sum.as_ref()) {
            self.record_exchange(vector, brought, parts().map(Snapshot::bytes).sum());
        }
        if let Some(mean) = mean {
            adoption.buffers = self.mean_buffers(mean.layout().buffer_len());
            adoption.local = Delivered {
                leader: leader.as_ref().map(|(leader, _)| leader.clone()),
                mean: Some(mean),
            };
        }
        self.conclude(adoption, leader, sum);
    }

    /// Lets workers have what this node's exchange came to; where an exchange between nodes
    /// follows, makes the bid for it and, in `sync`, keeps workers waiting for its end.
    fn conclude(
        &mut self,
        adoption: Adoption,
        leader: Option<(Arc<Snapshot>, f64)>,
        sum: Option<Arc<Snapshot>>,
    ) {
        let nodes_follow = match self.mode {
            Mode::Sync => self.meets_nodes(),
            Mode::Async => self.among_nodes,
        };
        if nodes_follow {
            self.bid(leader, sum);
        }
        match self.mode {
            Mode::Sync if nodes_follow => self.pending = Some(adoption),
            // A meeting ends even if it has nothing to deliver.
            Mode::Sync => self.order_all(&adoption),
            Mode::Async if !adoption.local.is_empty() => self.order_all(&adoption),
            Mode::Async => {}
        }
    }

    /// Brings something to the exchange between nodes.
    pub(super) fn bid(&mut self, leader: Option<(Arc<Snapshot>, f64)>, sum: Option<Arc<Snapshot>>) {
        self.bids.push_back(Bid {
            step: self.furthest_step(),
            taken: std::mem::take(&mut self.taken),
            workers: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
            leader,
            sum,
        });
    }

    /// `sync`: whether the meeting under way is one of all nodes.
    fn meets_nodes(&self) -> bool {
        self.among_nodes && self.method.periods.due(self.furthest_step()).global
    }

    pub(super) fn order_all(&mut self, adoption: &Adoption) {
        for (&worker, member) in &mut self.members {
            member.waiting = false;
            member.part = None;
            member.ordered_at = member.report.map_or(0, |report| report.step);
            self.orders
                .push_back((worker, Order::Adopt(adoption.clone())));
        }
    }

    fn record_exchange(&mut self, vector: Vector, snapshot: &Snapshot, bytes: u64) {
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
        });
    }

    pub(super) fn averages_buffers(&self) -> bool {
        self.method.batch_norm == BatchNorm::Mean
    }

    /// The mean of the workers' running statistics, where the method asks for it. Left out are
    /// workers that have sent none yet, and those whose are not finite or not of this model: one
    /// of them would spoil everybody's.
    fn mean_buffers(&self, len: usize) -> Option<Arc<[f32]>> {
        if !self.averages_buffers() {
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
}
