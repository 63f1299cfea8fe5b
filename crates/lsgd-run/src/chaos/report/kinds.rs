//! Reactions to all faults of a kind.

use std::collections::BTreeMap;

use serde::Serialize;

use super::reactions::Reaction;
use crate::chaos::fault::Kind;

/// All faults of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Reactions {
    /// How many were made.
    pub made: usize,
    /// How many were overtaken by another kill: before the node trained again, or before its worker failed.
    pub overtaken: usize,
    /// How soon those that were noticed were.
    pub noticed: Times,
    /// How soon those that were recovered from were.
    pub recovered: Times,
}

/// Some durations, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Times {
    /// How many.
    pub count: usize,
    /// The median; of an even number, the mean of the middle two.
    pub median: Option<f64>,
    /// The longest.
    pub worst: Option<f64>,
}

impl Times {
    /// Of these durations.
    pub fn of(times: impl IntoIterator<Item = f64>) -> Self {
        let mut times: Vec<f64> = times.into_iter().collect();
        times.sort_by(f64::total_cmp);
        let middle = times.len() / 2;
        let median = match times.len() {
            0 => None,
            even if even % 2 == 0 => Some((times[middle - 1] + times[middle]) / 2.0),
            _ => Some(times[middle]),
        };
        Self {
            count: times.len(),
            median,
            worst: times.last().copied(),
        }
    }
}

/// Groups reactions by the kind of their fault.
pub fn by_kind(reactions: &[Reaction]) -> BTreeMap<Kind, Reactions> {
    let mut kinds: BTreeMap<Kind, Vec<&Reaction>> = BTreeMap::new();
    for reaction in reactions {
        kinds.entry(reaction.act.kind()).or_default().push(reaction);
    }
    let sum = |all: Vec<&Reaction>| Reactions {
        made: all.len(),
        overtaken: all.iter().filter(|one| one.overtaken).count(),
        noticed: Times::of(all.iter().filter_map(|one| one.noticed)),
        recovered: Times::of(all.iter().filter_map(|one| one.recovered)),
    };
    let kinds = kinds.into_iter();
    kinds.map(|(kind, all)| (kind, sum(all))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Times::of([]), Times::default());
        assert_eq!(Times::of([3.0, 1.0, 9.0]).median, Some(3.0));
        let even = Times::of([4.0, 1.0, 9.0, 2.0]);
        assert_eq!(
            (even.count, even.median, even.worst),
            (4, Some(3.0), Some(9.0))
        );
    }
}
