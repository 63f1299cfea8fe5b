//! Methods side by side, of a task whose metric is better when it is higher.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsgd_run::bench::{self, BenchError, Changes, Plan};
use lsgd_run::config::TaskTable;
use lsgd_run::storage::{Evaluation, MetricInfo, MetricRecord, RunFolder, read_lines};
use lsgd_run::train::Context;
use lsgd_run::{Better, MakeTask, RunError};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::toy::{Missing, Toy};

/// `[task]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
struct ToySettings {
    higher: bool,
}

impl Default for ToySettings {
    fn default() -> Self {
        Self { higher: true }
    }
}

impl MakeTask for ToySettings {
    type Task = Toy;

    fn make(self, _: Context) -> Result<Toy, Missing> {
        Ok(Toy {
            higher: self.higher,
            ..Toy::default()
        })
    }
}

/// Values of the closeness: one that every evaluation reaches, one that some do, one that none can.
const TARGETS: [f64; 3] = [0.0, 0.7, 1.5];

/// A bench file of two methods and two seeds, in a folder of its own.
fn file(folder: &TempDir, more: &str) -> PathBuf {
    let config = folder.path().join("toy.toml");
    let settings = "[budget]\nsteps = 40\n[evaluate]\nevery_steps = 4\n\
                    [schedule]\nlearning_rate = 0.1\n[method]\nloss_window = 4\n";
    fs::write(&config, settings).unwrap();
    let text = format!(
        "name = 'bench'\nfolder = {:?}\nconfig = {config:?}\n\
         seeds = [1, 2]\nworkers = [2]\nperiods = [4]\ntargets = {TARGETS:?}\n\
         [[method]]\nlabel = 'averaged'\nset = ['method.name=local_sgd']\n\
         [[method]]\nlabel = 'led'\nnodes = 2\nset = ['method.global_period=4']\n{more}",
        folder.path(),
    );
    let path = folder.path().join("bench.toml");
    fs::write(&path, text).unwrap();
    path
}

/// Runs a bench. Returns its report's folder, and what it has said.
fn run(path: &Path) -> Result<(PathBuf, Vec<String>), RunError> {
    let mut said = Vec::new();
    let report = bench::run::<TaskTable<ToySettings>>(
        path,
        Changes::default(),
        &Arc::default(),
        |line: &str| said.push(line.to_owned()),
    )?;
    Ok((report, said))
}

/// Every file of a report.
fn files(report: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(report).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.path().is_file())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
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

fn evaluations(run: &RunFolder) -> Vec<Evaluation> {
    let mut evaluations = Vec::new();
    read_lines(&run.join("metrics.jsonl"), |line| {
        if let MetricRecord::Evaluation(evaluation) = line {
            evaluations.push(evaluation);
        }
    })
    .unwrap();
    evaluations
}

/// Samples of the first evaluation whose replica mean is as close as `target`.
fn samples_to(run: &RunFolder, target: f64) -> Option<f64> {
    let closeness = |evaluation: &Evaluation| {
        let score = evaluation.replica_mean.as_ref().unwrap();
        score.get("closeness").unwrap()
    };
    let evaluations = evaluations(run);
    let mut evaluations = evaluations.iter();
    let first = evaluations.find(|evaluation| closeness(evaluation) >= target);
    first.map(|evaluation| evaluation.samples as f64)
}

#[test]
fn a_target_is_reached_from_below_where_higher_is_better() {
    let folder = tempfile::tempdir().unwrap();
    let (report, said) = run(&file(&folder, "")).unwrap();
    assert_eq!(said.len(), 4);
    let report_files = files(&report);
    let reached = rows(&report_files["targets.csv"]);
    let of_mean = reached.iter().filter(|row| row["of"] == "replica_mean");
    let of_mean: Vec<_> = of_mean.collect();
    assert_eq!(of_mean.len(), 2 * TARGETS.len());
    for row in of_mean {
        let target: f64 = row["target"].parse().unwrap();
        let seeds = [1, 2].map(|seed| {
            let name = format!("runs/{}-w2-p4-s{seed}", row["label"]);
            let run = RunFolder::open(&report.join(name)).unwrap();
            let closeness = MetricInfo {
                name: String::from("closeness"),
                unit: String::new(),
                better: Better::Higher,
            };
            assert_eq!(run.record().unwrap().metrics, [closeness]);
            samples_to(&run, target)
        });
        let expected = seeds[0].zip(seeds[1]).map(|(a, b)| (a + b) / 2.0);
        assert_eq!(row["samples"].parse().ok(), expected, "{row:?}");
        // Two workers' four steps of eight examples, until the first evaluation.
        let at_first = expected.map(|samples| samples == 64.0);
        assert_eq!(at_first, [Some(true), Some(false), None][place(target)]);
    }
    let picture = &report_files["replica_mean.svg"];
    let title = "2 workers, period 4: test closeness, replica mean";
    assert!(picture.contains(title), "{picture}");
}

