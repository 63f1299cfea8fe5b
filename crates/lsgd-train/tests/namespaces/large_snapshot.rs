//! Deaths beside a transfer that fills the links.

use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::hear_of;
use super::network::{Link, Network};
use super::program::Runs;

/// 61 MB of parameters, offered at the first step: two others fetch them for more than a minute and
/// a half at 10 Mbit/s.
const LARGE: [&str; 15] = [
    "run.mode=sync",
    "model.name=vgg16",
    // Nothing diverges, however long it trains.
    "schedule.learning_rate=0.0001",
    "data.shape=[3, 32, 32]",
    "data.examples=64",
    "data.batch_size=2",
    "method.local_period=1",
    "method.global_period=1",
    "method.loss_window=1",
    "workers.count=1",
    "evaluate.every_steps=1000000",
    "evaluate.examples=2",
    "budget.minutes=30",
    "cluster.insecure=true",
    "cluster.silence_seconds=2.5",
];

/// A number of bytes that only parameters reach so soon.
const UNDER_WAY: u64 = 3_000_000;

/// In which a node that is cut off is noticed on the busiest machine: three times as long as a silent
/// link is kept, and more. At what Zenoh is set to by itself it would take ten seconds.
const NOTICED: Duration = Duration::from_secs(9);

/// Nothing that nodes say of each other waits behind the parameters, and a link that is dead while
/// it is full of them holds up no other.
pub fn a_dead_node_is_noticed_in_time_beside_a_large_snapshot() {
    let network = Network::of(&[3]);
    network.shape("10mbit", "50ms").unwrap();
    let runs = Runs::new();
    let mut cluster = Cluster::at(&runs, "large", network.places()).started(&LARGE);
    let leader = network.await_sent(&[1, 2, 3], UNDER_WAY);
    let followers: Vec<usize> = (1..=3).filter(|node| *node != leader).collect();
    let [first, second] = followers[..] else {
        unreachable!("three nodes");
    };

    network.set_node(first, Link::Down);
    let noticed = [
        (leader, &[first][..]),
        (second, &[first]),
        (first, &[leader, second]),
    ];
    noticed_in_time(&mut cluster, &noticed);
    // What the other one fetches comes on all the same.
    network.await_sent(&[leader], UNDER_WAY);

    network.set_node(first, Link::Up);
    // The one that is back too: it cannot miss later whom it has not found again.
    for (node, others) in [
        (leader, &[first][..]),
        (second, &[first]),
        (first, &[leader, second]),
    ] {
        hear_of(&mut cluster.nodes[node - 1], others, "connected");
    }

    network.set_node(leader, Link::Down);
    let noticed = [(first, &[leader][..]), (second, &[leader])];
    noticed_in_time(&mut cluster, &noticed);

    // Alone, workers never block.
    network.set_node(first, Link::Down);
    let noticed = [(first, &[second][..]), (second, &[first])];
    noticed_in_time(&mut cluster, &noticed);
    cluster.stop();
    let lost = |node| -> Vec<u64> {
        let events = cluster.run(node).events("node_lost");
        let lost = events.iter().map(|event| event["node"].as_u64().unwrap());
        lost.map(|node| node + 1).collect()
    };
    assert_eq!(lost(second), [first, leader, first].map(|n| n as u64));
    assert_eq!(lost(leader)[0], first as u64);
}

/// Asserts that nodes say that others are gone, all within [`NOTICED`] from now.
#[track_caller]
fn noticed_in_time(cluster: &mut Cluster, who: &[(usize, &[usize])]) {
    let began = Instant::now();
    for (node, others) in who {
        hear_of(&mut cluster.nodes[node - 1], others, "disconnected");
        let took = began.elapsed();
        assert!(took < NOTICED, "node {node}: {others:?} after {took:?}");
    }
}
