//! `watch`: a run, followed by its folder.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::live::{ENDLESS, Live};
use super::program::{PROGRAM, Run, Runs, SMOKE, run, workspace};

/// A `watch` under way; it is killed when this is dropped.
struct Watch {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .arg("watch")
            .args(arguments)
            .current_dir(workspace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Its next line.
    #[track_caller]
    fn line(&mut self) -> String {
        self.lines.next().expect("a line").unwrap()
    }

    /// Waits for a line that contains `text`, and returns it.
    #[track_caller]
    fn hear(&mut self, text: &str) -> String {
        let mut heard = Vec::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if line.contains(text) {
                return line;
            }
            heard.push(line);
        }
        panic!("it did not say {text:?}: {heard:#?}");
    }

    /// Waits until it exits. Returns its exit code and the lines until then.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let lines = self.lines.by_ref().map(Result::unwrap).collect();
        (self.child.wait().unwrap().code(), lines)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn path(run: &Run) -> &str {
    run.path.to_str().unwrap()
}

#[test]
fn a_run_that_has_ended_is_told_in_two_lines() {
    let runs = Runs::new();
    let ran = runs.start(SMOKE, "run", &["budget.steps=16"]);
    let trained = runs.get("run");
    let said = run(["watch", path(&trained)]).well();
    let lines: Vec<&str> = said.lines().collect();
    let [first, last] = lines.as_slice() else {
        panic!("{said}");
    };
    let error = trained.summary()["test"]["leader"]["error"]
        .as_f64()
        .unwrap();
    let so_far = format!(
        "{}: lsgd, 2 workers, step 16 of 16, error {error:.2} %",
        path(&trained)
    );
    assert_eq!(*first, so_far);
    // As the run itself has said it.
    assert_eq!(*last, ran.stdout.trim_end());
}

/// From before it begins until it has ended: every evaluation, as the run tells it, and its result.
#[test]
fn a_run_is_followed_from_its_begin_to_its_end() {
    let runs = Runs::new();
    let trained = runs.get("run");
    let mut watch = Watch::start(&[path(&trained), "--wait"]);
    assert_eq!(
        watch.line(),
        format!("{}: waiting for it to begin", path(&trained))
    );
    let set = [
        "evaluate.every_steps=4",
        "checkpoint.every_steps=40",
        "budget.minutes=30",
    ];
    let live = Live::start(&runs.arguments(SMOKE, "run", &set));
    let first = watch.line();
    assert!(
        first.starts_with(&format!("{}: lsgd, 2 workers", path(&trained))),
        "{first}"
    );
    watch.hear(": checkpoint");
    let evaluation = watch.hear(", epoch ");
    signal(live.id(), "-INT");
    let ended = live.end();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(
        ended.stderr.contains(&evaluation),
        "{evaluation}: {}",
        ended.stderr
    );
    let (code, lines) = watch.end();
    assert_eq!(code, Some(0));
    let last = lines.last().unwrap();
    assert!(last.starts_with(&format!("{}: ", path(&trained))), "{last}");
    assert!(last.ends_with("; stopped, and can be continued"), "{last}");

    // Of what the run has said since then nothing is missing or twice.
    let told = |line: &&str| line.contains(", epoch ");
    let said: Vec<&str> = ended
        .stderr
        .lines()
        .filter(told)
        .skip_while(|line| **line != *evaluation)
        .collect();
    let heard: Vec<&str> = [evaluation.as_str()]
        .into_iter()
        .chain(lines.iter().map(String::as_str).filter(told))
        .collect();
    assert_eq!(heard, said);
}

/// It says so, and goes on with the run when that is continued, further back than it was told.
#[test]
fn a_run_that_was_killed_is_followed_on_when_it_continues() {
    let runs = Runs::new();
    let set = [
        "evaluate.every_steps=4",
        "checkpoint.every_steps=16",
        "budget.minutes=30",
    ];
    let live = Live::start(&runs.arguments(SMOKE, "run", &set));
    let trained = runs.get("run");
    trained.wait_for_progress(0, 16);
    let mut waiting = Watch::start(&[path(&trained), "--wait"]);
    let mut watch = Watch::start(&[path(&trained)]);
    waiting.hear(", epoch ");
    watch.hear(", epoch ");
    live.kill();
    let gone = format!("{}: its process is gone without an end: ", path(&trained));
    waiting.hear(&gone);
    let (code, lines) = watch.end();
    assert_eq!(code, Some(1));
    assert!(lines.last().unwrap().starts_with(&gone), "{lines:?}");

    let resumed = Live::start(&["resume", path(&trained)].map(String::from));
    let continued = waiting.hear("continuing after ");
    waiting.hear(", epoch ");
    signal(resumed.id(), "-TERM");
    assert_eq!(resumed.end().code, Some(130));
    let (code, lines) = waiting.end();
    assert_eq!(code, Some(0), "{lines:#?}");
    let steps: Vec<u64> = lines.iter().filter_map(|line| evaluated(line)).collect();
    assert!(steps.is_sorted_by(|one, other| one < other), "{lines:#?}");
    let step = &trained.events("resumed")[0]["step"];
    assert_eq!(continued, format!("continuing after {step} steps"));
}

/// The step of an evaluation's line.
fn evaluated(line: &str) -> Option<u64> {
    let (step, _) = line.strip_prefix("step ")?.split_once(", epoch ")?;
    step.parse().ok()
}

fn signal(process: u32, name: &str) {
    let status = Command::new("kill")
        .args([name, &process.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// The folder is the same, and the run in it another.
#[test]
fn a_run_that_is_replaced_is_told_anew() {
    let runs = Runs::new();
    let arguments = |workers: &str| {
        let set = [
            &ENDLESS[..],
            &["run.overwrite=true", "checkpoint.every_steps=4", workers],
        ]
        .concat();
        runs.arguments(SMOKE, "run", &set)
    };
    let first = Live::start(&arguments("workers.count=1"));
    let trained = runs.get("run");
    trained.wait_for_progress(0, 4);
    let mut watch = Watch::start(&[path(&trained), "--wait"]);
    assert!(watch.line().contains(": lsgd, 1 worker, "));
    first.kill();
    watch.hear("its process is gone");
    let second = Live::start(&arguments("workers.count=2"));
    watch.hear(": lsgd, 2 workers");
    watch.hear(": checkpoint");
    drop(second);
    drop(watch);
}

/// Each line says of which node it is, as those of `launch` do.
#[test]
fn all_nodes_of_a_run_are_followed() {
    let runs = Runs::new();
    let set = ["evaluate.every_steps=4", "budget.minutes=30"];
    let launch = ["launch", "--nodes", "2"].map(String::from).into_iter();
    let live = Live::start(&Vec::from_iter(
        launch.chain(runs.arguments(SMOKE, "nodes", &set)),
    ));
    let trained = runs.get("nodes");
    let mut watch = Watch::start(&[path(&trained), "--wait"]);
    watch.hear(": lsgd, ");
    for node in [1, 2, 1] {
        watch.hear(&format!("node {node} | step "));
    }
    let listed = run(["runs", runs.path().to_str().unwrap(), "--json"]).well();
    assert_eq!(listed.lines().count(), 1, "{listed}");
    for part in [
        r#""state":"running""#,
        r#""nodes_in_state":2"#,
        r#""workers":4"#,
        r#""nodes":2"#,
    ] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    signal(live.id(), "-INT");
    assert_eq!(live.end().code, Some(130));
    let (code, lines) = watch.end();
    assert_eq!(code, Some(0), "{lines:#?}");
    let ends = &lines[lines.len() - 2..];
    for (node, end) in [1, 2].into_iter().zip(ends) {
        assert!(
            end.starts_with(&format!("{}/node-{node}: ", path(&trained))),
            "{end}"
        );
        assert!(end.ends_with("; stopped, and can be continued"), "{end}");
    }
}

#[test]
fn what_is_no_run_is_an_error_of_one_line() {
    let runs = Runs::new();
    let said = |folder: &Path| {
        let ran = run(["watch", folder.to_str().unwrap()]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
        ran.stderr
    };
    assert!(said(&runs.path().join("\u{1b}[2J")).contains("there is no such folder"));
    assert!(said(runs.path()).contains("not a run"));
    fs::create_dir(runs.path().join("run")).unwrap();
    fs::write(runs.path().join("run/run.json"), "7").unwrap();
    assert!(said(&runs.path().join("run")).contains("run.json: "));
}
