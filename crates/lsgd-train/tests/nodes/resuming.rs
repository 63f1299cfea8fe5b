//! All nodes of a run die at once, and the same commands continue it.

use std::fs;

use serde_json::Value;

use super::cluster::{Cluster, Node, kill_at_once};
use super::program::Runs;

/// With pulls at every step, and checkpoints between exchanges.
const SET: [&str; 9] = [
    "run.mode=sync",
    "run.overwrite=false",
    "data.examples=8192",
    "budget.steps=160",
    "evaluate.every_steps=40",
    "checkpoint.every_steps=3",
    "checkpoint.keep=1",
    "method.local_period=4",
    "method.global_period=8",
];

/// Waits until every node has progressed: see `Run::wait_for_progress`.
fn wait_for_progress(cluster: &Cluster, times: usize, steps: u64) {
    for run in cluster.all_runs() {
        run.wait_for_progress(times, steps);
    }
}

fn kill_all(cluster: &mut Cluster) {
    let pids: Vec<u32> = cluster.nodes.iter().map(Node::pid).collect();
    kill_at_once(&pids);
    for node in &mut cluster.nodes {
        assert_eq!(node.end(), None);
    }
}

fn restart_all(cluster: &mut Cluster, set: &[&str]) {
    for number in 1..=cluster.nodes.len() {
        cluster.restart(number, set);
    }
}

/// Killed at the same moment, the nodes have checkpoints of different steps: they continue from the
/// last exchange after which all of them have one.
fn all_continue(set: &[&str]) {
    let runs = Runs::new();
    let set = [&SET[..], set].concat();
    let mut whole = Cluster::start(&runs, "whole", 3, &set);
    whole.finish();
    let mut killed = Cluster::none(&runs, "killed", 3)
        .resuming()
        .slow()
        .started(&set);
    for times in 0..3 {
        // Two rounds, so that all have a checkpoint after the next: nodes that continue from where they
        // did before replace what they recorded since, the event `resumed` too.
        wait_for_progress(&killed, times, 16);
        kill_all(&mut killed);
        killed.is_slow = times < 2;
        restart_all(&mut killed, &set);
    }
    killed.finish();
    assert_eq!(killed.digests(), whole.digests());
    for (killed, whole) in killed.all_runs().iter().zip(whole.all_runs()) {
        assert_eq!(killed.timeless_metrics(), whole.timeless_metrics());
        assert_eq!(killed.events("resumed").len(), 3);
    }
    let mean = |cluster: &Cluster| {
        let means = cluster.all_runs().into_iter();
        let means = means.map(|run| run.summary()["test"]["mean_of_all_nodes"].clone());
        means.collect::<Vec<Value>>()
    };
    assert_eq!(mean(&killed), mean(&whole));
}

#[test]
fn a_leader_method_continues_with_the_same_bits() {
    all_continue(&[
        "method.local_prox=0.1",
        "method.global_prox=0.2",
        "method.margin=0.02",
        "average.ema_decay=0.9",
        "average.window=3",
    ]);
}

#[test]
fn an_averaging_method_continues_with_the_same_bits() {
    all_continue(&["method.name=diloco"]);
}

/// With what they have not sent of their changes.
#[test]
fn a_method_that_sends_changes_continues_with_the_same_bits() {
    all_continue(&["method.name=local_sgd", "cluster.wire=topk"]);
}

#[test]
fn shared_gradients_continue_with_the_same_bits() {
    let set: Vec<&str> = SET[..7].to_vec();
    let runs = Runs::new();
    let set = [&set[..], &["method.name=data_parallel", "budget.steps=60"]].concat();
    let mut whole = Cluster::start(&runs, "whole", 2, &set);
    whole.finish();
    let mut killed = Cluster::none(&runs, "killed", 2)
        .resuming()
        .slow()
        .started(&set);
    wait_for_progress(&killed, 0, 7);
    kill_all(&mut killed);
    killed.is_slow = false;
    restart_all(&mut killed, &set);
    killed.finish();
    assert_eq!(killed.digests(), whole.digests());
}

