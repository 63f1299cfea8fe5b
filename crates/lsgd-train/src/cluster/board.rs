//! The vectors that this node can hand out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use lsgd_core::{Snapshot, SnapshotDigest};

/// Vectors kept of those published here, and again of those fetched: an exchange needs the newest,
/// and a node that is an exchange behind the one before it.
const KEPT: usize = 3;

type Held = VecDeque<(SnapshotDigest, Arc<Snapshot>)>;

/// The last few vectors, by reference. Those fetched never push out the node's own.
#[derive(Debug, Default)]
pub(crate) struct Board {
    published: Mutex<Held>,
    fetched: Mutex<Held>,
}

impl Board {
    /// Puts a vector of this node's own on the board.
    pub fn publish(&self, digest: SnapshotDigest, snapshot: Arc<Snapshot>) {
        put(&self.published, digest, snapshot);
    }

    /// Puts another node's vector on the board, for those who ask here because its maker is gone.
    pub fn hand_on(&self, digest: SnapshotDigest, snapshot: Arc<Snapshot>) {
        put(&self.fetched, digest, snapshot);
    }

    /// The vector of that digest, while it is kept.
    pub fn get(&self, digest: &SnapshotDigest) -> Option<Arc<Snapshot>> {
        [&self.published, &self.fetched]
            .into_iter()
            .find_map(|held| {
                let held = held.lock().unwrap_or_else(PoisonError::into_inner);
                let mut held = held.iter();
                held.find_map(|(name, snapshot)| (name == digest).then(|| snapshot.clone()))
            })
    }
}

fn put(held: &Mutex<Held>, digest: SnapshotDigest, snapshot: Arc<Snapshot>) {
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    held.retain(|(name, _)| *name != digest);
    held.push_front((digest, snapshot));
    held.truncate(KEPT);
}
