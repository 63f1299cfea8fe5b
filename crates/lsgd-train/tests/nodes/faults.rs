//! Nodes that die, freeze and come back.

use std::fs;

use super::cluster::{Cluster, ENDLESS};
use super::program::{Runs, write_images};

fn endless<'a>(set: &[&'a str]) -> Vec<&'a str> {
    ENDLESS.iter().chain(set).copied().collect()
}

/// Whichever node is killed, the first included, the others continue, and it comes back to its own
/// folder with the run's parameters, at the run's step.
#[test]
fn a_killed_node_comes_back_with_the_same_command() {
    let runs = Runs::new();
    for (mode, victim) in [("sync", 1), ("sync", 3), ("async", 1), ("async", 2)] {
        let name = format!("{mode}-{victim}");
        let mode_is = format!("run.mode={mode}");
        let set = endless(&["workers.count=1", &mode_is]);
        let mut cluster = Cluster::start(&runs, &name, 3, &set);
        for node in &mut cluster.nodes {
            node.hear("; replica mean");
        }
        let gone = format!("node {victim} disconnected");
        let back = format!("node {victim} connected");
        cluster.nodes[victim - 1].signal("KILL");
        let survivors: Vec<usize> = (0..3).filter(|index| index + 1 != victim).collect();
        for &index in &survivors {
            cluster.nodes[index].hear(&gone);
        }
        cluster.restart(victim, &set);
        for &index in &survivors {
            cluster.nodes[index].hear(&back);
        }
        cluster.nodes[victim - 1].hear("node-");
        // It trains again.
        cluster.train_on();
        cluster.stop();

        let run = cluster.run(victim);
        let joined = run.events("joined");
        // More than twice if the others had moved on again before it trained.
        assert!(
            joined.len() >= 2,
            "{mode}: its folder holds both of its lives"
        );
        assert!(joined[0]["source"].is_null());
        assert!(
            joined[1]["step"].as_u64() > Some(0),
            "{mode}: {}",
            joined[1]
        );
        assert!(
            joined[1]["source"]["worker"].is_object(),
            "{mode}: {}",
            joined[1]
        );
        let lines = run.lines("events.jsonl");
        let again = lines
            .iter()
            .rposition(|event| event["event"] == "joined")
            .unwrap();
        let takes_part =
            |event: &&serde_json::Value| event["event"] == "exchange" && event["scope"] == "global";
        assert!(
            lines[again..].iter().any(|event| takes_part(&event)),
            "{mode}"
        );
        for &index in &survivors {
            let lost = cluster.run(index + 1).events("node_lost");
            assert_eq!(lost[0]["node"], victim - 1, "{mode}");
            assert_eq!(lost[0]["why"], "disconnected", "{mode}");
            cluster.assert_volume(index + 1);
        }
    }
}

/// In `sync` a node that was frozen finds the others ahead, and begins again where they are.
#[test]
fn a_frozen_node_begins_again_where_the_others_are() {
    let runs = Runs::new();
    let usual_silence = "cluster.silence_seconds=1.25";
    let set = endless(&["workers.count=1", "run.mode=sync", usual_silence]);
    let mut cluster = Cluster::start(&runs, "frozen", 3, &set);
    for node in &mut cluster.nodes {
        node.hear("node-");
    }
    cluster.nodes[0].signal("STOP");
    for node in &mut cluster.nodes[1..] {
        node.hear("node 1 disconnected");
        // They take steps without it.
        node.hear("; replica mean");
    }
    cluster.nodes[0].signal("CONT");
    cluster.nodes[0].hear("the other nodes have moved on to step");
    for node in &mut cluster.nodes[1..] {
        node.hear("node 1 connected");
    }
    cluster.train_on();
    cluster.stop();
    (1..=3).for_each(|number| cluster.assert_volume(number));
    let joined = cluster.run(1).events("joined");
    // More than once if the others had moved on again before they knew that it was back.
    assert!(joined.len() >= 2);
    assert!(joined[1]["source"]["worker"].is_object(), "{}", joined[1]);
}

/// Gradients are no starting point: a node of a data parallel run that died is told so. The others
/// continue.
#[test]
fn a_killed_node_of_a_data_parallel_run_cannot_come_back() {
    let runs = Runs::new();
    let set = endless(&["workers.count=1", "method.name=data_parallel"]);
    let mut cluster = Cluster::start(&runs, "gradients", 3, &set);
    for node in &mut cluster.nodes {
        node.hear("node-");
    }
    cluster.nodes[1].signal("KILL");
    cluster.nodes[0].hear("node 2 disconnected");
    cluster.restart(2, &set);
    assert_eq!(
        cluster.nodes[1].end(),
        Some(1),
        "{}",
        cluster.nodes[1].said()
    );
    assert!(
        cluster.nodes[1].said().contains(
            "error: the other nodes train already, and with data_parallel nothing that they \
             exchange is a place to begin at"
        ),
        "{}",
        cluster.nodes[1].said()
    );
    cluster.nodes.remove(1);
    for node in &mut cluster.nodes {
        node.hear("; replica mean");
    }
    cluster.stop();
}

/// A node's training is kept when something ends it, and the others are told that it leaves.
#[test]
fn a_node_that_fails_keeps_what_it_trained_and_the_others_go_on() {
    let runs = Runs::new();
    let [good, bad] = ["good", "bad"].map(|name| {
        let images = runs.path().join("images").join(name);
        write_images(&images);
        (format!("data.folder={}", images.display()), images)
    });
    let image = bad.1.join("val/cat/0.png");
    let length = fs::read(&image).unwrap().len();
    // To others it is the same data.
    fs::write(&image, vec![0; length]).unwrap();
    let set = [
        "data.name=folder",
        "data.batch_size=1",
        "model.width=1",
        "workers.count=1",
        "budget.steps=200",
        "evaluate.every_steps=100",
    ];
    let mut cluster = Cluster::none(&runs, "failing", 2);
    for (number, (folder, _)) in [(1, &good), (2, &bad)] {
        let set = [&set[..], &[folder.as_str()]].concat();
        let node = cluster.node(number, &set);
        cluster.nodes.push(node);
    }
    let [one, two] = &mut cluster.nodes[..] else {
        unreachable!("two were started");
    };
    assert_eq!(two.end(), Some(1), "{}", two.said());
    let said = two.said();
    assert!(
        said.contains("saved what 1 of 1 worker had trained: "),
        "{said}"
    );
    assert!(
        said.contains("0.png cannot be decoded as an image"),
        "{said}"
    );
    assert_eq!(one.end(), Some(0), "{}", one.said());
    assert_eq!(cluster.run(1).summary()["steps"], 200);
    assert!(!cluster.run(2).join("summary.json").exists());
    let state = cluster.run(2).json("checkpoints/step-100/state.json");
    assert_eq!(state["steps"], serde_json::json!([100]));
    assert_eq!(state["broken_off"], true);
}
