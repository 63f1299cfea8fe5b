//! The vectors that this node can hand out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lsgd_core::{Snapshot, SnapshotDigest};

/// Vectors kept of those published here, and again of those fetched: an exchange needs the newest,
/// and a node that is an exchange behind the one before it.
const KEPT: usize = 3;
/// More are kept while somebody fetches them: on a slow link that takes longer than several exchanges.
const FETCHED_WITHIN: Duration = Duration::from_secs(5);
/// So many at most.
const MOST: usize = 8;

#[derive(Debug)]
struct Held {
    digest: SnapshotDigest,
    snapshot: Arc<Snapshot>,
    asked: Option<Instant>,
}

/// The last few vectors, by reference. Those fetched never push out the node's own.
#[derive(Debug, Default)]
pub(crate) struct Board {
    published: Mutex<VecDeque<Held>>,
    fetched: Mutex<VecDeque<Held>>,
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
                let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                let held = held.iter_mut().find(|held| held.digest == *digest)?;
                held.asked = Some(Instant::now());
                Some(held.snapshot.clone())
            })
    }
}

fn put(board: &Mutex<VecDeque<Held>>, digest: SnapshotDigest, snapshot: Arc<Snapshot>) {
    let mut held = board.lock().unwrap_or_else(PoisonError::into_inner);
    held.retain(|held| held.digest != digest);
    held.push_front(Held {
        digest,
        snapshot,
        asked: None,
    });
    let mut place = 0;
    held.retain(|held| {
        place += 1;
        let in_use = held.asked.is_some_and(|at| at.elapsed() < FETCHED_WITHIN);
        place <= KEPT || in_use
    });
    held.truncate(MOST);
}
