//! The end of a run: one node evaluates the mean of all.

use std::time::Duration;

use lsgd_core::Mode;

use crate::network::{LIMIT, Network};
use crate::setting::{followed, local_sgd, lsgd, setting};

#[test]
fn the_lowest_live_node_evaluates_the_mean_of_all() {
    for (mode, dead) in [
        (Mode::Sync, None),
        (Mode::Async, None),
        (Mode::Sync, Some(0)),
    ] {
        let mut network = Network::new(setting(4, mode, lsgd(), 5));
        network.run(Duration::from_secs(10));
        if let Some(dead) = dead {
            network.kill(dead);
            network.run(Duration::from_secs(10));
        }
        network.finish();
        network.run(LIMIT + Duration::from_secs(10));
        let evaluator = dead.map_or(0, |dead| dead + 1);
        let expected: Vec<(u32, bool)> = (0..4)
            .filter(|node| Some(*node) != dead)
            .map(|node| (node, node == evaluator))
            .collect();
        assert_eq!(network.conclusions(), expected, "{mode:?}");
    }
}

/// Right after all have moved to one mean, the sums of two nodes can have the same values, and so the
/// same name.
#[test]
fn nodes_that_have_come_to_the_same_values_are_all_in_the_mean() {
    let mut network = Network::new(setting(4, Mode::Sync, local_sgd(), 6));
    network.stand_still();
    network.run(Duration::from_secs(10));
    let means = followed(&network, 2, Duration::ZERO);
    assert!(means.len() > 10, "{means:?}");
    network.finish();
    network.run(LIMIT + Duration::from_secs(10));
    let expected: Vec<(u32, bool)> = (0..4).map(|node| (node, node == 0)).collect();
    assert_eq!(network.conclusions(), expected);
}
