//! `chaos`: faults against a real launch.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::{LIMIT, Node, wait_for_the_end};
use super::program::{PROGRAM, Run, Runs, SMOKE, run};

/// A chaos file, for three nodes of one worker each.
fn file(runs: &Runs, minutes: f64, more: &str) -> String {
    let path = runs.path().join("chaos.toml");
    let folder = toml::Value::from(runs.path().to_string_lossy().into_owned());
    let text = format!(
        "name = \"storm\"\nfolder = {folder}\nconfig = \"configs/smoke.toml\"\nset = [\
         \"method.local_period=4\", \"method.global_period=8\", \"evaluate.every_minutes=60\", \
         \"checkpoint.every_steps=16\", \"faults.bad_steps=4\"]\n\
         nodes = 3\nworkers = 1\nseeds = [1]\nminutes = {minutes:?}\npace_millis = 20\n\
         quiet_seconds = 0\n{more}"
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The lines of a log.
fn log(folder: &Path, name: &str) -> Vec<Value> {
    let path: PathBuf = folder.join("logs").join(format!("{name}.jsonl"));
    let text = fs::read_to_string(path).unwrap_or_default();
    // The last line may not be whole yet.
    let lines = text.lines().map(serde_json::from_str);
    lines.map_while(Result::ok).collect()
}

#[test]
fn a_run_bears_a_kill_a_stop_and_a_cut_and_the_report_tells_of_each() {
    let runs = Runs::new();
    let file = file(
        &runs,
        0.25,
        "[[fault]]\nat = 1\nkind = \"kill\"\nnode = 2\n\
         [[fault]]\nat = 2\nkind = \"stop\"\nnode = 3\nseconds = 2.5\n\
         [[fault]]\nat = 5\nkind = \"cut_one_way\"\nnode = 1\npeer = 3\nseconds = 2.5\n\
         [[fault]]\nat = 6\nkind = \"panic\"\nnode = 1\nworker = 0\n",
    );
    let folder = runs.path().join("storm");
    let path = folder.join("report.md");
    let printed = run(["chaos", &file]).well();
    assert!(
        printed.ends_with(&format!("{}\n", path.display())),
        "{printed}"
    );

    let chaos = Run { path: folder };
    let report = chaos.json("report.json");
    let kinds = &report["kinds"];
    for kind in ["kill", "stop", "cut_one_way", "panic"] {
        assert_eq!(kinds[kind]["made"], 1, "{kind}: {report:#}");
    }
    for kind in ["kill", "panic"] {
        assert_eq!(kinds[kind]["recovered"]["count"], 1, "{kind}: {report:#}");
    }
    let lost = &report["lost"];
    assert_eq!(lost["not_recovered"], 0);
    assert_eq!(lost["unfinished_nodes"], Value::Array(Vec::new()));
    assert_eq!(
        (&lost["missed_faults"], &lost["faults_to_come"]),
        (&0.into(), &0.into())
    );
    for run in [&report["faults"], &report["fault_free"][0]] {
        assert!(run["score"].as_f64().is_some_and(f64::is_finite), "{run:#}");
        assert!(run["samples"].as_u64() > Some(0), "{run:#}");
    }
    let lines = log(&chaos.path, "faults");
    let ended = lines.iter().find(|line| line["what"] == "ended").unwrap();
    assert_eq!(ended["node"], 2);
    assert!(
        ended["end"].as_str().unwrap().contains("SIGKILL"),
        "{ended}"
    );
    let again = |line: &&Value| line["what"] == "started" && line["again"] == true;
    assert!(lines.iter().filter(again).any(|line| line["node"] == 2));
    let without = log(&chaos.path, "fault-free-1");
    assert!(!without.iter().any(again_of(&["fault", "missed"])));

    // From the same records, the same report; and nothing is put in place of a run that is there.
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    run(["chaos", "--report", chaos.path.to_str().unwrap()]).well();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(chaos.json("report.json"), report);
    run(["chaos", &file]).failed(
        2,
        &format!(
            "{0} exists; give another --name, or remove it; for a report of what is there, give \
             --report and this folder",
            chaos.path.display()
        ),
    );
}

/// Whether a line tells one of these.
fn again_of(what: &'static [&'static str]) -> impl Fn(&Value) -> bool {
    |line| what.iter().any(|what| line["what"] == *what)
}

/// Even those that are frozen.
#[test]
fn nodes_end_with_chaos_however_that_ends() {
    for signal in ["KILL", "TERM"] {
        let runs = Runs::new();
        let file = file(
            &runs,
            0.05,
            "[[fault]]\nat = 0.1\nkind = \"stop\"\nnode = 2\nseconds = 600\n",
        );
        let mut chaos = Node::start(0, &[PROGRAM, "chaos", &file].map(String::from));
        let folder = runs.path().join("storm");
        let until = Instant::now() + LIMIT;
        while !log(&folder, "faults").iter().any(again_of(&["fault"])) {
            assert!(Instant::now() < until, "{:?}", log(&folder, "faults"));
            thread::sleep(Duration::from_millis(20));
        }
        chaos.signal(signal);
        let code = chaos.end();
        assert_eq!(code, (signal == "TERM").then_some(130), "{}", chaos.said());
        let lines = log(&folder, "faults");
        let started = lines.iter().filter(|line| line["what"] == "started");
        let processes: Vec<u64> = started
            .map(|line| line["process"].as_u64().unwrap())
            .collect();
        assert_eq!(processes.len(), 3);
        for process in processes {
            wait_for_the_end(process as u32);
        }
    }
}

#[test]
fn a_fault_that_there_is_not_is_refused_by_name() {
    let runs = Runs::new();
    let file = file(&runs, 1.0, "[[fault]]\nat = 1\nkind = \"earthquake\"\n");
    let ran = run(["chaos", &file]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("unknown variant `earthquake`"),
        "{}",
        ran.stderr
    );
    assert!(!runs.path().join("storm").exists());
}

#[test]
fn a_chaos_file_that_is_none_is_wrong_usage_and_a_folder_without_runs_a_failure() {
    let runs = Runs::new();
    let absent = runs.path().join("absent");
    let absent = absent.to_str().unwrap();
    let file = format!("{absent}: there is no such file; check the path");
    run(["chaos", absent]).failed(2, &file);
    let config = "is the config of a run; give a file that names it as its config, with the faults";
    run(["chaos", SMOKE]).failed(2, &format!("{SMOKE}: {config}"));
    let folder = format!("{absent}: there is no schedule.json; give the folder of a chaos run");
    run(["chaos", "--report", absent]).failed(1, &folder);
}
