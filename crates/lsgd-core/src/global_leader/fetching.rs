//! Vectors of other nodes on their way to this one.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::offering::offered;
use crate::{Offer, Offered, Rank, Snapshot, SnapshotDigest, Source, Vector};

/// Vectors on their way.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    /// The offers of the round (`sync`), in node order.
    pub offers: Vec<(u32, Offer)>,
    /// By the node that offered each, and its kind.
    pub wanted: BTreeMap<(u32, Vector), Wanted>,
    /// Whose vectors could not be had.
    pub failed: BTreeSet<(u32, Vector)>,
    /// Whom the election held meanwhile came to, once there was one.
    pub elected: Option<Option<Rank>>,
    /// This node's steps per worker since the report of the one that leads came.
    pub staleness: u64,
}

/// A vector of another node.
#[derive(Debug)]
pub(super) struct Wanted {
    pub vector: Offered,
    /// It, once it is there.
    pub got: Option<Arc<Snapshot>>,
    /// Whether it came from another node, and was not here already.
    pub crossed: bool,
}

impl Fetching {
    /// For a round in which this has been offered, by node.
    pub fn of(offers: Vec<(u32, Offer)>) -> Self {
        Self {
            offers,
            ..Self::default()
        }
    }

    /// What the round's offers have of a kind.
    pub fn offered(&self, kind: Vector) -> Vec<(u32, Option<Offered>)> {
        let offers = self.offers.iter();
        offers
            .map(|(node, offer)| (*node, offered(offer, kind)))
            .collect()
    }

    /// Wants a vector that node `node` offers. Says whether that is new.
    pub fn want(&mut self, node: u32, vector: Offered) -> bool {
        match self.wanted.entry((node, vector.kind)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(Wanted {
                    vector,
                    got: None,
                    crossed: false,
                });
                true
            }
        }
    }

    /// Whether something is still on its way.
    pub fn waits(&self) -> bool {
        let waits =
            |(key, wanted): (_, &Wanted)| wanted.got.is_none() && !self.failed.contains(key);
        self.wanted.iter().any(waits)
    }

    /// A vector of node `node` that is there.
    pub fn got(&self, node: u32, kind: Vector) -> Option<Arc<Snapshot>> {
        self.wanted.get(&(node, kind))?.got.clone()
    }

    /// Puts a vector where it is wanted, which is at several nodes if their values are the same (as
    /// sums are right after all have moved to one mean). Returns whose could not be had.
    pub fn take(
        &mut self,
        digest: SnapshotDigest,
        outcome: &Result<Fetched, String>,
    ) -> Vec<Source> {
        let mut failed = Vec::new();
        let mut crosses = outcome.as_ref().is_ok_and(|fetched| fetched.crossed);
        for (&key, wanted) in &mut self.wanted {
            if wanted.vector.digest != digest {
                continue;
            }
            match outcome {
                Ok(Fetched { snapshot, .. }) => {
                    wanted.got = Some(Snapshot::of(snapshot, wanted.vector.source));
                    // It came once.
                    wanted.crossed = std::mem::take(&mut crosses);
                }
                Err(_) => {
                    self.failed.insert(key);
                    failed.push(wanted.vector.source);
                }
            }
        }
        failed
    }
}

/// A vector that was fetched.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// It.
    pub snapshot: Arc<Snapshot>,
    /// Whether it came from another node, and was not here already.
    pub crossed: bool,
}
