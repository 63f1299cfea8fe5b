//! The centre variable of asynchronous EASGD and DOWNPOUR, which this node's workers come to one by
//! one. Other nodes have one of their own; every exchange with one of them moves this node's half way
//! to the other's.

use std::sync::Arc;

use super::LocalLeader;
use crate::snapshot::add;
use crate::{Event, Order, Refusal, Scope, Snapshot, Source, Vector};

impl LocalLeader {
    /// A worker begins with `start`: so does the centre, if there is none.
    pub(super) fn begin_centre(&mut self, worker: u32, start: Arc<Snapshot>) {
        if self.centre.is_some() || !self.method.has_centre() {
            return;
        }
        match self.check(start) {
            Ok(start) => {
                self.centre = Some(Snapshot::of(&start, Source::Centre { version: 0 }));
            }
            Err(why) => self.record_refusal(worker, 0, why),
        }
    }

    pub(super) fn answer_centre(&mut self, worker: u32) {
        let (Some(centre), Some(member)) = (&self.centre, self.members.get_mut(&worker)) else {
            return;
        };
        member.ordered_at = member.report.map_or(0, |report| report.step);
        let order = Order::Centre(centre.clone());
        self.orders.push_back((worker, order));
    }

    /// `centre <- centre + addition`
    pub(super) fn add_to_centre(&mut self, worker: u32, addition: &Snapshot) {
        let Some(centre) = &self.centre else {
            return;
        };
        let mut sum = centre.parameters().to_vec();
        add(&mut sum, addition.parameters());
        // Running statistics are those of the worker that came last.
        let Ok(source) = self.move_centre(worker, addition.with_parameters(sum)) else {
            return;
        };
        self.exchanges += 1;
        self.events.push_back(Event::Exchange {
            step: self.furthest_step(),
            exchange: self.exchanges,
            scope: Scope::Local,
            vector: Vector::Centre,
            source,
            workers: 1,
            bytes: addition.bytes(),
            staleness: 0,
        });
    }

    /// `centre <- centre + 1/2 (another node's centre - centre)`
    pub(super) fn meet_centre(&mut self, other: &Arc<Snapshot>) {
        let Some(centre) = &self.centre else {
            return;
        };
        let between = Snapshot::between(centre, other, 0.5);
        let lowest = self.live().next().unwrap_or_default();
        // One that is not finite is recorded and leaves the centre as it is.
        let _ = self.move_centre(lowest, Snapshot::clone(&between));
    }

    /// The centre is now where `to` is, if that is finite; otherwise it is recorded that `worker` is
    /// refused.
    fn move_centre(&mut self, worker: u32, to: Snapshot) -> Result<Source, Refusal> {
        let version = match self.centre.as_ref().map(|centre| centre.source()) {
            Some(Source::Centre { version }) => version + 1,
            _ => 0,
        };
        let source = Source::Centre { version };
        match self.check(Arc::new(to.with_source(source))) {
            Ok(centre) => {
                self.centre = Some(centre);
                Ok(source)
            }
            Err(why) => {
                self.record_refusal(worker, self.furthest_step(), why);
                Err(why)
            }
        }
    }

    /// Where there are other nodes, brings them the centre.
    pub(super) fn bid_centre(&mut self) {
        if let Some(centre) = self.centre.clone().filter(|_| self.among_nodes) {
            // Nobody is elected for it.
            self.bid(Some((centre, 0.0)), None);
        }
    }
}
