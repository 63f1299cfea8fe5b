//! `init`, `devices`, `--help`, and what a run says while it trains.

use std::fs::{self, File};
use std::io::{PipeWriter, pipe};
use std::process::{Command, Stdio};

use super::program::{PROGRAM, Ran, Runs, SMOKE, command, run, workspace};

#[test]
fn init_writes_a_config_that_trains_and_leaves_a_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let path = path.to_str().unwrap();
    let said = run(["init", path]).well();
    let expected = format!("wrote {path}; train with: lsgd-train --config {path}\n");
    assert_eq!(said, expected);
    let written = fs::read_to_string(path).unwrap();

    let text = format!("{path} exists; give another path, or replace it with --force");
    run(["init", path]).failed(1, &text);
    assert_eq!(fs::read_to_string(path).unwrap(), written);

    let runs = Runs::new();
    let set = [
        "data.name=digits",
        "data.augment=none",
        "model.width=2",
        "budget.steps=2",
    ];
    runs.train(path, "first", &set);
}

#[test]
fn init_writes_lsgd_toml_where_it_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(["init"]);
    command.current_dir(folder.path()).assert().success();
    assert!(folder.path().join("lsgd.toml").is_file());
}

#[test]
fn devices_lists_what_can_train() {
    let listed = run(["devices"]).well();
    assert!(
        listed.lines().any(|line| line.starts_with("flex  CPU")),
        "{listed}"
    );
    assert_eq!(
        listed.matches("first choice of \"auto\"").count(),
        1,
        "{listed}"
    );
    let checked = run(["devices", "--check"]).well();
    let flex = checked.lines().find(|line| line.starts_with("flex  CPU"));
    let (_, error) = flex
        .and_then(|line| line.split_once("; right to "))
        .expect(&checked);
    let error: f64 = error.parse().expect("a number");
    assert!(error < 1e-5, "{checked}");
    assert_eq!(checked.lines().count(), listed.lines().count());
}

/// Cross-entropy of four classes: begins near ln 4, falls, and is too high at last.
#[test]
fn find_rate_suggests_a_learning_rate() {
    let found = run([
        "find-rate",
        "--config",
        SMOKE,
        "--steps",
        "120",
        "--to",
        "100",
    ])
    .well();
    let (_, rate) = found
        .split_once("schedule.learning_rate=")
        .expect("a suggestion");
    let rate: f64 = rate.trim().parse().expect("a number");
    assert!((1e-4..1.0).contains(&rate), "{found}");
    assert!(found.contains("too high"), "{found}");
    run(["find-rate", "--config", SMOKE, "--from", "1", "--to", "0.1"]).failed(
        2,
        "--from 1 --to 0.1: give two learning rates over 0, the lower one first",
    );
}

/// The sizes of a table of paces, and its last lines.
fn find_batch(more: &[&str]) -> (Vec<String>, Vec<String>) {
    let arguments = ["find-batch", "--config", SMOKE, "--steps", "2"];
    let found = run(arguments.iter().chain(more)).well();
    let mut lines = found.lines().map(String::from);
    assert_eq!(
        lines.next().as_deref(),
        Some("batch size  ms a step  samples/s")
    );
    let (rows, rest): (Vec<String>, Vec<String>) =
        lines.partition(|line| line.split_whitespace().count() == 3);
    let size = |row: &String| row.split_whitespace().next().unwrap().to_owned();
    (rows.iter().map(size).collect(), rest)
}

#[test]
fn find_batch_measures_each_size_and_names_one() {
    let (sizes, rest) = find_batch(&["--from", "4", "--to", "20"]);
    assert_eq!(sizes, ["4", "8", "16"]);
    let enough = rest[0].strip_prefix("enough: data.batch_size=").unwrap();
    assert!(sizes.iter().any(|size| size == enough), "{rest:?}");
}

