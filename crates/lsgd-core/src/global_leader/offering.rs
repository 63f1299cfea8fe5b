//! What a node brings to an exchange, and what it takes of what others bring.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, GlobalLeader, Stage, Wire};
use crate::{
    Bid, Candidate, Event, Method, Mode, Offer, Offered, Phase, Rank, Refusal, Report, Snapshot,
    Source, Vector, WindowLoss,
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
            vector,
        } = bid;
        self.step = step;
        self.steps += taken;
        self.workers = workers;
        self.progress += 1;
        self.trigger.count(taken);
        let (vector, rounding) = self.prepare(vector);
        let round = match self.mode {
            Mode::Sync => step / self.method.periods.global,
            Mode::Async => self.offers[0].map_or(0, |offer| offer.round) + 1,
        };
        let offer = Offer {
            round,
            vector: vector.as_ref().map(|(offered, _)| *offered),
        };
        self.record(Event::Offered {
            step,
            round,
            source: offer.vector.map(|vector| vector.source),
            rounding,
        });
        if let Some((_, snapshot)) = vector {
            self.actions.push_back(Action::Publish(snapshot.clone()));
            self.own = Some(snapshot);
            self.own_at = self.own_steps();
        } else {
            self.own = None;
        }
        self.offers = [Some(offer), self.offers[0]];
        self.tell(now, false);
        if self.mode == Mode::Sync && !matches!(self.stage, Stage::Catching { .. }) {
            self.meet(now);
        }
        self.advance(now);
    }

    /// Own vector as all will use it, and by how much it was rounded.
    #[allow(clippy::type_complexity, reason = "read in one place")]
    fn prepare(
        &mut self,
        vector: Option<(Arc<Snapshot>, f64)>,
    ) -> (Option<(Offered, Arc<Snapshot>)>, Option<f64>) {
        let vector = vector.filter(|(_, loss)| loss.is_finite());
        let (Some((snapshot, loss)), Some(kind)) = (vector, self.method.vector) else {
            return (None, None);
        };
        let (snapshot, rounding) = match self.round_for_wire(snapshot) {
            Ok(rounded) => rounded,
            Err(why) => {
                self.refuse(why);
                return (None, None);
            }
        };
        let offered = Offered {
            kind,
            source: snapshot.source(),
            loss,
            digest: snapshot.digest(),
        };
        (Some((offered, snapshot)), rounding)
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

    /// A vector of this node's is not used.
    pub(super) fn refuse(&mut self, why: Refusal) {
        let step = self.step;
        let worker = Rank::new(self.membership.node, 0);
        self.record(Event::Refused { step, worker, why });
    }
}

/// Whether a vector that another node offers is of the kind that the method exchanges.
pub(super) fn fits(vector: &Offered, method: &Method) -> bool {
    let known = match vector.source {
        Source::Worker { .. } => Vector::Snapshot,
        Source::Sum { workers: 1.. } => Vector::Mean,
        Source::Sum { .. } | Source::Final { .. } | Source::Mean { .. } | Source::Centre { .. } => {
            return false;
        }
    };
    known == vector.kind && Some(known) == method.vector
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
