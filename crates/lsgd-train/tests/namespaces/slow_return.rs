//! A node behind a slow link that comes back to a run.

use serde_json::Value;

use super::cluster::Cluster;
use super::global_exchanges;
use super::network::Network;
use super::program::Runs;

/// 77,000 parameters: more than a second at 2 Mbit/s, in which others that are near each other hold
/// two rounds or more.
const NEAR: [&str; 8] = [
    "run.mode=sync",
    "model.width=16",
    "workers.count=1",
    "method.local_period=16",
    "method.global_period=48",
    "evaluate.every_steps=192",
    "budget.minutes=30",
    "cluster.insecure=true",
];

pub fn a_node_behind_a_slow_link_takes_part_again() {
    let network = Network::of(&[3]);
    network.shape_node(3, "2mbit", "50ms").unwrap();
    let runs = Runs::new();
    let mut cluster = Cluster::at(&runs, "return", network.places()).started(&NEAR);
    cluster.nodes[2].hear("test error");
    cluster.nodes[2].signal("KILL");
    cluster.nodes[0].hear("node 3 is gone");
    for _ in 0..4 {
        cluster.nodes[0].hear("test error");
    }
    cluster.restart(3, &NEAR);
    // Each time it has taken part in four rounds more.
    for _ in 0..2 {
        cluster.nodes[2].hear("test error");
    }
    // What comes later is of a cluster that is being stopped: whoever still fetches a leader's parameters
    // when its node ends may have to follow the next best.
    let [its, theirs] = [3, 1].map(|number| cluster.run(number).events_so_far());
    cluster.stop();

    let joined = |event: &&Value| event["event"] == "joined";
    let last = its.iter().rfind(joined).unwrap();
    assert!(last["bytes"].as_u64() > Some(0), "{last}");
    let began = last["step"].as_u64().unwrap() / 48;
    let (its, theirs) = (followed(&its, began), followed(&theirs, began));
    // One of the two may be a round ahead.
    let both = its.len().min(theirs.len());
    assert!(both >= 4, "{its:?} {theirs:?}");
    assert_eq!(
        its[..both],
        theirs[..both],
        "it follows the same in every round"
    );
}

/// Whom a node followed after a round.
fn followed(events: &[Value], round: u64) -> Vec<(u64, &Value)> {
    let after = global_exchanges(events).filter(|(number, _)| *number > round);
    after.collect()
}
