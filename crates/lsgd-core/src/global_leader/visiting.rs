//! `async`, methods with a centre: a node's centre meets those of the others in turn.

use super::offering::offered;
use super::{Fetching, GlobalLeader, Stage};
use crate::Vector;

impl GlobalLeader {
    /// Fetches the newest centre of the node that comes after the one visited last, of those that
    /// offer one; after the highest comes the lowest.
    pub(super) fn visit(&mut self) {
        let now = self.own_steps();
        let offers = self.peers.running().filter_map(|(peer, status)| {
            let offer = status.offers[0].as_ref()?;
            let age = now.saturating_sub(peer.offered_at);
            Some((status.node, offered(offer, Vector::Centre)?, age))
        });
        let last = self.visited;
        let Some((node, centre, staleness)) =
            offers.min_by_key(|(node, ..)| (Some(*node) <= last, *node))
        else {
            return;
        };
        self.visited = Some(node);
        let mut fetching = Fetching {
            staleness,
            ..Fetching::default()
        };
        fetching.want(node, centre);
        self.stage = Stage::Fetching(fetching);
        self.fetch(node, centre);
    }
}
