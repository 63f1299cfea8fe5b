//! In how many global exchanges nodes took part while they were there.

use std::collections::{BTreeMap, BTreeSet};

use lsgd_core::Scope;

use super::timeline::Timeline;
use crate::chaos::log::{Entry, Seen, What};

/// In `sync`: of all rounds, and all nodes that were there when a round was first recorded, the share
/// that has recorded the round. `None` without a round.
pub fn of_rounds(log: &[Entry], timeline: &Timeline) -> Option<f64> {
    let mut rounds: BTreeMap<u64, (f64, BTreeSet<usize>)> = BTreeMap::new();
    for (at, node, round) in exchanges(log) {
        let (_, nodes) = rounds.entry(round).or_insert((at, BTreeSet::new()));
        nodes.insert(node);
    }
    let (mut present, mut taking_part) = (0_u64, 0_u64);
    for (at, nodes) in rounds.values() {
        for node in 0..timeline.up.len() {
            let took_part = nodes.contains(&node);
            if took_part || timeline.is_up(node, *at) {
                present += 1;
                taking_part += u64::from(took_part);
            }
        }
    }
    (present > 0).then(|| taking_part as f64 / present as f64)
}

/// Global exchanges of a node in a second in which it was there. `None` if no node was.
pub fn rate(log: &[Entry], timeline: &Timeline) -> Option<f64> {
    let during = exchanges(log).filter(|(at, ..)| (timeline.first..=timeline.last).contains(at));
    let up: f64 = (0..timeline.up.len())
        .map(|node| timeline.up_seconds(node))
        .sum();
    (up > 0.0).then(|| during.count() as f64 / up)
}

/// The global exchanges of all nodes: when, which node from 0, which exchange. One that happened again
/// after a node continued from a checkpoint is there twice.
fn exchanges(log: &[Entry]) -> impl Iterator<Item = (f64, usize, u64)> {
    log.iter().filter_map(|entry| match entry.what {
        What::Seen {
            node,
            line:
                Seen::Exchange {
                    exchange,
                    scope: Scope::Global,
                    ..
                },
        } => Some((entry.at, (node as usize).checked_sub(1)?, exchange)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, ended, exchange, started, trained};
    use super::*;

    #[test]
    fn who_is_there_is_expected_to_take_part() {
        let log = [
            at(0.0, started(1)),
            at(0.0, started(2)),
            at(0.0, started(3)),
            at(1.0, trained(1, 8)),
            at(1.0, exchange(1, 1)),
            at(1.1, exchange(2, 1)),
            at(1.1, exchange(3, 1)),
            // The third is there, and takes no part.
            at(2.0, exchange(1, 2)),
            at(2.1, exchange(2, 2)),
            at(2.5, ended(3)),
            // It is not there.
            at(3.0, exchange(2, 3)),
            at(3.0, exchange(1, 3)),
            at(5.0, trained(1, 32)),
        ];
        let timeline = Timeline::of(&log, 3).unwrap();
        assert_eq!(of_rounds(&log, &timeline), Some(7.0 / 8.0));
        // Seven in 4 + 4 + 1.5 seconds.
        assert_eq!(rate(&log, &timeline), Some(7.0 / 9.5));
        let none = &log[..4];
        assert_eq!(of_rounds(none, &timeline), None);
        assert_eq!(rate(none, &timeline), Some(0.0));
    }
}
