//! `async`: whenever enough steps have been taken, a node follows the freshest leader that it knows
//! of.

use super::proposing::{candidate, vector_of};
use super::{Fetching, GlobalLeader, Stage};
use crate::{Candidate, Event, Scope, VectorKind, VectorRef};

impl GlobalLeader {
    /// Holds an election when the trigger fires (arXiv 1905.10395, Algorithm 1: `n l tau_G` divides
    /// the total number of steps), and delivers the leader's vector once it has arrived.
    pub(super) fn try_to_follow(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => {
                let live = self.peers.training_workers() + u64::from(self.workers);
                let live = usize::try_from(live).unwrap_or(usize::MAX);
                if self.trigger.fire(live, self.method.periods().global) {
                    match self.method.has_centre() {
                        true => self.visit(),
                        false => self.hold_election(),
                    }
                }
            }
            Stage::Fetching(fetching) => {
                let got = fetching.pending.values().next();
                match got.map(|pending| (pending.vector, pending.got.clone())) {
                    Some((vector, Some(snapshot))) => {
                        let round = self.rounds + 1;
                        let leader = Some((vector, snapshot));
                        self.deliver(round, leader, None, fetching);
                    }
                    // It could not be fetched: the next election finds another leader, or a newer
                    // vector.
                    _ if !fetching.failed.is_empty() => {}
                    _ => self.stage = Stage::Fetching(fetching),
                }
            }
            other => self.stage = other,
        }
    }

    fn hold_election(&mut self) {
        let now = self.own_steps();
        let mut proposals: Vec<(u32, VectorRef, Candidate)> = Vec::new();
        for (peer, status) in self.peers.running() {
            let vector = status.proposals[0].and_then(|o| vector_of(&o, VectorKind::Parameters));
            let age = now.saturating_sub(peer.proposed_at);
            proposals.extend(vector.and_then(|v| Some((status.node, v, candidate(&v, age)?))));
        }
        let own = self.proposals[0].and_then(|proposal| proposal.leader);
        let age = now.saturating_sub(self.own_at);
        let node = self.config.node;
        proposals.extend(own.and_then(|v| Some((node, v, candidate(&v, age)?))));

        let candidates: Vec<Candidate> = proposals.iter().map(|(_, _, c)| *c).collect();
        let election = self.elect(&candidates, self.followed());
        let leader = election.leader;
        self.record(Event::Election {
            step: self.step,
            scope: Scope::Global,
            election,
        });
        let led =
            |(node, ..): &&(u32, VectorRef, Candidate)| leader.is_some_and(|id| id.node == *node);
        let Some((node, vector, candidate)) = proposals.iter().find(led) else {
            return;
        };
        let mut fetching = Fetching {
            staleness: candidate.age,
            ..Fetching::default()
        };
        let own = self.own.get(&VectorKind::Parameters).cloned();
        match own.filter(|_| *node == self.config.node) {
            Some(own) => {
                let round = self.rounds + 1;
                self.deliver(round, Some((*vector, own)), None, fetching);
            }
            None => {
                fetching.request(*node, *vector);
                self.stage = Stage::Fetching(fetching);
                self.fetch(*node, *vector);
            }
        }
    }
}