fn place(target: f64) -> usize {
    TARGETS.iter().position(|other| *other == target).unwrap()
}

/// Once all runs are made, nothing is trained for the report.
#[test]
fn the_report_is_made_from_the_folders_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "");
    let (report, _) = run(&path).unwrap();
    let first = files(&report);
    for name in first.keys() {
        fs::remove_file(report.join(name)).unwrap();
    }
    let (_, said) = run(&path).unwrap();
    assert_eq!(said, [""; 0]);
    assert_eq!(files(&report), first);

    // A record of before metrics were in it says nothing about what is better.
    let record = report.join("runs/led-w2-p4-s2/run.json");
    let text = fs::read_to_string(&record).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json.as_object_mut().unwrap().remove("metrics");
    fs::write(&record, json.to_string()).unwrap();
    assert_eq!(
        run(&path).unwrap_err().to_string(),
        format!(
            "{}: does not say what the metrics of the run are; remove the run to have it made again",
            record.display()
        )
    );
}

#[test]
fn runs_with_different_metrics_are_not_compared() {
    let folder = tempfile::tempdir().unwrap();
    let more = "[[method]]\nlabel = 'lower'\nset = ['task.higher=false']\n";
    let error = run(&file(&folder, more)).unwrap_err();
    assert!(
        matches!(error, RunError::Bench(BenchError::OtherMetric(_))),
        "{error}"
    );
    let runs = folder.path().join("bench/runs");
    assert_eq!(
        error.to_string(),
        format!(
            "the main metric of {} is square (lower is better), that of {} is closeness (higher is \
             better); a bench compares runs by one metric",
            runs.join("lower-w2-p4-s1").display(),
            runs.join("averaged-w2-p4-s1").display(),
        )
    );
    assert_eq!(error.exit_code(), 2);
}

/// What a bench sets for all of its methods need not be used by all, what it sets for one has to be.
#[test]
fn a_bench_sets_keys_that_some_of_its_methods_do_not_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.toml");
    let config = folder.path().join("c.toml");
    fs::write(&config, "").unwrap();
    let entries = |of_one: &str, set: &[&str]| {
        let text = format!(
            "name = 'b'\nconfig = {config:?}\nset = ['method.local_pull=0.5']\n\
             seeds = [1]\nworkers = [2]\nperiods = [4]\n\
             [[method]]\nlabel = 'led'\n[[method]]\nlabel = 'met'\nset = [{of_one}]"
        );
        fs::write(&path, text).unwrap();
        let set = set.iter().map(|set| set.to_string()).collect();
        let plan = Plan::load::<()>(&path, Changes { name: None, set }).unwrap();
        let entries = plan.entries::<()>().map_err(|error| error.to_string())?;
        let methods = entries
            .into_iter()
            .map(|entry| entry.config.settings.method);
        Ok::<_, String>(
            methods
                .map(|method| (method.local_pull, method.margin))
                .collect::<Vec<_>>(),
        )
    };
    let met = "'method.name=local_sgd'";
    assert_eq!(entries(met, &[]).unwrap(), [(0.5, 0.0), (0.1, 0.0)]);
    assert_eq!(
        entries(met, &["method.margin=0.2"]).unwrap(),
        [(0.5, 0.2), (0.1, 0.0)]
    );
    let refused = entries("'method.name=local_sgd', 'method.local_pull=0.2'", &[]).unwrap_err();
    assert!(
        refused.starts_with("--set: method.local_pull 0.2 is not used by"),
        "{refused}"
    );
}
