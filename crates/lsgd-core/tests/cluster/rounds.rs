//! Runs in which nothing goes wrong.

use std::time::Duration;

use lsgd_core::{Mode, Source, WireFormat};

use crate::network::Network;
use crate::setting::{
    best, check_elections, followed, leader_mean, leaders, local_sgd, lsgd, setting, staying,
};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn in_sync_every_node_follows_the_same_vector_in_every_round() {
    for nodes in [2, 3, 8, 64] {
        for (method, wire) in [
            (lsgd(), WireFormat::F32),
            (lsgd(), WireFormat::Bf16),
            (staying(), WireFormat::F32),
            (local_sgd(), WireFormat::F32),
            (leader_mean(), WireFormat::F32),
            (leader_mean(), WireFormat::Bf16),
        ] {
            let mut network = Network::new(crate::network::Setting {
                wire,
                ..setting(nodes, Mode::Sync, method, u64::from(nodes))
            });
            network.run(MINUTE / 2);
            check_elections(&network);
            let first = followed(&network, 0, Duration::ZERO);
            assert!(first.len() > 10, "{nodes} nodes: {} rounds", first.len());
            for node in 1..nodes {
                let other = followed(&network, node, Duration::ZERO);
                let common = first.len().min(other.len());
                assert!(first.len().abs_diff(other.len()) <= 1);
                assert_eq!(first[..common], other[..common], "node {node} of {nodes}");
            }
        }
    }
}

#[test]
fn a_mean_is_of_all_workers_of_all_nodes() {
    let mut network = Network::new(setting(5, Mode::Sync, local_sgd(), 1));
    network.run(MINUTE / 4);
    let means = followed(&network, 3, Duration::ZERO);
    assert!(!means.is_empty());
    for (_, source) in means {
        assert_eq!(source, Source::Mean { workers: 10 });
    }
}

#[test]
fn once_losses_settle_all_follow_the_best_in_both_modes() {
    for mode in [Mode::Sync, Mode::Async] {
        for nodes in [2, 7, 64] {
            let mut network = Network::new(setting(nodes, mode, lsgd(), 100 + u64::from(nodes)));
            network.run(MINUTE / 6);
            network.settle();
            network.run(MINUTE / 6);
            let since = network.now;
            network.run(MINUTE / 6);
            check_elections(&network);
            let best = best(&network, 0..nodes).into_iter().collect();
            for node in 0..nodes {
                assert_eq!(
                    leaders(&network, node, since),
                    best,
                    "{mode:?}, node {node}"
                );
            }
        }
    }
}

/// A leader's parameters go to each other node once a round, and to none twice.
#[test]
fn a_vector_crosses_once_to_every_other_node() {
    let mut network = Network::new(setting(6, Mode::Sync, lsgd(), 3));
    network.settle();
    network.run(MINUTE / 2);
    let rounds: usize = (0..6)
        .map(|node| followed(&network, node, Duration::ZERO).len())
        .sum();
    let own = (0..6).map(|node| {
        let led = followed(&network, node, Duration::ZERO).into_iter();
        led.filter(|(_, s)| matches!(s, Source::Worker { id, .. } if id.node == node))
            .count()
    });
    assert_eq!(network.sent.vectors as usize, rounds - own.sum::<usize>());
}
