//! `launch`: all nodes on this machine by one command.

use super::cluster::{ENDLESS, Node};
use super::program::{PROGRAM, Runs, SMOKE, run};

fn launch(runs: &Runs, name: &str, set: &[&str]) -> super::program::Ran {
    let train = runs.arguments(SMOKE, name, set);
    run(["launch", "--nodes", "2"]
        .into_iter()
        .map(String::from)
        .chain(train))
}

#[test]
fn launch_trains_all_nodes_and_says_which_speaks() {
    let runs = Runs::new();
    let printed = launch(&runs, "both", &["workers.count=1"]).well();
    for node in [1, 2] {
        let run = runs.get(&format!("both/node-{node}"));
        assert_eq!(run.summary()["end"], "budget");
        let line = format!("node {node} | {}", run.path.display());
        assert!(
            printed.lines().any(|printed| printed.starts_with(&line)),
            "{printed}"
        );
    }
}

#[test]
fn a_wrong_config_is_said_once() {
    let runs = Runs::new();
    let ran = launch(&runs, "wrong", &["method.local_pull=2"]);
    ran.failed(
        2,
        "--set: method.local_pull 2 is not in [0, 1]; give a number from 0 to 1",
    );
}

#[test]
fn the_code_is_that_of_the_first_node_that_failed() {
    let runs = Runs::new();
    std::fs::create_dir_all(runs.path().join("taken/node-2")).unwrap();
    let ran = launch(&runs, "taken", &["cluster.wait_seconds=2"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("node 2 | error: "), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("node 2 failed: exit status: 2"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("node 1 | error: node 2 did not come"),
        "{}",
        ran.stderr
    );
}

/// Who asks `launch` to stop asks its nodes, each of which keeps what it trained.
#[test]
fn a_signal_reaches_every_node() {
    let runs = Runs::new();
    let set = [&ENDLESS[..], &["workers.count=1"]].concat();
    let train = runs.arguments(SMOKE, "stopped", &set);
    let launch = [PROGRAM, "launch", "--nodes", "2"]
        .into_iter()
        .map(String::from);
    let mut launch = Node::start(0, &launch.chain(train).collect::<Vec<_>>());
    launch.hear("node 1 | step ");
    launch.hear("node 2 | step ");
    launch.signal("TERM");
    assert_eq!(launch.end(), Some(130), "{}", launch.said());
    for node in [1, 2] {
        let run = runs.get(&format!("stopped/node-{node}"));
        assert_eq!(run.summary()["end"], "interrupted");
    }
}
