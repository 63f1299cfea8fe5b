//! `lsgd-train bench FILE`: all runs, once, and one report of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::program::{PROGRAM, Run, Runs, run, workspace};

/// A bench of four runs whose folder is below `runs`.
fn file(runs: &Runs, name: &str, more: &str) -> PathBuf {
    let folder = runs.path().join(name);
    fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "name = 'bench'\nfolder = {folder:?}\nconfig = 'configs/smoke.toml'\n\
         set = ['budget.steps=16', 'evaluate.every_steps=8']\n\
         seeds = [1, 2]\nworkers = [2]\nperiods = [4]\ntargets = [75.0, 1.0]\n{more}\n\
         [[method]]\nlabel = 'averaged'\nset = ['method.name=local_sgd']\n\
         [[method]]\nlabel = 'led'\nnodes = 2\nset = ['method.global_period=4']\n"
    );
    let path = folder.join("bench.toml");
    fs::write(&path, text).unwrap();
    path
}

fn bench(path: &Path) -> super::program::Ran {
    run([Path::new("bench"), path])
}

/// All files of a report.
fn report(runs: &Runs, name: &str) -> BTreeMap<String, String> {
    let folder = runs.path().join(name).join("bench");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The cells of a row of a table, by the names of its columns.
fn rows(table: &str) -> Vec<BTreeMap<&str, &str>> {
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    lines
        .map(|line| names.iter().copied().zip(line.split(',')).collect())
        .collect()
}

#[test]
fn the_report_says_what_the_runs_came_to() {
    let runs = Runs::new();
    let path = file(&runs, "first", "");
    let folder = runs.path().join("first/bench");
    assert_eq!(bench(&path).well(), format!("{}\n", folder.display()));
    let report = report(&runs, "first");
    let names: Vec<&str> = report.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "curves.csv",
            "final.csv",
            "leader.svg",
            "leaders.csv",
            "leaders.svg",
            "led.csv",
            "replica_mean.svg",
            "runs.csv",
            "targets.csv",
            "worker_mean.svg"
        ]
    );
    let of_runs = rows(&report["runs.csv"]);
    assert_eq!(of_runs.len(), 4);
    let number = |row: &BTreeMap<&str, &str>, name: &str| row[name].parse::<f64>().unwrap();
    for row in &of_runs {
        let name = format!("{}-w2-p4-s{}", row["label"], row["seed"]);
        let run = Run {
            path: folder.join("runs").join(name),
        };
        let summary = run.summary();
        assert_eq!(number(row, "samples"), summary["samples"].as_f64().unwrap());
        let error = summary["test"]["replica_mean"]["error"].as_f64().unwrap();
        assert!((number(row, "replica_mean") - error).abs() < 1e-4);
        let exchanges = run.events("exchange");
        let bytes = exchanges.iter().filter_map(|event| event["bytes"].as_f64());
        assert_eq!(number(row, "bytes"), bytes.sum::<f64>());
        assert_eq!(run.summary()["workers"], 2);
    }
    let finals = rows(&report["final.csv"]);
    let labels: Vec<&str> = finals.iter().map(|row| row["label"]).collect();
    assert_eq!(labels, ["averaged", "led"]);
    for (row, pair) in finals.iter().zip(of_runs.chunks(2)) {
        let [a, b] = [&pair[0], &pair[1]].map(|run| number(run, "leader"));
        assert!((number(row, "leader") - (a + b) / 2.0).abs() < 1e-3);
        // Half the interval of two values: 12.706 times half of their difference.
        let half = 12.706 * (a - b).abs() / 2.0;
        assert!((number(row, "leader_half_interval") - half).abs() < 1e-2);
    }
    // Two evaluations of each, the last one that of the table above.
    let curves = rows(&report["curves.csv"]);
    assert_eq!(curves.len(), 4);
    assert_eq!([&curves[1], &curves[3]], [&finals[0], &finals[1]]);
    // The high error is reached at once, the low one never.
    for row in rows(&report["targets.csv"]) {
        assert_eq!(row["samples"].is_empty(), row["target"] == "1", "{row:?}");
    }
    let leaders = rows(&report["leaders.csv"]);
    assert_eq!(leaders.len(), 1);
    assert_eq!(leaders[0]["label"], "led");
    // Two nodes, four elections each.
    assert_eq!(number(&leaders[0], "elections"), 8.0);
    let led = rows(&report["led.csv"]);
    // Of two seeds.
    let elections: f64 = led.iter().map(|row| number(row, "elections")).sum();
    assert_eq!(elections, 16.0);
    assert!(led.iter().all(|row| row["label"] == "led"));
    assert!(report["leaders.svg"].contains("led, 2 workers, period 4: who leads"));
    assert!(report["leader.svg"].contains("averaged"));
}

