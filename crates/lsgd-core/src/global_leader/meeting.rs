//! `sync`: the nodes meet every `tau_G` steps.

use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use super::offering::{candidate, fits};
use super::peers::offer_for;
use super::{Fetching, GlobalLeader, Stage};
use crate::{Candidate, Event, Lost, Offer, Offered, Scope, Snapshot, Vector, elect};

impl GlobalLeader {
    /// Goes on with the meeting under way, unless others have gone on without this node.
    pub(super) fn try_to_meet(&mut self, now: Duration) {
        if matches!(self.stage, Stage::Catching { .. }) {
            return;
        }
        let round = self.rounds + 1;
        if self.peers.left_behind(round, self.has_offered()) {
            return self.catch_up(now);
        }
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Meeting {
                since,
                patient_until,
            } => {
                let patient_until = match now < patient_until {
                    true => patient_until,
                    false => self.lose_patience(round, since, now),
                };
                if self.peers.is_incomplete(round) {
                    self.stage = Stage::Meeting {
                        since,
                        patient_until,
                    };
                } else {
                    self.resolve(round, Fetching::default());
                }
            }
            Stage::Fetching(fetching) => self.resolve(round, fetching),
            other => self.stage = other,
        }
    }

    /// Begins to wait for the offers of others.
    pub(super) fn meet(&mut self, now: Duration) {
        self.stage = Stage::Meeting {
            since: now,
            patient_until: now + self.membership.limit,
        };
    }

    /// Waits no longer for those that have got on with nothing for the limit. Returns when the next
    /// may have.
    fn lose_patience(&mut self, round: u64, since: Duration, now: Duration) -> Duration {
        let limit = self.membership.limit;
        for (node, silent) in self.peers.give_up(round, since, limit, now) {
            let seconds = silent.as_secs_f64();
            self.record_loss(node, Lost::Silent { seconds });
        }
        self.peers.silent_since(round, since).unwrap_or(now) + limit
    }

    /// Whether the own offer for the round under way is made.
    pub(super) fn has_offered(&self) -> bool {
        let offer = self.offers[0];
        offer.is_some_and(|offer| offer.round > self.rounds)
    }

    /// All offers of the round are in: delivers what they come to, or fetches what is missing.
    fn resolve(&mut self, round: u64, fetching: Fetching) {
        match self.method.vector {
            Some(Vector::Mean) => self.average(round, fetching),
            _ => self.follow_leader(round, fetching),
        }
    }

    /// Elects over the round's offers and moves to the one that leads; if its vector cannot be had,
    /// to the next.
    fn follow_leader(&mut self, round: u64, mut fetching: Fetching) {
        let offers = self.offers_of(round);
        let candidates: Vec<Candidate> = offers
            .iter()
            .filter(|(node, _, _)| !fetching.failed.contains(node))
            .filter_map(|(_, vector, _)| candidate(vector.as_ref()?, 0))
            .collect();
        // An election that only waits for its vector is not held again.
        let waits = fetching.wanted.keys().any(|n| !fetching.failed.contains(n));
        let election = elect(&candidates, self.method.max_staleness.global);
        let leader = election.leader;
        if !waits {
            self.record(Event::Election {
                step: self.step,
                scope: Scope::Global,
                election,
            });
        }
        let led = leader.and_then(|rank| offers.iter().find(|(node, _, _)| *node == rank.node));
        let Some((node, Some(vector), own)) = led else {
            return self.deliver(round, None, fetching);
        };
        let (node, vector) = (*node, *vector);
        let there = fetching.wanted.get(&node).and_then(|(_, got)| got.clone());
        match own.clone().or(there) {
            Some(snapshot) => self.deliver(round, Some((vector, snapshot)), fetching),
            None => {
                if let Entry::Vacant(place) = fetching.wanted.entry(node) {
                    place.insert((vector, None));
                    self.fetch(node, vector);
                }
                self.stage = Stage::Fetching(fetching);
            }
        }
    }

    /// The mean of all nodes' sums, in node order. Nothing if one of them was refused; without
    /// those that cannot be had.
    fn average(&mut self, round: u64, mut fetching: Fetching) {
        let offers = self.offers_of(round);
        let mut sums = Vec::new();
        let mut waits = false;
        for (node, vector, own) in &offers {
            let Some(vector) = vector else {
                return self.deliver(round, None, fetching);
            };
            if fetching.failed.contains(node) {
                continue;
            }
            let there = fetching.wanted.get(node).and_then(|(_, got)| got.clone());
            match own.clone().or(there) {
                Some(sum) => sums.push(sum),
                None => {
                    waits = true;
                    if let Entry::Vacant(place) = fetching.wanted.entry(*node) {
                        place.insert((*vector, None));
                        self.fetch(*node, *vector);
                    }
                }
            }
        }
        if waits {
            self.stage = Stage::Fetching(fetching);
            return;
        }
        let mean = Snapshot::mean(sums.iter().map(|sum| sum.as_ref()));
        let rounded = mean.and_then(|mean| match mean {
            Some(mean) => Ok(Some(self.round_for_wire(Arc::new(mean))?.0)),
            None => Ok(None),
        });
        let delivered = rounded.unwrap_or_else(|why| {
            self.refuse(why);
            None
        });
        let delivered = delivered.map(|mean| {
            let offered = Offered {
                kind: Vector::Mean,
                source: mean.source(),
                loss: 0.0,
                digest: mean.digest(),
            };
            (offered, mean)
        });
        self.deliver(round, delivered, fetching);
    }

    /// The offers of a round in node order, the own one with its vector.
    #[allow(clippy::type_complexity, reason = "read by two callers, both here")]
    fn offers_of(&self, round: u64) -> Vec<(u32, Option<Offered>, Option<Arc<Snapshot>>)> {
        let theirs = self.peers.running().filter_map(|(_, status)| {
            let Offer { vector, .. } = offer_for(status, round)?;
            let vector = vector.filter(|vector| fits(vector, &self.method));
            Some((status.node, vector, None))
        });
        let mut offers: Vec<_> = theirs.collect();
        if let Some(Offer { vector, .. }) = self.offers[0] {
            offers.push((self.membership.node, vector, self.own.clone()));
        }
        offers.sort_by_key(|(node, _, _)| *node);
        offers
    }
}
