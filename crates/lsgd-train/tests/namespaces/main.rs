//! Nodes of one run with a network between them: each in a Linux network namespace of its own, on
//! links that are slow, lose packets and are cut.
//!
//! That takes root, iproute2 and a kernel with bridges and traffic shaping. Without these every
//! test says so and is skipped.

use cluster::Node;
use serde_json::Value;

#[path = "../nodes/cluster.rs"]
mod cluster;
mod halves;
mod large_snapshot;
mod lossy;
mod network;
#[allow(dead_code, reason = "nodes in namespaces have addresses of their own")]
#[path = "../program/ports.rs"]
mod ports;
#[allow(
    dead_code,
    reason = "shared with the tests of one node, which use all of it"
)]
#[path = "../program/program.rs"]
mod program;
mod slow_return;

/// The global exchanges among a node's events: their number and whose parameters each delivered.
fn global_exchanges(events: &[Value]) -> impl Iterator<Item = (u64, &Value)> {
    let global = |event: &&Value| event["event"] == "exchange" && event["scope"] == "global";
    let exchange = |event: &Value| event["exchange"].as_u64().unwrap();
    let global = events.iter().filter(global);
    global.map(move |event| (exchange(event), &event["source"]))
}

/// Waits until a node has said this of all of `others`, in any order.
#[track_caller]
fn hear_of(node: &mut Node, others: &[usize], what: &str) {
    let mut missing = others.to_vec();
    while !missing.is_empty() {
        let line = node.hear(what);
        missing.retain(|other| !line.starts_with(&format!("node {other} {what}")));
    }
}
