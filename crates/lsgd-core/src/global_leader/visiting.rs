//! `async`, methods with a centre: a node's centre meets those of the others in turn.

use super::offering::offered;
use super::{Fetching, GlobalLeader, Stage};
use crate::{Phase, Vector};

impl GlobalLeader {
    /// Fetches the newest centre of the node that comes after the one visited last, of those that
    /// train and offer one; after the highest comes the lowest. One that is too old, or was met
    /// already, would only hold this node's back.
    pub(super) fn visit(&mut self) {
        let now = self.own_steps();
        let longest = self.method.max_staleness.global;
        let (last, met) = &self.visited;
        let trains = self
            .peers
            .running()
            .filter(|(_, status)| status.phase == Phase::Training);
        let offers = trains.filter_map(|(peer, status)| {
            let offer = status.offers[0].as_ref()?;
            let age = now.saturating_sub(peer.offered_at);
            Some((status.node, offered(offer, Vector::Centre)?, age))
        });
        let fresh = offers
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
        fetching.want(node, centre);
        self.stage = Stage::Fetching(fetching);
        self.fetch(node, centre);
    }
}
