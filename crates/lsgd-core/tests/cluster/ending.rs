//! The end of a run: one node evaluates the mean of all, whichever dies.

use std::time::Duration;

use lsgd_core::{Event, Mode};

use crate::network::{EVALUATION, LIMIT, Network};
use crate::setting::{followed, local_sgd, lsgd, setting};

/// Four nodes of two workers that have trained for a while.
fn trained(mode: Mode) -> Network {
    let mut network = Network::new(setting(4, mode, lsgd(), 5));
    network.run(Duration::from_secs(10));
    network
}

#[test]
fn the_lowest_live_node_evaluates_the_mean_of_all() {
    for (mode, dead) in [
        (Mode::Sync, None),
        (Mode::Async, None),
        (Mode::Sync, Some(0)),
    ] {
        let mut network = trained(mode);
        if let Some(dead) = dead {
            network.kill(dead);
            network.run(Duration::from_secs(10));
        }
        network.finish();
        network.run(LIMIT + Duration::from_secs(10));
        let evaluator = dead.map_or(0, |dead| dead + 1);
        let live = (0..4).filter(|node| Some(*node) != dead);
        let all = 2 * live.clone().count();
        let expected: Vec<(u32, usize)> = live
            .map(|node| (node, if node == evaluator { all } else { 0 }))
            .collect();
        assert_eq!(network.conclusions(), expected, "{mode:?}");
    }
}

/// It dies with the mean in its hands; the others, which have finished long before, are still
/// there.
#[test]
fn the_next_evaluates_the_mean_if_the_first_dies() {
    let mut network = trained(Mode::Async);
    network.finish();
    network.run(EVALUATION / 2);
    assert_eq!(network.conclusions(), [(0, 8)]);
    assert!((0..4).all(|node| !network.may_leave(node)));
    network.kill(0);
    network.run(Duration::from_secs(5));
    assert_eq!(network.conclusions(), [(1, 6), (2, 0), (3, 0)]);
    assert!((1..4).all(|node| network.may_leave(node)));
}

/// However long after the others it finishes, and whichever it is.
#[test]
fn nodes_that_end_at_different_times_are_all_in_the_mean() {
    for mode in [Mode::Sync, Mode::Async] {
        for last in [0, 3] {
            let mut network = trained(mode);
            let others = (0..4).filter(|node| *node != last);
            others.for_each(|node| network.finish_node(node));
            network.run(10 * LIMIT);
            assert_eq!(network.conclusions(), [], "{mode:?}");
            network.finish_node(last);
            network.run(EVALUATION + Duration::from_secs(2));
            let expected = [(0, 8), (1, 0), (2, 0), (3, 0)];
            assert_eq!(network.conclusions(), expected, "{mode:?}");
        }
    }
}

/// One that comes back while others wait for it at the end is in the mean.
#[test]
fn a_node_that_comes_back_at_the_end_is_in_the_mean() {
    for victim in [0, 3] {
        let mut network = trained(Mode::Sync);
        network.kill(victim);
        network.run(Duration::from_secs(5));
        let others: Vec<u32> = (0..4).filter(|node| *node != victim).collect();
        others[1..]
            .iter()
            .for_each(|&node| network.finish_node(node));
        network.start(victim);
        network.run(Duration::from_secs(5));
        network.finish_node(others[0]);
        network.finish_node(victim);
        network.run(EVALUATION + Duration::from_secs(2));
        assert_eq!(
            network.conclusions(),
            [(0, 8), (1, 0), (2, 0), (3, 0)],
            "{victim}"
        );
    }
}

/// One that is connected and makes no progress is waited for no longer than the limit.
#[test]
fn a_node_that_stands_still_does_not_hold_up_the_end() {
    let mut network = trained(Mode::Sync);
    network.halt(3);
    (0..3).for_each(|node| network.finish_node(node));
    network.run(LIMIT / 2);
    assert_eq!(network.conclusions(), []);
    network.run(LIMIT + EVALUATION);
    assert_eq!(network.conclusions(), [(0, 6), (1, 0), (2, 0)]);
}

/// Right after all have moved to one mean, the sums of two nodes can have the same values, and so
/// the same name.
#[test]
fn nodes_that_have_come_to_the_same_values_are_all_in_the_mean() {
    let mut network = Network::new(setting(4, Mode::Sync, local_sgd(), 6));
    network.stand_still();
    network.run(Duration::from_secs(10));
    let means = followed(&network, 2, Duration::ZERO);
    assert!(means.len() > 10, "{means:?}");
    network.finish();
    network.run(LIMIT + Duration::from_secs(10));
    let expected = [(0, 8), (1, 0), (2, 0), (3, 0)];
    assert_eq!(network.conclusions(), expected);
}

/// The clock is the run's: a returning node begins at the greatest value that it receives.
#[test]
fn who_comes_back_begins_where_the_clock_of_the_run_is() {
    for mode in [Mode::Sync, Mode::Async] {
        let mut network = trained(mode);
        assert_eq!(network.began_at(2), Some(Duration::ZERO));
        network.kill(2);
        network.trained(0, Duration::from_millis(61_500));
        network.trained(1, Duration::from_secs(40));
        network.run(Duration::from_secs(5));
        network.start(2);
        network.run(Duration::from_secs(5));
        let told = Some(Duration::from_millis(61_500));
        assert_eq!(network.began_at(2), told, "{mode:?}");
        // Even if none of the nodes that trained for so long is left.
        network.kill(0);
        network.kill(1);
        network.run(Duration::from_secs(5));
        network.start(1);
        network.run(Duration::from_secs(5));
        assert_eq!(network.began_at(1), told, "{mode:?}");
    }
}

/// The first node to leave does not count as lost to those that are about to leave.
#[test]
fn a_node_that_is_done_loses_nobody() {
    let mut network = trained(Mode::Sync);
    network.finish();
    network.run(LIMIT + Duration::from_secs(10));
    assert!((0..4).all(|node| network.may_leave(node)));
    network.kill(0);
    network.run(Duration::from_secs(10));
    let is_loss = |event: &Event| matches!(event, Event::NodeLost { .. });
    let mut events = network.history.iter().map(|(_, _, event)| event);
    assert!(!events.any(is_loss));
}
