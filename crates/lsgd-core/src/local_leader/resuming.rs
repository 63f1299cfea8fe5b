//! What a checkpoint keeps of a local leader.

use super::{LocalLeader, Member};
use crate::{
    LocalLeaderCounters, LocalLeaderState, MemberCounters, Report, Trigger, WindowLoss, WorkerId,
};

impl LocalLeader {
    /// What it remembers between two exchanges. Call it while all workers are at a step boundary.
    pub fn state(&self) -> LocalLeaderState {
        let member = |member: &Member| MemberCounters {
            reported: member.report.map(|report| report.step),
            delivered_at: member.delivered_at,
        };
        let members = self.members.iter().map(|(&w, m)| (w, member(m))).collect();
        LocalLeaderState {
            counters: LocalLeaderCounters {
                leader: self.leader,
                taken: self.taken,
                steps: self.steps,
                exchanges: self.exchanges,
                trigger: self.trigger.since(),
                members,
            },
            centre: self.centre.clone(),
        }
    }

    /// Continues from `state`. A worker is eligible again once it has reported again, which in
    /// `sync` all do before the next election.
    pub fn resuming(mut self, state: LocalLeaderState) -> Self {
        let LocalLeaderState { counters, centre } = state;
        self.leader = counters.leader;
        self.taken = counters.taken;
        self.steps = counters.steps;
        self.exchanges = counters.exchanges;
        self.trigger = Trigger::after(counters.trigger);
        self.layout = centre.as_ref().map(|centre| centre.layout().clone());
        self.centre = centre;
        let steps = self.steps;
        for (&worker, member) in &mut self.members {
            let known = counters.members.get(&worker).copied().unwrap_or_default();
            member.delivered_at = known.delivered_at;
            member.reported_at = steps;
            member.report = known.reported.map(|step| Report {
                id: WorkerId::new(self.node, worker),
                step,
                loss: WindowLoss::Filling { have: 0, need: 1 },
                joined: true,
            });
        }
        self
    }
}
