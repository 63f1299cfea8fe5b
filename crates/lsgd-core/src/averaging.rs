//! A mean over nodes, made by all of them together: an all-reduce of a reduce-scatter and an all-gather.
//!
//! Each node has a sum that all others would have to fetch: of `n` nodes `n - 1` vectors into each. Instead,
//! each adds up every n-th chunk of all sums, divides and rounds it, and hands it on: `2 (n - 1) / n`
//! vectors. A chunk has the same bits wherever it is made, so a node that does not get one makes it itself.

use std::ops::Range;
use std::sync::Arc;

use crate::snapshot::{add, divide};
use crate::{Snapshot, SnapshotDigest, SnapshotError, Source, VectorKind, VectorRef, WireFormat};

/// Values of a chunk; the last one may have fewer. 64 KiB of f32, and whole blocks of
/// [`int8`](crate::int8).
pub const CHUNK: usize = 1 << 14;

/// A mean over nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct MeanRef {
    /// What is averaged.
    pub kind: VectorKind,
    /// The nodes and their sums, in node order: the order in which they are added.
    pub sums: Vec<(u32, VectorRef)>,
}

/// A mean over nodes that has been made.
#[derive(Debug, Clone)]
pub struct Averaged {
    /// The mean, in its wire format.
    pub mean: Arc<Snapshot>,
    /// Bytes that this node received for it.
    pub bytes: u64,
}

/// Why a mean was not made.
#[derive(Debug, Clone, PartialEq)]
pub enum NotAveraged {
    /// It is too small to be shared: each node is to fetch all sums.
    Declined,
    /// The sums of these nodes cannot be had.
    Missing(Vec<(u32, String)>),
    /// It is not finite.
    Unfit(SnapshotError),
}

impl MeanRef {
    /// Nodes that share the work on a mean, at least.
    pub(crate) const FEWEST: usize = 3;

    /// Its name, by which nodes ask each other for its chunks: a hash of the sums, their workers and their order.
    pub fn name(&self) -> SnapshotDigest {
        let mut hasher = blake3::Hasher::new_derive_key("lsgd mean over nodes");
        for (_, sum) in &self.sums {
            hasher.update(&sum.digest.0);
            hasher.update(&workers_of(sum).to_le_bytes());
        }
        SnapshotDigest(*hasher.finalize().as_bytes())
    }

    /// How many workers are in it.
    pub fn workers(&self) -> usize {
        let workers = self.sums.iter().map(|(_, sum)| workers_of(sum));
        workers.fold(0, usize::saturating_add)
    }

    /// The mean of these sums, which are as many as it has, in its wire format; `None` for no sums.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::mean`] and [`Snapshot::rounded`].
    pub fn of<'a>(
        &self,
        sums: impl IntoIterator<Item = &'a Snapshot>,
        wire: WireFormat,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        let Some(mean) = Snapshot::mean(sums)? else {
            return Ok(None);
        };
        let (rounded, _) = mean.rounded_by(wire, self.name())?;
        Ok(Some(rounded))
    }

    /// What a node has of it whose network is simulated: the mean of these sums, which are as many as it has,
    /// and the bytes that it receives when all nodes make it together.
    ///
    /// # Errors
    ///
    /// [`NotAveraged::Unfit`], and [`NotAveraged::Declined`] for no sums.
    pub fn simulated<'a>(
        &self,
        sums: impl IntoIterator<Item = &'a Snapshot>,
        wire: WireFormat,
    ) -> Result<Averaged, NotAveraged> {
        let mean = self.of(sums, wire).map_err(NotAveraged::Unfit)?;
        let mean = Arc::new(mean.ok_or(NotAveraged::Declined)?);
        let nodes = self.sums.len() as u64;
        let bytes = 2 * nodes.saturating_sub(1) * wire.bytes_of(&mean) / nodes.max(1);
        Ok(Averaged { mean, bytes })
    }

    /// The values at `range` of the mean, in its wire format, from those of all its sums, in their order.
    /// Of a vector with this many parameters, and buffers after them, but no weights. They have the bits
    /// that [`of`](Self::of) gives, if the range begins and ends with a [chunk](CHUNK).
    ///
    /// # Errors
    ///
    /// [`SnapshotError::NotFinite`] with the position in the vector of the first value that is not finite, or
    /// too large for the format.
    pub fn chunk(
        &self,
        wire: WireFormat,
        parameters: usize,
        range: &Range<usize>,
        sums: &[Vec<f32>],
    ) -> Result<Vec<f32>, SnapshotError> {
        let mut sums = sums.iter();
        let mut mean = sums.next().cloned().unwrap_or_default();
        sums.for_each(|sum| add(&mut mean, sum));
        divide(&mut mean, self.workers());
        wire.round(&mut mean, self.name(), range.start, parameters)
            .map_err(|index| SnapshotError::NotFinite { index })?;
        Ok(mean)
    }

    /// Whether nodes share the work on a vector of `values` values: with fewer than three it saves nothing,
    /// and with less than a chunk for each it costs more time than bytes.
    pub fn is_shared(&self, values: u64) -> bool {
        let nodes = self.sums.len();
        nodes >= Self::FEWEST && values.div_ceil(CHUNK as u64) >= nodes as u64
    }
}

fn workers_of(sum: &VectorRef) -> usize {
    match sum.source {
        Source::Sum { workers } | Source::Change { workers, .. } => workers,
        _ => 0,
    }
}
