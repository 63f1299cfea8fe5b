//! A link that is slow and loses packets.

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

pub fn a_lossy_slow_link_only_delays() {
    let network = Network::of(&[2]);
    network.shape("2mbit", "200ms").unwrap();
    network.lose(0.02).unwrap();
    let runs = Runs::new();
    let mut near = Cluster::start(&runs, "near", 2, &SHORT);
    near.finish();
    let mut far = Cluster::at(&runs, "far", network.places()).started(&SHORT);
    far.finish();

    assert_eq!(far.digests(), near.digests());
    for node in [1, 2] {
        assert!(network.sent_again(node) > 0, "node {node} lost nothing");
        let lost = far.run(node).events("node_lost");
        assert!(lost.is_empty(), "{lost:?}");
    }
}
