//! The vectors that this node can serve.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lsgd_core::{Snapshot, SnapshotDigest};

use crate::pace::patience;

/// Number of published vectors kept, and of fetched ones: an exchange needs the newest, and a node
/// that is one exchange behind needs the one before.
const KEPT: usize = 3;
/// More are kept while nodes fetch them, which on a slow link takes longer than several exchanges:
/// those of which a part was requested within the patience of a fetch. Maximum number kept in that case.
const MAX_KEPT: usize = 8;

#[derive(Debug)]
struct CacheEntry {
    digest: SnapshotDigest,
    snapshot: Arc<Snapshot>,
    asked: Option<Instant>,
}

/// The last few vectors, by reference. Fetched vectors never evict the node's own.
#[derive(Debug)]
pub(crate) struct SnapshotCache {
    lease: Duration,
    published: Mutex<VecDeque<CacheEntry>>,
    fetched: Mutex<VecDeque<CacheEntry>>,
}

impl SnapshotCache {
    /// Nothing yet, for a node with this lease.
    pub fn new(lease: Duration) -> Self {
        Self {
            lease,
            published: Mutex::default(),
            fetched: Mutex::default(),
        }
    }

    /// Adds a vector of this node.
    pub fn publish(&self, digest: SnapshotDigest, snapshot: Arc<Snapshot>) {
        self.put(&self.published, digest, snapshot);
    }

    /// Adds another node's vector, for nodes that ask here because its origin is gone.
    pub fn insert_fetched(&self, digest: SnapshotDigest, snapshot: Arc<Snapshot>) {
        self.put(&self.fetched, digest, snapshot);
    }

    /// The vector with this digest, if it is still kept.
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

    fn put(
        &self,
        snapshots: &Mutex<VecDeque<CacheEntry>>,
        digest: SnapshotDigest,
        snapshot: Arc<Snapshot>,
    ) {
        let mut held = snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|held| held.digest != digest);
        held.push_front(CacheEntry {
            digest,
            snapshot,
            asked: None,
        });
        let mut place = 0;
        held.retain(|held| {
            place += 1;
            let in_use = held
                .asked
                .is_some_and(|at| at.elapsed() < patience(self.lease));
            place <= KEPT || in_use
        });
        held.truncate(MAX_KEPT);
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, Param};
    use burn::tensor::{Device, Tensor};
    use lsgd_core::{Layout, Source, WorkerId};

    use super::*;
    use crate::session::LEASE;

    #[derive(Module, Debug)]
    struct Point {
        x: Param<Tensor<1>>,
    }

    /// Distinct vectors.
    fn vectors(count: usize) -> Vec<(SnapshotDigest, Arc<Snapshot>)> {
        let device = Device::flex().autodiff();
        let layout = Layout::of(&Point {
            x: Param::from_data([0.0], &device),
        });
        let source = Source::Worker {
            id: WorkerId::new(0, 0),
            step: 1,
        };
        let vector = |index: usize| {
            let made = Snapshot::new(layout.clone(), source, vec![index as f32], vec![]);
            let made = Arc::new(made.unwrap());
            (made.digest(), made)
        };
        (0..count).map(vector).collect()
    }

    fn kept(snapshots: &SnapshotCache, vectors: &[(SnapshotDigest, Arc<Snapshot>)]) -> Vec<usize> {
        let kept = |index: &usize| snapshots.get(&vectors[*index].0).is_some();
        (0..vectors.len()).filter(kept).collect()
    }

    #[test]
    fn the_newest_three_are_kept_of_own_and_of_fetched() {
        let (snapshots, vectors) = (SnapshotCache::new(LEASE), vectors(10));
        for (digest, vector) in &vectors[..5] {
            snapshots.publish(*digest, vector.clone());
        }
        for (digest, vector) in &vectors[5..] {
            snapshots.insert_fetched(*digest, vector.clone());
        }
        assert_eq!(kept(&snapshots, &vectors), [2, 3, 4, 7, 8, 9]);
    }

    /// A vector that is published again becomes the newest.
    #[test]
    fn a_vector_has_one_place() {
        let (snapshots, vectors) = (SnapshotCache::new(LEASE), vectors(4));
        for index in [0, 1, 0, 2, 3] {
            let (digest, vector) = &vectors[index];
            snapshots.publish(*digest, vector.clone());
        }
        assert_eq!(kept(&snapshots, &vectors), [0, 2, 3]);
    }

    /// A vector that is being fetched stays while others arrive, up to eight.
    #[test]
    fn what_is_asked_for_is_kept_longer() {
        let (snapshots, vectors) = (SnapshotCache::new(LEASE), vectors(12));
        for (digest, vector) in &vectors {
            snapshots.publish(*digest, vector.clone());
            assert!(snapshots.get(digest).is_some());
        }
        assert_eq!(kept(&snapshots, &vectors), [4, 5, 6, 7, 8, 9, 10, 11]);
    }
}
