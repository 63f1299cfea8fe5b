//! `lsgd-train simulate`: the real run's bits, and a clock that counts what was asked for.

use serde_json::Value;

use super::program::{Ran, Run, Runs, SMOKE, run};

/// As a run, `simulate`d.
fn start(runs: &Runs, name: &str, set: &[&str]) -> Ran {
    let arguments = runs.arguments(SMOKE, name, set);
    run([String::from("simulate")].into_iter().chain(arguments))
}

#[track_caller]
fn simulate(runs: &Runs, name: &str, set: &[&str]) -> Run {
    start(runs, name, set).well();
    runs.get(name)
}

/// A file's lines without the time they were written.
fn timeless(run: &Run, file: &str) -> Vec<Value> {
    let mut lines = run.lines(file);
    for line in &mut lines {
        line.as_object_mut().unwrap().remove("seconds");
    }
    // Threads adopt in any order.
    lines.sort_by_key(|line| (line["step"].as_u64(), line.to_string()));
    lines
}

#[test]
fn one_node_in_sync_has_the_bits_and_the_records_of_the_real_run() {
    let runs = Runs::new();
    let set = [
        "workers.count=3",
        "evaluate.every_steps=6",
        "budget.steps=20",
    ];
    let probe = ["method.rank_by=probe_loss", "method.margin=0.1"];
    let adopting = [
        "method.adopt=true",
        "optimizer.weight_decay=0.01",
        "workers.vary=[{ worker = 1, learning_rate = 0.5, weight_decay = 2.0 }]",
    ];
    for (method, more) in [
        ("lsgd", &[][..]),
        ("lsgd_plus", &adopting),
        ("leader_mean", &probe),
        ("data_parallel", &[]),
        ("grawa_layers", &["optimizer.name=lars"]),
    ] {
        let method_is = format!("method.name={method}");
        let set = [&set[..], &[&method_is], more].concat();
        let real = runs.train(SMOKE, &format!("real-{method}"), &set);
        let simulated = simulate(&runs, &format!("simulated-{method}"), &set);
        assert_eq!(simulated.digests(), real.digests());
        for file in ["metrics.jsonl", "events.jsonl"] {
            assert_eq!(
                timeless(&simulated, file),
                timeless(&real, file),
                "{method}"
            );
        }
        assert_eq!(simulated.summary()["test"], real.summary()["test"]);
        assert_eq!(simulated.export("mean"), real.export("mean"));
    }
}

/// In `async`, where a real run never does.
#[test]
fn whatever_happens_repeats_to_the_bit() {
    let runs = Runs::new();
    let set = [
        "run.mode=async",
        "workers.count=2",
        "simulate.nodes=3",
        "simulate.step_sigma=0.5",
        "simulate.slow_workers=1",
        "simulate.deaths=[{ worker = 2, seconds = 1.0 }, { worker = 4, seconds = 0.0 }]",
        "method.local_period=4",
        "method.global_period=8",
        "method.local_prox=0.2",
        "budget.steps=30",
        "evaluate.every_steps=7",
    ];
    let first = simulate(&runs, "first", &set);
    // Other threads compute, and each with another pool.
    let second = simulate(
        &runs,
        "second",
        &[&set[..], &["workers.threads=2"]].concat(),
    );
    for file in ["metrics.jsonl", "events.jsonl"] {
        assert_eq!(first.lines(file), second.lines(file));
    }
    assert_eq!(first.digests().len(), 4);
    let left = first.events("left");
    assert_eq!(left.len(), 2);
    assert_eq!(left[0]["worker"]["node"], 2);
    let global = |event: &&Value| event["scope"] == "global";
    let exchanges = first.events("exchange");
    assert!(exchanges.iter().filter(global).count() > 10);

    let other = simulate(&runs, "other", &[&set[..], &["run.seed=9"]].concat());
    assert_ne!(other.lines("events.jsonl"), first.lines("events.jsonl"));
}

/// A budget in epochs is of the simulated workers, and their batches are those of the simulated nodes.
#[test]
fn the_nodes_of_a_real_run_are_not_those_of_a_simulation() {
    let runs = Runs::new();
    let set = ["simulate.nodes=2", "budget.epochs=0.5"];
    let alone = simulate(&runs, "alone", &set);
    let shared = [
        "cluster.nodes=4",
        "cluster.node=3",
        "cluster.insecure=true",
        "cluster.connect=[tcp/a:1, tcp/b:1, tcp/c:1, tcp/d:1]",
    ];
    let of_four = simulate(&runs, "of-four", &[&set[..], &shared].concat());
    // Half of 512 examples, 64 a step.
    assert_eq!(alone.summary()["steps"], 4);
    assert_eq!(of_four.summary()["steps"], 4);
    assert_eq!(of_four.digests(), alone.digests());
}

