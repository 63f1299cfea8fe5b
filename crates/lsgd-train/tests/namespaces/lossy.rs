//! A link that is slow and loses packets, and one of two connections that dies.

use super::cluster::Cluster;
use super::network::Network;
use super::program::Runs;

/// 77,000 parameters in each of 8 exchanges.
const SHORT: [&str; 6] = [
    "run.mode=sync",
    "model.width=16",
    "workers.count=1",
    "budget.steps=32",
    "method.global_period=4",
    "cluster.insecure=true",
];

/// A packet would have to be lost five times in a row before its node is taken for dead.
const PATIENT: &str = "cluster.silence_seconds=10";

pub fn a_lossy_slow_link_only_delays() {
    let network = Network::of(&[2]);
    network.shape("2mbit", "200ms").unwrap();
    network.lose(0.02).unwrap();
    let runs = Runs::new();
    let mut near = Cluster::start(&runs, "near", 2, &SHORT);
    near.finish();
    let mut far =
        Cluster::at(&runs, "far", network.places()).started(&[&SHORT[..], &[PATIENT]].concat());
    far.finish();

    for node in [1, 2] {
        assert!(network.sent_again(node) > 0, "node {node} lost nothing");
    }
    assert_nothing_was_lost(&far, &near);
}

/// Each node connects to the other, and either connection serves. If the one in use dies, Zenoh
/// continues with the other and says nothing of what was lost with the first.
pub fn a_vector_arrives_although_the_connection_in_use_dies() {
    let network = Network::of(&[2]);
    network.shape("2mbit", "200ms").unwrap();
    let runs = Runs::new();
    let mut near = Cluster::start(&runs, "near", 2, &SHORT);
    near.finish();
    // The vectors fill the queues of these links, where keep-alives are lost too.
    let patient = [&SHORT[..], &["cluster.silence_seconds=6"]].concat();
    let mut far = Cluster::at(&runs, "far", network.places()).started(&patient);
    network.wait_for("second connection", |network| {
        (network.connections(1).len() == 2).then_some(())
    });
    // Three vectors, for which the links take longer than Zenoh waits for a handshake.
    network.await_sent(&[1, 2], 1_000_000);
    let (node, connection) = network.wait_for("vector on its way", |network| {
        let of = |node| {
            network
                .connections(node)
                .into_iter()
                .map(move |c| (node, c))
        };
        let mut all = [1, 2].into_iter().flat_map(of);
        all.find(|(_, connection)| connection.unacknowledged > 60_000)
    });
    network.cut_connection(node, connection);
    far.finish();

    assert_nothing_was_lost(&far, &near);
}

fn assert_nothing_was_lost(far: &Cluster, near: &Cluster) {
    for node in [1, 2] {
        for event in ["node_lost", "not_fetched"] {
            let lost = far.run(node).events(event);
            assert!(lost.is_empty(), "node {node}: {lost:?}");
        }
    }
    assert_eq!(far.digests(), near.digests());
}
