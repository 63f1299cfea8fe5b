//! `events.jsonl`: every election with its reason, every exchange, every adoption.

use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::program::{Run, Runs, SMOKE};

/// Bytes of a model's parameters and running statistics: four each.
fn model_bytes(run: &Run) -> u64 {
    let file = run.export("worker-0");
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let bytes = tensors
        .iter()
        .map(|(_, view)| view.data().len() as u64)
        .sum();
    assert!(bytes > 4 * run.json("run.json")["parameters"].as_u64().unwrap());
    bytes
}

fn exchange(run: &Run) -> (u64, u64) {
    let exchange = run.summary()["exchange"].clone();
    let number = |key: &str| exchange[key].as_u64().unwrap();
    (number("count"), number("bytes"))
}

fn keys(line: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = line
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

/// Worker numbers 0 to `workers`, without `leader`.
fn all_but(leader: &Value, workers: u64) -> Vec<u64> {
    (0..workers)
        .filter(|worker| json!(worker) != leader["worker"])
        .collect()
}

#[test]
fn an_exchange_of_lsgd_has_an_election_and_adoptions_by_all_others() {
    let runs = Runs::new();
    let set = [
        "workers.count=3",
        "budget.steps=24",
        "method.local_pull=0.25",
    ];
    let run = runs.train(SMOKE, "lsgd", &set);
    let (elections, exchanges) = (run.events("election"), run.events("exchange"));
    let adoptions = run.events("adoption");

    // Local period 4, loss window 4: an exchange every fourth step, from the first on.
    let steps: Vec<u64> = exchanges
        .iter()
        .map(|e| e["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [4, 8, 12, 16, 20, 24]);
    let bytes = model_bytes(&run);
    assert_eq!(exchange(&run), (6, 6 * bytes));

    for (number, (exchange, election)) in exchanges.iter().zip(&elections).enumerate() {
        let step = &exchange["step"];
        assert_eq!(exchange["exchange"], json!(number + 1));
        assert_eq!(exchange["vector"], "parameters");
        assert_eq!(exchange["workers"], 3);
        assert_eq!(exchange["bytes"], json!(bytes));

        let leader = &election["leader"];
        assert_eq!(&election["step"], step);
        assert_eq!(election["excluded"], json!([]));
        let reason = &election["reason"]["lowest_loss"];
        assert!(reason["loss"].as_f64().unwrap() < reason["next"].as_f64().unwrap());
        assert_eq!(
            exchange["source"],
            json!({"worker": {"id": leader, "step": step}})
        );

        let of_step = adoptions
            .iter()
            .filter(|adoption| &adoption["step"] == step);
        let mut adopters: Vec<u64> = Vec::new();
        for adoption in of_step {
            assert_eq!(adoption["source"], exchange["source"]);
            assert_eq!(adoption["strength"], 0.25);
            assert_eq!(adoption["staleness"], 0);
            adopters.push(adoption["worker"]["worker"].as_u64().unwrap());
        }
        adopters.sort_unstable();
        assert_eq!(adopters, all_but(leader, 3));
    }
    assert_eq!((elections.len(), adoptions.len()), (6, 12));
}

#[test]
fn nobody_leads_before_a_loss_window_is_full() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "window", &["method.loss_window=8", "budget.steps=8"]);
    let elections = run.events("election");
    assert_eq!(elections.len(), 2);
    assert_eq!(elections[0]["leader"], Value::Null);
    assert_eq!(elections[0]["reason"], "none_eligible");
    let filling = json!({"window_not_full": {"have": 4, "need": 8}});
    let id = |worker: u32| json!({"node": 0, "worker": worker});
    assert_eq!(
        elections[0]["excluded"],
        json!([[id(0), filling], [id(1), filling]])
    );
    assert_eq!(exchange(&run).0, 1);
}

#[test]
fn local_sgd_sends_every_workers_parameters_and_all_adopt_the_mean() {
    let runs = Runs::new();
    let set = ["workers.count=3", "method.name=local_sgd"];
    let run = runs.train(SMOKE, "mean", &set);
    let exchanges = run.events("exchange");
    let count = exchanges.len() as u64;
    assert!(count > 0);
    assert_eq!(exchange(&run), (count, count * 3 * model_bytes(&run)));
    for exchange in &exchanges {
        assert_eq!(exchange["vector"], "mean");
        assert_eq!(exchange["source"], json!({"mean": {"workers": 3}}));
    }
    let adoptions = run.events("adoption");
    assert_eq!(adoptions.len() as u64, 3 * count);
    assert!(adoptions.iter().all(|adoption| adoption["strength"] == 1.0));
    assert!(run.events("election").is_empty());
}

#[test]
fn an_async_run_completes_and_records_who_adopted_what_how_late() {
    let runs = Runs::new();
    let set = ["run.mode=async", "workers.count=3", "budget.steps=40"];
    let run = runs.train(SMOKE, "async", &set);
    let summary = run.summary();
    assert_eq!(
        (&summary["end"], &summary["steps"]),
        (&json!("budget"), &json!(40))
    );
    assert_eq!(summary["samples"], 40 * 3 * 16);

    let exchanges = run.events("exchange");
    let count = exchanges.len() as u64;
    assert!(count > 0);
    assert_eq!(exchange(&run), (count, count * model_bytes(&run)));
    let elections = run.events("election");
    assert!(
        elections
            .iter()
            .all(|election| !election["reason"].is_null())
    );
    let led: Vec<&Value> = elections
        .iter()
        .map(|election| &election["leader"])
        .collect();

    let adoptions = run.events("adoption");
    assert!(!adoptions.is_empty());
    for adoption in &adoptions {
        assert!(adoption["staleness"].is_u64(), "{adoption}");
        let source = &adoption["source"]["worker"];
        assert!(exchanges.iter().any(|e| e["source"]["worker"] == *source));
        assert!(led.contains(&&source["id"]));
        assert_ne!(source["id"], adoption["worker"], "a leader adopts nothing");
    }
    // serde_json writes NaN as null.
    for line in run.metrics("interval") {
        assert!(line["loss"].is_f64(), "{line}");
    }
    for score in ["leader", "replica_mean", "worker_mean"] {
        assert!(summary["test"][score]["error"].is_f64(), "{summary}");
    }
}

#[test]
fn lines_have_the_keys_the_design_names() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "keys", &[]);
    for line in run.lines("events.jsonl") {
        for key in ["event", "step", "seconds"] {
            assert!(keys(&line).contains(&key), "{line}");
        }
    }
    let first = |event: &str| run.events(event)[0].clone();
    assert_eq!(
        keys(&first("election")),
        [
            "event", "excluded", "leader", "reason", "scope", "seconds", "step"
        ]
    );
    assert_eq!(
        keys(&first("exchange")),
        [
            "bytes",
            "event",
            "exchange",
            "scope",
            "seconds",
            "source",
            "staleness",
            "step",
            "vector",
            "workers"
        ]
    );
    assert_eq!(
        keys(&first("adoption")),
        [
            "event",
            "scope",
            "seconds",
            "source",
            "staleness",
            "step",
            "strength",
            "worker"
        ]
    );
    let checkpoints = run.events("checkpoint");
    let newest = checkpoints.last().unwrap();
    assert_eq!(keys(newest), ["event", "path", "seconds", "step"]);
    let path = newest["path"].as_str().unwrap();
    assert!(run.join(path).join("state.json").is_file(), "{path}");
}
