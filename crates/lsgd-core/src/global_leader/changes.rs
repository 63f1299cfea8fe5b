//! Changes in place of sums: what nodes propose in a format for changes ([`WireFormat::Topk`]).
//!
//! With `b` the vector that the last exchange delivered, `w` the workers of a node and `W` those of all, the
//! node sends the largest values of its change and keeps the rest for the next one, and all nodes come to the
//! same mean (Qsparse-local-SGD, arXiv 1906.02367, Algorithm 1, with a node in place of a worker):
//!
//! ```text
//! c    <- sum of its workers' x - w b + e      what it has to send
//! q    <- Q(c)                                 what it sends
//! e    <- c - q                                once q is in a mean
//! mean <- b + 1/W sum of the nodes' q
//! ```
//!
//! A node without `b`, before the first exchange, sends its sum. Changes add up only if they are changes of
//! one vector: should nodes differ, the mean is over those of the vector that most have, and the others are
//! left behind, and begin again where these are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::GlobalLeader;
use crate::{MeanRef, ShortDigest, Snapshot, SnapshotError, Source, VectorRef, WireFormat};

/// What a node has not sent of its workers' changes.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    /// After the last exchange; `None` for nothing.
    settled: Option<Arc<Snapshot>>,
    /// The same, once its last proposal is in a mean.
    proposed: Option<Arc<Snapshot>>,
}

impl Unsent {
    /// What was left after the last exchange.
    pub fn settled(&self) -> Option<&Arc<Snapshot>> {
        self.settled.as_ref()
    }

    /// Of a node that continues a run.
    pub fn of(settled: Option<Arc<Snapshot>>) -> Self {
        Self {
            settled,
            proposed: None,
        }
    }
}

impl GlobalLeader {
    /// The sum of this node's workers as it is sent, and the relative error of what is sent.
    pub(super) fn sum_for_wire(
        &mut self,
        sum: Arc<Snapshot>,
    ) -> Result<(Arc<Snapshot>, Option<f64>), SnapshotError> {
        let base = match self.config.wire {
            WireFormat::Topk => self.join_point.as_ref(),
            WireFormat::F32 | WireFormat::Bf16 | WireFormat::Int8 => None,
        };
        let Some((_, base)) = base else {
            return self.round_for_wire(sum);
        };
        let change = Arc::new(sum.change_since(base, self.unsent.settled().map(AsRef::as_ref))?);
        let (sent, error) = self.round_for_wire(change.clone())?;
        self.unsent.proposed = Some(Arc::new(
            change.combined(&sent, |change, sent| change - sent),
        ));
        Ok((sent, error))
    }

    /// An exchange is over. What this node has not sent is all that is left if its proposal was in the mean;
    /// otherwise that proposal is lost, as any that does not arrive.
    pub(super) fn settle(&mut self, mean: Option<&MeanRef>) {
        let proposed = self.unsent.proposed.take();
        let own = self.config.node;
        if mean.is_some_and(|mean| mean.sums.iter().any(|(node, _)| *node == own)) {
            self.unsent.settled = proposed;
        }
    }

    /// The mean over nodes that `mean` stands for: itself, or if it is one of changes, where they lead.
    pub(super) fn mean_after(
        &self,
        mean: &MeanRef,
        made: Arc<Snapshot>,
    ) -> Result<Arc<Snapshot>, SnapshotError> {
        let is_of_changes = mean.sums.iter().any(|(_, sum)| since(sum).is_some());
        match self.join_point.as_ref().filter(|_| is_of_changes) {
            Some((_, base)) => {
                let moved = base.combined(&made, |base, change| base + change);
                let moved = moved
                    .with_buffers(made.buffers().to_vec())?
                    .with_source(made.source());
                moved.check(made.layout())?;
                Ok(Arc::new(moved))
            }
            None => Ok(made),
        }
    }

    /// Whether the changes that most nodes have proposed for this round are of another vector than this
    /// node's, so that it cannot follow them.
    pub(super) fn is_beside(&self, round: u64) -> bool {
        if self.config.wire != WireFormat::Topk {
            return false;
        }
        let proposals = self.proposals_for(round);
        let sums: Vec<(u32, VectorRef)> = (proposals.iter())
            .filter_map(|(node, proposal)| Some((*node, proposal.sum?)))
            .collect();
        let own = self.config.node;
        let takes_part = |sums: &[(u32, VectorRef)]| sums.iter().any(|(node, _)| *node == own);
        takes_part(&sums) && !takes_part(&of_one_vector(sums))
    }
}

/// Of the sums that nodes propose, in node order, those that add up: of most nodes, and if there are several
/// as large groups, of the one with the lowest node.
pub(super) fn of_one_vector(mut sums: Vec<(u32, VectorRef)>) -> Vec<(u32, VectorRef)> {
    let mut groups: BTreeMap<Option<ShortDigest>, usize> = BTreeMap::new();
    for (_, sum) in &sums {
        *groups.entry(since(sum)).or_default() += 1;
    }
    let most = groups.values().copied().max().unwrap_or(0);
    let largest = |(_, sum): &&(u32, VectorRef)| groups.get(&since(sum)) == Some(&most);
    let chosen = sums.iter().find(largest).map(|(_, sum)| since(sum));
    sums.retain(|(_, sum)| Some(since(sum)) == chosen);
    sums
}

/// The vector that a sum is a change of.
fn since(sum: &VectorRef) -> Option<ShortDigest> {
    match sum.source {
        Source::Change { since, .. } => Some(since),
        _ => None,
    }
}