/// Runs in which no worker trains have no errors, only costs.
#[test]
fn costs_are_reported_without_errors() {
    let runs = Runs::new();
    let path = file(&runs, "costs", "");
    let text = fs::read_to_string(&path).unwrap();
    let counted = "'budget.steps=16', 'simulate.training=false'";
    fs::write(&path, text.replace("'budget.steps=16'", counted)).unwrap();
    bench(&path).well();
    let report = report(&runs, "costs");
    assert!(!report.contains_key("leader.svg"));
    assert!(report.contains_key("leaders.svg"));
    for row in rows(&report["final.csv"]) {
        assert!(row["leader"].is_empty(), "{row:?}");
        assert!(row["seconds"].parse::<f64>().unwrap() > 0.0, "{row:?}");
        assert!(row["bytes"].parse::<f64>().unwrap() > 0.0, "{row:?}");
    }
}

/// A run in which nothing is finite is reported as such, once, and does not end any other.
#[test]
fn a_run_that_diverges_does_not_end_a_bench() {
    let runs = Runs::new();
    let path = file(
        &runs,
        "lost",
        "[[method]]\nlabel = 'lost'\nset = ['schedule.learning_rate=1e30']",
    );
    let ran = bench(&path);
    let folder = runs.path().join("lost/bench");
    let lost = |seed: u32| {
        let run = folder.join(format!("runs/lost-w2-p4-s{seed}"));
        format!("{}: every worker has diverged, ", run.display())
    };
    for seed in [1, 2] {
        assert_eq!(ran.stderr.matches(&lost(seed)).count(), 1, "{}", ran.stderr);
    }
    assert_eq!(ran.well(), format!("{}\n", folder.display()));
    let report = report(&runs, "lost");
    let of_runs = rows(&report["runs.csv"]);
    assert_eq!(of_runs.len(), 6);
    for row in &of_runs {
        let is_lost = row["label"] == "lost";
        assert_eq!(row["end"], if is_lost { "diverged" } else { "budget" });
        assert_eq!(row["worker_mean"].is_empty(), is_lost, "{row:?}");
    }
    // It is not made again.
    assert_eq!(bench(&path).stderr, "");
}

/// Killed when its second run has begun.
#[test]
fn a_bench_that_was_killed_goes_on_and_gives_the_same_report() {
    let runs = Runs::new();
    bench(&file(&runs, "whole", "")).well();
    let path = file(&runs, "killed", "");
    let mut process = Command::new(PROGRAM)
        .arg("bench")
        .arg(&path)
        .current_dir(workspace())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let second = "2 of 4: averaged-w2-p4-s2";
    assert!(lines.any(|line| line.unwrap() == second));
    process.kill().unwrap();
    process.wait().unwrap();
    let again = bench(&path);
    // It may have ended meanwhile.
    assert!(!again.stderr.contains("1 of 4"), "{}", again.stderr);
    again.well();
    assert_eq!(report(&runs, "killed"), report(&runs, "whole"));
    // Once more there is nothing left to do.
    assert_eq!(bench(&path).stderr, "");
}

