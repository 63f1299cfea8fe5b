//! Vectors that this node is fetching from others.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::proposing::vector_of;
use crate::{
    Averaged, MeanRef, NotAveraged, Proposal, Snapshot, SnapshotDigest, Source, VectorKind,
    VectorRef, WireFormat, WorkerId,
};

/// Vectors being fetched.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    /// The proposals of the round (`sync`), in node order.
    pub proposals: Vec<(u32, Proposal)>,
    /// By the node that proposed each vector, and its kind.
    pub pending: BTreeMap<(u32, VectorKind), PendingVector>,
    /// Vectors that could not be fetched.
    pub failed: BTreeSet<(u32, VectorKind)>,
    /// The mean that the nodes make together, and what has come of it.
    pub mean: Option<(MeanRef, Option<Result<Averaged, NotAveraged>>)>,
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
        let averages = matches!(self.mean, Some((_, None)));
        averages || self.pending.iter().any(waits)
    }

    /// Bytes that have come from other nodes for vectors of this kind.
    pub fn bytes(&self, kind: VectorKind, wire: WireFormat) -> u64 {
        let of_kind = |pending: &&PendingVector| pending.vector.kind == kind && pending.crossed;
        let crossed = self.pending.values().filter(of_kind);
        let vectors = crossed.filter_map(|pending| pending.got.as_ref());
        let fetched: u64 = vectors.map(|vector| wire.bytes_of(vector)).sum();
        let averaged = match &self.mean {
            Some((mean, Some(Ok(averaged)))) if mean.kind == kind => averaged.bytes,
            _ => 0,
        };
        fetched + averaged
    }

    /// Whether the nodes have not made a mean together, and each fetches all sums.
    pub fn fetches_sums(&self) -> bool {
        let fetches =
            |why: &NotAveraged| matches!(why, NotAveraged::Declined | NotAveraged::Missing(_));
        matches!(&self.mean, Some((_, Some(Err(why)))) if fetches(why))
    }

    /// What has come of this mean, if it has been asked for.
    pub fn asked_for(&self, mean: &MeanRef) -> Option<&Option<Result<Averaged, NotAveraged>>> {
        let (asked, outcome) = self.mean.as_ref()?;
        (asked.name() == mean.name()).then_some(outcome)
    }

    /// Takes what has come of the mean of this name. Returns the sums that could not be had, and why.
    pub fn take_mean(
        &mut self,
        name: SnapshotDigest,
        outcome: Result<Averaged, NotAveraged>,
    ) -> Vec<(Source, String)> {
        let Some((mean, taken @ None)) = &mut self.mean else {
            return Vec::new();
        };
        if mean.name() != name {
            return Vec::new();
        }
        let mut missing = Vec::new();
        if let Err(NotAveraged::Missing(nodes)) = &outcome {
            for (node, why) in nodes {
                if let Some((_, sum)) = mean.sums.iter().find(|(of, _)| of == node) {
                    self.failed.insert((*node, mean.kind));
                    missing.push((sum.source, why.clone()));
                }
            }
        }
        match missing.is_empty() {
            true => *taken = Some(outcome),
            // The next is without them.
            false => self.mean = None,
        }
        missing
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
