//! Averages beside training: a moving average of each worker, and a mean of the last replica means.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

use super::live::Live;
use super::program::{Run, Runs, SMOKE, run};
use super::repeats::assert_same;

const EMA: &str = "average.ema_decay=0.75";
const WINDOW: &str = "average.window=3";

/// Every step is kept, every second one evaluated, and the last one is none of these.
const KEPT: [&str; 5] = [
    "run.mode=sync",
    "budget.steps=11",
    "evaluate.every_steps=2",
    "checkpoint.every_steps=1",
    "checkpoint.keep=100",
];

/// The trainable values in a file of a checkpoint, or its running statistics, in order of their names.
fn values(path: &Path, statistics: bool) -> Vec<f64> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = file.names();
    names.sort_unstable();
    names.retain(|name| name.contains("running_") == statistics);
    let of = |name| {
        let tensor = file.tensor(name).unwrap();
        let values = tensor.data().chunks_exact(4);
        let value = |bytes: &[u8]| f64::from(f32::from_le_bytes(bytes.try_into().unwrap()));
        values.map(value).collect::<Vec<f64>>()
    };
    names.into_iter().flat_map(of).collect()
}

fn parameters(of: &Run, step: u64, which: &str) -> Vec<f64> {
    let path = format!("checkpoints/step-{step}/{which}.safetensors");
    values(&of.join(&path), false)
}

fn mean(vectors: &[Vec<f64>]) -> Vec<f64> {
    let count = vectors.len() as f64;
    let sums = |i: usize| vectors.iter().map(|vector| vector[i]).sum::<f64>();
    (0..vectors[0].len()).map(|i| sums(i) / count).collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let error = (found - expected).abs();
        assert!(
            error < 1e-5 * expected.abs().max(1.0),
            "{found} for {expected}"
        );
    }
}

/// What a checkpoint has, from what the checkpoints before it have.
#[test]
fn averages_are_those_of_the_steps_and_evaluations() {
    let runs = Runs::new();
    let of = runs.train(SMOKE, "run", &[&KEPT[..], &[EMA, WINDOW]].concat());
    for worker in ["worker-0", "worker-1"] {
        let average = format!("{worker}-ema");
        for step in 2..=11_u64 {
            let decay = (step as f64 / (9 + step) as f64).min(0.75);
            let before = parameters(&of, step - 1, &average);
            let own = parameters(&of, step, worker);
            let pairs = before.iter().zip(&own);
            let expected: Vec<f64> = pairs.map(|(a, x)| decay * a + (1.0 - decay) * x).collect();
            assert_close(&parameters(&of, step, &average), &expected);
            assert_ne!(before, own);
        }
    }
    for (step, window) in [
        (2, &[2][..]),
        (4, &[2, 4]),
        (8, &[4, 6, 8]),
        (11, &[8, 10, 11]),
    ] {
        let workers = ["worker-0-ema", "worker-1-ema"];
        let workers = workers.map(|worker| parameters(&of, step, worker));
        assert_close(&parameters(&of, step, "ema"), &mean(&workers));
        let means: Vec<_> = window
            .iter()
            .map(|at| parameters(&of, *at, "mean"))
            .collect();
        assert_close(&parameters(&of, step, "lawa"), &mean(&means));
        // A worker's moving average has the worker's own statistics; a mean has its own.
        let file = |which| of.join(&format!("checkpoints/step-{step}/{which}.safetensors"));
        let statistics = |which| values(&file(which), true);
        assert_eq!(statistics("worker-0-ema"), statistics("worker-0"));
        let means = ["mean", "ema", "lawa"].map(statistics);
        assert!(means[0] != means[1] && (means[0] != means[2] || step == 2));
    }
    // Nothing averages what is not evaluated.
    let files = of.files_of_checkpoint(3);
    assert!(files.contains(&String::from("worker-1-ema.safetensors")));
    assert!(
        !files
            .iter()
            .any(|file| file == "ema.safetensors" || file == "lawa.safetensors")
    );
}

