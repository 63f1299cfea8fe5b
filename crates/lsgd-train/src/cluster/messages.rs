//! What nodes say to each other beside their hello: statuses, and requests for parts of vectors.

use std::ops::Range;

use borsh::{BorshDeserialize, BorshSerialize};
use lsgd_core::{SnapshotDigest, Status};

use super::link::Telling;

/// A status on its way, with why it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Why it was sent, for the count of bytes.
    pub telling: Telling,
    /// The status.
    pub status: Status,
}

impl Told {
    /// Longest in bytes. Nothing longer is decoded.
    pub const LONGEST: usize = Status::LONGEST + 1;

    /// As bytes: one that says why, then the status.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![match self.telling {
            Telling::Heartbeat => 0,
            Telling::Report => 1,
        }];
        bytes.extend(self.status.encode());
        bytes
    }

    /// From bytes that came from anywhere.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let Some((why, status)) = bytes.split_first() else {
            return Err(String::from("no bytes where a status should be"));
        };
        let telling = match why {
            0 => Telling::Heartbeat,
            1 => Telling::Report,
            other => return Err(format!("a status of kind {other}")),
        };
        let status = Status::decode(status)?;
        Ok(Self { telling, status })
    }
}

/// Asks a holder for a range of a vector's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ChunkRequest {
    /// Who asks: a node, from 0.
    pub asker: u32,
    /// Which vector.
    pub digest: SnapshotDigest,
    /// The first value wanted, parameters first, then buffers.
    pub first: u64,
    /// How many values.
    pub count: u32,
}

impl ChunkRequest {
    /// Most values in one answer: 64 KiB of f32.
    pub const MOST_VALUES: usize = 1 << 14;
    /// Its length in bytes. Nothing longer or shorter is decoded.
    pub const LENGTH: usize = 4 + 32 + 8 + 4;

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("memory can be written")
    }

    /// From bytes that came from anywhere.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() != Self::LENGTH {
            let (found, right) = (bytes.len(), Self::LENGTH);
            return Err(format!("{found} bytes where a request has {right}"));
        }
        borsh::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// The range of values asked for, if a vector of `values` has it and one answer holds it.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong with it.
    pub fn range(&self, values: usize) -> Result<Range<usize>, String> {
        let (first, count) = (self.first, self.count as usize);
        if count == 0 || count > Self::MOST_VALUES {
            let most = Self::MOST_VALUES;
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
