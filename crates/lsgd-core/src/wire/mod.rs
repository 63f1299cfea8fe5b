//! The format of values between nodes, and what it makes of them.

pub mod int8;
pub mod topk;

use half::bf16;
use serde::{Deserialize, Serialize};

use crate::snapshot::change;
use crate::values::{SnapshotDigest, Values};
use crate::{Snapshot, SnapshotError, Source};

/// The format of values between nodes. A vector is rounded once, by the node that proposes it, and so is
/// what an exchange makes of them: all nodes use the rounded values, those that made them too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireFormat {
    /// Unchanged, 4 bytes each.
    F32,
    /// Rounded to the nearest bf16: 2 bytes each.
    Bf16,
    /// Parameters in [blocks](int8) of 32 that share a power of two, 33 bytes a block, rounded at random
    /// without bias; running statistics and weights as f32.
    Int8,
    /// [Changes](Source::Change): of every 64 parameters the one of the greatest magnitude or so, as a number
    /// of [eight bits](topk); running statistics as f32. Other vectors: as f32.
    Topk,
}

impl WireFormat {
    /// The format of a vector of this origin: f32 if this one is for changes alone, and it is none.
    pub fn of(self, source: Source) -> Self {
        match (self, source) {
            (Self::Topk, Source::Change { .. }) => self,
            (Self::Topk, _) => Self::F32,
            (Self::F32 | Self::Bf16 | Self::Int8, _) => self,
        }
    }

    /// Bytes of this many parameters and other values.
    pub fn bytes(self, parameters: usize, others: usize) -> usize {
        match self {
            Self::F32 => 4 * (parameters + others),
            Self::Bf16 => 2 * (parameters + others),
            Self::Int8 => int8::bytes(parameters) + 4 * others,
            Self::Topk => topk::bytes(parameters) + 4 * others,
        }
    }

    /// Rounds a part of a mean without weights, whose first value has this position in it, as
    /// [`Snapshot::rounded_by`] does the whole.
    ///
    /// # Errors
    ///
    /// The position of the first value that is not finite, or too large for the format.
    pub(crate) fn round(
        self,
        values: &mut [f32],
        drawn_from: SnapshotDigest,
        first: usize,
        parameters: usize,
    ) -> Result<(), usize> {
        match self {
            Self::F32 | Self::Topk => {}
            Self::Bf16 => values
                .iter_mut()
                .for_each(|value| *value = bf16::from_f32(*value).to_f32()),
            Self::Int8 => {
                let rounded = parameters.saturating_sub(first).min(values.len());
                int8::round(&mut values[..rounded], seed(drawn_from), first)?;
            }
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(first + index),
            None => Ok(()),
        }
    }

    /// Bytes of a whole vector.
    pub fn bytes_of(self, vector: &Snapshot) -> u64 {
        let others = vector.buffers().len() + vector.weights().len();
        let format = self.of(vector.source());
        format.bytes(vector.parameters().len(), others) as u64
    }
}

impl Snapshot {
    /// The values as this format has them, and the relative error: the norm of the difference over the norm
    /// of the values, parameters and running statistics together; `None` for a format that changes none.
    /// A pure function of the snapshot.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::NotFinite`] for a value too large for the format, and as [`check`](Self::check).
    pub fn rounded(&self, wire: WireFormat) -> Result<(Self, Option<f64>), SnapshotError> {
        let drawn_from = match wire {
            WireFormat::F32 | WireFormat::Bf16 | WireFormat::Topk => SnapshotDigest([0; 32]),
            WireFormat::Int8 => self.digest(),
        };
        self.rounded_by(wire, drawn_from)
    }

    /// The same, with what is drawn at random taken from another digest alone, so that nodes round the same
    /// vector alike.
    pub(crate) fn rounded_by(
        &self,
        wire: WireFormat,
        drawn_from: SnapshotDigest,
    ) -> Result<(Self, Option<f64>), SnapshotError> {
        let rounded = match wire.of(self.source()) {
            WireFormat::F32 => {
                self.check(self.layout())?;
                return Ok((self.clone(), None));
            }
            WireFormat::Bf16 => self.rounded_to_bf16()?,
            WireFormat::Int8 => {
                self.rounded_by_blocks(|parameters| int8::round(parameters, seed(drawn_from), 0))?
            }
            WireFormat::Topk => self.rounded_by_blocks(topk::round)?,
        };
        Ok((rounded.0, Some(rounded.1)))
    }

    /// The values rounded to the nearest bf16 (ties to even), and the relative error. If there are
    /// weights, the parameters are first scaled by the rounding of their weight, so that their
    /// quotient keeps its scale.
    fn rounded_to_bf16(&self) -> Result<(Self, f64), SnapshotError> {
        let mut rounded = self.clone();
        let values = Values::edit(&mut rounded.values);
        for weight in &mut values.weights {
            *weight = bf16::from_f32(*weight).to_f32();
        }
        let before = self.layout().weighted(self.weights()).zip(&values.weights);
        let moves = before.map(|((layer, from), to)| (layer, to / from));
        change(&mut values.parameters, moves, |value, by| value * by);
        let (mut moved, mut length) = (0.0, 0.0);
        let values = values.parameters.iter_mut().chain(&mut values.buffers);
        for value in values {
            let nearest = bf16::from_f32(*value).to_f32();
            moved += f64::from(nearest - *value).powi(2);
            length += f64::from(*value).powi(2);
            *value = nearest;
        }
        rounded.check(self.layout())?;
        Ok((rounded, relative(moved, length)))
    }

    /// The parameters rounded, and the relative error.
    fn rounded_by_blocks(
        &self,
        round: impl FnOnce(&mut [f32]) -> Result<(), usize>,
    ) -> Result<(Self, f64), SnapshotError> {
        self.check(self.layout())?;
        let mut rounded = self.clone();
        let values = Values::edit(&mut rounded.values);
        round(&mut values.parameters).map_err(|index| SnapshotError::NotFinite { index })?;
        let square = |value: &f32| f64::from(*value).powi(2);
        let pairs = values.parameters.iter().zip(self.parameters());
        let moved = pairs.map(|(to, from)| square(&(to - from))).sum();
        let both = self.parameters().iter().chain(self.buffers());
        Ok((rounded, relative(moved, both.map(square).sum())))
    }
}

/// The first eight bytes, from which random numbers are drawn.
fn seed(SnapshotDigest([a, b, c, d, e, f, g, h, ..]): SnapshotDigest) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The norm of a change of something, given the squares of both norms; nothing is as long as nothing.
fn relative(moved: f64, length: f64) -> f64 {
    match length > 0.0 {
        true => (moved / length).sqrt(),
        false => 0.0,
    }
}
