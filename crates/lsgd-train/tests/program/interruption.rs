//! Signals end a run cleanly or have it saved: what was trained is kept, and kept first.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::program::{PROGRAM, Run, Runs, SLOW, SMOKE, command, workspace};

/// When a run is taken to hang: far longer than anything it is waited for takes.
const LIMIT: Duration = Duration::from_secs(120);

/// How often a file is looked at, and a signal repeated.
const BETWEEN: Duration = Duration::from_millis(20);

/// Trains until it is told to stop; should that be missed, it ends by itself.
const ENDLESS: [&str; 2] = ["budget.minutes=2", "checkpoint.keep=100"];

/// A few steps, and an evaluation that takes far longer than anything done to it here.
const LONG_EVALUATION: [&str; 3] = ["data.examples=200000", "model.width=16", "budget.steps=4"];

/// A run in progress.
struct Going {
    run: Run,
    process: Child,
    lines: Receiver<String>,
    said: String,
}

impl Going {
    fn start(runs: &Runs, name: &str, set: &[&str]) -> Self {
        let mut words = vec![String::from(PROGRAM)];
        words.extend(runs.arguments(SMOKE, name, set));
        Self::of(runs.get(name), &words)
    }

    /// Waits until the run has a folder: signals are handled from before then.
    fn of(run: Run, words: &[String]) -> Self {
        let mut process = Command::new(&words[0])
            .args(&words[1..])
            .current_dir(workspace())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut going = Self {
            run,
            process,
            lines,
            said: String::new(),
        };
        going.hear("parameters");
        going
    }

    #[track_caller]
    fn hear(&mut self, text: &str) {
        while !self.hears(text, LIMIT) {}
    }

