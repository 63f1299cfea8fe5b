//! `replay` of async runs of several nodes, whose processes race each other.

use super::cluster::{Cluster, ENDLESS};
use super::program::{Runs, SMOKE, run};

#[track_caller]
fn replay(runs: &Runs, name: &str) -> String {
    let path = runs.path().join(name);
    let line = run(["replay", path.to_str().unwrap()]).well();
    assert!(line.ends_with(" compared, same digests\n"), "{line}");
    line
}

#[test]
fn nodes_are_replayed_in_one_process() {
    let runs = Runs::new();
    let set = [
        "run.mode=async",
        "budget.steps=48",
        "evaluate.every_steps=16",
        "method.global_period=8",
    ];
    for (name, nodes, more) in [
        (
            "lsgd",
            "3",
            &["method.global_prox=0.1", "cluster.wire=bf16"][..],
        ),
        (
            "adopting",
            "2",
            &[
                "method.adopt=true",
                "method.adopt_spread=0.5",
                "cluster.wire=bf16",
                "optimizer.weight_decay=0.01",
                "workers.vary=[{ worker = 1, learning_rate = 0.5, weight_decay = 2.0 }]",
            ],
        ),
        // A node visits the centre of another only while both train.
        ("easgd", "2", &["method.name=easgd", "budget.steps=400"]),
        (
            "downpour",
            "2",
            &[
                "method.name=downpour",
                "cluster.wire=int8",
                "budget.steps=400",
            ],
        ),
    ] {
        let train = runs.arguments(SMOKE, name, &[&set[..], more].concat());
        let launch = ["launch", "--nodes", nodes].map(String::from);
        run(launch.into_iter().chain(train)).well();
        let crossed: Vec<String> = (1..=nodes.parse().unwrap())
            .flat_map(|node: u32| {
                let run = runs.get(&format!("{name}/node-{node}"));
                let merged = run.events("merged");
                let mut adopted = run.events("adoption");
                adopted.retain(|event| event["scope"] == "global");
                adopted
                    .into_iter()
                    .chain(merged)
                    .map(|event| event.to_string())
            })
            .collect();
        assert!(!crossed.is_empty(), "{name}: nothing has crossed");
        replay(&runs, name);
        // A node alone says too little.
        let alone = runs.path().join(name).join("node-1");
        run(["replay", alone.to_str().unwrap()]).failed(
            1,
            &format!(
                "cannot replay {}: one node of several; give the folder of the whole run",
                alone.display()
            ),
        );
    }
}

/// Its first process was killed; the second began from what the others had.
#[test]
fn a_node_that_was_killed_and_came_back_is_replayed() {
    let runs = Runs::new();
    for (name, more) in [
        ("lsgd", &["cluster.wire=int8"][..]),
        ("downpour", &["method.name=downpour"]),
    ] {
        let set = [
            &ENDLESS[..],
            &["run.mode=async", "evaluate.every_steps=50"],
            more,
        ]
        .concat();
        let mut cluster = Cluster::start(&runs, name, 2, &set);
        for node in &mut cluster.nodes {
            node.hear("; replica mean");
        }
        cluster.nodes[1].signal("KILL");
        cluster.nodes[0].hear("node 2 disconnected");
        cluster.restart(2, &set);
        cluster.nodes[1].hear("; replica mean");
        cluster.stop();
        let joined = cluster.run(2).events("joined");
        assert_eq!(joined.len(), 2, "{name}");
        assert!(!joined[1]["source"].is_null(), "{name}: {}", joined[1]);
        replay(&runs, name);
    }
}