/// In `async` every node continues where it was, and they exchange again.
#[test]
fn nodes_of_an_async_run_continue() {
    let runs = Runs::new();
    let set = [&SET[..], &["run.mode=async"]].concat();
    let mut killed = Cluster::none(&runs, "killed", 3)
        .resuming()
        .slow()
        .started(&set);
    wait_for_progress(&killed, 0, 1);
    kill_all(&mut killed);
    killed.is_slow = false;
    restart_all(&mut killed, &set);
    killed.finish();
    for run in killed.all_runs() {
        let resumed = run.events("resumed");
        assert_eq!(resumed.len(), 1, "{resumed:?}");
        let at = resumed[0]["step"].as_u64().unwrap();
        assert!(at > 0);
        let exchanged = run
            .events("exchange")
            .into_iter()
            .any(|event| event["scope"] == "global" && event["step"].as_u64().unwrap() > at);
        assert!(exchanged);
    }
}

/// The disk of one node is new: the others continue, and it joins them.
#[test]
fn a_node_that_has_lost_its_run_joins_the_others() {
    let runs = Runs::new();
    let mut cluster = Cluster::none(&runs, "lost", 3).resuming().started(&SET);
    // After an exchange, from which a node can join.
    wait_for_progress(&cluster, 0, 17);
    kill_all(&mut cluster);
    fs::remove_dir_all(&cluster.run(2).path).unwrap();
    restart_all(&mut cluster, &SET);
    cluster.finish();
    for number in [1, 3] {
        assert_eq!(cluster.run(number).events("resumed").len(), 1);
    }
    let joined = cluster.run(2).events("joined");
    assert!(joined[0]["step"].as_u64() > Some(0), "{joined:?}");
    assert!(cluster.run(2).events("resumed").is_empty());
}

/// Two nodes begin anew where the third has a run to continue: they join it, and nothing is lost.
#[test]
fn nodes_that_begin_anew_join_one_that_continues() {
    let runs = Runs::new();
    let mut cluster = Cluster::none(&runs, "mixed", 3).resuming().started(&SET);
    wait_for_progress(&cluster, 0, 17);
    kill_all(&mut cluster);
    for number in [1, 2] {
        fs::remove_dir_all(&cluster.run(number).path).unwrap();
    }
    let anew = Cluster::at(&runs, "mixed", cluster.take_places()).patient();
    let mut nodes = vec![anew.node(1, &SET), anew.node(2, &SET)];
    let anew = anew.resuming();
    nodes.push(anew.node(3, &SET));
    for node in &mut nodes {
        assert_eq!(node.end(), Some(0), "{}", node.said());
    }
    assert_eq!(anew.run(3).events("resumed").len(), 1);
    for number in [1, 2] {
        let joined = anew.run(number).events("joined");
        assert!(joined[0]["step"].as_u64() > Some(0), "{joined:?}");
    }
}

/// Two of three nodes continue; later one of those that had left comes back, with a new one.
#[test]
fn the_number_of_nodes_may_change() {
    let runs = Runs::new();
    let mut three = Cluster::none(&runs, "changing", 3).resuming().started(&SET);
    wait_for_progress(&three, 0, 17);
    kill_all(&mut three);
    let mut two = Cluster::none(&runs, "changing", 2).resuming().started(&SET);
    two.finish();
    let said = two.nodes[0].said();
    let change =
        "cluster.nodes is 2, was 3: batches are dealt out anew, and a new node joins the others";
    assert!(said.contains(change), "{said}");
    let set = [&SET[..], &["budget.steps=320"]].concat();
    let mut four = Cluster::none(&runs, "changing", 4).resuming().started(&set);
    four.finish();
    for number in [1, 2] {
        assert_eq!(four.run(number).events("resumed").len(), 2);
    }
    for number in [3, 4] {
        let joined = four.run(number).events("joined");
        let last = joined.last().unwrap();
        assert!(last["step"].as_u64() >= Some(152), "{joined:?}");
        assert!(
            !last["source"].is_null(),
            "it begins with parameters of the run: {last}"
        );
        assert_eq!(four.run(number).summary()["steps"], 320);
    }
}