/// Seconds of training by the virtual clock.
fn seconds(run: &Run) -> f64 {
    run.summary()["training_seconds"].as_f64().unwrap()
}

#[test]
fn the_clock_counts_steps_and_bytes() {
    let runs = Runs::new();
    let set = [
        "workers.count=2",
        "budget.steps=8",
        "method.local_period=4",
        "method.global_period=4",
        "simulate.step_seconds=0.25",
        "simulate.latency_seconds=0",
        "simulate.bytes_per_second=inf",
        "simulate.local_latency_seconds=0",
        "simulate.local_bytes_per_second=inf",
    ];
    let with = |name: &str, more: &[&str]| simulate(&runs, name, &[&set[..], more].concat());
    let steps = with("steps", &[]);
    assert_eq!(seconds(&steps), 8.0 * 0.25);
    // All wait for the slow one.
    let slow = ["simulate.slow_workers=1", "simulate.slow_factor=3"];
    assert_eq!(seconds(&with("slow", &slow)), 8.0 * 0.75);

    // The leader's vector to its local leader, and from there to all: of two exchanges.
    let vector = steps.events("exchange")[0]["bytes"].as_u64().unwrap();
    let a_second = format!("simulate.local_bytes_per_second={vector}");
    assert_eq!(
        seconds(&with("local", &[&a_second])),
        8.0 * 0.25 + 2.0 * 2.0
    );
    // A mean of both: everybody's there, and it back.
    let mean = with("mean", &[&a_second, "method.name=local_sgd"]);
    assert_eq!(seconds(&mean), 8.0 * 0.25 + 2.0 * 2.0);
    // A leader alone of two nodes, to the other one: a question and an answer, both with a latency.
    let a_second = format!("simulate.bytes_per_second={vector}");
    let far = [
        "simulate.nodes=2",
        "simulate.latency_seconds=0.5",
        &a_second,
    ];
    let far = with("far", &far);
    let traffic = &far.summary()["simulated"]["traffic"];
    assert_eq!(traffic["vectors"], 2);
    assert_eq!(traffic["vector_bytes"], 2 * vector);
    // At the start, and at each exchange, a status takes the latency too. The node that leads does
    // not wait for the other.
    let slower = 0.5 + 8.0 * 0.25 + 2.0 * (0.5 + 0.5 + 1.0 + 0.5);
    assert!(
        (seconds(&far) - slower).abs() < 1.0,
        "{} and {slower}",
        seconds(&far)
    );
}

/// In `sync` no worker waits for the dead.
#[test]
fn the_others_go_on_without_a_node_that_dies() {
    let runs = Runs::new();
    let set = [
        "workers.count=1",
        "simulate.nodes=3",
        "budget.steps=40",
        "method.local_period=4",
        "method.global_period=8",
        "simulate.step_seconds=0.1",
        "simulate.deaths=[{ worker = 1, seconds = 2.0 }]",
    ];
    let run = simulate(&runs, "death", &set);
    assert_eq!(run.summary()["workers"], 2);
    assert_eq!(run.summary()["steps"], 40);
    let lost = run.events("node_lost");
    // The two others notice, a lease later.
    assert_eq!(lost.len(), 2);
    for event in lost {
        assert_eq!(event["node"], 1);
        assert_eq!(event["seconds"], 2.0 + 1.25);
    }
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let runs = Runs::new();
    start(&runs, "minutes", &["budget.minutes=1"]).failed(
        2,
        "budget.minutes counts real time, which a simulation does not have; set budget.steps instead",
    );
    start(&runs, "bandwidth", &["simulate.bytes_per_second=0"]).failed(
        2,
        "--set: simulate.bytes_per_second 0 is not in [1, inf]; give a number from 1, or inf",
    );
    let dead = "simulate.deaths=[{ worker = 0, seconds = 0 }, { worker = 1, seconds = 0 }]";
    start(&runs, "dead", &["workers.count=2", dead]).failed_late(
        1,
        "no worker came to the end of the run: all of them died, or wait for each other",
    );
    start(
        &runs,
        "nobody",
        &["simulate.deaths=[{ worker = 2, seconds = 1 }]"],
    )
    .failed(
        2,
        "simulate.deaths[0].worker 2 is not among the 2 workers, counted from 0",
    );
}

