//! What a node that is killed and comes back counts: the clock, the samples and the mean are the run's.

use std::fs;

use serde_json::{Value, json};

use super::cluster::{Cluster, ENDLESS};
use super::program::{Run, Runs};

/// Images in a batch of the smoke config.
const BATCH: u64 = 16;

/// A node that is killed and comes back, twice, trains no longer than the others: the time in which
/// they trained without it is the run's as well.
#[test]
fn a_budget_of_minutes_is_the_runs_whoever_is_killed() {
    let runs = Runs::new();
    let seconds = 18.0;
    let set = [
        &ENDLESS[..],
        &[
            "workers.count=1",
            "budget.minutes=0.3",
            "run.mode=async",
            "evaluate.every_steps=20",
        ],
    ]
    .concat();
    let mut cluster = Cluster::start(&runs, "budget", 3, &set);
    for node in &mut cluster.nodes {
        node.hear("; replica mean");
    }
    for _ in 0..2 {
        cluster.nodes[1].signal("KILL");
        for index in [0, 2] {
            cluster.nodes[index].hear("node 2 disconnected");
        }
        cluster.restart(2, &set);
        cluster.nodes[1].hear("; replica mean");
    }
    cluster.finish();

    for run in cluster.all_runs() {
        assert_eq!(run.summary()["end"], "budget");
        let clock = clock(&run);
        assert!((seconds..1.5 * seconds).contains(&clock), "{clock}");
    }
    let lost = cluster.run(1).events("node_lost");
    let joined = cluster.run(2).events("joined");
    assert_eq!((lost.len(), joined.len()), (2, 3));
    for (lost, joined) in lost.iter().zip(&joined[1..]) {
        let seconds = |event: &Value| event["seconds"].as_f64().unwrap();
        assert!(seconds(lost) <= seconds(joined), "{lost} {joined}");
    }
    assert_counted(&cluster.run(2));
    assert_eq!(means(&cluster), [Some(3), None, None]);
}

/// The node that would evaluate the mean of all is dead.
#[test]
fn the_mean_of_the_survivors_is_evaluated() {
    let runs = Runs::new();
    let set = [
        &ENDLESS[..],
        &[
            "workers.count=1",
            "budget.minutes=0.2",
            "evaluate.every_steps=20",
        ],
    ]
    .concat();
    let mut cluster = Cluster::start(&runs, "survivors", 3, &set);
    for node in &mut cluster.nodes {
        node.hear("; replica mean");
    }
    cluster.nodes[0].signal("KILL");
    cluster.nodes.remove(0);
    cluster.finish();
    assert_eq!(means(&cluster), [None, Some(2), None]);
}

/// A node whose own records say that the budget is almost used up ends soon after it has come back,
/// and so does one that learns it from there. They wait for the node that trains on, and take the
/// mean without it when it disconnects.
#[test]
fn the_clock_is_read_back_and_told() {
    let runs = Runs::new();
    let set = [&ENDLESS[..], &["workers.count=1"]].concat();
    let mut cluster = Cluster::start(&runs, "told", 3, &set);
    for node in &mut cluster.nodes {
        node.hear("; replica mean");
    }
    for number in [2, 3] {
        cluster.nodes[number - 1].signal("KILL");
        cluster.nodes[0].hear(&format!("node {number} disconnected"));
        if number == 2 {
            let line = json!({
                "kind": "interval", "step": 1, "steps": 0, "seconds": 1799.5, "loss": 1.0,
                "worker": { "node": 1, "worker": 0 }, "learning_rate": 0.1,
            });
            let path = cluster.run(2).join("metrics.jsonl");
            let mut metrics = fs::read_to_string(&path).unwrap();
            // What the killed process began to write.
            metrics.truncate(metrics.rfind('\n').unwrap() + 1);
            fs::write(path, format!("{metrics}{line}\n")).unwrap();
        }
        cluster.restart(number, &set);
        cluster.nodes[number - 1].hear("; replica mean");
    }
    let mut first = cluster.nodes.remove(0);
    first.hear("; replica mean");
    first.signal("INT");
    assert_eq!(first.end(), Some(130), "{}", first.said());
    cluster.finish();
    assert!(clock(&cluster.run(1)) < 900.0);
    for number in [2, 3] {
        let clock = clock(&cluster.run(number));
        assert!((1800.0..1900.0).contains(&clock), "{clock}");
    }
    assert_eq!(means(&cluster), [None, Some(2), None]);
}

