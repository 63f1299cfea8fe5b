//! Workers that failed and start again.

use std::sync::Arc;

use super::LocalLeader;
use crate::{Delivery, Event, Mode, Report, Scope, Snapshot, WindowLoss, WorkerId};

/// Where a worker that failed starts again.
#[derive(Debug, Clone)]
pub struct RestartPoint {
    /// The step that it starts at: in `sync` that of the last exchange, since the others wait for it
    /// at the next one.
    pub step: u64,
    /// What was delivered last; `None` if nothing has been yet.
    pub parameters: Option<Arc<Snapshot>>,
    /// Whether an exchange has been held, even if it delivered nothing. If not, the worker starts as
    /// it did at first.
    pub has_met: bool,
}

/// The last exchange.
#[derive(Debug, Default)]
pub(super) struct LastExchange {
    step: Option<u64>,
    delivered: Option<(Scope, Arc<Snapshot>)>,
}

impl LastExchange {
    /// Remembers what an exchange at `step` delivered: the leader of the node or, without one, their
    /// mean or what all nodes delivered.
    pub(super) fn remember(&mut self, step: u64, delivery: &Delivery) {
        let Delivery { local, global, .. } = delivery;
        let delivered = [(Scope::Local, local), (Scope::Global, global)];
        let mut delivered = delivered
            .into_iter()
            .filter_map(|(scope, outcome)| Some((scope, outcome.vectors().next()?.clone())));
        self.step = Some(step);
        if let Some(delivered) = delivered.next() {
            self.delivered = Some(delivered);
        }
    }
}

impl LocalLeader {
    /// Worker `worker` has failed, and starts again. In `sync` the others wait for it at the next
    /// exchange, so that the bits depend only on where it failed. `None` if it has left, or if the
    /// method delivers nothing that a worker could start from; it can only [leave](Self::leave) then.
    pub fn restart(&mut self, worker: u32) -> Option<RestartPoint> {
        let begins = self.method.exchanges() && !self.method.shares_gradients();
        if !begins || !self.members.contains_key(&worker) {
            return None;
        }
        let step = match self.mode {
            Mode::Sync => self.last.step.unwrap_or(self.start),
            Mode::Async => self.mean_step_without(worker),
        };
        let was_elected = self.is_elected(worker);
        let reported_at = self.steps;
        let member = self.members.get_mut(&worker)?;
        member.report = Some(Report {
            id: WorkerId::new(self.node, worker),
            step,
            loss: WindowLoss::Filling { have: 0, need: 1 },
            joined: true,
        });
        member.reported_at = reported_at;
        member.delivered_at = step;
        member.waiting = false;
        (member.part, member.buffers) = (None, None);
        let has_met = self.last.step.is_some();
        let (scope, parameters) = match (&self.centre, &self.last.delivered) {
            (Some(centre), _) => (None, Some(centre.clone())),
            (None, Some((scope, delivered))) => (Some(*scope), Some(delivered.clone())),
            (None, None) => (None, None),
        };
        let delivered = parameters.as_ref().filter(|_| scope.is_some());
        self.events.push_back(Event::Restarted {
            step,
            worker: WorkerId::new(self.node, worker),
            source: parameters.as_ref().map(|parameters| parameters.source()),
            scope,
            digest: delivered
                .filter(|_| self.mode == Mode::Async)
                .map(|delivered| delivered.digest().into()),
        });
        if was_elected {
            self.elected = None;
            // In `sync` it is held once this worker has come to it again.
            if self.mode == Mode::Async {
                self.hold_election();
            }
        }
        Some(RestartPoint {
            step,
            parameters,
            has_met,
        })
    }

    /// The mean step of the other workers, or this one's if there are none.
    fn mean_step_without(&self, worker: u32) -> u64 {
        let steps = |own: bool| {
            let members = self.members.iter();
            let chosen = members.filter(move |(member, _)| (**member == worker) == own);
            chosen.map(|(_, member)| member.report.map_or(self.start, |report| report.step))
        };
        match steps(false).count() as u64 {
            0 => steps(true).next().unwrap_or(self.start),
            others => steps(false).sum::<u64>() / others,
        }
    }
}
