//! The values of a snapshot: shared by its clones, hashed and checked once.

use std::fmt;
use std::sync::{Arc, OnceLock};

use borsh::{BorshDeserialize, BorshSerialize};

use crate::layout::LayoutDigest;
use crate::snapshot_error::{ShortDigest, SnapshotError};

/// Identifies the values of a [`Snapshot`](crate::Snapshot): a hash of them and of their layout.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct SnapshotDigest(pub [u8; 32]);

impl fmt::Display for SnapshotDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl From<SnapshotDigest> for ShortDigest {
    fn from(digest: SnapshotDigest) -> Self {
        Self::of(digest.0)
    }
}

impl fmt::Debug for SnapshotDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotDigest({self})")
    }
}

/// Three vectors that are never changed while they are shared, and what is known of them.
#[derive(Debug)]
pub(crate) struct Values {
    pub parameters: Vec<f32>,
    pub buffers: Vec<f32>,
    pub weights: Vec<f32>,
    digest: OnceLock<SnapshotDigest>,
    checked: OnceLock<Result<(), SnapshotError>>,
}

impl Clone for Values {
    /// Copies the vectors alone: a copy is made only to be changed.
    fn clone(&self) -> Self {
        Self::new(
            self.parameters.clone(),
            self.buffers.clone(),
            self.weights.clone(),
        )
    }
}

impl Values {
    pub fn new(parameters: Vec<f32>, buffers: Vec<f32>, weights: Vec<f32>) -> Self {
        Self {
            parameters,
            buffers,
            weights,
            digest: OnceLock::new(),
            checked: OnceLock::new(),
        }
    }

    /// The values, to be changed: a copy if others share them. What was known of them is forgotten.
    pub fn edit(shared: &mut Arc<Self>) -> &mut Self {
        let values = Arc::make_mut(shared);
        values.digest = OnceLock::new();
        values.checked = OnceLock::new();
        values
    }

    /// A hash of the values and of their layout, always the same one.
    pub fn digest(&self, layout: LayoutDigest) -> SnapshotDigest {
        *self.digest.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&layout.0);
            hasher.update(bytemuck::cast_slice(&self.parameters));
            hasher.update(bytemuck::cast_slice(&self.buffers));
            hasher.update(bytemuck::cast_slice(&self.weights));
            SnapshotDigest(*hasher.finalize().as_bytes())
        })
    }

    /// Whether all of them are finite, and every weight is above 0.
    pub fn check(&self) -> Result<(), SnapshotError> {
        *self.checked.get_or_init(|| {
            let values = self.parameters.iter().chain(&self.buffers);
            if let Some((index, _)) = values.enumerate().find(|(_, value)| !value.is_finite()) {
                return Err(SnapshotError::NotFinite { index });
            }
            let unfit = |weight: &f32| !(weight.is_finite() && *weight > 0.0);
            match self.weights.iter().position(unfit) {
                Some(index) => Err(SnapshotError::Weight { index }),
                None => Ok(()),
            }
        })
    }
}
