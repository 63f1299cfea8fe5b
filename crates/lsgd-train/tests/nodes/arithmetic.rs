//! What nodes compute together, and what it costs in bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

use super::cluster::Cluster;
use super::program::{Run, Runs, SMOKE, run};

const SHORT: [&str; 4] = [
    "budget.steps=24",
    "evaluate.every_steps=24",
    "method.loss_window=4",
    "method.batch_norm=own",
];

fn with<'a>(set: &[&'a str]) -> Vec<&'a str> {
    SHORT.iter().chain(set).copied().collect()
}

/// Two nodes of one worker do what two workers of one node do, bit for bit: then the exchange
/// between nodes is the only one there is.
#[test]
fn two_nodes_of_one_worker_have_the_bits_of_one_node_of_two() {
    let runs = Runs::new();
    for (method, local, global) in [
        ("lsgd", "method.local_pull=0.3", "method.global_pull=0.3"),
        // Whose strength is 1 in both.
        ("local_sgd", "method.loss_window=4", "method.loss_window=4"),
    ] {
        let method_is = format!("method.name={method}");
        let periods = ["method.local_period=4", "method.global_period=4"];
        let set = with(&[&method_is, periods[0], periods[1]]);
        let one = [&set[..], &["workers.count=2", local]].concat();
        let two = [&set[..], &["workers.count=1", global]].concat();
        let one = runs.train(SMOKE, &format!("one-{method}"), &one);
        let mut cluster = Cluster::start(&runs, &format!("two-{method}"), 2, &two);
        cluster.finish();
        assert_eq!(cluster.digests(), one.digests(), "{method}");
    }
}

/// Processes that speak over a network compute what one process computes that simulates them.
#[test]
fn nodes_have_the_bits_of_one_process_that_simulates_them() {
    let runs = Runs::new();
    for (name, set) in [
        (
            "lsgd",
            &["method.local_prox=0.1", "method.global_prox=0.2"][..],
        ),
        ("statistics", &["method.batch_norm=mean"]),
        ("bf16", &["cluster.wire=bf16", "method.batch_norm=leader"]),
        ("int8", &["cluster.wire=int8", "method.batch_norm=leader"]),
        (
            "adopting",
            &[
                "method.adopt=true",
                "method.adopt_spread=0.5",
                "cluster.wire=bf16",
                "optimizer.weight_decay=0.01",
                "workers.vary=[{ worker = 1, learning_rate = 0.5, weight_decay = 2.0 }]",
            ],
        ),
        ("local_sgd", &["method.name=local_sgd"]),
        ("topk", &["method.name=local_sgd", "cluster.wire=topk"]),
        ("data_parallel", &["method.name=data_parallel"]),
        ("easgd", &["method.name=easgd"]),
        ("diloco", &["method.name=diloco", "cluster.wire=int8"]),
        (
            "leader_mean",
            &["method.name=leader_mean", "method.batch_norm=mean"],
        ),
        (
            "lsgd_plus",
            &["method.name=lsgd_plus", "method.local_prox=0.2"],
        ),
        ("grawa", &["method.name=grawa"]),
        ("dppf", &["method.name=dppf", "method.push=0.05"]),
        // After 4, 8, 15 and 24 steps; over all nodes after 8 and 24.
        (
            "quadratic",
            &[
                "method.name=local_sgd",
                "schedule.kind=cosine",
                "method.quadratic_period=0.1",
            ],
        ),
        (
            "leader_filter",
            &["method.name=leader_filter", "method.filter_margin=0.02"],
        ),
        ("probe", &["method.rank_by=probe_loss", "method.margin=0.2"]),
        (
            "grawa_layers",
            &["method.name=grawa_layers", "cluster.wire=bf16"],
        ),
        ("grawa_int8", &["method.name=grawa", "cluster.wire=int8"]),
        (
            "averaged",
            &[
                "method.name=local_sgd",
                "method.batch_norm=mean",
                "cluster.wire=bf16",
            ],
        ),
    ] {
        let periods = [
            "workers.count=2",
            "method.local_period=4",
            "method.global_period=8",
        ];
        let set = [&SHORT[..], &periods, set].concat();
        as_simulated(&runs, name, &set);
    }
}

