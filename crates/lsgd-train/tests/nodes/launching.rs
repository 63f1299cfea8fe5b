//! `launch`: all nodes on this machine by one command.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, ENDLESS, LIMIT, Node, PATIENT, kill_at_once, wait_for_the_end};
use super::program::{PROGRAM, Runs, SMOKE, run};

fn launch(runs: &Runs, name: &str, set: &[&str]) -> super::program::Ran {
    let train = runs.arguments(SMOKE, name, &[&[PATIENT], set].concat());
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

/// The other node ends too, at once, and all that is said is why.
#[test]
fn one_node_that_cannot_start_ends_all_with_its_reason() {
    let runs = Runs::new();
    // Someone else's, as far as can be known.
    let taken = runs.path().join("taken/node-2");
    fs::create_dir_all(&taken).unwrap();
    fs::write(taken.join("config.toml"), "").unwrap();
    let ran = launch(&runs, "taken", &["cluster.wait_seconds=3600"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let errors: Vec<&&str> = lines
        .iter()
        .filter(|line| line.contains("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{}", ran.stderr);
    assert!(errors[0].starts_with("node 2 | error: "), "{}", ran.stderr);
    for line in [
        "node 1 | stopped before the end",
        "node 2 failed: exit status: 2",
        "node 1 was stopped",
    ] {
        assert!(lines.contains(&line), "{}", ran.stderr);
    }
    assert!(!runs.path().join("taken/node-1").exists());
}

/// Its page is about what the nodes train, whose places only the launch knows.
#[test]
fn a_config_that_names_its_nodes_can_be_shown() {
    let runs = Runs::new();
    let set = ["cluster.nodes=2", "workers.count=1"];
    let launch = ["launch", "--nodes", "2", "--serve", "127.0.0.1:0"].map(String::from);
    let arguments = launch
        .into_iter()
        .chain(runs.arguments(SMOKE, "shown", &set));
    let ran = run(arguments);
    assert!(
        ran.stderr.contains("shown: watch at http://127.0.0.1:"),
        "{}",
        ran.stderr
    );
    ran.well();
}

#[test]
fn places_that_launch_gives_are_not_to_be_set() {
    let runs = Runs::new();
    for (set, key) in [
        ("cluster.node=2", "cluster.node"),
        ("cluster.listen=tcp/127.0.0.1:7447", "cluster.listen"),
        ("cluster.connect=tcp/127.0.0.1:7447", "cluster.connect"),
    ] {
        let set = match set.split_once("=tcp/") {
            Some((key, endpoint)) => format!("{key}=[\"tcp/{endpoint}\"]"),
            None => set.to_owned(),
        };
        let set = match key {
            "cluster.connect" => vec![set.as_str(), "cluster.listen=[\"tcp/127.0.0.1:7448\"]"],
            _ => vec![set.as_str()],
        };
        launch(&runs, "placed", &set).failed(
            2,
            &format!(
                "launch gives each node its number and endpoints on loopback; leave {key} out"
            ),
        );
    }
}

/// Nodes of an endless run, launched as `name`, once both train.
fn launched(runs: &Runs, name: &str) -> Node {
    let set = [&ENDLESS[..], &["workers.count=1"]].concat();
    let train = runs.arguments(SMOKE, name, &set);
    let launch = [PROGRAM, "launch", "--nodes", "2"]
        .into_iter()
        .map(String::from);
    let mut launch = Node::start(0, &launch.chain(train).collect::<Vec<_>>());
    // The first evaluation of each node.
    let mut missing = vec!["node 1 | step ", "node 2 | step "];
    while !missing.is_empty() {
        let line = launch.hear(" | step ");
        missing.retain(|start| !line.starts_with(start));
    }
    launch
}

/// It joins the others in its own folder, and the launch ends as if nothing had happened.
#[test]
fn a_node_that_is_killed_is_started_again() {
    let runs = Runs::new();
    let own = ["workers.count=1", "budget.minutes=0.3"];
    let train = runs.arguments(SMOKE, "again", &[&ENDLESS[..], &own].concat());
    let launch = [PROGRAM, "launch", "--nodes", "2", "--restarts", "2"].map(String::from);
    let mut launch = Node::start(0, &[&launch[..], &train].concat());
    for _ in [1, 2] {
        launch.hear("; replica mean");
    }
    let is_second = |process: &u32| {
        let command = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
        command.split('\0').any(|word| word == "2/2")
    };
    let second: Vec<u32> = launch.children().into_iter().filter(is_second).collect();
    assert_eq!(second.len(), 1);
    let process = second[0].to_string();
    let killed = Command::new("kill").args(["-KILL", &process]).status();
    assert!(killed.unwrap().success());
    let line = "node 2 failed: signal: 9 (SIGKILL); starting it again in 0.5 s (1 of 2)";
    assert_eq!(launch.hear("starting it again"), line);
    launch.hear("node 1 | node 2 connected");
    launch.hear("node 2 | step ");
    assert_eq!(launch.end(), Some(0), "{}", launch.said());
    assert_eq!(launch.said().matches("node 2 failed").count(), 1);
    for node in [1, 2] {
        let run = runs.get(&format!("again/node-{node}"));
        assert_eq!(run.summary()["end"], "budget");
    }
    let joined = runs.get("again/node-2").events("joined");
    assert!(joined.len() >= 2, "its folder holds both of its lives");
    assert!(joined[1]["source"]["worker"].is_object(), "{}", joined[1]);
}

/// All nodes are killed at once: the launch starts them again, and they continue together.
#[test]
fn nodes_that_are_all_killed_continue() {
    let runs = Runs::new();
    let set = [
        "run.mode=sync",
        "budget.steps=400",
        "evaluate.every_steps=40",
        "checkpoint.every_steps=5",
        PATIENT,
    ];
    let arguments = |name: &str| {
        let launch = [PROGRAM, "launch", "--nodes", "2", "--restarts", "3"].map(String::from);
        [&launch[..], &runs.arguments(SMOKE, name, &set)].concat()
    };
    let mut whole = Node::start(0, &arguments("whole"));
    assert_eq!(whole.end(), Some(0), "{}", whole.said());
    let mut launch = Node::start(0, &arguments("killed"));
    for _ in [1, 2] {
        launch.hear("; replica mean");
    }
    let nodes = launch.children();
    assert_eq!(nodes.len(), 2);
    kill_at_once(&nodes);
    assert_eq!(launch.end(), Some(0), "{}", launch.said());
    for node in ["node-1", "node-2"] {
        let [killed, whole] = ["killed", "whole"].map(|run| runs.get(&format!("{run}/{node}")));
        assert_eq!(killed.events("resumed").len(), 1);
        assert_eq!(killed.digests(), whole.digests());
    }
}

/// A refusal is final, whatever restarts are left.
#[test]
fn a_node_that_is_refused_is_not_started_again() {
    let runs = Runs::new();
    let taken = runs.path().join("taken/node-2");
    fs::create_dir_all(&taken).unwrap();
    fs::write(taken.join("config.toml"), "").unwrap();
    let train = runs.arguments(SMOKE, "taken", &["cluster.wait_seconds=3600"]);
    let launch = ["launch", "--nodes", "2", "--restarts", "9"].map(String::from);
    let ran = run(launch.iter().chain(&train));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(!ran.stderr.contains("again"), "{}", ran.stderr);
}

/// A run of other nodes than the one before of its name leaves nothing of it beside its own, and
/// everything that is not a run's.
#[test]
fn a_run_of_other_nodes_takes_the_place_of_all() {
    let runs = Runs::new();
    let folder = runs.get("nodes").path;
    let there = || -> Vec<String> {
        let all = (0..4).map(|n| match n {
            0 => String::new(),
            n => format!("node-{n}/"),
        });
        let own = |place: &String| folder.join(format!("{place}run.json")).exists();
        all.filter(own).collect()
    };
    let train = runs.arguments(SMOKE, "nodes", &["workers.count=1", "budget.steps=4"]);
    let all = |nodes: &str| {
        let words = ["launch", "--nodes", nodes].map(String::from);
        run(words.iter().chain(&train)).well();
    };
    all("3");
    assert_eq!(there(), ["node-1/", "node-2/", "node-3/"]);
    let notes = folder.join("node-3/NOTES.md");
    fs::write(&notes, "worth keeping").unwrap();
    all("2");
    assert_eq!(there(), ["node-1/", "node-2/"]);
    run(&train).well();
    assert_eq!(there(), [""]);
    all("2");
    assert_eq!(there(), ["node-1/", "node-2/"]);
    assert_eq!(fs::read_to_string(&notes).unwrap(), "worth keeping");
    let left = fs::read_dir(folder.join("node-3")).unwrap();
    assert_eq!(left.count(), 1);
}

/// Nodes in training, with `launch` alive or not, keep their folders: the same command again, or a
/// run of one node, is told which process has them.
#[test]
fn folders_of_nodes_that_train_are_taken() {
    let runs = Runs::new();
    let set = [&ENDLESS[..], &["workers.count=1"]].concat();
    let mut cluster = Cluster::start(&runs, "taken", 2, &set);
    for node in &mut cluster.nodes {
        node.hear("; replica mean");
    }
    let again = launch(&runs, "taken", &set);
    assert_eq!(again.code, Some(75), "{}", again.stderr);
    for node in [1, 2] {
        let folder = cluster.run(node).path;
        let text = format!(
            "node {node} | error: {} is being written to by process ",
            folder.display()
        );
        assert!(again.stderr.contains(&text), "{}", again.stderr);
    }
    let alone = runs.start(SMOKE, "taken", &[]);
    let text = format!(
        "error: {} is being written to by process ",
        runs.get("taken").path.display()
    );
    assert!(alone.stderr.starts_with(&text), "{}", alone.stderr);
    cluster.stop();
}

/// Who asks `launch` to stop asks its nodes, each of which keeps what it trained.
#[test]
fn a_signal_reaches_every_node() {
    let runs = Runs::new();
    for signal in ["TERM", "INT"] {
        let mut launch = launched(&runs, signal);
        launch.signal(signal);
        assert_eq!(launch.end(), Some(130), "{}", launch.said());
        let said = launch.said();
        for node in [1, 2] {
            assert!(
                said.contains(&format!("\nnode {node} was stopped")),
                "{said}"
            );
            let run = runs.get(&format!("{signal}/node-{node}"));
            assert_eq!(run.summary()["end"], "interrupted");
        }
        assert!(!said.contains("failed"), "{said}");
    }
}

/// Nodes do not train on unseen: another launch of the run would write to the same folders.
#[test]
fn nodes_stop_when_their_launcher_is_gone() {
    let runs = Runs::new();
    for signal in ["KILL", "HUP"] {
        let mut launch = launched(&runs, signal);
        let nodes = launch.children();
        assert_eq!(nodes.len(), 2);
        launch.signal(signal);
        launch.end();
        nodes.into_iter().for_each(wait_for_the_end);
        for node in [1, 2] {
            let run = runs.get(&format!("{signal}/node-{node}"));
            assert_eq!(run.summary()["end"], "interrupted");
        }
    }
}

/// So does a process that asks it for a checkpoint; they continue.
#[test]
fn a_checkpoint_can_be_asked_of_every_node() {
    let runs = Runs::new();
    let own = ["workers.count=1", "evaluate.every_steps=100000000"];
    let set = [&ENDLESS[..], &own].concat();
    let train = runs.arguments(SMOKE, "saved", &set);
    let launch = [PROGRAM, "launch", "--nodes", "2"]
        .into_iter()
        .map(String::from);
    let mut launch = Node::start(0, &launch.chain(train).collect::<Vec<_>>());
    for _ in [1, 2] {
        launch.hear("parameters");
    }
    launch.signal("USR1");
    for node in [1, 2] {
        let events = runs.get(&format!("saved/node-{node}")).join("events.jsonl");
        let began = Instant::now();
        let read = || fs::read_to_string(&events).unwrap_or_default();
        let is_saved = || read().contains("\"checkpoint\"");
        while !is_saved() {
            assert!(began.elapsed() < LIMIT, "{}", launch.said());
            thread::sleep(Duration::from_millis(20));
        }
    }
    launch.signal("HUP");
    assert_eq!(launch.end(), Some(130), "{}", launch.said());
    for node in [1, 2] {
        let run = runs.get(&format!("saved/node-{node}"));
        let written = run.events("checkpoint");
        let steps: Vec<&serde_json::Value> = written.iter().map(|line| &line["step"]).collect();
        assert_eq!(steps.len(), 2, "{steps:?}");
        assert_eq!(steps[1], &run.summary()["steps"]);
    }
}

/// Each node's plane is through a worker and its leader; the leader of all is the same for both.
#[test]
fn the_loss_around_a_nodes_workers() {
    let runs = Runs::new();
    let set = ["workers.count=3", "budget.steps=19"];
    launch(&runs, "both", &set).well();
    let both = runs.get("both").path.display().to_string();
    let command = |folder: &str| run(["landscape", folder, "--size", "5"]);
    command(&both).failed(
        1,
        &format!("{both}: a run of several nodes; give the folder of one, such as {both}/node-1"),
    );
    let leaders = ["node-1", "node-2"].map(|node| {
        let folder = format!("{both}/{node}");
        command(&folder).well();
        let json = runs.get(&format!("both/{node}")).json("landscape.json");
        let points = json["points"].as_array().unwrap();
        assert_eq!(points.iter().filter(|p| p["spans"] == true).count(), 3);
        let is_global = |point: &&serde_json::Value| point["name"] == "global-leader";
        let global = points.iter().find(is_global).unwrap();
        // What the exchange at step 16 delivered.
        assert_eq!(global["step"], 16);
        ["node", "worker", "step", "score"].map(|key| global[key].clone())
    });
    assert_eq!(leaders[0], leaders[1]);
}
