//! Two nodes of two workers, each a run of its own, over loopback.

use std::path::Path;
use std::thread;

use lsgd_run::RunError;
use lsgd_run::train::Outcome;

use super::toy::{Toy, endpoints, node, run};

fn train(folder: &Path, tasks: [Toy; 2]) -> Vec<Result<Outcome, RunError>> {
    let endpoints = endpoints(2);
    let nodes = (1..).zip(tasks).map(|(number, task)| {
        let settings = node(folder, number, &endpoints);
        thread::spawn(move || run(task, settings))
    });
    let nodes: Vec<_> = nodes.collect();
    nodes.into_iter().map(|node| node.join().unwrap()).collect()
}

#[test]
fn nodes_follow_one_leader_and_one_of_them_scores_the_mean_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let outcomes = train(folder.path(), [Toy::default(), Toy::default()]);
    let summaries: Vec<_> = outcomes.into_iter().map(|o| o.unwrap().summary).collect();
    let scored = |summary: &&lsgd_run::storage::Summary| summary.test.mean_of_all_nodes.is_some();
    assert_eq!(summaries.iter().filter(scored).count(), 1);
    for summary in &summaries {
        assert_eq!(summary.steps, 40);
        let nodes = summary.nodes.as_ref().unwrap();
        assert_eq!(nodes.nodes, 2);
        assert!(nodes.traffic.peers.values().any(|peer| !peer.is_empty()));
    }
}