/// The data have 512 examples.
#[test]
fn find_batch_ends_at_the_first_size_that_is_not_possible() {
    let (sizes, rest) = find_batch(&["--from", "256"]);
    assert_eq!(sizes, ["256", "512"]);
    assert!(rest[0].trim_start().starts_with("1024  "), "{rest:?}");
    assert!(rest[1].starts_with("enough: "), "{rest:?}");
    let arguments = ["find-batch", "--config", SMOKE, "--from", "8", "--to", "4"];
    run(arguments).failed(
        2,
        "--from 8 --to 4: give two batch sizes, the smaller one first",
    );
}

#[test]
fn help_tells_of_commands_and_exit_codes() {
    let help = run(["--help"]).well();
    for command in ["init", "devices", "data", "eval", "export"] {
        let line = format!("\n  {command} ");
        assert!(help.contains(&line), "{help}");
    }
    let codes = "\
Exit codes:
  0    success
  1    the run or the command failed; what a run had trained is saved if it can be
  2    wrong usage or config; nothing was started
  75   a busy port, a name that does not resolve, a full disk, nodes that did not come, a run or node
       that another process is: the same command may work later
  130  stopped by a signal; what was trained is kept
";
    assert!(help.ends_with(codes), "{help}");
}

/// Standard error is no terminal here: plain lines, one for the start and one an evaluation.
#[test]
fn progress_in_a_log_is_plain_lines() {
    let runs = Runs::new();
    let ran = runs.start(SMOKE, "lines", &["evaluate.every_steps=8"]);
    let path = runs.get("lines").path.display().to_string();
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let [first, second, third] = lines.as_slice() else {
        panic!("{}", ran.stderr);
    };
    let start = "resnet8 on generated, 4904 parameters, lsgd, 2 workers on flex";
    assert_eq!(*first, format!("{path}: {start}"));
    assert!(
        second.starts_with("step 8, epoch 0.50: leader error "),
        "{second}"
    );
    assert!(
        third.starts_with("step 16, epoch 1.00: leader error "),
        "{third}"
    );
    assert!(!ran.stderr.contains('\u{1b}') && !ran.stderr.contains('\r'));
    let start = format!("{path}: 16 steps of 2 workers, ");
    assert!(ran.stdout.starts_with(&start), "{}", ran.stdout);
    assert_eq!(ran.stdout.lines().count(), 1);
}

/// What is printed on a terminal, by `script`, which has one, of both outputs.
fn on_a_terminal(arguments: &[String], term: Option<&str>) -> String {
    let words = [String::from(PROGRAM)]
        .into_iter()
        .chain(arguments.to_vec());
    let quoted: Vec<String> = words.map(|word| format!("'{word}'")).collect();
    let mut script = Command::new("script");
    script
        .args([
            "--quiet",
            "--return",
            "--command",
            &quoted.join(" "),
            "/dev/null",
        ])
        .current_dir(workspace())
        .stdin(Stdio::null());
    match term {
        Some(term) => script.env("TERM", term),
        None => script.env_remove("TERM"),
    };
    Ran::of(script.output().expect("`script`, of util-linux")).well()
}

