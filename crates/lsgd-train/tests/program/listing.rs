//! `runs`: a line for each run in a folder.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use lsgd_run::storage::State;
use serde_json::Value;

use super::live::{ENDLESS, Live};
use super::program::{PROGRAM, Ran, Runs, SMOKE, run, workspace};

fn listed(folder: &Path) -> Vec<String> {
    let text = run(["runs", folder.to_str().unwrap()]).well();
    text.lines().map(String::from).collect()
}

fn json(folder: &Path) -> Vec<Value> {
    let text = run(["runs", folder.to_str().unwrap(), "--json"]).well();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The words of the line about a run.
fn words(lines: &[String], name: &str) -> Vec<String> {
    let line = lines
        .iter()
        .find(|line| line.starts_with(&format!("{name} ")));
    let line = line.unwrap_or_else(|| panic!("{name}: {lines:#?}"));
    line.split("  ")
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(String::from)
        .collect()
}

#[test]
fn a_run_is_listed_as_far_as_it_has_come() {
    let runs = Runs::new();
    let ended = runs.train(SMOKE, "ended", &["budget.steps=16"]);
    let mut live = Live::start(&runs.arguments(SMOKE, "live", &ENDLESS));
    live.writes(&runs.get("live").join("metrics.jsonl"));
    fs::create_dir(runs.path().join("mine")).unwrap();

    let lines = listed(runs.path());
    let head = lines[0].split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(head, "RUN STATE AGE STEPS METRIC METHOD WORKERS NODES");
    assert_eq!(lines.len(), 3, "{lines:#?}");
    let error = ended.summary()["test"]["leader"]["error"].as_f64().unwrap();
    let words_of = words(&lines, "ended");
    assert_eq!(words_of[1], "ended");
    assert_eq!(
        words_of[3..],
        ["16/16", &format!("error {error:.2} %"), "lsgd", "2", "1"]
    );
    assert_eq!(words(&lines, "live")[1], "running");

    let found = json(runs.path());
    let of = |name: &str| found.iter().find(|run| run["name"] == name).unwrap();
    assert_eq!(of("ended")["state"], "ended");
    assert_eq!(
        of("ended")["value"],
        ended.summary()["test"]["leader"]["error"]
    );
    assert_eq!(of("ended")["metric_of"], "leader");
    assert_eq!(of("ended")["budget_used"], 1.0);
    assert_eq!(of("live")["state"], "running");
    assert_eq!(of("live")["budget_minutes"], 30.0);
    live.kill();
    assert_eq!(words(&listed(runs.path()), "live")[1], "killed");
    // It has left its lock behind, which is as it was.
    assert!(runs.get("live").join(".lock").is_file());
}

#[test]
fn no_name_or_damage_reaches_the_terminal_or_ends_the_table() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "good", &[]);
    for name in ["a\u{1b}[31mb\nc", "\u{e9}t\u{e9}", "damaged"] {
        let folder = runs.path().join(name);
        fs::create_dir(&folder).unwrap();
        for file in ["run.json", "config.toml", "metrics.jsonl", "summary.json"] {
            fs::copy(trained.join(file), folder.join(file)).unwrap();
        }
    }
    fs::write(
        runs.path().join("damaged/run.json"),
        "{ \"version\": \u{1b}",
    )
    .unwrap();
    let text = run(["runs", runs.path().to_str().unwrap()]).well();
    assert!(
        text.chars()
            .all(|letter| letter == '\n' || (' '..='~').contains(&letter)),
        "{text:?}"
    );
    let lines: Vec<String> = text.lines().map(String::from).collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert_eq!(words(&lines, r"a\u{1b}[31mb\nc")[1], "ended");
    assert_eq!(words(&lines, r"\u{e9}t\u{e9}")[1], "ended");
    let damaged = words(&lines, "damaged");
    assert_eq!(damaged[1], "unreadable");
    assert!(
        damaged[3].starts_with("run.json: expected value"),
        "{damaged:?}"
    );

    let found = json(runs.path());
    assert!(
        found.iter().any(|run| run["name"] == "a\u{1b}[31mb\nc"),
        "{found:?}"
    );
    let damaged = found.iter().find(|run| run["name"] == "damaged").unwrap();
    assert_eq!(damaged["state"], "unreadable");
    assert!(damaged["error"].as_str().unwrap().starts_with("run.json: "));
}

#[test]
fn a_folder_without_runs_says_so() {
    let runs = Runs::new();
    let lines = listed(runs.path());
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("no runs in "), "{lines:?}");
    assert_eq!(json(runs.path()), Vec::<Value>::new());
    let nowhere = runs.path().join("nowhere");
    let ran = run(["runs", nowhere.to_str().unwrap()]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("there is no such folder"),
        "{}",
        ran.stderr
    );
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let runs = Runs::new();
    runs.train(SMOKE, "one", &[]);
    let folder = runs.path().to_str().unwrap();
    for arguments in [
        &["runs", folder][..],
        &["runs", folder, "--json"],
        &["watch", &format!("{folder}/one")],
        &["completions", "bash"],
        &["man"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(workspace());
        let child = command
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(
            (ran.code, ran.stderr.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}

/// By `script`, on a terminal of so many columns: no line is longer, and none has an escape code.
#[cfg(target_os = "linux")]
#[test]
fn a_narrow_terminal_cuts_the_table() {
    let runs = Runs::new();
    let name = "a-run-with-a-name-that-is-rather-long";
    runs.train(SMOKE, name, &[]);
    for (columns, has_nodes) in [(200, true), (40, false)] {
        let line = format!(
            "stty cols {columns} rows 24; '{PROGRAM}' runs '{}'",
            runs.path().display()
        );
        let script = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("TERM", "xterm-256color")
            .stdin(Stdio::null())
            .output();
        let text = Ran::of(script.expect("`script`, of util-linux")).well();
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines.iter().all(|line| line.len() <= columns), "{text}");
        assert_eq!(lines[0].ends_with("NODES"), has_nodes, "{text}");
        assert_eq!(lines[1].starts_with(name), has_nodes, "{text}");
    }
}

/// The words for a state are the same wherever one is said.
#[test]
fn every_state_is_explained_where_runs_are_listed() {
    let help = run(["runs", "--help"]).well();
    let docs = fs::read_to_string(workspace().join("docs/runs.md")).unwrap();
    for state in State::ALL {
        let name = state.name();
        let line = help
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name}: {help}"));
        assert!(line.contains(state.meaning()), "{name}: {line}");
        assert!(docs.contains(&format!("\n| `{name}` | ")), "{name}");
    }
}