/// Training has the same bits with averages and without, and without them nothing tells of them.
#[test]
fn averages_change_nothing_about_training() {
    let runs = Runs::new();
    for method in ["method.name=lsgd", "method.name=data_parallel"] {
        let set = [&KEPT[..], &[method, "run.overwrite=true"]].concat();
        let without = runs.train(SMOKE, "without", &set);
        let with = runs.train(SMOKE, "with", &[&set[..], &[EMA, WINDOW]].concat());
        assert_eq!(without.digests(), with.digests());
        for which in ["leader", "mean", "worker-1"] {
            assert!(without.export(which) == with.export(which), "{which}");
        }
        for (plain, averaged) in without
            .metrics("evaluation")
            .iter()
            .zip(with.metrics("evaluation"))
        {
            for key in ["leader", "replica_mean", "workers"] {
                assert_eq!(plain[key], averaged[key]);
            }
            for key in ["ema", "lawa"] {
                assert!(averaged[key]["error"].is_number() && plain.get(key).is_none());
            }
        }
        let of_averages = |file: &String| file.contains("ema") || file.contains("lawa");
        assert_eq!(without.files().iter().find(|file| of_averages(file)), None);
        let state = fs::read_to_string(without.join("checkpoints/step-4/state.json")).unwrap();
        for word in ["ema", "lawa", "averaged", "window"] {
            assert!(!state.contains(&format!("\"{word}\"")), "{word}: {state}");
        }
    }
}

#[track_caller]
fn assert_same_averages(first: &Run, second: &Run) {
    assert_same(first, second);
    assert_eq!(first.timeless_metrics(), second.timeless_metrics());
    for which in ["ema", "lawa", "worker-0-ema", "worker-1-ema"] {
        assert!(first.export(which) == second.export(which), "{which}");
    }
}

#[test]
fn a_killed_run_continues_with_the_same_averages() {
    let runs = Runs::new();
    let set = [
        "run.mode=sync",
        "budget.steps=600",
        "evaluate.every_steps=50",
        "checkpoint.every_steps=20",
        "average.ema_decay=0.99",
        WINDOW,
    ];
    let whole = runs.train(SMOKE, "whole", &set);
    let killed = runs.get("killed");
    let mut arguments = runs.arguments(SMOKE, "killed", &set);
    arguments.push(String::from("--resume"));
    for times in 0..3 {
        let live = Live::slow(&arguments);
        killed.wait_for_progress(times, 1);
        live.kill();
    }
    run(&arguments).well();
    assert_eq!(killed.events("resumed").len(), 3);
    assert_same_averages(&whole, &killed);
    let path = killed.path.to_str().unwrap();
    let changed = run(["resume", path, "--set", EMA, "--set", "budget.steps=601"]);
    assert_eq!(changed.code, Some(2), "{}", changed.stderr);
    assert!(
        changed.stderr.contains("average.ema_decay"),
        "{}",
        changed.stderr
    );
}

/// The evaluation at the end of the shorter run is not one of the longer run.
#[test]
fn a_run_that_goes_on_for_longer_has_the_same_averages() {
    let runs = Runs::new();
    let set = ["run.mode=sync", "evaluate.every_steps=4", EMA, WINDOW];
    let whole = runs.train(SMOKE, "whole", &[&set[..], &["budget.steps=16"]].concat());
    let parts = runs.train(SMOKE, "parts", &[&set[..], &["budget.steps=10"]].concat());
    let path = parts.path.to_str().unwrap();
    run(["resume", path, "--set", "budget.steps=16"]).well();
    assert_eq!(whole.digests(), parts.digests());
    for which in ["ema", "lawa", "worker-0-ema", "worker-1-ema"] {
        assert!(whole.export(which) == parts.export(which), "{which}");
    }
}

