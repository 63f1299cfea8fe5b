//! How often workers have failed.

use std::collections::BTreeMap;

/// The failures of a node's workers.
#[derive(Debug)]
pub(super) struct Failures {
    /// How often a worker may start again.
    restarts: u64,
    counts: BTreeMap<usize, u64>,
}

impl Failures {
    /// For workers that may each start again this often.
    pub fn new(restarts: u64) -> Self {
        Self {
            restarts,
            counts: BTreeMap::new(),
        }
    }

    /// Counts a failure of a worker. Returns which restart follows, or `None` if it has had all.
    pub fn count(&mut self, worker: usize) -> Option<u64> {
        let count = self.counts.entry(worker).or_default();
        *count = (*count + 1).min(self.restarts + 1);
        Some(*count).filter(|count| *count <= self.restarts)
    }

    /// How often a worker may start again.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_starts_again_as_often_as_it_may() {
        let mut failures = Failures::new(2);
        let counted: Vec<Option<u64>> = [0, 1, 0, 0, 0, 1]
            .map(|worker| failures.count(worker))
            .into();
        assert_eq!(counted, [Some(1), Some(1), Some(2), None, None, Some(2)]);
        assert_eq!(Failures::new(0).count(3), None);
        assert_eq!(Failures::new(u64::MAX - 1).count(3), Some(1));
    }
}
