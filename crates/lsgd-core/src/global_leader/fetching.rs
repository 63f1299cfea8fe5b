//! Vectors that this node is fetching from others.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::proposing::vector_of;
use crate::{Proposal, Snapshot, SnapshotDigest, Source, VectorKind, VectorRef, WorkerId};

/// Vectors being fetched.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    /// The proposals of the round (`sync`), in node order.
    pub proposals: Vec<(u32, Proposal)>,
    /// By the node that proposed each vector, and its kind.
    pub pending: BTreeMap<(u32, VectorKind), PendingVector>,
    /// Vectors that could not be fetched.
    pub failed: BTreeSet<(u32, VectorKind)>,
    /// The outcome of the election held while fetching, if there was one.
    pub elected: Option<Option<WorkerId>>,
    /// Steps per worker that this node has taken since the leader's report arrived.
    pub staleness: u64,
}

/// A vector of another node.
#[derive(Debug)]
pub(super) struct PendingVector {
    pub vector: VectorRef,
    /// The vector, once it has arrived.
    pub got: Option<Arc<Snapshot>>,
    /// Whether it came from another node, rather than being here already.
    pub crossed: bool,
}

impl Fetching {
    /// For a round with these proposals, by node.
    pub fn of(proposals: Vec<(u32, Proposal)>) -> Self {
        Self {
            proposals,
            ..Self::default()
        }
    }

    /// The vectors of one kind in the round's proposals.
    pub fn vectors(&self, kind: VectorKind) -> Vec<(u32, Option<VectorRef>)> {
        let proposals = self.proposals.iter();
        proposals
            .map(|(node, proposal)| (*node, vector_of(proposal, kind)))
            .collect()
    }

    /// Requests a vector that node `node` proposed. Returns whether it was not requested before.
    pub fn request(&mut self, node: u32, vector: VectorRef) -> bool {
        match self.pending.entry((node, vector.kind)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(PendingVector {
                    vector,
                    got: None,
                    crossed: false,
                });
                true
            }
        }
    }

    /// Whether a vector is still being fetched.
    pub fn waits(&self) -> bool {
        let waits = |(key, pending): (_, &PendingVector)| {
            pending.got.is_none() && !self.failed.contains(key)
        };
        self.pending.iter().any(waits)
    }

    /// A vector of node `node`, if it has arrived.
    pub fn got(&self, node: u32, kind: VectorKind) -> Option<Arc<Snapshot>> {
        self.pending.get(&(node, kind))?.got.clone()
    }

    /// Stores a vector for every request with its digest. Several nodes propose the same digest
    /// when their values are equal, as their sums are right after all workers have moved to one
    /// mean. Returns the sources that could not be fetched.
    pub fn take(
        &mut self,
        digest: SnapshotDigest,
        outcome: &Result<Fetched, String>,
    ) -> Vec<Source> {
        let mut failed = Vec::new();
        let mut crosses = outcome.as_ref().is_ok_and(|fetched| fetched.crossed);
        for (&key, pending) in &mut self.pending {
            if pending.vector.digest != digest {
                continue;
            }
            match outcome {
                Ok(Fetched { snapshot, .. }) => {
                    let VectorRef {
                        source, factors, ..
                    } = pending.vector;
                    let named = Snapshot::clone(snapshot).with_source(source);
                    pending.got = Some(Arc::new(named.with_factors(factors)));
                    // It was transferred once.
                    pending.crossed = std::mem::take(&mut crosses);
                }
                Err(_) => {
                    self.failed.insert(key);
                    failed.push(pending.vector.source);
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
    /// Whether it came from another node, rather than being here already.
    pub crossed: bool,
}