/// Alone, and with another worker.
#[test]
fn eval_reproduces_the_scores_of_averages() {
    let runs = Runs::new();
    for count in ["workers.count=1", "workers.count=2"] {
        let set = [&KEPT[..], &[EMA, WINDOW, count, "run.overwrite=true"]].concat();
        let of = runs.train(SMOKE, "run", &set);
        let summary = of.summary();
        let last = of.metrics("evaluation").pop().unwrap();
        for which in ["ema", "lawa"] {
            let error = last[which]["error"].as_f64().unwrap();
            assert_eq!(summary["test"][which], last[which]);
            let said = of.eval(which);
            let start = format!("{} {which}: error {error:.2} %, loss ", of.path.display());
            assert!(said.starts_with(&start), "{start}: {said}");
        }
        of.eval("worker-0-ema");
    }
}

/// A checkpoint that was not evaluated: the moving averages are there to make their mean from.
#[test]
fn a_mean_that_was_not_evaluated_is_made() {
    let runs = Runs::new();
    let of = runs.train(SMOKE, "run", &[&KEPT[..], &[EMA, WINDOW]].concat());
    let path = of.path.to_str().unwrap();
    let file = of.join("made");
    let export = |which: &str, step: &str| {
        let output = file.to_str().unwrap();
        run([
            "export",
            path,
            "--which",
            which,
            "--checkpoint",
            step,
            "--output",
            output,
            "--force",
        ])
    };
    export("ema", "4").well();
    let stored = fs::read(&file).unwrap();
    // As if the run had been killed before the evaluation.
    let state = of.join("checkpoints/step-4/state.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    json["evaluation"] = Value::Null;
    fs::write(&state, json.to_string()).unwrap();
    for which in ["mean", "ema", "lawa"] {
        fs::remove_file(of.join(&format!("checkpoints/step-4/{which}.safetensors"))).unwrap();
    }
    export("ema", "4").well();
    assert!(fs::read(&file).unwrap() == stored);
    export("lawa", "4").failed(
        1,
        &format!(
            "{path}/checkpoints/step-4: it has no lawa: it was not evaluated; give --which worker-K"
        ),
    );
    export("worker-2-ema", "4").failed(
        1,
        &format!(
            "{path}/checkpoints/step-4: there is no worker-2; the run has worker-0 to worker-1"
        ),
    );
    let plain = runs.train(SMOKE, "plain", &["budget.steps=4"]);
    let path = plain.path.to_str().unwrap();
    for (which, key) in [
        ("ema", "average.ema_decay"),
        ("worker-0-ema", "average.ema_decay"),
        ("lawa", "average.window"),
    ] {
        run(["eval", path, "--which", which]).failed(
            1,
            &format!(
                "{path}/checkpoints/step-4: it has no {which}: the run was trained without {key}; \
                 give --which mean or --which worker-K"
            ),
        );
    }
}

/// A run in `async` is replayed as without them, and a simulated run has the averages of the real one.
#[test]
fn replays_leave_averages_out_and_simulations_have_them() {
    let runs = Runs::new();
    let of = runs.train(SMOKE, "async", &["run.mode=async", EMA, WINDOW]);
    let said = run(["replay", of.path.to_str().unwrap()]).well();
    assert!(said.ends_with(" compared, same digests\n"), "{said}");

    let set = [
        "run.mode=sync",
        "budget.steps=11",
        "evaluate.every_steps=2",
        EMA,
        WINDOW,
    ];
    let real = runs.train(SMOKE, "real", &set);
    let arguments = runs.arguments(SMOKE, "simulated", &set);
    run([String::from("simulate")].into_iter().chain(arguments)).well();
    let simulated = runs.get("simulated");
    assert_eq!(real.digests(), simulated.digests());
    assert_eq!(real.summary()["test"], simulated.summary()["test"]);
    for which in ["ema", "lawa", "worker-1-ema"] {
        assert!(real.export(which) == simulated.export(which), "{which}");
    }
}