#[test]
fn what_makes_no_sense_is_one_line() {
    let runs = Runs::new();
    let refused = |name: &str, more: &str, why: &str| {
        let path = file(&runs, name, more);
        bench(&path).failed(2, &format!("{}: {why}", path.display()));
    };
    refused(
        "key",
        "seed = 3",
        "unknown field `seed`, expected one of `name`, `folder`, `config`, `set`, `how`, `seeds`, \
         `workers`, `periods`, `targets`, `method`",
    );
    refused(
        "train",
        "how = 'train'",
        "\"led\" has 2 nodes, and how = \"train\" has one; use \"simulate\"",
    );
    refused(
        "own",
        "[[method]]\nlabel = 'seeded'\nset = ['run.seed = 3']",
        "run.seed cannot be set in a bench; change seeds in its file",
    );
    refused(
        "twice",
        "[[method]]\nlabel = 'led'",
        "label \"led\" stands twice; give each once",
    );
    refused(
        "spread",
        "[[method]]\nlabel = 'three'\nnodes = 3",
        "2 workers cannot be spread over the 3 nodes of \"three\"; give a multiple",
    );
    let path = file(
        &runs,
        "config",
        "[[method]]\nlabel = 'x'\nset = ['method.local_pull=2']",
    );
    bench(&path).failed(
        2,
        "--set: method.local_pull 2 is not in [0, 1]; give a number from 0 to 1",
    );
}

#[test]
fn a_bench_file_that_is_none_is_said() {
    for (path, why) in [
        ("configs/bench/nothing.toml", "there is no such file"),
        ("configs/bench", "is a folder"),
        ("configs/smoke.toml", "is the config of a run"),
    ] {
        let advice = "give a bench file, such as configs/bench/smoke.toml";
        bench(Path::new(path)).failed(2, &format!("{path}: {why}; {advice}"));
    }
}

/// What the command line says wins over all of the file, and has a folder of its own.
#[test]
fn a_bench_is_changed_by_the_command_line() {
    let runs = Runs::new();
    let path = file(&runs, "changed", "");
    let path = path.to_str().unwrap();
    let changed = |changes: &[&str]| run([&["bench", path][..], changes].concat());
    // The second method has set its period otherwise.
    let set = ["--set", "budget.steps=8", "--set", "method.global_period=8"];
    changed(&[&["--name", "short"][..], &set].concat()).well();
    let folder = runs.path().join("changed/short");
    let table = fs::read_to_string(folder.join("final.csv")).unwrap();
    let rows = rows(&table);
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["step"] == "8"), "{rows:?}");
    let config = fs::read_to_string(folder.join("runs/led-w2-p4-s1/config.toml")).unwrap();
    assert!(config.contains("global_period = 8"), "{config}");
    assert!(!runs.path().join("changed/bench").exists());

    for (key, instead) in [
        ("run.seed=3", "seeds"),
        ("method.local_period=2", "periods"),
    ] {
        let name = key.split('=').next().unwrap();
        let text = format!("--set: {name} cannot be set in a bench; change {instead} in its file");
        changed(&["--set", key]).failed(2, &text);
    }
    let text = "--name: name \"a/b\" is no name of a folder; use letters, digits, - and _";
    changed(&["--name", "a/b"]).failed(2, text);
}

/// A run that was made otherwise is neither taken for this bench's nor replaced.
#[test]
fn a_run_of_another_config_is_in_the_way() {
    let runs = Runs::new();
    let path = file(&runs, "bench", "");
    bench(&path).well();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("budget.steps=16", "budget.steps=8")).unwrap();
    let folder = runs.path().join("bench/bench/runs/averaged-w2-p4-s1");
    bench(&path).failed(
        2,
        &format!(
            "{} is a run of another config than this bench's; remove it, or give the bench another \
             name",
            folder.display()
        ),
    );
}
