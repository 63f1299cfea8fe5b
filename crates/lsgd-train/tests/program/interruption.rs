//! Ctrl-C ends a run cleanly, with what was trained kept.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use super::program::{PROGRAM, Run, Runs, SMOKE, workspace};

/// Starts a run, interrupts it after its first evaluation and returns what it said afterwards.
fn interrupted(runs: &Runs, mode: &str) -> (Run, String) {
    let mode_is = format!("run.mode={mode}");
    // Should the signal be missed, the run ends by itself.
    let set = [
        "budget.minutes=1",
        "evaluate.every_steps=10",
        mode_is.as_str(),
    ];
    let mut child = Command::new(PROGRAM)
        .args(runs.arguments(SMOKE, mode, &set))
        .current_dir(workspace())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("step ") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended early");
    }
    let pid = child.id().to_string();
    let kill = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(kill.success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    (runs.get(mode), rest)
}

#[test]
fn an_interrupted_run_is_whole() {
    let runs = Runs::new();
    for mode in ["sync", "async"] {
        let (run, rest) = interrupted(&runs, mode);
        let notice = "stopping after this step; Ctrl-C again to stop at once\n";
        assert_eq!(rest.matches(notice).count(), 1, "{rest}");
        assert!(!rest.contains("error:"), "{rest}");

        let summary = run.summary();
        assert_eq!(summary["end"], "interrupted");
        let steps = summary["steps"].as_u64().unwrap();
        assert!(steps >= 10);
        assert!(run.json("run.json")["end"].is_string());
        assert!(run.checkpoints().contains(&format!("step-{steps}")));
        let state = run.json(&format!("checkpoints/step-{steps}/state.json"));
        if mode == "sync" {
            assert_eq!(state["steps"], serde_json::json!([steps, steps]));
        }

        let error = summary["test_error"]["leader"].as_f64().unwrap();
        let evaluated = run.eval("leader");
        assert!(
            evaluated.contains(&format!("error {error:.2} %")),
            "{evaluated}"
        );
        assert!(!run.export("leader").is_empty());
        assert!(!run.export("mean").is_empty());
    }
}
