//! What a node proposes for an exchange, and what it accepts of other proposals.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, GlobalLeader, Stage};
use crate::{
    Candidate, Election, Event, JoinPoint, Mode, NodePhase, NodeUpdate, Proposal, Report, Snapshot,
    SnapshotDigest, SnapshotError, Source, VectorKind, VectorRef, WindowLoss, WorkerId,
    elect_or_keep,
};

impl GlobalLeader {
    /// Takes an update of the local leader, and proposes its vectors.
    pub fn propose(&mut self, update: NodeUpdate, now: Duration) {
        if self.phase != NodePhase::Training {
            return;
        }
        let NodeUpdate {
            step,
            taken,
            workers,
            leader,
            sum,
        } = update;
        self.step = step;
        self.steps += taken;
        self.workers = workers;
        self.progress += 1;
        self.trigger.count(taken);
        let round = match self.mode {
            Mode::Sync => self.method.exchange_steps.global_until(step),
            Mode::Async => self.proposals[0].map_or(0, |proposal| proposal.round) + 1,
        };
        let finite = |(_, loss): &(Arc<Snapshot>, f64)| loss.is_finite();
        let (leader, sum) = (leader.filter(finite), sum.filter(finite));
        let followed = match self.method.has_centre() {
            true => VectorKind::Centre,
            false => VectorKind::Parameters,
        };
        let brought = [
            leader.map(|(snapshot, loss)| (followed, snapshot, loss)),
            self.method
                .averages()
                .zip(sum)
                .map(|(kind, (sum, loss))| (kind, sum, loss)),
        ];
        self.own.clear();
        let [leader, sum] = brought.map(|brought| {
            let (kind, snapshot, loss) = brought?;
            self.propose_vector(round, kind, snapshot, loss)
        });
        self.own_at = self.own_steps();
        let followed = self.followed();
        let proposal = Proposal {
            round,
            leader,
            sum,
            followed,
        };
        if let Some(vector) = proposal.leader.filter(|_| self.method.has_centre()) {
            // A node joins from the newest centre.
            let centre = self.own.get(&VectorKind::Centre).cloned();
            self.join_point = centre.map(|centre| (JoinPoint { round, vector }, centre));
        }
        if proposal.vectors().next().is_none() {
            self.record_proposal(round, None);
        }
        self.proposals = [Some(proposal), self.proposals[0]];
        self.broadcast(now, false);
        if self.mode == Mode::Sync && !matches!(self.stage, Stage::CatchingUp(_)) {
            self.await_proposals(now);
        }
        self.advance(now);
    }

    /// Publishes a vector in its wire format; `None` if it is rejected.
    fn propose_vector(
        &mut self,
        round: u64,
        kind: VectorKind,
        snapshot: Arc<Snapshot>,
        loss: f64,
    ) -> Option<VectorRef> {
        let rounded = match kind {
            VectorKind::Mean => self.sum_for_wire(snapshot),
            VectorKind::Parameters | VectorKind::Centre | VectorKind::Gradient => {
                self.round_for_wire(snapshot)
            }
        };
        let (snapshot, rounding) = match rounded {
            Ok(rounded) => rounded,
            Err(why) => {
                self.refuse(why);
                return None;
            }
        };
        let source = snapshot.source();
        let (digest, factors) = (snapshot.digest(), snapshot.factors());
        self.record_proposal(round, Some((source, digest, rounding)));
        self.actions.push_back(Action::Publish(snapshot.clone()));
        self.own.insert(kind, snapshot);
        Some(VectorRef {
            kind,
            source,
            loss,
            digest,
            factors,
        })
    }

    fn record_proposal(
        &mut self,
        round: u64,
        vector: Option<(Source, SnapshotDigest, Option<f64>)>,
    ) {
        let step = self.step;
        self.record(Event::Proposed {
            step,
            round,
            source: vector.map(|(source, ..)| source),
            rounding: vector.and_then(|(.., rounding)| rounding),
            digest: vector.map(|(_, digest, _)| digest.into()),
        });
    }

    /// The values in their wire format, and the relative error if they were rounded. Values that a
    /// module would refuse are never sent.
    pub(super) fn round_for_wire(
        &self,
        snapshot: Arc<Snapshot>,
    ) -> Result<(Arc<Snapshot>, Option<f64>), SnapshotError> {
        let (rounded, error) = snapshot.rounded(self.config.wire)?;
        Ok((error.map_or(snapshot, |_| Arc::new(rounded)), error))
    }

    /// The leader of the last exchange, if there was one and this node has what it delivered.
    pub(super) fn followed(&self) -> Option<WorkerId> {
        let (last, _) = self.join_point.as_ref()?;
        if last.round != self.rounds {
            return None;
        }
        match last.vector.source {
            Source::Worker { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Elects the global leader among the local leaders. The local leader of the node that
    /// `followed` was on is the incumbent.
    pub(super) fn elect(&self, candidates: &[Candidate], followed: Option<WorkerId>) -> Election {
        let node = followed.map(|id| id.node);
        let mut ids = candidates.iter().map(|candidate| candidate.report.id);
        let incumbent = ids.find(|id| Some(id.node) == node);
        let incumbent = self.method.incumbent(incumbent);
        elect_or_keep(candidates, self.method.max_staleness.global, incumbent)
    }

    /// A vector of this node was rejected.
    pub(super) fn refuse(&mut self, why: SnapshotError) {
        let step = self.step;
        let worker = WorkerId::new(self.config.node, 0);
        self.record(Event::Refused { step, worker, why });
    }
}

/// The vector of one kind in a proposal, if the method can use it; a node may claim anything.
pub(super) fn vector_of(proposal: &Proposal, kind: VectorKind) -> Option<VectorRef> {
    let (vector, fits) = match kind {
        VectorKind::Parameters => {
            let vector = proposal.leader?;
            (vector, matches!(vector.source, Source::Worker { .. }))
        }
        VectorKind::Mean | VectorKind::Gradient => {
            let vector = proposal.sum?;
            (
                vector,
                matches!(
                    vector.source,
                    Source::Sum { workers: 1.. } | Source::Change { workers: 1.., .. }
                ),
            )
        }
        VectorKind::Centre => {
            let vector = proposal.leader?;
            (vector, matches!(vector.source, Source::Centre { .. }))
        }
    };
    (fits && vector.kind == kind).then_some(vector)
}

/// A proposal as its local leader's candidacy, `age` steps old.
pub(super) fn candidate(vector: &VectorRef, age: u64) -> Option<Candidate> {
    let Source::Worker { id, step } = vector.source else {
        return None;
    };
    Some(Candidate {
        report: Report {
            id,
            step,
            loss: WindowLoss::Mean(vector.loss),
            joined: true,
        },
        age,
    })
}
