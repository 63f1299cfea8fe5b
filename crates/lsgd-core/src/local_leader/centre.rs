//! The centre variable of asynchronous EASGD, asynchronous local SGD and DOWNPOUR, which this node's
//! workers access one by one. Every other node has its own; each exchange with one of them moves this node's centre half
//! way to the other's.

use std::sync::Arc;

use super::LocalLeader;
use crate::snapshot::add;
use crate::{Command, Event, Scope, Snapshot, SnapshotError, Source, VectorKind};

impl LocalLeader {
    /// A worker starts from `start`: the centre starts there too, if there is none yet.
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
        member.delivered_at = member.report.map_or(0, |report| report.step);
        let command = Command::Centre(centre.clone());
        self.commands.push_back((worker, command));
    }

    /// `centre <- centre + addition`
    pub(super) fn add_to_centre(&mut self, worker: u32, addition: &Snapshot) {
        let Some(centre) = &self.centre else {
            return;
        };
        let mut sum = centre.parameters().to_vec();
        add(&mut sum, addition.parameters());
        // The running statistics are those of the last worker.
        let Ok(source) = self.move_centre(worker, addition.with_parameters(sum)) else {
            return;
        };
        self.exchanges += 1;
        self.events.push_back(Event::Exchange {
            step: self.furthest_step(),
            exchange: self.exchanges,
            scope: Scope::Local,
            vector: VectorKind::Centre,
            source,
            workers: 1,
            bytes: addition.bytes(),
            staleness: 0,
            added: Some(addition.source()),
            averaged: Vec::new(),
            // Its worker has computed it before it sent the addition.
            digest: Some(addition.digest().into()),
        });
    }

    /// `centre <- centre + 1/2 (another node's centre - centre)`
    pub(super) fn merge_centre(&mut self, other: &Arc<Snapshot>) {
        let Some(centre) = &self.centre else {
            return;
        };
        let between = Snapshot::interpolate(centre, other, 0.5);
        let lowest = self.live().next().unwrap_or_default();
        // A result that is not finite is recorded and leaves the centre unchanged.
        if let Ok(source) = self.move_centre(lowest, Snapshot::clone(&between)) {
            self.events.push_back(Event::Merged {
                step: self.furthest_step(),
                source,
                other: other.source(),
                digest: other.digest().into(),
            });
        }
    }

    /// Moves the centre to `to` if that is finite; otherwise records that the vector of `worker`
    /// was rejected.
    fn move_centre(&mut self, worker: u32, to: Snapshot) -> Result<Source, SnapshotError> {
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

    /// With several nodes, proposes the centre.
    pub(super) fn propose_centre(&mut self) {
        if let Some(centre) = self.centre.clone().filter(|_| self.among_nodes) {
            // It was not elected, so it has no loss.
            self.queue_update(Some((centre, 0.0)), None);
        }
    }
}
