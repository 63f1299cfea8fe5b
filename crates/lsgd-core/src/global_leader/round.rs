//! `sync`: the nodes exchange every `tau_G` steps.

use std::sync::Arc;
use std::time::Duration;

use super::changes::of_one_vector;
use super::peers::proposal_for;
use super::proposing::candidate;
use super::{Fetching, GlobalLeader, Stage};
use crate::election::keep_within;
use crate::{
    Action, Candidate, Event, MeanRef, NodeLoss, NotAveraged, Proposal, Scope, Snapshot,
    SnapshotDigest, VectorKind, VectorRef, WireFormat,
};

impl GlobalLeader {
    /// Continues the round under way, unless the others have moved on without this node.
    pub(super) fn try_to_complete_round(&mut self, now: Duration) {
        if matches!(self.stage, Stage::CatchingUp(_)) {
            return;
        }
        let round = self.rounds + 1;
        let awaits = matches!(self.stage, Stage::AwaitingProposals { .. });
        let is_beside = awaits && self.is_beside(round);
        if (self.peers).left_behind(round, self.has_proposed() && !is_beside) {
            return self.catch_up(None, now);
        }
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::AwaitingProposals { since, deadline } => {
                let deadline = match now < deadline {
                    true => deadline,
                    false => self.give_up_stalled(round, since, now),
                };
                if self.peers.is_incomplete(round) || is_beside {
                    self.stage = Stage::AwaitingProposals { since, deadline };
                } else {
                    let proposals = self.proposals_for(round);
                    self.resolve(round, Fetching::of(proposals));
                }
            }
            Stage::Fetching(fetching) => self.resolve(round, fetching),
            other => self.stage = other,
        }
        // Nodes that took part learn of it from the next proposal. One that is about to start would
        // otherwise learn too late that this round is over. One that is late by this round can
        // still follow the leader, but a mean that included its own part would differ from the
        // others'.
        let in_time = match self.method.averages() {
            Some(_) => round,
            None => round - 1,
        };
        if self.rounds == round && self.peers.is_anyone_before(in_time) {
            self.broadcast(now, false);
        }
    }

    /// Starts waiting for the other proposals.
    pub(super) fn await_proposals(&mut self, now: Duration) {
        self.stage = Stage::AwaitingProposals {
            since: now,
            deadline: now + self.config.limit,
        };
    }

    /// Stops waiting for nodes that have made no progress for the limit. Returns the next deadline.
    fn give_up_stalled(&mut self, round: u64, since: Duration, now: Duration) -> Duration {
        let limit = self.config.limit;
        for (node, stalled) in self.peers.give_up(round, since, limit, now) {
            let seconds = stalled.as_secs_f64();
            self.record_loss(node, NodeLoss::Stalled { seconds });
        }
        self.peers.stalled_since(round, since).unwrap_or(now) + limit
    }

    /// Whether this node has proposed for the round under way.
    pub(super) fn has_proposed(&self) -> bool {
        let proposal = self.proposals[0];
        proposal.is_some_and(|proposal| proposal.round > self.rounds)
    }

    /// All proposals of the round are in: delivers the outcome, or fetches what is missing.
    /// Proposals that arrive meanwhile, and nodes that leave, change nothing, since other nodes may
    /// have completed the round.
    fn resolve(&mut self, round: u64, mut fetching: Fetching) {
        let leader = match self.method.elects() {
            true => self.lead(&mut fetching),
            false => None,
        };
        let kind = self.method.averages();
        let mean = kind.map(|kind| self.mean_of_round(kind, &fetching));
        if let Some(mean) = &mean {
            self.gather(mean, &mut fetching);
        }
        if fetching.waits() {
            self.stage = Stage::Fetching(fetching);
            return;
        }
        let averaged = (mean.as_ref()).and_then(|mean| self.average(mean, &mut fetching));
        self.settle(mean.filter(|_| averaged.is_some()).as_ref());
        let mean = averaged;
        let vectors = leader.iter().chain(&mean);
        self.exchanged = fingerprint(vectors.map(|(vector, _)| vector.digest));
        self.deliver(round, leader, mean, fetching);
    }

    /// Elects among the round's proposals; if the elected vector cannot be fetched, the next best.
    /// `None` if no node is eligible, or the vector has yet to arrive.
    fn lead(&mut self, fetching: &mut Fetching) -> Option<(VectorRef, Arc<Snapshot>)> {
        let kind = VectorKind::Parameters;
        let proposals = fetching.vectors(kind);
        let candidates: Vec<Candidate> = proposals
            .iter()
            .filter(|(node, _)| !fetching.failed.contains(&(*node, kind)))
            .filter_map(|(_, vector)| candidate(vector.as_ref()?, 0))
            .collect();
        // All nodes use the incumbent named by the lowest node that knows one, even if they
        // followed different leaders before.
        let followed = fetching
            .proposals
            .iter()
            .find_map(|(_, proposal)| proposal.followed);
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
        let led = proposals
            .iter()
            .find(|(node, _)| Some(*node) == leader.map(|id| id.node));
        let (node, vector) = led.and_then(|(node, vector)| Some((*node, (*vector)?)))?;
        let snapshot = self.own_or_fetched(node, vector, fetching)?;
        Some((vector, snapshot))
    }

    /// The mean of the sums in the round's proposals, without those that cannot be had. Of none if a node's
    /// sum was rejected; a method that filters leaves out that node, and those whose lowest loss is not
    /// within its margin.
    fn mean_of_round(&self, kind: VectorKind, fetching: &Fetching) -> MeanRef {
        let proposals = fetching.vectors(kind).into_iter();
        let offered = proposals.map(|(node, vector)| Some((node, vector?)));
        let had = |node: &u32| !fetching.failed.contains(&(*node, kind));
        let sums = match self.method.filter_margin() {
            None => {
                let all: Vec<(u32, VectorRef)> = offered.collect::<Option<_>>().unwrap_or_default();
                let all = of_one_vector(all).into_iter();
                all.filter(|(node, _)| had(node)).collect()
            }
            Some(margin) => {
                let sound = offered
                    .flatten()
                    .filter(|(node, vector)| vector.loss.is_finite() && had(node));
                let ranked = sound.map(|(node, vector)| ((node, vector), vector.loss));
                let best = keep_within(ranked.collect(), margin).into_iter();
                best.map(|(offer, _)| offer).collect()
            }
        };
        MeanRef { kind, sums }
    }

    /// Asks for the mean, or if that is of no use, for the sums.
    fn gather(&mut self, mean: &MeanRef, fetching: &mut Fetching) {
        let is_member = mean.sums.iter().any(|(node, _)| *node == self.config.node);
        let is_weighted = self.method.has_weights();
        if is_member
            && mean.sums.len() >= MeanRef::FEWEST
            && !is_weighted
            && !fetching.fetches_sums()
            && self.config.wire != WireFormat::Topk
        {
            if fetching.asked_for(mean).is_none() {
                fetching.mean = Some((mean.clone(), None));
                self.actions.push_back(Action::Average(mean.clone()));
            }
            return;
        }
        for (node, sum) in &mean.sums {
            self.own_or_fetched(*node, *sum, fetching);
        }
    }

    /// A proposed vector, if it is here; otherwise requests it, unless that has failed.
    fn own_or_fetched(
        &mut self,
        node: u32,
        vector: VectorRef,
        fetching: &mut Fetching,
    ) -> Option<Arc<Snapshot>> {
        if node == self.config.node {
            return self.own.get(&vector.kind).cloned();
        }
        if fetching.request(node, vector) {
            self.fetch(node, vector);
        }
        fetching.got(node, vector.kind)
    }

    /// The mean, once it or all of its sums are here; `None` if it is of none, or overflows.
    fn average(
        &mut self,
        mean: &MeanRef,
        fetching: &mut Fetching,
    ) -> Option<(VectorRef, Arc<Snapshot>)> {
        let kind = mean.kind;
        let made = match fetching.asked_for(mean) {
            Some(Some(Ok(averaged))) => Ok(Some(averaged.mean.clone())),
            Some(Some(Err(NotAveraged::Unfit(why)))) => Err(*why),
            _ => {
                let sums = mean.sums.iter();
                let sums =
                    sums.filter_map(|(node, sum)| self.own_or_fetched(*node, *sum, fetching));
                let sums: Vec<Arc<Snapshot>> = sums.collect();
                let made = mean.of(sums.iter().map(Arc::as_ref), self.config.wire);
                made.map(|made| made.map(Arc::new))
            }
        };
        let made = made.and_then(|made| made.map(|made| self.mean_after(mean, made)).transpose());
        let mean = match made {
            Ok(mean) => mean?,
            Err(why) => {
                self.refuse(why);
                return None;
            }
        };
        let vector = VectorRef {
            kind,
            source: mean.source(),
            loss: 0.0,
            digest: mean.digest(),
            factors: None,
        };
        Some((vector, mean))
    }

    /// The proposals for a round, in node order, including this node's own.
    pub(super) fn proposals_for(&self, round: u64) -> Vec<(u32, Proposal)> {
        let theirs = self
            .peers
            .running()
            .filter_map(|(_, status)| Some((status.node, proposal_for(status, round)?)));
        let own = self.proposals[0].map(|proposal| (self.config.node, proposal));
        let mut proposals: Vec<_> = theirs.chain(own).collect();
        proposals.sort_by_key(|(node, _)| *node);
        proposals
    }
}

/// A name for what an exchange delivers, of the digests of the vectors in it.
fn fingerprint(digests: impl Iterator<Item = SnapshotDigest>) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for SnapshotDigest(digest) in digests {
        hasher.update(&digest);
    }
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}
