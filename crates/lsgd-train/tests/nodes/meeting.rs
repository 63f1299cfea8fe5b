//! How nodes find each other, and whom they refuse.

use std::net::TcpListener;

use super::cluster::{Cluster, ENDLESS, Place};
use super::program::Runs;

#[test]
fn nodes_wait_for_each_other_and_say_for_whom() {
    let runs = Runs::new();
    let set = ["budget.steps=8", "workers.count=1"];
    let mut cluster = Cluster::none(&runs, "late", 3);
    let mut first = cluster.node(1, &set);
    first.hear("waiting for nodes 2 and 3, at most 300 s");
    let second = cluster.node(2, &set);
    first.hear("waiting for node 3, at most 300 s");
    let third = cluster.node(3, &set);
    cluster.nodes = vec![first, second, third];
    cluster.finish();
}

#[test]
fn a_node_that_nobody_joins_gives_up_and_says_who_is_missing() {
    let runs = Runs::new();
    let cluster = Cluster::none(&runs, "alone", 3);
    let mut node = cluster.node(2, &["cluster.wait_seconds=1"]);
    assert_eq!(node.end(), Some(75));
    assert!(
        node.said().ends_with(
            "error: nodes 1 and 3 did not come within 1 s; start them with the same config and \
             cluster.connect, or wait longer with cluster.wait_seconds"
        ),
        "{}",
        node.said()
    );
    assert!(!cluster.run(2).path.exists());
}

#[test]
fn a_node_with_another_config_is_told_which_key_and_both_values() {
    let runs = Runs::new();
    let cluster = Cluster::none(&runs, "differs", 2);
    let mut first = cluster.node(1, &["method.local_pull=0.1"]);
    first.hear("waiting for node 2");
    let mut second = cluster.node(2, &["method.local_pull=0.2"]);
    assert_eq!(second.end(), Some(2));
    assert!(
        second
            .said()
            .contains("error: node 1 does not fit: method.local_pull is 0.2 here and 0.1"),
        "{}",
        second.said()
    );
    assert_eq!(first.end(), Some(2));
    assert!(
        first
            .said()
            .contains("method.local_pull is 0.1 here and 0.2"),
        "{}",
        first.said()
    );
}

/// Data is compared by its content, not by where it is.
#[test]
fn a_node_with_other_data_is_refused() {
    let runs = Runs::new();
    let cluster = Cluster::none(&runs, "data", 2);
    let mut first = cluster.node(1, &["data.examples=128"]);
    first.hear("waiting for node 2");
    let mut second = cluster.node(2, &["data.examples=256"]);
    assert_eq!(second.end(), Some(2));
    assert!(
        second.said().contains("data.examples is 256 here and 128"),
        "{}",
        second.said()
    );
}

/// A run that has begun is not ended by a node that does not fit.
#[test]
fn a_running_node_only_notes_a_stranger() {
    let runs = Runs::new();
    let set = [&ENDLESS[..], &["workers.count=1"]].concat();
    let mut cluster = Cluster::start(&runs, "running", 2, &set);
    for node in &mut cluster.nodes {
        node.hear("node-");
    }
    cluster.nodes[1].signal("KILL");
    cluster.nodes[0].hear("node 2 disconnected");
    let other = [&set[..], &["method.local_pull=0.9"]].concat();
    let mut stranger = cluster.node(2, &other);
    assert_eq!(stranger.end(), Some(2), "{}", stranger.said());
    assert!(
        stranger.said().contains("method.local_pull is 0.9 here"),
        "{}",
        stranger.said()
    );
    cluster.nodes[0].hear("refused: node 2 does not fit: method.local_pull");
    cluster.restart(2, &set);
    cluster.nodes[0].hear("node 2 connected");
    cluster.nodes[1].hear("node-2: ");
    cluster.stop();
}

#[test]
fn a_number_that_is_taken_is_refused() {
    let runs = Runs::new();
    let set = [&ENDLESS[..], &["workers.count=1"]].concat();
    let mut cluster = Cluster::start(&runs, "twice", 2, &set);
    for node in &mut cluster.nodes {
        node.hear("node-");
    }
    let mut second = cluster.node(2, &[&set[..], &["run.overwrite=true"]].concat());
    // The other process may end.
    assert_eq!(second.end(), Some(75), "{}", second.said());
    assert!(second.said().contains("error: "), "{}", second.said());
    cluster.stop();
}

#[test]
fn a_port_in_use_may_be_free_later() {
    let runs = Runs::new();
    let cluster = Cluster::none(&runs, "busy", 2);
    let endpoint = cluster.endpoint(2).to_owned();
    let _taken = TcpListener::bind(endpoint.strip_prefix("tcp/").unwrap()).unwrap();
    let mut node = cluster.node(2, &[]);
    assert_eq!(node.end(), Some(75));
    assert_eq!(
        node.said(),
        format!(
            "error: cluster: cannot listen on {endpoint}: Address already in use (os error 98)"
        )
    );
}

/// Nodes of two runs at the same endpoints do not meet, and each says whom it sees.
#[test]
fn a_node_of_another_run_is_named() {
    let runs = Runs::new();
    let first = Cluster::none(&runs, "a", 2);
    let places = [1, 2].map(|number| Place::on_loopback(first.endpoint(number)));
    let second = Cluster::at(&runs, "b", places.into());
    let set = ["cluster.wait_seconds=15"];
    let mut nodes = [first.node(1, &set), second.node(2, &set)];
    for (node, own, other) in [(0, "a", "b"), (1, "b", "a")] {
        let sees = format!(
            "a node of another run is at these endpoints: run.name is \"{own}\" here and \"{other}\" \
             there"
        );
        nodes[node].hear(&sees);
        assert_eq!(nodes[node].end(), Some(2));
        let missing = 2 - node;
        let error = format!("error: node {missing} did not come within 15 s; {sees}");
        assert!(
            nodes[node].said().ends_with(&error),
            "{}",
            nodes[node].said()
        );
    }
}