/// What a node counts is of all its incarnations, and what it does in a second of the last.
#[test]
fn counters_survive_a_life() {
    let runs = Runs::new();
    for mode in ["run.mode=sync", "run.mode=async"] {
        let set = [&ENDLESS[..], &["workers.count=2", mode]].concat();
        let mut cluster = Cluster::start(&runs, mode, 2, &set);
        for node in &mut cluster.nodes {
            node.hear("; replica mean");
        }
        cluster.nodes[1].signal("KILL");
        cluster.nodes[0].hear("node 2 disconnected");
        cluster.nodes[0].hear("; replica mean");
        cluster.restart(2, &set);
        cluster.nodes[1].hear("; replica mean");
        cluster.stop();
        (1..=2).for_each(|number| assert_counted(&cluster.run(number)));

        let summary = cluster.run(2).summary();
        let incarnation = &summary["nodes"]["incarnation"];
        let samples = |of: &Value| of["samples"].as_u64().unwrap();
        assert!(0 < samples(incarnation) && samples(incarnation) < samples(&summary));
        let rate = samples(incarnation) as f64 / incarnation["training_seconds"].as_f64().unwrap();
        let told = summary["samples_per_second"].as_f64().unwrap();
        assert!((told / rate - 1.0).abs() < 1e-9, "{told}, not {rate}");
        let evaluations = cluster.run(2).metrics("evaluation");
        let errors = evaluations.iter().flat_map(|evaluation| {
            let of = |name: &str| evaluation[name]["error"].as_f64();
            [
                evaluation["leader"]["test"]["error"].as_f64(),
                of("replica_mean"),
            ]
        });
        let best = errors.flatten().reduce(f64::min);
        assert_eq!(summary["best"]["value"].as_f64(), best);
    }
}

/// The last seconds of a run's records, which never go back.
#[track_caller]
fn clock(run: &Run) -> f64 {
    let last = ["metrics.jsonl", "events.jsonl"].map(|name| {
        let mut last = 0.0;
        for line in run.lines(name) {
            let seconds = line["seconds"].as_f64().unwrap();
            assert!(seconds >= last, "{name}: {seconds} after {last}: {line}");
            last = seconds;
        }
        last
    });
    last[0].max(last[1])
}

/// Checks that a node's summary and its evaluations count what its records say.
#[track_caller]
fn assert_counted(run: &Run) {
    let mut steps = 0;
    for line in run.lines("metrics.jsonl") {
        match line["kind"].as_str().unwrap() {
            "interval" => steps += line["steps"].as_u64().unwrap(),
            _ => assert_eq!(line["samples"], BATCH * steps, "{line}"),
        }
    }
    let mut exchanges = run.events("exchange");
    exchanges.retain(|event| event["scope"] == "local");
    let bytes = exchanges.iter().map(|event| event["bytes"].as_u64());
    let summary = run.summary();
    assert_eq!(summary["samples"], BATCH * steps);
    assert_eq!(summary["exchange"]["count"], exchanges.len());
    assert_eq!(
        summary["exchange"]["bytes"].as_u64(),
        bytes.sum::<Option<u64>>()
    );
}

/// For each node, how many workers are in the mean of all that it evaluated.
fn means(cluster: &Cluster) -> Vec<Option<u64>> {
    let mean_of = |run: Run| {
        if !run.join("summary.json").exists() {
            return None;
        }
        let summary = run.summary();
        let workers = summary["nodes"]["workers_in_mean"].as_u64();
        let error = summary["test"]["mean_of_all_nodes"]["error"].as_f64();
        assert_eq!(workers.is_some(), error.is_some(), "{summary}");
        workers
    };
    cluster.all_runs().into_iter().map(mean_of).collect()
}