/// A terminal that can show no bar has the lines of a log.
#[cfg(target_os = "linux")]
#[test]
fn progress_on_a_dumb_terminal_is_plain_lines() {
    let runs = Runs::new();
    let arguments = |name: &str| runs.arguments(SMOKE, name, &["evaluate.every_steps=8"]);
    for (name, term) in [("none", None), ("dumb", Some("dumb"))] {
        let said = on_a_terminal(&arguments(name), term);
        let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
        let [first, second, third, last] = lines.as_slice() else {
            panic!("{said}");
        };
        assert!(first.ends_with(" 2 workers on flex"), "{said}");
        assert!(second.starts_with("step 8, epoch 0.50: "), "{said}");
        assert!(third.starts_with("step 16, epoch 1.00: "), "{said}");
        assert!(last.contains(": 16 steps of 2 workers, "), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
    let said = on_a_terminal(&arguments("bar"), Some("xterm"));
    assert!(said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn one_is_one() {
    let runs = Runs::new();
    let ran = runs.start(SMOKE, "one", &["workers.count=1", "budget.steps=1"]);
    assert!(
        ran.stdout.contains(": 1 step of 1 worker, "),
        "{}",
        ran.stdout
    );
    let begin = ran.stderr.lines().next().unwrap();
    assert!(begin.ends_with(", 1 worker on flex"), "{begin}");
}

/// A pipe without a reader.
fn closed() -> PipeWriter {
    pipe().unwrap().1
}

/// The exit code of a command with these outputs, and what it said if that is a pipe.
fn code_of(arguments: &[String], out: Stdio, err: Stdio) -> (Option<i32>, String) {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(workspace());
    let child = command.stdout(out).stderr(err).spawn().unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    (ran.code, ran.stderr)
}

/// As behind `| head -1`: a run whose reader has gone went well all the same.
#[test]
fn a_closed_output_is_no_failure() {
    let runs = Runs::new();
    // With a warning, which meets a closed standard error too.
    let set = ["data.batch_size=300", "budget.steps=1"];
    let train = runs.arguments(SMOKE, "out", &set);
    let went_well = (Some(0), String::new());
    assert_eq!(code_of(&train, closed().into(), closed().into()), went_well);
    assert_eq!(runs.get("out").summary()["end"], "budget");
    let run = runs.get("out").path.display().to_string();
    for command in [
        &["devices"][..],
        &["eval", &run, "--which", "mean"],
        &["--help"],
    ] {
        let arguments: Vec<String> = command.iter().map(|word| String::from(*word)).collect();
        let ended = code_of(&arguments, closed().into(), Stdio::piped());
        assert_eq!(ended, went_well, "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_on_a_full_disk_is_a_failure() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ended = code_of(&[String::from("devices")], full.into(), Stdio::piped());
    let text = "error: cannot write standard output: No space left on device (os error 28)\n";
    assert_eq!(ended, (Some(75), String::from(text)));
}

/// Where a shell leaves `~` alone: behind `=`, in values, in files.
#[test]
fn a_tilde_is_the_home_folder() {
    let home = tempfile::tempdir().unwrap();
    let ran = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.env("HOME", home.path());
        Ran::of(command.output().unwrap()).well()
    };
    let config = workspace().join(SMOKE);
    fs::copy(config, home.path().join("a.toml")).unwrap();
    ran(&[
        "--config=~/a.toml",
        "--set=run.folder=~/runs",
        "--set=run.name=~",
        "--quiet",
    ]);
    assert!(home.path().join("runs/~/summary.json").is_file());
    ran(&["eval", "~/runs/~", "--logits=~/logits.safetensors"]);
    ran(&["export", "~/runs/~", "--output=~/model.safetensors"]);
    ran(&["init", "~/b.toml"]);
    for file in ["logits.safetensors", "model.safetensors", "b.toml"] {
        assert!(home.path().join(file).is_file(), "{file}");
    }
    assert!(!workspace().join("~").exists());
}

#[test]
fn names_are_what_was_typed() {
    let runs = Runs::new();
    for name in ["4711", "2025-01-31", "77950e8", "true"] {
        let run = runs.train(SMOKE, name, &["budget.steps=1e0"]);
        assert_eq!(run.summary()["steps"], 1, "{name}");
    }
}

/// A hundred steps an epoch: in floating point 0.29 of them are fewer than 29.
#[test]
fn epochs_are_exact() {
    let runs = Runs::new();
    let set = [
        "data.examples=3200",
        "budget.epochs=0.57",
        "evaluate.every_epochs=0.29",
        "evaluate.examples=8",
    ];
    let run = runs.train(SMOKE, "epochs", &set);
    assert_eq!(run.summary()["steps"], 57);
    let evaluations = run.metrics("evaluation");
    let steps: Vec<_> = evaluations.iter().map(|line| &line["step"]).collect();
    assert_eq!(steps, [29, 57]);
}

#[test]
fn quiet_prints_nothing() {
    let runs = Runs::new();
    let mut arguments = runs.arguments(SMOKE, "quiet", &[]);
    arguments.push(String::from("--quiet"));
    let ran = run(arguments);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert_eq!(ran.code, Some(0));
    assert_eq!(runs.get("quiet").summary()["end"], "budget");
}
