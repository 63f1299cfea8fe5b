//! `sync`: the nodes meet every `tau_G` steps.

use std::sync::Arc;
use std::time::Duration;

use super::offering::candidate;
use super::peers::offer_for;
use super::{Fetching, GlobalLeader, Stage};
use crate::{Candidate, Event, Lost, Offer, Offered, Scope, Snapshot, Vector};

impl GlobalLeader {
    /// Goes on with the meeting under way, unless others have gone on without this node.
    pub(super) fn try_to_meet(&mut self, now: Duration) {
        if matches!(self.stage, Stage::Catching(_)) {
            return;
        }
        let round = self.rounds + 1;
        if self.peers.left_behind(round, self.has_offered()) {
            return self.catch_up(None, now);
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
                    let offers = self.offers_for(round);
                    self.resolve(round, Fetching::of(offers));
                }
            }
            Stage::Fetching(fetching) => self.resolve(round, fetching),
            other => self.stage = other,
        }
        // Those that took part hear of it with the next offer. One that is about to begin would not know
        // until then that this round is over, and begin in it too late. One that is late by this round
        // can still follow the leader, but a mean would be another than the others' with its own part.
        let in_time = match self.method.averages() {
            Some(_) => round,
            None => round - 1,
        };
        if self.rounds == round && self.peers.is_anyone_before(in_time) {
            self.tell(now, false);
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

    /// All offers of the round are in: delivers what they come to, or fetches what is missing. One that
    /// comes, or whose node goes, meanwhile changes nothing, as others may be through with the round.
    fn resolve(&mut self, round: u64, mut fetching: Fetching) {
        let leader = match self.method.elects() {
            true => self.lead(&mut fetching),
            false => None,
        };
        let sums = match self.method.averages() {
            Some(kind) => self.gather(kind, &mut fetching),
            None => Vec::new(),
        };
        if fetching.waits() {
            self.stage = Stage::Fetching(fetching);
            return;
        }
        let mean = self.average(&sums);
        self.deliver(round, leader, mean, fetching);
    }

    /// Elects over the round's offers; if the vector of the one that leads cannot be had, the next
    /// one. Nothing if nobody may lead, or the vector has yet to come.
    fn lead(&mut self, fetching: &mut Fetching) -> Option<(Offered, Arc<Snapshot>)> {
        let kind = Vector::Snapshot;
        let offers = fetching.offered(kind);
        let candidates: Vec<Candidate> = offers
            .iter()
            .filter(|(node, _)| !fetching.failed.contains(&(*node, kind)))
            .filter_map(|(_, vector)| candidate(vector.as_ref()?, 0))
            .collect();
        // All go by what the lowest that knows says, even if they have not followed the same before.
        let followed = fetching.offers.iter().find_map(|(_, offer)| offer.followed);
        let election = self.elect(&candidates, followed);
        let leader = election.leader;
        // An election that only waits for its vector is not held again.
        if fetching.elected != Some(leader) {
            fetching.elected = Some(leader);
            self.record(Event::Election {
                step: self.step,
                scope: Scope::Global,
                election,
            });
        }
        let led = offers
            .iter()
            .find(|(node, _)| Some(*node) == leader.map(|rank| rank.node));
        let (node, vector) = led.and_then(|(node, vector)| Some((*node, (*vector)?)))?;
        let snapshot = self.own_or_fetched(node, vector, fetching)?;
        Some((vector, snapshot))
    }

    /// The sums that the round's offers name, in node order, without those that cannot be had. None
    /// at all if one of them was refused.
    fn gather(&mut self, kind: Vector, fetching: &mut Fetching) -> Vec<(Vector, Arc<Snapshot>)> {
        let offers = fetching.offered(kind).into_iter();
        let all: Option<Vec<_>> = offers.map(|(node, vector)| Some((node, vector?))).collect();
        let mut sums = Vec::new();
        for (node, vector) in all.unwrap_or_default() {
            let sum = self.own_or_fetched(node, vector, fetching);
            sums.extend(sum.map(|sum| (kind, sum)));
        }
        sums
    }

    /// A vector that a node offers, if it is there; otherwise it is fetched, unless that has failed.
    fn own_or_fetched(
        &mut self,
        node: u32,
        vector: Offered,
        fetching: &mut Fetching,
    ) -> Option<Arc<Snapshot>> {
        if node == self.membership.node {
            return self.own.get(&vector.kind).cloned();
        }
        if fetching.want(node, vector) {
            self.fetch(node, vector);
        }
        fetching.got(node, vector.kind)
    }

    /// The mean of all nodes' sums; nothing if there is none, or it is too large.
    fn average(&mut self, sums: &[(Vector, Arc<Snapshot>)]) -> Option<(Offered, Arc<Snapshot>)> {
        let kind = sums.first()?.0;
        let mean = Snapshot::mean(sums.iter().map(|(_, sum)| sum.as_ref()));
        let rounded = mean.and_then(|mean| match mean {
            Some(mean) => Ok(Some(self.round_for_wire(Arc::new(mean))?.0)),
            None => Ok(None),
        });
        let mean = match rounded {
            Ok(mean) => mean?,
            Err(why) => {
                self.refuse(why);
                return None;
            }
        };
        let offered = Offered {
            kind,
            source: mean.source(),
            loss: 0.0,
            digest: mean.digest(),
        };
        Some((offered, mean))
    }

    /// What the nodes have offered for a round, in node order, this one included.
    fn offers_for(&self, round: u64) -> Vec<(u32, Offer)> {
        let theirs = self
            .peers
            .running()
            .filter_map(|(_, status)| Some((status.node, offer_for(status, round)?)));
        let own = self.offers[0].map(|offer| (self.membership.node, offer));
        let mut offers: Vec<_> = theirs.chain(own).collect();
        offers.sort_by_key(|(node, _)| *node);
        offers
    }
}
