//! Why a vector is rejected.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::LayoutDigest;

/// Why a snapshot is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotError {
    /// It belongs to a module of another layout.
    #[error("layout {found} is not the {expected} of this model; all workers must train one model")]
    Layout {
        /// First eight bytes of the digest expected.
        expected: ShortDigest,
        /// First eight bytes of the digest found.
        found: ShortDigest,
    },
    /// A vector's length does not match the layout.
    #[error("{found} values where the layout has {expected}")]
    Length {
        /// Values in the layout.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A value is NaN or infinite.
    #[error("value {index} is not finite")]
    NotFinite {
        /// Position of the first such value, parameters first, then buffers.
        index: usize,
    },
    /// A weight is not finite, or not above 0.
    #[error("weight {index} is not a finite number above 0")]
    Weight {
        /// Which one.
        index: usize,
    },
}

/// The first eight bytes of a [`LayoutDigest`] or a [`SnapshotDigest`](crate::SnapshotDigest), enough to tell layouts or the
/// vectors of a run apart in a message and in records.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    borsh::BorshSerialize,
    borsh::BorshDeserialize,
)]
pub struct ShortDigest(u64);

impl ShortDigest {
    pub(crate) fn of([a, b, c, d, e, f, g, h, ..]: [u8; 32]) -> Self {
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl From<LayoutDigest> for ShortDigest {
    fn from(digest: LayoutDigest) -> Self {
        Self::of(digest.0)
    }
}

impl fmt::Display for ShortDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// As text, in hexadecimal: a JSON number would lose bits.
impl Serialize for ShortDigest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ShortDigest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let digest = u64::from_str_radix(&text, 16).map(Self);
        digest.map_err(serde::de::Error::custom)
    }
}
