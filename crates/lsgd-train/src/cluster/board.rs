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

#[cfg(test)]
mod tests {
    use burn::module::{Module, Param};
    use burn::tensor::{Device, Tensor};
    use lsgd_core::{Layout, Rank, Source};

    use super::*;

    #[derive(Module, Debug)]
    struct Point {
        x: Param<Tensor<1>>,
    }

    /// Vectors that differ.
    fn vectors(count: usize) -> Vec<(SnapshotDigest, Arc<Snapshot>)> {
        let device = Device::flex().autodiff();
        let layout = Layout::of(&Point {
            x: Param::from_data([0.0], &device),
        });
        let source = Source::Worker {
            rank: Rank::new(0, 0),
            step: 1,
        };
        let vector = |index: usize| {
            let made = Snapshot::new(layout.clone(), source, vec![index as f32], vec![]);
            let made = Arc::new(made.unwrap());
            (made.digest(), made)
        };
        (0..count).map(vector).collect()
    }

    fn kept(board: &Board, vectors: &[(SnapshotDigest, Arc<Snapshot>)]) -> Vec<usize> {
        let kept = |index: &usize| board.get(&vectors[*index].0).is_some();
        (0..vectors.len()).filter(kept).collect()
    }

    #[test]
    fn the_newest_three_are_kept_of_own_and_of_fetched() {
        let (board, vectors) = (Board::default(), vectors(10));
        for (digest, vector) in &vectors[..5] {
            board.publish(*digest, vector.clone());
        }
        for (digest, vector) in &vectors[5..] {
            board.hand_on(*digest, vector.clone());
        }
        assert_eq!(kept(&board, &vectors), [2, 3, 4, 7, 8, 9]);
    }

    /// One that is published again is the newest again.
    #[test]
    fn a_vector_has_one_place() {
        let (board, vectors) = (Board::default(), vectors(4));
        for index in [0, 1, 0, 2, 3] {
            let (digest, vector) = &vectors[index];
            board.publish(*digest, vector.clone());
        }
        assert_eq!(kept(&board, &vectors), [0, 2, 3]);
    }

    /// What is being fetched stays while others come, up to eight.
    #[test]
    fn what_is_asked_for_is_kept_longer() {
        let (board, vectors) = (Board::default(), vectors(12));
        for (digest, vector) in &vectors {
            board.publish(*digest, vector.clone());
            assert!(board.get(digest).is_some());
        }
        assert_eq!(kept(&board, &vectors), [4, 5, 6, 7, 8, 9, 10, 11]);
    }
}
