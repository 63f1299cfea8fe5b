//! `replay`: an async run once more, by its events.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::program::{QUICKSTART, Ran, Run, Runs, SMOKE, run};

/// Three workers that never wait for each other, evaluated every 16 steps.
const ASYNC: [&str; 5] = [
    "run.mode=async",
    "workers.count=3",
    "budget.steps=48",
    "evaluate.every_steps=16",
    "evaluate.batch_norm_batches=1",
];

fn trained(runs: &Runs, name: &str, set: &[&str]) -> Run {
    runs.train(SMOKE, name, &[&ASYNC[..], set].concat())
}

fn replay(of: &Run, more: &[&str]) -> Ran {
    let path = of.path.to_str().unwrap();
    run([&["replay", path], more].concat())
}

/// The numbers in `PATH: 144 steps of 3 workers, 51 lines: 23 digests compared, same digests`.
#[track_caller]
fn counts(of: &Run, replayed: Ran) -> Vec<u64> {
    let line = replayed.well();
    let said = line.strip_prefix(&format!("{}: ", of.path.display()));
    let said = said.unwrap_or_else(|| panic!("{line}"));
    assert!(said.ends_with(" compared, same digests\n"), "{line}");
    let words = said.split(|c: char| !c.is_ascii_digit());
    words.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn every_method_that_runs_in_async_comes_to_the_same_digests() {
    let runs = Runs::new();
    for (name, set) in [
        ("sgd", &["method.name=sgd"][..]),
        (
            "lsgd",
            &[
                "method.local_prox=0.1",
                "method.batch_norm=leader",
                "method.rank_by=probe_loss",
                "method.margin=0.01",
            ],
        ),
        ("mean", &["method.batch_norm=mean"]),
        (
            "adopting",
            &[
                "method.adopt=true",
                "method.adopt_spread=0.5",
                "optimizer.weight_decay=0.01",
                "workers.vary=[{ worker = 1, learning_rate = 0.5, weight_decay = 2.0 }]",
            ],
        ),
        ("easgd", &["method.name=easgd"]),
        ("downpour", &["method.name=downpour"]),
        ("local_sgd", &["method.name=local_sgd"]),
    ] {
        let of = trained(&runs, name, set);
        let all = counts(&of, replay(&of, &[]));
        let evaluations = of.metrics("evaluation").len() as u64;
        let published = of.events("exchange").len() as u64;
        assert_eq!(all[1], 3, "{name}");
        assert_eq!(all[3], 3 * evaluations + published, "{name}");
        let part = counts(&of, replay(&of, &["--until", "20"]));
        assert!(part[0] < all[0] && part[3] < all[3], "{name}: {part:?}");
        // At an evaluation, workers are 16 steps on in the mean: at least one has not passed it.
        assert!(part[0] > 0 && part[3] > 0, "{name}: {part:?}");
    }
}

/// The bundled digits, with a learning rate that depends on the length of the run.
#[test]
fn a_run_on_digits_is_replayed() {
    let runs = Runs::new();
    let set = [
        "run.mode=async",
        "budget.epochs=2",
        "evaluate.every_epochs=1",
    ];
    let of = runs.train(QUICKSTART, "digits", &set);
    assert!(counts(&of, replay(&of, &[]))[3] > 8);
}

#[test]
fn a_longer_budget_later_is_replayed_unless_the_learning_rate_goes_by_it() {
    let runs = Runs::new();
    for (name, set, refused) in [
        ("constant", &["method.name=easgd"][..], false),
        ("cosine", &["schedule.kind=cosine"], true),
    ] {
        let of = trained(&runs, name, set);
        let path = of.path.to_str().unwrap();
        run(["resume", path, "--set", "budget.steps=64"]).well();
        let resumed = of.events("resumed");
        assert_eq!(resumed[0]["changes"][0], "budget.steps is 64, was 48");
        let replayed = replay(&of, &[]);
        match refused {
            false => assert!(counts(&of, replayed)[0] >= 3 * 60, "{name}"),
            true => {
                let line = line_of(&of, |event| event["event"] == "resumed");
                let why = format!(
                    "cannot replay {}: line {line}: the run continued with other settings, which cannot \
                     be replayed: budget.steps is 64, was 48",
                    of.join("events.jsonl").display()
                );
                replayed.failed(1, &why);
            }
        }
    }
}

/// The number of the first event that fits.
fn line_of(run: &Run, fits: impl Fn(&Value) -> bool) -> usize {
    1 + run.lines("events.jsonl").iter().position(fits).unwrap()
}

/// Changes a line of a file, and puts the old one back when dropped.
struct Changed {
    path: PathBuf,
    before: String,
}

impl Changed {
    fn line(run: &Run, file: &str, number: usize, change: impl FnOnce(&mut Value)) -> Self {
        let path = run.join(file);
        let before = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<String> = before.lines().map(String::from).collect();
        let mut value = serde_json::from_str(&lines[number - 1]).unwrap();
        change(&mut value);
        lines[number - 1] = value.to_string();
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        Self { path, before }
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        fs::write(&self.path, &self.before).unwrap();
    }
}

#[test]
fn what_differs_is_named() {
    let runs = Runs::new();
    let of = trained(&runs, "changed", &[]);
    let events = of.join("events.jsonl");
    let events = events.display();
    let lines = of.lines("events.jsonl");
    // An adoption whose worker does nothing else at that step and the next, and publishes later.
    let is_adoption = |event: &Value| event["event"] == "adoption";
    let of_worker = |event: &Value, worker: &Value| match event["event"].as_str().unwrap() {
        "adoption" => event["worker"] == *worker,
        "exchange" => event["source"]["worker"]["id"] == *worker,
        _ => false,
    };
    let step_of = |event: &Value| match is_adoption(event) {
        true => event["step"].as_u64().unwrap(),
        false => event["source"]["worker"]["step"].as_u64().unwrap(),
    };
    let adoption = (0..lines.len())
        .find(|&at| {
            let worker = &lines[at]["worker"];
            let next = lines[at + 1..].iter().find(|next| of_worker(next, worker));
            is_adoption(&lines[at]) && next.is_some_and(|n| step_of(n) > step_of(&lines[at]) + 1)
        })
        .unwrap();
    let (number, adopted) = (adoption + 1, &lines[adoption]);
    let worker = format!("0.{}", adopted["worker"]["worker"]);
    let step = adopted["step"].as_u64().unwrap();

    // It is pulled one step later: the first digest of that worker that is recorded after it differs.
    {
        let _changed = Changed::line(&of, "events.jsonl", number, |e| {
            e["step"] = (step + 1).into()
        });
        let ran = replay(&of, &[]);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        let agreed = format!("the last line of it that agrees is {events} line {number}\n");
        let differs = format!("differs: worker {worker} at step ");
        assert!(ran.stdout.contains(&differs), "{}", ran.stdout);
        // Lines of the same worker that are pulls alone agree, as they tell no digest of it.
        let next = lines[adoption + 1..]
            .iter()
            .find(|n| of_worker(n, &adopted["worker"]));
        if next.is_some_and(|next| !is_adoption(next)) {
            assert!(ran.stdout.ends_with(&agreed), "{}", ran.stdout);
        }
    }
    for (change, expected) in [
        (
            Box::new(|e: &mut Value| e["strength"] = 0.2.into()) as Box<dyn FnOnce(&mut Value)>,
            "with strength 0.1, not 0.2; ",
        ),
        (
            Box::new(|e: &mut Value| {
                e["digest"] = "0123456789abcdef".into();
            }),
            "with digest 0123456789abcdef is in no exchange that is recorded; its lines were not written \
             when a process was killed, or were removed when the run continued",
        ),
        (
            Box::new(|e: &mut Value| {
                e.as_object_mut().unwrap().remove("digest");
            }),
            "it has no digest, as versions before it did not record it; only later runs can be replayed",
        ),
        (
            Box::new(|e: &mut Value| e["source"]["worker"]["step"] = 4000.into()),
            " at step 4000 with digest ",
        ),
        (
            Box::new(|e: &mut Value| e["worker"]["worker"] = 9.into()),
            "the node has no worker 0.9",
        ),
        (
            Box::new(|e: &mut Value| e["step"] = 0.into()),
            &format!("worker {worker} is at step 0, after step "),
        ),
    ] {
        let _changed = Changed::line(&of, "events.jsonl", number, change);
        let ran = replay(&of, &[]);
        assert_eq!(ran.code, Some(1));
        let said = ran.stdout + &ran.stderr;
        assert!(said.contains(&format!("line {number}")), "{said}");
        assert!(said.contains(expected), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }

    let evaluation = of.lines("metrics.jsonl");
    let evaluation = 1 + evaluation
        .iter()
        .position(|m| m["kind"] == "evaluation")
        .unwrap();
    let digest = "0".repeat(64);
    {
        let _changed = Changed::line(&of, "metrics.jsonl", evaluation, |e| {
            e["workers"][1]["digest"] = digest.clone().into();
        });
        let ran = replay(&of, &[]);
        assert_eq!(ran.code, Some(1));
        let metrics = of.join("metrics.jsonl");
        let named = format!(
            "{} line {evaluation} differs: worker 0.1 ",
            metrics.display()
        );
        assert!(ran.stdout.starts_with(&named), "{}", ran.stdout);
    }
    // As it was.
    counts(&of, replay(&of, &[]));
}

#[test]
fn what_needs_no_replay_or_cannot_have_one_is_refused() {
    let runs = Runs::new();
    let sync = runs.train(SMOKE, "sync", &[]);
    let path = sync.path.display();
    replay(&sync, &[]).failed(
        1,
        &format!(
            "cannot replay {path}: a run with run.mode \"sync\", which the same config and seed repeat bit \
             for bit: train it again under another run.name"
        ),
    );
    let simulated = runs.arguments(SMOKE, "simulated", &["run.mode=async", "simulate.nodes=2"]);
    run([&["simulate".to_owned()][..], &simulated].concat()).well();
    let simulated = runs.get("simulated");
    replay(&simulated, &[]).failed(
        1,
        &format!(
            "cannot replay {}: line 1: an event of a simulation, which the same config and seed repeat: \
             lsgd-train simulate",
            simulated.join("events.jsonl").display()
        ),
    );
    let absent = runs.get("absent");
    let ran = replay(&absent, &[]);
    assert!(
        ran.stderr.contains("there is no such folder"),
        "{}",
        ran.stderr
    );
}
