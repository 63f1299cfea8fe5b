//! How command lines are parsed.

use lsgd_run::cli::{OnUserSignal, Replay, Report, Runs, Serving, Watch};
use lsgd_run::exit::{EXIT_SUCCESS, EXIT_USAGE};

use super::*;

fn parse(line: &str) -> Result<Invocation, clap::Error> {
    Invocation::parse(line.split_whitespace())
}

fn refusal(line: &str) -> (i32, String) {
    match parse(line) {
        Ok(parsed) => panic!("{line}: not refused, {parsed:?}"),
        Err(error) => (error.exit_code(), error.to_string()),
    }
}

#[test]
fn clap_finds_no_fault_in_the_definition() {
    Cli::command().debug_assert();
}

#[test]
fn no_subcommand_trains() {
    let line = "lsgd-train --config a.toml --set run.seed=2 --set data.batch_size=8 --quiet";
    let expected = Train {
        config: PathBuf::from("a.toml"),
        set: vec![
            String::from("run.seed=2"),
            String::from("data.batch_size=8"),
        ],
        quiet: true,
        resume: false,
        on_user_signal: OnUserSignal::Save,
        serving: Serving::default(),
    };
    assert_eq!(parse(line).unwrap(), Invocation::Train(expected.clone()));
    let expected = Train {
        resume: true,
        ..expected
    };
    let line = format!("{line} --resume");
    assert_eq!(parse(&line).unwrap(), Invocation::Train(expected.clone()));
    let expected = Train {
        on_user_signal: OnUserSignal::SaveAndEnd,
        ..expected
    };
    let line = format!("{line} --signal-resume");
    assert_eq!(parse(&line).unwrap(), Invocation::Train(expected));
}

#[test]
fn training_without_a_config_says_how_to_get_one() {
    for line in ["lsgd-train", "lsgd-train --quiet"] {
        let (code, text) = refusal(line);
        assert_eq!(code, i32::from(EXIT_USAGE));
        assert!(text.starts_with("error: no config was given\n"), "{text}");
        assert!(text.contains("lsgd-train init "), "{text}");
        assert!(text.contains("lsgd-train --config lsgd.toml "), "{text}");
    }
    let (code, text) = refusal("lsgd-train --set run.seed=2");
    assert_eq!(code, i32::from(EXIT_USAGE));
    assert!(text.contains("--config <FILE>"), "{text}");
}

#[test]
fn subcommands() {
    let command = |line: &str| match parse(line).unwrap() {
        Invocation::Command(command) => command,
        Invocation::Train(train) => panic!("{line}: {train:?}"),
    };
    assert_eq!(
        command("lsgd-train init"),
        Command::Run(RunCommand::Init {
            path: PathBuf::from("lsgd.toml"),
            force: false,
        })
    );
    assert_eq!(
        command("lsgd-train init a.toml --force"),
        Command::Run(RunCommand::Init {
            path: "a.toml".into(),
            force: true,
        })
    );
    assert_eq!(
        command("lsgd-train devices"),
        Command::Run(RunCommand::Devices { check: false })
    );
    assert_eq!(
        command("lsgd-train replay runs/a --until 1000 --set data.folder=d"),
        Command::Run(RunCommand::Replay(Replay {
            run: "runs/a".into(),
            until: Some(1000),
            set: vec![String::from("data.folder=d")],
        }))
    );
    assert_eq!(
        command("lsgd-train runs"),
        Command::Run(RunCommand::Runs(Runs {
            folder: "runs".into(),
            json: false,
        }))
    );
    assert_eq!(
        command("lsgd-train watch runs/a --wait"),
        Command::Run(RunCommand::Watch(Watch {
            run: "runs/a".into(),
            wait: true,
        }))
    );
    for output in ["--out", "--output", "-o"] {
        assert_eq!(
            command(&format!("lsgd-train report runs/a runs/b {output} c.html")),
            Command::Run(RunCommand::Report(Report {
                runs: vec!["runs/a".into(), "runs/b".into()],
                output: Some("c.html".into()),
                csv: None,
                mlflow: None,
                force: false,
            }))
        );
    }
    assert_eq!(
        command("lsgd-train data fetch cifar100 --folder d"),
        Command::Data(DataCommand::Fetch(Fetch {
            name: FetchName::Cifar100,
            folder: Some("d".into()),
            archive: None,
            mirror: None,
            ca: None,
        }))
    );
    assert_eq!(
        command("lsgd-train data fetch cifar10 --mirror http://m/a --ca c.pem"),
        Command::Data(DataCommand::Fetch(Fetch {
            name: FetchName::Cifar10,
            folder: None,
            archive: None,
            mirror: Some("http://m/a".into()),
            ca: Some("c.pem".into()),
        }))
    );
    assert_eq!(
        command(
            "lsgd-train eval runs/a --which worker-3 --checkpoint 40 --on holdout --set data.folder=d --logits l"
        ),
        Command::Eval(Eval {
            run: "runs/a".into(),
            which: Which::Worker(3),
            checkpoint: CheckpointName::Step(40),
            on: ScoredOn::Holdout,
            set: vec![String::from("data.folder=d")],
            logits: Some("l".into()),
            confusion: None,
            force: false,
        })
    );
    assert_eq!(
        command("lsgd-train export runs/a --which mean --output m.safetensors --force"),
        Command::Export(Export {
            run: "runs/a".into(),
            which: Which::Mean,
            checkpoint: CheckpointName::Newest,
            output: Some("m.safetensors".into()),
            force: true,
        })
    );
}

