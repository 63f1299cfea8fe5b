//! `async`, methods with a centre: a node merges its centre with those of the others in turn.

use super::proposing::vector_of;
use super::{Fetching, GlobalLeader, Stage};
use crate::{NodePhase, VectorKind};

impl GlobalLeader {
    /// Fetches the newest centre of the next node, in cyclic order, that trains and has proposed
    /// one. Centres that are too old or were merged already are skipped: they would only hold this
    /// node back.
    pub(super) fn visit(&mut self) {
        let now = self.own_steps();
        let longest = self.method.max_staleness.global;
        let (last, met) = &self.visited;
        let trains = self
            .peers
            .running()
            .filter(|(_, status)| status.phase == NodePhase::Training);
        let proposals = trains.filter_map(|(peer, status)| {
            let proposal = status.proposals[0].as_ref()?;
            let age = now.saturating_sub(peer.proposed_at);
            Some((status.node, vector_of(proposal, VectorKind::Centre)?, age))
        });
        let fresh = proposals
            .filter(|(node, centre, age)| *age <= longest && met.get(node) != Some(&centre.digest));
        let Some((node, centre, staleness)) =
            fresh.min_by_key(|(node, ..)| (Some(*node) <= *last, *node))
        else {
            return;
        };
        self.visited.0 = Some(node);
        self.visited.1.insert(node, centre.digest);
        let mut fetching = Fetching {
            staleness,
            ..Fetching::default()
        };
        fetching.request(node, centre);
        self.stage = Stage::Fetching(fetching);
        self.fetch(node, centre);
    }
}