/// In `async`, easgd, local_sgd and downpour: workers visit their node's centre, and centres each other.
#[test]
fn methods_with_a_centre() {
    let runs = Runs::new();
    for method in ["easgd", "local_sgd", "downpour"] {
        let method_is = format!("method.name={method}");
        let set = [
            &method_is,
            "run.mode=async",
            "workers.count=2",
            "simulate.nodes=3",
            "simulate.step_sigma=0.5",
            "simulate.deaths=[{ worker = 5, seconds = 3 }]",
            "method.local_period=4",
            "method.global_period=8",
            "method.batch_norm=own",
            "budget.steps=60",
        ];
        let run = simulate(&runs, method, &set);
        let exchanges = run.events("exchange");
        assert!(exchanges.iter().all(|event| event["vector"] == "centre"));
        let of = |scope: &str| -> Vec<&Value> {
            let fits = |event: &&Value| event["scope"] == scope;
            exchanges.iter().filter(fits).collect()
        };
        // Six workers of 60 steps come every four; the one that dies misses some.
        let local = of("local").len();
        assert!((80..=90).contains(&local), "{method}: {local}");
        assert!(of("global").len() >= 15, "{method}: {}", of("global").len());
        let adoptions = run.events("adoption");
        assert!(
            adoptions.len() + 6 >= local,
            "{method}: {}",
            adoptions.len()
        );
        assert!(
            adoptions
                .iter()
                .all(|event| event["source"]["centre"].is_object())
        );
        // Of two workers a node.
        let strength = match method {
            "easgd" => 0.43 / 2.0,
            "local_sgd" => 0.5,
            _ => 1.0,
        };
        assert!(adoptions.iter().all(|event| event["strength"] == strength));
        let again = simulate(&runs, &format!("again-{method}"), &set);
        assert_eq!(again.lines("events.jsonl"), run.lines("events.jsonl"));
        assert_eq!(again.digests(), run.digests());
    }
}

/// Without training, time and bytes are those of a run that trains. Who leads is drawn, though, and the
/// node of the leader begins the next round earlier than the others by the time that they fetch for, so waits
/// may differ by that in each of the three global rounds.
#[test]
fn what_a_run_costs_is_known_without_training() {
    let runs = Runs::new();
    let set = [
        "workers.count=2",
        "simulate.nodes=3",
        "simulate.step_sigma=0.3",
        "simulate.bytes_per_second=1e6",
        "simulate.local_bytes_per_second=1e6",
        "method.local_period=4",
        "method.global_period=8",
        "method.batch_norm=own",
        "method.loss_window=4",
        "budget.steps=24",
    ];
    for method in ["lsgd", "local_sgd", "leader_mean", "grawa_layers"] {
        let method_is = format!("method.name={method}");
        let set = [&set[..], &[&method_is]].concat();
        let trained = simulate(&runs, &format!("trained-{method}"), &set);
        let set = [&set[..], &["simulate.training=false"]].concat();
        let counted = simulate(&runs, &format!("counted-{method}"), &set);
        let of = |run: &Run, keys: [&str; 3]| {
            let value = keys.iter().fold(run.summary(), |value, key| match *key {
                "" => value,
                key => value[key].clone(),
            });
            value.as_f64().unwrap()
        };
        for keys in [
            ["training_seconds", "", ""],
            ["samples", "", ""],
            ["exchange", "bytes", ""],
            ["exchange", "wait_seconds", ""],
            ["simulated", "traffic", "vector_bytes"],
            ["simulated", "traffic", "vectors"],
        ] {
            let fetch = trained.events("exchange")[0]["bytes"].as_f64().unwrap() / 1e6;
            let (trained, counted) = (of(&trained, keys), of(&counted, keys));
            let most = match keys[1] {
                "wait_seconds" => (3.0 * fetch).max(0.01 * trained),
                _ => 0.01 * trained,
            };
            assert!(
                (trained - counted).abs() < most,
                "{method} {keys:?}: {counted}, trained {trained}"
            );
        }
        assert!(counted.summary()["test"]["leader"]["error"].is_null());
        let elections = |run: &Run| run.events("election").len();
        assert_eq!(elections(&counted), elections(&trained), "{method}");
    }
}

/// Many more workers than could be trained here; in `async` with some that die.
#[test]
fn a_thousand_workers_are_counted() {
    let runs = Runs::new();
    for mode in ["sync", "async"] {
        let mode_is = format!("run.mode={mode}");
        let set = [
            &mode_is,
            "workers.count=50",
            "simulate.nodes=20",
            "simulate.training=false",
            "simulate.step_sigma=0.3",
            "simulate.deaths=[{ worker = 7, seconds = 0.3 }, { worker = 999, seconds = 0.5 }]",
            "method.local_period=4",
            "method.global_period=8",
            "method.loss_window=4",
            "method.batch_norm=own",
            "budget.steps=16",
        ];
        let run = simulate(&runs, mode, &set);
        let summary = run.summary();
        assert_eq!(summary["workers"], 998, "{mode}");
        assert_eq!(
            summary["steps"].as_u64(),
            Some(if mode == "sync" { 15 } else { 16 })
        );
        let again = simulate(&runs, &format!("again-{mode}"), &set);
        assert_eq!(again.lines("events.jsonl"), run.lines("events.jsonl"));
    }
}
