//! A node behind a slow link that comes back to a run.

use super::cluster::Cluster;
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

#[test]
fn a_node_behind_a_slow_link_takes_part_again() {
    let Some(network) = Network::of(&[3]) else {
        return;
    };
    network.shape_node(3, "2mbit", "50ms");
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
    cluster.stop();

    let run = cluster.run(3);
    let events = run.lines("events.jsonl");
    let joined = |event: &&serde_json::Value| event["event"] == "joined";
    let last = events.iter().rfind(joined).unwrap();
    let after = events.iter().skip_while(|event| *event != last);
    let rounds = after.filter(|event| event["event"] == "exchange" && event["scope"] == "global");
    let rounds: Vec<u64> = rounds.map(|e| e["exchange"].as_u64().unwrap()).collect();
    let began = last["step"].as_u64().unwrap() / 48;
    assert!(last["bytes"].as_u64() > Some(0), "{last}");
    assert!(rounds.len() >= 4, "{rounds:?}");
    let expected: Vec<u64> = (began + 1..).take(rounds.len()).collect();
    assert_eq!(
        rounds, expected,
        "it took part in every round since it began"
    );
}
