//! Requests for parts of vectors.

use std::ops::Range;

use borsh::{BorshDeserialize, BorshSerialize};
use lsgd_core::{CHUNK, SnapshotDigest};

/// Requests a range of a vector's values from a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ChunkRequest {
    /// The node that requests it, from 0.
    pub asker: u32,
    /// The vector.
    pub digest: SnapshotDigest,
    /// The first value, parameters first, then buffers.
    pub first: u64,
    /// Number of values.
    pub count: u32,
    /// Whether to wait for them if the node that is asked fetches or makes that vector itself.
    pub waits: bool,
}

impl ChunkRequest {
    /// Maximum number of values in one answer: 64 KiB of f32.
    pub const MAX_VALUES: usize = CHUNK;
    /// Length in bytes. Nothing longer or shorter is decoded.
    pub const LENGTH: usize = 4 + 32 + 8 + 4 + 1;

    /// Encodes the request.
    pub fn encode(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("memory can be written")
    }

    /// Decodes a request from untrusted bytes.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() != Self::LENGTH {
            let (found, right) = (bytes.len(), Self::LENGTH);
            return Err(format!("{found} bytes where a request has {right}"));
        }
        borsh::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// The requested range, if a vector of `values` values has it and it fits in one answer.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong with the range.
    pub fn range(&self, values: usize) -> Result<Range<usize>, String> {
        let (first, count) = (self.first, self.count as usize);
        if count == 0 || count > Self::MAX_VALUES {
            let most = Self::MAX_VALUES;
            return Err(format!(
                "{count} values asked for; an answer has 1 to {most}"
            ));
        }
        let start = usize::try_from(first).ok();
        let end = start.and_then(|start| start.checked_add(count));
        match (start, end) {
            (Some(start), Some(end)) if end <= values => Ok(start..end),
            _ => Err(format!(
                "{count} values from {first} on asked for; the vector has {values}"
            )),
        }
    }
}