    /// Whether it says `text` next, after what it has said before; false when it says nothing for
    /// that long.
    #[track_caller]
    fn hears(&mut self, text: &str, timeout: Duration) -> bool {
        match self.lines.recv_timeout(timeout) {
            Ok(line) => {
                self.said += &format!("{line}\n");
                line.contains(text)
            }
            Err(RecvTimeoutError::Timeout) if timeout < LIMIT => false,
            Err(_) => panic!("it did not say {text:?}:\n{}", self.said),
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Steps of the checkpoints that its record tells of.
    fn checkpoints(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(self.run.join("events.jsonl")).unwrap_or_default();
        let events = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let written = events.filter(|event: &Value| event["event"] == "checkpoint");
        written
            .map(|event| event["step"].as_u64().unwrap())
            .collect()
    }

    /// Waits until its record tells of `count` checkpoints, and returns the last one's step.
    #[track_caller]
    fn checkpoint(&self, count: usize) -> u64 {
        let began = Instant::now();
        loop {
            match self.checkpoints().get(count - 1) {
                Some(step) => return *step,
                None => assert!(began.elapsed() < LIMIT, "no checkpoint {count}"),
            }
            thread::sleep(BETWEEN);
        }
    }

    /// Waits for its end, and returns its exit code.
    fn end(&mut self) -> Option<i32> {
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            self.said += &format!("{line}\n");
        }
        if self.process.try_wait().unwrap().is_none() {
            let _ = self.process.kill();
        }
        self.process.wait().unwrap().code()
    }

    fn state(&self, step: u64) -> Value {
        self.run
            .json(&format!("checkpoints/step-{step}/state.json"))
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// For a scheduler that starts the job again: it is saved, not evaluated, says so by its exit code, and
/// the same command continues it.
#[test]
fn a_run_ends_at_a_signal_to_be_continued() {
    let runs = Runs::new();
    let set = [
        "run.mode=sync",
        "budget.steps=600",
        "evaluate.every_steps=600",
    ];
    let whole = runs.train(SMOKE, "whole", &set);
    let mut arguments = runs.arguments(SMOKE, "stopped", &set);
    arguments.extend([String::from("--resume"), String::from("--signal-resume")]);
    let [env, pace] = SLOW;
    let words = [env, pace, PROGRAM].map(String::from);
    let mut going = Going::of(runs.get("stopped"), &[&words[..], &arguments].concat());
    going.signal("USR1");
    assert_eq!(going.end(), Some(85), "{}", going.said);
    let summary = going.run.summary();
    assert_eq!(summary["end"], "interrupted");
    assert!(summary["steps"].as_u64() < Some(600), "{summary}");
    assert_eq!(going.run.metrics("evaluation"), Vec::<Value>::new());
    command(&arguments).assert().success();
    assert_eq!(going.run.digests(), whole.digests());
}

#[test]
fn an_interrupted_run_is_whole() {
    let runs = Runs::new();
    for (mode, signal) in [("sync", "INT"), ("async", "TERM"), ("sync", "HUP")] {
        let name = format!("{mode}-{signal}");
        let mode_is = format!("run.mode={mode}");
        let set = [&ENDLESS[..], &["evaluate.every_steps=10", &mode_is]].concat();
        let mut going = Going::start(&runs, &name, &set);
        going.hear("step ");
        going.signal(signal);
        assert_eq!(going.end(), Some(130), "{}", going.said);
        let notice = "stopping after this step; Ctrl-C again to stop without an evaluation\n";
        assert_eq!(going.said.matches(notice).count(), 1, "{}", going.said);
        assert!(!going.said.contains("error:"), "{}", going.said);

        let run = &going.run;
        let summary = run.summary();
        assert_eq!(summary["end"], "interrupted");
        let steps = summary["steps"].as_u64().unwrap();
        assert!(steps >= 10);
        assert!(run.json("run.json")["end"].is_string());
        assert!(run.checkpoints().contains(&format!("step-{steps}")));
        let state = going.state(steps);
        if mode == "sync" {
            assert_eq!(state["steps"], json!([steps, steps]));
        }
        assert_eq!(state["evaluation"]["step"], steps);

        let error = summary["test"]["leader"]["error"].as_f64().unwrap();
        let evaluated = run.eval("leader");
        assert!(
            evaluated.contains(&format!("error {error:.2} %")),
            "{evaluated}"
        );
        assert!(!run.export("leader").is_empty());
        assert!(!run.export("mean").is_empty());
    }
}

/// Schedulers send SIGUSR1 or SIGUSR2 ahead of the end.
#[test]
fn a_run_is_saved_when_asked_and_goes_on() {
    let runs = Runs::new();
    for mode in ["sync", "async"] {
        let mode_is = format!("run.mode={mode}");
        // The best evaluation so far would be saved too.
        let own = [mode_is.as_str(), "evaluate.every_minutes=2"];
        let mut going = Going::start(&runs, mode, &[&ENDLESS[..], &own].concat());
        going.signal("USR1");
        let first = going.checkpoint(1);
        going.signal("USR2");
        let second = going.checkpoint(2);
        // In async a pause can follow another before any worker has taken a step.
        assert!(first < second || (mode == "async" && first == second));
        going.signal("INT");
        assert_eq!(going.end(), Some(130), "{}", going.said);
        // Those two and the end.
        let written = going.checkpoints();
        assert_eq!(written[..2], [first, second]);
        assert_eq!(written.len(), 3);
        for step in written {
            let state = going.state(step);
            assert_eq!(state["broken_off"], false);
            if mode == "sync" {
                assert_eq!(state["steps"], json!([step, step]));
            }
            let folder = going.run.join(&format!("checkpoints/step-{step}"));
            for worker in ["worker-0", "worker-1"] {
                assert!(folder.join(format!("{worker}.safetensors")).is_file());
            }
            // The mean takes time to make: only an evaluation needs it.
            let mean = folder.join("mean.safetensors");
            assert_eq!(mean.is_file(), !state["evaluation"].is_null());
        }
    }
}

/// Saving is no part of the arithmetic: the run that was asked for a checkpoint has the bits of one
/// that was not.
#[test]
fn a_run_that_was_saved_when_asked_comes_to_the_same() {
    let runs = Runs::new();
    let mut going = Going::start(&runs, "saved", &ENDLESS);
    going.signal("USR1");
    going.checkpoint(1);
    going.signal("TERM");
    assert_eq!(going.end(), Some(130), "{}", going.said);
    let steps = format!("budget.steps={}", going.run.summary()["steps"]);
    let straight = runs.train(SMOKE, "straight", &[&steps]);
    assert_eq!(going.run.digests(), straight.digests());
}

/// Killed during its last evaluation.
#[test]
fn what_was_trained_is_saved_before_it_is_evaluated() {
    let runs = Runs::new();
    let mut going = Going::start(&runs, "killed", &LONG_EVALUATION);
    assert_eq!(going.checkpoint(1), 4);
    going.signal("KILL");
    assert_eq!(going.end(), None);
    assert_eq!(going.run.metrics("evaluation").len(), 0);
    let state = going.state(4);
    assert_eq!(state["steps"], json!([4, 4]));
    assert!(state["evaluation"].is_null());
    assert!(!going.run.export("worker-1").is_empty());
    assert!(!going.run.export("leader").is_empty());
    // It was not made, and is made now.
    assert!(
        !going
            .run
            .join("checkpoints/step-4/mean.safetensors")
            .exists()
    );
    assert!(!going.run.export("mean").is_empty());
}

/// Signals until a line tells that one was taken for a second request: those that follow the first
/// within a second are the same.
fn insist(going: &mut Going) {
    let second = "stopping once this step is saved; Ctrl-C again to stop at once";
    going.signal("TERM");
    while !going.hears(second, BETWEEN) {
        going.signal("TERM");
    }
}

#[test]
fn a_second_signal_ends_the_evaluation_and_loses_nothing() {
    let runs = Runs::new();
    let mut going = Going::start(&runs, "hurried", &LONG_EVALUATION);
    going.checkpoint(1);
    insist(&mut going);
    assert_eq!(going.end(), Some(130), "{}", going.said);
    assert!(!going.said.contains("error:"), "{}", going.said);
    assert_eq!(going.run.metrics("evaluation").len(), 0);
    let summary = going.run.summary();
    assert_eq!(summary["end"], "interrupted");
    assert_eq!(summary["steps"], 4);
    assert!(summary["test"]["leader"]["error"].is_null());
    assert_eq!(going.state(4)["steps"], json!([4, 4]));
    assert_eq!(going.run.files_of_checkpoint(4), WITHOUT_MEAN);
}

/// An evaluation that is not the last ends at the first signal.
#[test]
fn an_evaluation_on_the_way_is_no_reason_to_wait() {
    let runs = Runs::new();
    let set = [
        "budget.steps=1000",
        "evaluate.every_steps=4",
        "checkpoint.every_steps=4",
    ];
    let mut going = Going::start(&runs, "midway", &[&LONG_EVALUATION[..2], &set].concat());
    assert_eq!(going.checkpoint(1), 4);
    going.signal("TERM");
    // One step on.
    assert_eq!(going.checkpoint(2), 5);
    insist(&mut going);
    assert_eq!(going.end(), Some(130), "{}", going.said);
    assert_eq!(going.run.summary()["steps"], 5);
    assert_eq!(going.run.metrics("evaluation").len(), 0);
}

const WITHOUT_MEAN: [&str; 6] = [
    "state.json",
    "state.safetensors",
    "worker-0.optimizer.bpk",
    "worker-0.safetensors",
    "worker-1.optimizer.bpk",
    "worker-1.safetensors",
];

/// `nohup` has the signal of a terminal that closes ignored, which stays so.
#[test]
#[cfg(target_os = "linux")]
fn a_signal_that_is_ignored_from_the_start_stays_ignored() {
    let runs = Runs::new();
    let mut words = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", PROGRAM]
        .map(String::from)
        .to_vec();
    words.extend(runs.arguments(SMOKE, "nohup", &ENDLESS));
    let mut going = Going::of(runs.get("nohup"), &words);
    going.signal("HUP");
    going.signal("USR1");
    going.checkpoint(1);
    going.signal("USR1");
    going.checkpoint(2);
    assert!(!Path::new(&going.run.join("summary.json")).exists());
    going.signal("TERM");
    assert_eq!(going.end(), Some(130), "{}", going.said);
}

/// A simulated run has no regular end to reach: the current state of its workers is saved.
#[test]
fn an_interrupted_simulation_keeps_what_was_trained() {
    let runs = Runs::new();
    let mut words = vec![String::from(PROGRAM), String::from("simulate")];
    let set = [
        "budget.steps=100000000",
        "evaluate.every_steps=10",
        "simulate.nodes=2",
    ];
    words.extend(runs.arguments(SMOKE, "simulated", &set));
    let mut going = Going::of(runs.get("simulated"), &words);
    going.hear("step ");
    going.signal("TERM");
    assert_eq!(going.end(), Some(130), "{}", going.said);
    assert!(
        going
            .said
            .contains("saved what 4 of 4 workers had trained: ")
    );
    let step = *going.checkpoints().last().unwrap();
    assert!(step >= 10);
    assert_eq!(going.state(step)["broken_off"], true);
    assert!(!going.run.export("worker-3").is_empty());
}
