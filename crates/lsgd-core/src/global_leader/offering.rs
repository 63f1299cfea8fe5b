//! What a node brings to an exchange, and what it takes of what others bring.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, GlobalLeader, Stage, Wire};
use crate::{
    Basis, Bid, Candidate, Election, Event, Mode, Offer, Offered, Phase, Rank, Refusal, Report,
    Snapshot, Source, Vector, WindowLoss, elect_or_keep,
};

impl GlobalLeader {
    /// The local leader's bid.
    pub fn bid(&mut self, bid: Bid, now: Duration) {
        if self.phase != Phase::Training {
            return;
        }
        let Bid {
            step,
            taken,
            workers,
            leader,
            sum,
        } = bid;
        self.step = step;
        self.steps += taken;
        self.workers = workers;
        self.progress += 1;
        self.trigger.count(taken);
        let round = match self.mode {
            Mode::Sync => step / self.method.periods.global,
            Mode::Async => self.offers[0].map_or(0, |offer| offer.round) + 1,
        };
        let leader = leader.filter(|(_, loss)| loss.is_finite());
        let followed = match self.method.has_centre() {
            true => Vector::Centre,
            false => Vector::Snapshot,
        };
        let brought = [
            leader.map(|(snapshot, loss)| (followed, snapshot, loss)),
            self.method
                .averages()
                .zip(sum)
                .map(|(kind, sum)| (kind, sum, 0.0)),
        ];
        self.own.clear();
        let [leader, sum] = brought.map(|brought| {
            let (kind, snapshot, loss) = brought?;
            self.offer(round, kind, snapshot, loss)
        });
        self.own_at = self.own_steps();
        let followed = self.followed();
        let offer = Offer {
            round,
            leader,
            sum,
            followed,
        };
        if let Some(vector) = offer.leader.filter(|_| self.method.has_centre()) {
            // What a node begins with is the newest centre there is.
            self.delivered = Some(Basis { round, vector });
        }
        if offer.vectors().next().is_none() {
            self.record_offer(round, None, None);
        }
        self.offers = [Some(offer), self.offers[0]];
        self.tell(now, false);
        if self.mode == Mode::Sync && !matches!(self.stage, Stage::Catching(_)) {
            self.meet(now);
        }
        self.advance(now);
    }

    /// Lets others have a vector as all will use it; nothing if it is refused.
    fn offer(
        &mut self,
        round: u64,
        kind: Vector,
        snapshot: Arc<Snapshot>,
        loss: f64,
    ) -> Option<Offered> {
        let (snapshot, rounding) = match self.round_for_wire(snapshot) {
            Ok(rounded) => rounded,
            Err(why) => {
                self.refuse(why);
                return None;
            }
        };
        let source = snapshot.source();
        self.record_offer(round, Some(source), rounding);
        let digest = snapshot.digest();
        self.actions.push_back(Action::Publish(snapshot.clone()));
        self.own.insert(kind, snapshot);
        Some(Offered {
            kind,
            source,
            loss,
            digest,
        })
    }

    fn record_offer(&mut self, round: u64, source: Option<Source>, rounding: Option<f64>) {
        let step = self.step;
        self.record(Event::Offered {
            step,
            round,
            source,
            rounding,
        });
    }

    /// The values as they cross the network, and by how much they were rounded for it.
    pub(super) fn round_for_wire(
        &self,
        snapshot: Arc<Snapshot>,
    ) -> Result<(Arc<Snapshot>, Option<f64>), Refusal> {
        match self.membership.wire {
            Wire::F32 => Ok((snapshot, None)),
            Wire::Bf16 => {
                let (rounded, error) = snapshot.rounded_to_bf16()?;
                Ok((Arc::new(rounded), Some(error)))
            }
        }
    }

    /// Who led the last exchange, if somebody did and this node has what it delivered.
    pub(super) fn followed(&self) -> Option<Rank> {
        let last = self.delivered.filter(|basis| basis.round == self.rounds)?;
        match last.vector.source {
            Source::Worker { rank, .. } => Some(rank),
            _ => None,
        }
    }

    /// The leader of all nodes, by their local leaders' candidacies. The local leader of the node that
    /// `followed` was on stays by the method's margin.
    pub(super) fn elect(&self, candidates: &[Candidate], followed: Option<Rank>) -> Election {
        let node = followed.map(|rank| rank.node);
        let mut ranks = candidates.iter().map(|candidate| candidate.report.rank);
        let incumbent = ranks.find(|rank| Some(rank.node) == node);
        let incumbent = self.method.incumbent(incumbent);
        elect_or_keep(candidates, self.method.max_staleness.global, incumbent)
    }

    /// A vector of this node's is not used.
    pub(super) fn refuse(&mut self, why: Refusal) {
        let step = self.step;
        let worker = Rank::new(self.membership.node, 0);
        self.record(Event::Refused { step, worker, why });
    }
}

/// What another node offers of a kind that the method exchanges; not what only claims to be that.
pub(super) fn offered(offer: &Offer, kind: Vector) -> Option<Offered> {
    let (vector, fits) = match kind {
        Vector::Snapshot => {
            let vector = offer.leader?;
            (vector, matches!(vector.source, Source::Worker { .. }))
        }
        Vector::Mean | Vector::Gradient => {
            let vector = offer.sum?;
            (
                vector,
                matches!(vector.source, Source::Sum { workers: 1.. }),
            )
        }
        Vector::Centre => {
            let vector = offer.leader?;
            (vector, matches!(vector.source, Source::Centre { .. }))
        }
    };
    (fits && vector.kind == kind).then_some(vector)
}

/// A node's offer as its local leader's candidacy, `age` old.
pub(super) fn candidate(vector: &Offered, age: u64) -> Option<Candidate> {
    let Source::Worker { rank, step } = vector.source else {
        return None;
    };
    Some(Candidate {
        report: Report {
            rank,
            step,
            loss: WindowLoss::Mean(vector.loss),
            joined: true,
        },
        age,
    })
}