#[test]
fn wrong_usage_is_code_two() {
    for line in [
        "lsgd-train --config a.toml devices",
        "lsgd-train --cofnig a.toml",
        "lsgd-train trian",
        "lsgd-train data fetch cifar11",
        "lsgd-train eval",
        "lsgd-train export runs/a --which best",
    ] {
        let (code, text) = refusal(line);
        assert_eq!(code, i32::from(EXIT_USAGE), "{line}");
        assert!(text.starts_with("error: "), "{line}: {text}");
    }
    // A command that only has subcommands prints its help.
    assert_eq!(refusal("lsgd-train data").0, i32::from(EXIT_USAGE));
    let (_, text) = refusal("lsgd-train export runs/a --which best");
    assert!(
        text.contains(
            "invalid value 'best' for '--which <WHICH>': \
             give leader, mean, mean-of-all-nodes, worker-K, such as worker-0, ema, lawa or worker-K-ema"
        ),
        "{text}"
    );
}

/// An unexpected word in place of a command.
#[test]
fn a_config_without_its_flag_gets_a_hint() {
    let hint = "  tip: a config is given as --config configs/a.toml\n";
    for line in [
        "lsgd-train configs/a.toml",
        "lsgd-train --quiet configs/a.toml",
        "lsgd-train launch --nodes 2 configs/a.toml",
        "lsgd-train simulate configs/a.toml",
    ] {
        let (code, text) = refusal(line);
        assert_eq!(code, i32::from(EXIT_USAGE), "{line}");
        assert!(text.contains(hint), "{line}: {text}");
    }
    for line in [
        "lsgd-train configs/a",
        "lsgd-train bench a.toml b.toml",
        "lsgd-train eval runs/a b.toml",
    ] {
        let (_, text) = refusal(line);
        assert!(!text.contains("a config is given"), "{line}: {text}");
    }
    let (_, text) = refusal("lsgd-train train --config a.toml");
    let hint = "  tip: training needs no command: lsgd-train --config FILE\n";
    assert!(text.contains(hint), "{text}");
}

#[test]
fn help_is_success_and_tells_the_exit_codes() {
    let (code, text) = refusal("lsgd-train --help");
    assert_eq!(code, i32::from(EXIT_SUCCESS));
    for line in [
        "  0    success",
        "  1    the run",
        "  2    wrong usage",
        "  130  stopped by a signal",
    ] {
        assert!(text.contains(line), "{line} not in {text}");
    }
}
