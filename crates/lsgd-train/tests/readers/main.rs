//! What is written for other programs, read by these programs themselves.
//!
//! They are Python packages: the variable `PYTHON` names an interpreter that has them, `python3` if it is not
//! set. A test whose package is missing is reported as ignored, with what is missing; `--include-ignored` makes
//! it fail instead.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};
use program::{Runs, SMOKE, workspace};

#[allow(
    dead_code,
    reason = "shared with the tests of the program, which use all of it"
)]
#[path = "../program/program.rs"]
mod program;

/// A test that needs a Python package.
struct Test {
    name: &'static str,
    test: fn(),
    package: &'static str,
    /// What is said if it is missing.
    missing: &'static str,
}

const TESTS: [Test; 3] = [
    Test {
        name: "mlflow_reads_each_value",
        test: mlflow,
        package: "mlflow",
        missing: "no mlflow",
    },
    Test {
        name: "mlflow_reads_each_node_and_a_run_once",
        test: mlflow_of_nodes,
        package: "mlflow",
        missing: "no mlflow",
    },
    Test {
        name: "tensorboard_reads_each_value",
        test: tensorboard,
        package: "tensorboard",
        missing: "no tensorboard",
    },
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = TESTS.map(|of| {
        let trial = Trial::test(of.name, move || {
            (of.test)();
            Ok(())
        });
        match arguments.list || has(of.package) {
            true => trial,
            // What is missing stands in front of the name.
            false => trial.with_ignored_flag(true).with_kind(of.missing),
        }
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn python() -> Command {
    let named = std::env::var_os("PYTHON");
    Command::new(named.unwrap_or_else(|| OsString::from("python3")))
}

fn has(package: &str) -> bool {
    let import = format!("import {package}");
    let output = python().args(["-c", &import]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Runs a script of the repository, and asserts that it went well.
#[track_caller]
fn script(name: &str, arguments: &[&Path]) -> String {
    let path = workspace().join("scripts").join(name);
    let output = python().arg(path).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(output.status.success(), "{}", text(output.stderr));
    text(output.stdout)
}

#[track_caller]
fn export(run: &Path, store: &Path) {
    let export = ["report".as_ref(), run, "--mlflow".as_ref(), store];
    program::run(export.map(Path::as_os_str)).well();
}

fn mlflow() {
    let runs = Runs::new();
    let store = runs.path().join("store");
    // Losses that are not finite, and workers at steps of their own.
    for (name, set) in [
        (
            "sync",
            &["evaluate.every_steps=4", "average.ema_decay=0.9"][..],
        ),
        ("async", &["evaluate.every_steps=4", "run.mode=async"]),
        ("diverges", &["schedule.learning_rate=1e30"]),
    ] {
        runs.start(SMOKE, name, set);
        export(&runs.get(name).path, &store);
    }
    for name in ["sync", "async", "diverges"] {
        let said = script("check_mlflow.py", &[&runs.get(name).path, &store]);
        assert!(said.ends_with("values: the same\n"), "{said}");
    }
}

fn mlflow_of_nodes() {
    let runs = Runs::new();
    let launch = ["launch", "--nodes", "2", "--quiet"].map(String::from);
    let train = runs.arguments(SMOKE, "nodes", &["method.global_period=4"]);
    program::run(launch.iter().chain(&train)).well();
    let store = runs.path().join("store");
    // The second time replaces the entries of the first.
    for _ in 0..2 {
        export(&runs.get("nodes").path, &store);
    }
    for node in ["node-1", "node-2"] {
        let run = runs.get("nodes").join(node);
        script("check_mlflow.py", &[&run, &store]);
    }
}

fn tensorboard() {
    let runs = Runs::new();
    let set = ["evaluate.every_steps=4", "record.tensorboard=true"];
    let run = runs.train(SMOKE, "run", &set);
    let said = script("check_tensorboard.py", &[&run.path]);
    assert!(said.ends_with("values: the same\n"), "{said}");
}
