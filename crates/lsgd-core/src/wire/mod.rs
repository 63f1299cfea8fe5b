//! The format of values between nodes, and what it makes of them.

pub mod int8;

use half::bf16;
use serde::{Deserialize, Serialize};

use crate::snapshot::change;
use crate::values::{SnapshotDigest, Values};
use crate::{Snapshot, SnapshotError};

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
}

impl WireFormat {
    /// Bytes of this many parameters and other values.
    pub fn bytes(self, parameters: usize, others: usize) -> usize {
        match self {
            Self::F32 => 4 * (parameters + others),
            Self::Bf16 => 2 * (parameters + others),
            Self::Int8 => int8::bytes(parameters) + 4 * others,
        }
    }

    /// Rounds a part of a vector without weights, whose first value has this position in it, as
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
            Self::F32 => {}
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
        self.bytes(vector.parameters().len(), others) as u64
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
            WireFormat::F32 | WireFormat::Bf16 => SnapshotDigest([0; 32]),
            WireFormat::Int8 => self.digest(),
        };
        self.rounded_by(wire, drawn_from)
    }

    /// The same, with what is drawn at random taken from another digest.
    pub(crate) fn rounded_by(
        &self,
        wire: WireFormat,
        drawn_from: SnapshotDigest,
    ) -> Result<(Self, Option<f64>), SnapshotError> {
        let rounded = match wire {
            WireFormat::F32 => {
                self.check(self.layout())?;
                return Ok((self.clone(), None));
            }
            WireFormat::Bf16 => self.rounded_to_bf16()?,
            WireFormat::Int8 => self.rounded_to_int8(drawn_from)?,
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

    /// The parameters rounded to [`int8`], and the relative error. What is drawn depends on a digest alone,
    /// so that nodes round the same vector alike.
    fn rounded_to_int8(&self, drawn_from: SnapshotDigest) -> Result<(Self, f64), SnapshotError> {
        self.check(self.layout())?;
        let mut rounded = self.clone();
        let values = Values::edit(&mut rounded.values);
        int8::round(&mut values.parameters, seed(drawn_from), 0)
            .map_err(|index| SnapshotError::NotFinite { index })?;
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