/// Of vectors with a chunk for each node: two others send that of their sum to the node that makes it, and have
/// the mean's from there.
#[test]
fn nodes_make_means_together_with_the_bits_of_one_process() {
    let runs = Runs::new();
    for (name, set, width) in [
        ("f32", &["method.name=local_sgd"][..], Some(4)),
        (
            "bf16",
            &["method.name=diloco", "cluster.wire=bf16"],
            Some(2),
        ),
        (
            "int8",
            &[
                "method.name=leader_mean",
                "method.batch_norm=mean",
                "cluster.wire=int8",
            ],
            None,
        ),
    ] {
        let large = [
            "model.width=32",
            "workers.count=2",
            "method.local_period=4",
            "method.global_period=8",
        ];
        let set = [&SHORT[..], &large, set].concat();
        let cluster = as_simulated(&runs, name, &set);
        if let Some(width) = width {
            let nodes = cluster.all_runs();
            // Of both workers, within the node.
            let bytes = nodes[0].events("exchange")[0]["bytes"].as_u64().unwrap();
            let (values, rounds) = (bytes / 8, 3);
            let crossed = total(&nodes, "mean", "received");
            // Of a node that is late the others make the chunks too; if each fetched all sums, it would be 6.
            let vectors = crossed as f64 / (rounds * width * values) as f64;
            assert!((4.0..6.0).contains(&vectors), "{name}: {vectors}");
        }
    }
}

/// Three nodes of two workers that have trained, with the digests of one process that simulates them.
fn as_simulated<'a>(runs: &'a Runs, name: &str, set: &[&str]) -> Cluster<'a> {
    let mut cluster = Cluster::start(runs, name, 3, set);
    cluster.finish();
    let digests = cluster.digests();
    assert_eq!(digests.len(), 6);
    let simulated = simulate(runs, &format!("simulated-{name}"), set, 3);
    assert_eq!(digests, simulated.digests(), "{name}");
    cluster
}

fn simulate(runs: &Runs, name: &str, set: &[&str], nodes: u32) -> Run {
    let nodes = format!("simulate.nodes={nodes}");
    let set = [set, &[&nodes]].concat();
    let arguments = runs.arguments(SMOKE, name, &set);
    run([String::from("simulate")].into_iter().chain(arguments)).well();
    runs.get(name)
}

#[test]
fn in_sync_four_nodes_repeat_to_the_bit() {
    let runs = Runs::new();
    let set = with(&[
        "workers.count=2",
        "method.local_period=4",
        "method.global_period=8",
    ]);
    let digests = |name: &str| {
        let mut cluster = Cluster::start(&runs, name, 4, &set);
        cluster.finish();
        (cluster.digests(), elections(&cluster.all_runs()))
    };
    let (first, elections) = digests("first");
    assert_eq!(first.len(), 8);
    // All nodes elect the same leader in each of the three rounds.
    assert_eq!(elections[0].len(), 3);
    assert!(elections.iter().all(|of_node| *of_node == elections[0]));
    assert_eq!(digests("again"), (first, elections));
}

/// The leaders of the global elections of each node.
fn elections(nodes: &[Run]) -> Vec<Vec<Value>> {
    let leaders = |run: &Run| {
        let elections = run.events("election").into_iter();
        let global = elections.filter(|event| event["scope"] == "global");
        global.map(|event| event["leader"].clone()).collect()
    };
    nodes.iter().map(leaders).collect()
}

/// The values of each tensor of a safetensors file.
fn tensors(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let file = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let values = |bytes: &[u8]| {
        let values = bytes.chunks_exact(4);
        values
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    };
    let tensors = file.tensors().into_iter();
    tensors
        .map(|(name, tensor)| (name, values(tensor.data())))
        .collect()
}

/// The node that has scored the mean of all nodes' workers keeps it, to be evaluated and exported.
#[test]
fn the_mean_of_all_nodes_is_kept_by_the_node_that_has_scored_it() {
    let runs = Runs::new();
    let mut cluster = Cluster::start(&runs, "mean", 2, &with(&["workers.count=2"]));
    cluster.finish();
    let nodes = cluster.all_runs();
    let scored = |run: &&Run| run.summary()["test"]["mean_of_all_nodes"]["error"].is_f64();
    let (has_it, lacks_it): (Vec<_>, Vec<_>) = nodes.iter().partition(scored);
    let ([has_it], [lacks_it]) = (&has_it[..], &lacks_it[..]) else {
        panic!("{} of 2 nodes have scored it", has_it.len());
    };
    let checkpoint = has_it.join("checkpoints/step-24");
    let mean = tensors(&checkpoint.join("mean-of-all-nodes.safetensors"));
    let workers: Vec<_> = nodes
        .iter()
        .flat_map(|run| {
            [0, 1].map(|k| run.join(&format!("checkpoints/step-24/worker-{k}.safetensors")))
        })
        .map(|path| tensors(&path))
        .collect();
    // Running statistics are estimated anew.
    let trained = |name: &&String| !name.contains("running");
    assert!(mean.keys().any(|name| trained(&name)));
    for name in mean.keys().filter(trained) {
        for (index, value) in mean[name].iter().enumerate() {
            let sum: f64 = workers.iter().map(|w| f64::from(w[name][index])).sum();
            assert!(
                (f64::from(*value) - sum / 4.0).abs() < 1e-6,
                "{name} {index}"
            );
        }
    }

    let path = has_it.path.to_str().unwrap();
    let evaluated = run(["eval", path, "--which", "mean-of-all-nodes"]).well();
    let error = has_it.summary()["test"]["mean_of_all_nodes"]["error"]
        .as_f64()
        .unwrap();
    assert!(
        evaluated.contains(&format!("{error:.2}")),
        "{error}: {evaluated}"
    );
    run(["export", path, "--which", "mean-of-all-nodes"]).well();

    let path = lacks_it.path.to_str().unwrap();
    let refused = run(["eval", path, "--which", "mean-of-all-nodes"]);
    let why = format!(
        "{path}/checkpoints/step-24: it has no mean-of-all-nodes: it is saved at the end of a run of \
         several nodes, by the first node that is there then; give --which mean or --which worker-K"
    );
    refused.failed(1, &why);
}

