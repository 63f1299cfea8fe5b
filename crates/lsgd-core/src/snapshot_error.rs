//! Why a vector is rejected.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::LayoutDigest;

/// Why a snapshot is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotError {
    /// It belongs to a module of another layout.
    #[error("layout {found} is not the {expected} of this model; all workers must train one model")]
    Layout {
        /// First eight bytes of the digest expected.
        #[serde(with = "short_hex")]
        expected: ShortDigest,
        /// First eight bytes of the digest found.
        #[serde(with = "short_hex")]
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

/// The first eight bytes of a [`LayoutDigest`], enough to tell layouts apart in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortDigest(u64);

impl From<LayoutDigest> for ShortDigest {
    fn from(digest: LayoutDigest) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = digest.0;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl fmt::Display for ShortDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

mod short_hex {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::ShortDigest;

    pub fn serialize<S: Serializer>(digest: &ShortDigest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ShortDigest, D::Error> {
        let text = String::deserialize(from)?;
        u64::from_str_radix(&text, 16)
            .map(ShortDigest)
            .map_err(serde::de::Error::custom)
    }
}
