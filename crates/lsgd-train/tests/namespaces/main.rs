//! Nodes of one run with a network between them: each in a Linux network namespace of its own, on
//! links that are slow, lose packets and are cut.
//!
//! That takes root, iproute2 and a kernel with bridges and traffic shaping. Without these every
//! test says so and is skipped.

use cluster::Node;

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

/// Waits until a node has said this of all of `others`, in any order.
#[track_caller]
fn hear_of(node: &mut Node, others: &[usize], what: &str) {
    let mut missing = others.to_vec();
    while !missing.is_empty() {
        let line = node.hear(what);
        missing.retain(|other| !line.starts_with(&format!("node {other} {what}")));
    }
}