/// A leader's parameters cross to each other node once a round, and nothing else of that size does.
#[test]
fn bytes_are_those_of_the_leaders_parameters() {
    let runs = Runs::new();
    for wire in ["f32", "bf16", "int8"] {
        let wire_is = format!("cluster.wire={wire}");
        let set = with(&[
            "workers.count=2",
            "method.local_period=4",
            "method.global_period=8",
            &wire_is,
        ]);
        let mut cluster = Cluster::start(&runs, wire, 3, &set);
        cluster.finish();
        let nodes = cluster.all_runs();
        let local = nodes[0].events("exchange")[0].clone();
        let values = local["bytes"].as_u64().unwrap() / 4;
        let vector = match wire {
            "f32" => 4 * values,
            "bf16" => 2 * values,
            _ => {
                let parameters = nodes[0].json("run.json")["parameters"].as_u64().unwrap();
                // BatchNorm's statistics cross as they are.
                parameters + parameters.div_ceil(32) + 4 * (values - parameters)
            }
        };
        let rounds = 3;
        assert_eq!(total(&nodes, "parameters", "sent"), rounds * 2 * vector);
        assert_eq!(total(&nodes, "parameters", "received"), rounds * 2 * vector);
        // One node evaluates the mean of all.
        assert_eq!(total(&nodes, "evaluation", "sent"), 2 * vector);
        assert!(total(&nodes, "report", "sent") < 4 * values);
        let evaluated = nodes
            .iter()
            .filter(|run| run.summary()["test"]["mean_of_all_nodes"]["error"].is_f64());
        assert_eq!(evaluated.count(), 1);

        let rounding = nodes[0].events("proposed")[0]["rounding"].clone();
        let range = match wire {
            "f32" => None,
            "bf16" => Some(1e-5..4e-3),
            _ => Some(1e-3..3e-2),
        };
        match range {
            Some(range) => assert!(range.contains(&rounding.as_f64().unwrap()), "{rounding}"),
            None => assert!(rounding.is_null()),
        }
    }
}

fn total(nodes: &[Run], kind: &str, way: &str) -> u64 {
    let of_node = |run: &Run| {
        let summary = run.summary();
        let peers = summary["nodes"]["traffic"]["peers"].as_object().unwrap();
        let flows = peers
            .values()
            .filter_map(|peer| peer.get(kind)?[way].as_u64());
        flows.sum::<u64>()
    };
    nodes.iter().map(of_node).sum()
}

#[test]
fn in_async_nodes_follow_each_other() {
    let runs = Runs::new();
    let set = with(&[
        "run.mode=async",
        "budget.steps=400",
        "workers.count=1",
        "method.local_period=4",
        "method.global_period=8",
    ]);
    let mut cluster = Cluster::start(&runs, "async", 2, &set);
    cluster.finish();
    for (node, run) in cluster.all_runs().into_iter().enumerate() {
        let adoptions = run.events("adoption");
        let followed = adoptions.iter().filter(|event| {
            event["scope"] == "global" && event["source"]["worker"]["id"]["node"] != node
        });
        let led = run
            .events("election")
            .into_iter()
            .filter(|event| event["scope"] == "global" && event["leader"]["node"] == node);
        assert!(followed.count() + led.count() > 0);
        assert_eq!(run.summary()["end"], "budget");
    }
}

/// Each node's centre is visited by the others.
#[test]
fn in_async_centres_of_nodes_meet() {
    let runs = Runs::new();
    let set = with(&[
        "run.mode=async",
        "method.name=easgd",
        "workers.count=2",
        "method.local_period=4",
        "method.global_period=8",
        "budget.steps=3000",
    ]);
    let mut cluster = Cluster::start(&runs, "centres", 2, &set);
    cluster.finish();
    for run in cluster.all_runs() {
        let exchanges = run.events("exchange");
        for scope in ["local", "global"] {
            let visits: Vec<_> = exchanges.iter().filter(|e| e["scope"] == scope).collect();
            assert!(visits.len() > 5, "{scope}: {}", visits.len());
            assert!(visits.iter().all(|event| event["vector"] == "centre"));
        }
    }
}
