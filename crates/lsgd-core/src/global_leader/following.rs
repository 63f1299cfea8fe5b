//! `async`: a node follows the freshest leader it knows of whenever enough steps have been taken.

use super::offering::{candidate, offered};
use super::{Fetching, GlobalLeader, Stage};
use crate::{Candidate, Event, Offered, Scope, Vector};

impl GlobalLeader {
    /// Holds an election when the trigger fires (arXiv 1905.10395, Algorithm 1: `n l tau_G` divides
    /// the total number of steps), and delivers what it came to once that is there.
    pub(super) fn try_to_follow(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => {
                let live = self.peers.training_workers() + u64::from(self.workers);
                let live = usize::try_from(live).unwrap_or(usize::MAX);
                if self.trigger.fire(live, self.method.periods.global) {
                    match self.method.has_centre() {
                        true => self.visit(),
                        false => self.hold_election(),
                    }
                }
            }
            Stage::Fetching(fetching) => {
                let got = fetching.wanted.values().next();
                match got.map(|wanted| (wanted.vector, wanted.got.clone())) {
                    Some((vector, Some(snapshot))) => {
                        let round = self.rounds + 1;
                        let leader = Some((vector, snapshot));
                        self.deliver(round, leader, None, fetching);
                    }
                    // It could not be had: the next election finds another, or a newer one.
                    _ if !fetching.failed.is_empty() => {}
                    _ => self.stage = Stage::Fetching(fetching),
                }
            }
            other => self.stage = other,
        }
    }

    fn hold_election(&mut self) {
        let now = self.own_steps();
        let mut offers: Vec<(u32, Offered, Candidate)> = Vec::new();
        for (peer, status) in self.peers.running() {
            let vector = status.offers[0].and_then(|o| offered(&o, Vector::Snapshot));
            let age = now.saturating_sub(peer.offered_at);
            offers.extend(vector.and_then(|v| Some((status.node, v, candidate(&v, age)?))));
        }
        let own = self.offers[0].and_then(|offer| offer.leader);
        let age = now.saturating_sub(self.own_at);
        let node = self.membership.node;
        offers.extend(own.and_then(|v| Some((node, v, candidate(&v, age)?))));

        let candidates: Vec<Candidate> = offers.iter().map(|(_, _, c)| *c).collect();
        let election = self.elect(&candidates, self.followed());
        let leader = election.leader;
        self.record(Event::Election {
            step: self.step,
            scope: Scope::Global,
            election,
        });
        let led =
            |(node, ..): &&(u32, Offered, Candidate)| leader.is_some_and(|rank| rank.node == *node);
        let Some((node, vector, candidate)) = offers.iter().find(led) else {
            return;
        };
        let mut fetching = Fetching {
            staleness: candidate.age,
            ..Fetching::default()
        };
        let own = self.own.get(&Vector::Snapshot).cloned();
        match own.filter(|_| *node == self.membership.node) {
            Some(own) => {
                let round = self.rounds + 1;
                self.deliver(round, Some((*vector, own)), None, fetching);
            }
            None => {
                fetching.want(*node, *vector);
                self.stage = Stage::Fetching(fetching);
                self.fetch(*node, *vector);
            }
        }
    }
}
