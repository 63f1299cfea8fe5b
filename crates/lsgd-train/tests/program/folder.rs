//! A run is a folder: its files, and what stands in them.

use serde_json::{Value, json};

use super::live::Live;
use super::program::{Runs, SMOKE};

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

/// Reading JSON may round a number's last bit.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * b.abs()
}

#[test]
fn its_files_are_those_of_the_design() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "files", &[]);
    let expected = [
        "checkpoints/",
        "checkpoints/step-16/",
        "checkpoints/step-16/mean.safetensors",
        "checkpoints/step-16/state.json",
        "checkpoints/step-16/state.safetensors",
        "checkpoints/step-16/worker-0.optimizer.bpk",
        "checkpoints/step-16/worker-0.safetensors",
        "checkpoints/step-16/worker-1.optimizer.bpk",
        "checkpoints/step-16/worker-1.safetensors",
        "config.toml",
        "events.jsonl",
        "metrics.jsonl",
        "report.html",
        "run.json",
        "summary.json",
    ];
    assert_eq!(run.files(), expected);
}

#[test]
fn run_json_says_where_it_comes_from() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "origin", &["run.seed=7", "workers.count=3"]);
    let record = run.json("run.json");
    assert_eq!(record["format"], 1);
    assert_eq!(record["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(record["burn"], "0.22.1");
    assert_eq!(record["seed"], 7);
    assert_eq!(record["devices"], json!(["flex", "flex", "flex"]));
    assert!(record.as_object().unwrap().contains_key("commit"));
    for key in ["os", "architecture"] {
        assert!(record["machine"][key].is_string(), "{record}");
    }
    assert!(record["machine"]["threads"].as_u64().unwrap() > 0);
    for digest in [&record["agreement"]["the data"], &record["layout"]] {
        assert_eq!(digest.as_str().unwrap().len(), 64, "{record}");
    }
    // RFC 3339 in UTC compares as text.
    let (start, end) = (
        record["start"].as_str().unwrap(),
        record["end"].as_str().unwrap(),
    );
    assert!(start <= end && start.ends_with('Z'), "{record}");
    let first = start.as_bytes();
    assert!(
        first.len() == 20 && first[4] == b'-' && first[10] == b'T',
        "{start}"
    );
}

#[test]
fn summary_json_adds_up() {
    let runs = Runs::new();
    let set = [
        "workers.count=3",
        "budget.steps=20",
        "evaluate.every_steps=5",
    ];
    let run = runs.train(SMOKE, "sums", &set);
    let summary = run.summary();
    assert_eq!(summary["method"], "lsgd");
    assert_eq!(summary["workers"], 3);
    assert_eq!(summary["end"], "budget");
    assert_eq!(summary["steps"], 20);
    assert_eq!(summary["samples"], 20 * 3 * 16);
    assert_eq!(number(&summary["epochs"]), 960.0 / 512.0);
    assert_eq!(summary["digests"].as_array().unwrap().len(), 3);

    let (all, training) = (
        number(&summary["seconds"]),
        number(&summary["training_seconds"]),
    );
    assert!(0.0 < training && training < all, "{summary}");
    let rate = number(&summary["samples_per_second"]);
    assert!(same(rate, 960.0 / training), "{summary}");
    let exchange = &summary["exchange"];
    for seconds in [
        &exchange["seconds"],
        &exchange["wait_seconds"],
        &summary["data_wait_seconds"],
    ] {
        assert!((0.0..training).contains(&number(seconds)), "{summary}");
    }
    assert!(exchange["count"].is_u64() && exchange["bytes"].is_u64());

    // Its errors are those of the last evaluation, which its digests belong to.
    let evaluations = run.metrics("evaluation");
    let last = evaluations.last().unwrap();
    let errors = &summary["test"];
    assert_eq!(errors["leader"], last["leader"]["test"]);
    assert_eq!(errors["replica_mean"], last["replica_mean"]);
    let workers = last["workers"].as_array().unwrap();
    let sum: f64 = workers
        .iter()
        .map(|worker| number(&worker["test"]["error"]))
        .sum();
    assert!(
        same(number(&errors["worker_mean"]["error"]), sum / 3.0),
        "{summary}"
    );
    for (worker, digest) in workers.iter().zip(summary["digests"].as_array().unwrap()) {
        assert_eq!(&worker["digest"], digest);
    }

    // The best of all evaluations, and the first that was so good.
    let best_of = |line: &Value| {
        number(&line["replica_mean"]["error"]).min(
            line["leader"]["test"]["error"]
                .as_f64()
                .unwrap_or(f64::INFINITY),
        )
    };
    let best = evaluations
        .iter()
        .map(best_of)
        .fold(f64::INFINITY, f64::min);
    assert_eq!(number(&summary["best"]["value"]), best);
    let step = evaluations
        .iter()
        .find(|line| best_of(line) == best)
        .unwrap();
    assert_eq!(summary["best"]["step"], step["step"]);
}

#[test]
fn metrics_tell_of_every_worker_and_every_evaluation() {
    let runs = Runs::new();
    let run = runs.train(
        SMOKE,
        "metrics",
        &["budget.steps=24", "evaluate.every_steps=12"],
    );
    for line in run.lines("metrics.jsonl") {
        for key in ["kind", "step", "seconds"] {
            assert!(!line[key].is_null(), "{line}");
        }
    }
    let evaluations = run.metrics("evaluation");
    let steps: Vec<&Value> = evaluations.iter().map(|line| &line["step"]).collect();
    assert_eq!(steps, [12, 24]);
    for line in &evaluations {
        let step = line["step"].as_u64().unwrap();
        assert_eq!(line["samples"], step * 2 * 16);
        assert_eq!(number(&line["epoch"]), step as f64 / 16.0);
        let workers = line["workers"].as_array().unwrap();
        assert!(workers.contains(&line["leader"]), "{line}");
        for (number_of, worker) in workers.iter().enumerate() {
            assert_eq!(worker["worker"], json!({"node": 0, "worker": number_of}));
            number(&worker["training_loss"]);
            number(&worker["test"]["loss"]);
        }
        // The leader is the one with the lowest training loss.
        let losses = workers
            .iter()
            .map(|worker| number(&worker["training_loss"]));
        let lowest = losses.fold(f64::INFINITY, f64::min);
        assert_eq!(number(&line["leader"]["training_loss"]), lowest);
    }
    for worker in 0..2 {
        let mut intervals = run.metrics("interval");
        intervals.retain(|line| line["worker"]["worker"] == worker);
        // Every tenth step, and at every pause.
        let steps: Vec<&Value> = intervals.iter().map(|line| &line["step"]).collect();
        assert_eq!(steps, [10, 12, 22, 24]);
        assert!(intervals.iter().all(|line| line["learning_rate"] == 0.05));
    }
}

/// A process that is killed loses no line, whether it was ever evaluated or not.
#[test]
fn lines_are_written_as_they_come() {
    let runs = Runs::new();
    // Few lines: they would fit in any buffer until the run ends with an evaluation.
    let set = [
        "budget.steps=40",
        "data.batch_size=128",
        "data.examples=4096",
        "model.width=16",
    ];
    let mut live = Live::slow(&runs.arguments(SMOKE, "lines", &set));
    let run = runs.get("lines");
    live.writes(&run.join("metrics.jsonl"));
    live.kill();
    assert!(!run.metrics("interval").is_empty());
    assert_eq!(run.metrics("evaluation"), Vec::<Value>::new());
    assert!(!run.lines("events.jsonl").is_empty());
}
