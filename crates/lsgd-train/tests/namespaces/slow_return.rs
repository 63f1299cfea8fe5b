//! A node behind a slow link that comes back to a run.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::cluster::Cluster;
use super::global_exchanges;
use super::network::Network;
use super::program::{Run, Runs};

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

/// This many evaluations of the node include four rounds in which no node is lost or found, however
/// busy the machine is.
const MAX_LEN: usize = 20;

pub fn a_node_behind_a_slow_link_takes_part_again() {
    let network = Network::of(&[3]);
    network.shape_node(3, "2mbit", "50ms").unwrap();
    let runs = Runs::new();
    let mut cluster = Cluster::at(&runs, "return", network.places()).started(&NEAR);
    cluster.nodes[2].hear("; replica mean");
    cluster.nodes[2].signal("KILL");
    cluster.nodes[0].hear("node 3 disconnected");
    for _ in 0..4 {
        cluster.nodes[0].hear("; replica mean");
    }
    cluster.restart(3, &NEAR);
    // What comes once nodes are being stopped is not examined: a node that is still fetching a
    // leader's parameters when its node ends may have to follow the next best.
    let rounds = (0..MAX_LEN).find_map(|_| {
        // It has taken part in four rounds more, or in more alone.
        cluster.nodes[2].hear("; replica mean");
        let [its, theirs] = [3, 1].map(|number| so_far(&cluster.run(number)));
        let rounds = both(&followed(&its), &followed(&theirs));
        (rounds.len() >= 4).then_some(rounds)
    });
    cluster.stop();

    for (round, its, theirs) in rounds.expect("four rounds with the others") {
        assert_eq!(its, theirs, "in round {round}");
    }
    // It had nothing of its earlier incarnation.
    let again = &cluster.run(3).events("joined")[1];
    assert!(again["bytes"].as_u64() > Some(0), "{again}");
}

/// The events of a run that is going on, without a last one that is half written.
fn so_far(run: &Run) -> Vec<Value> {
    let text = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let events = whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    events.collect()
}

/// Whose parameters a node has followed, by round, since it last began, lost a node or found one
/// again; empty while it is without one.
fn followed(events: &[Value]) -> BTreeMap<u64, Value> {
    let name = |event: &Value| event["event"].as_str().map(String::from);
    let changes = ["joined", "node_lost", "node_connected", "not_fetched"];
    let is_change = |event: &Value| changes.contains(&name(event).as_deref().unwrap_or_default());
    let Some(last) = events.iter().rposition(is_change) else {
        return BTreeMap::new();
    };
    if events[last]["event"] == "node_lost" {
        return BTreeMap::new();
    }
    // The first round may have been complete before.
    let rounds = global_exchanges(&events[last..]).skip(1);
    rounds
        .map(|(round, source)| (round, source.clone()))
        .collect()
}

/// The rounds that two nodes have, with whom each followed.
fn both(one: &BTreeMap<u64, Value>, other: &BTreeMap<u64, Value>) -> Vec<(u64, Value, Value)> {
    let both = |(round, of_one): (&u64, &Value)| {
        let of_other = other.get(round)?;
        Some((*round, of_one.clone(), of_other.clone()))
    };
    one.iter().filter_map(both).collect()
}
