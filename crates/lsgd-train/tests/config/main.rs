//! What a config file may say, what it means, and the whole text of every refusal.

use std::path::{Path, PathBuf};

use lsgd_core::{BatchNorm, Mode};
use lsgd_models::ModelKind;
use lsgd_run::bench::{Changes, Plan};
use lsgd_run::config::{Devices, MethodName, RankBy, ScheduleKind};
use lsgd_train::image_config::{Augment, Config, DataName, ImageConfig, OptimizerName};

mod cluster;
mod documents;
mod ranges;
mod refusals;
mod round_trip;
mod unused;
mod values;

/// Loads `text` as `c.toml`.
fn load(text: &str) -> Config {
    load_with(text, &[])
}

fn load_with(text: &str, overrides: &[&str]) -> Config {
    let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    match Config::from_toml(text, "c.toml", &overrides) {
        Ok(config) => config,
        Err(error) => panic!("{text:?} {overrides:?}: {error}"),
    }
}

fn refusal(text: &str, overrides: &[&str]) -> String {
    let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    match Config::from_toml(text, "c.toml", &overrides) {
        Ok(_) => panic!("{text:?} {overrides:?}: not refused"),
        Err(error) => error.to_string(),
    }
}

/// Each text is refused with just this line.
fn assert_refused(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(refusal(text, &[]), *expected, "{text}");
        assert!(!expected.contains('\n'));
    }
}

/// Each `--set` on an empty file is refused with just this line.
fn assert_set_refused(cases: &[(&str, &str)]) {
    for (given, expected) in cases {
        assert_eq!(refusal("", &[given]), *expected, "{given}");
    }
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = load("");
    assert_eq!(config.settings.run.name, "run");
    assert_eq!(config.settings.run.folder, Path::new("runs"));
    assert_eq!(
        (
            config.settings.run.seed,
            config.settings.run.mode,
            config.settings.run.overwrite
        ),
        (1, Mode::Sync, false)
    );
    assert_eq!(config.task.data.name, DataName::Cifar10);
    assert_eq!(
        config.task.data.folder,
        Some(PathBuf::from("datasets/cifar-10-batches-bin"))
    );
    assert_eq!(
        (config.task.data.batch_size, config.task.data.augment),
        (128, Augment::PadCrop)
    );
    assert_eq!(
        (config.task.data.examples, config.task.data.classes),
        (2048, 10)
    );
    assert_eq!(config.task.data.shape, [3, 32, 32]);
    assert_eq!(
        (config.task.model.name, config.task.model.width),
        (ModelKind::ResNet20, 16)
    );
    assert_eq!(config.task.model.dropout, 0.5);
    assert_eq!(config.task.optimizer.name, OptimizerName::Sgd);
    assert_eq!(
        (
            config.task.optimizer.momentum,
            config.task.optimizer.nesterov
        ),
        (0.9, false)
    );
    assert_eq!(config.task.optimizer.weight_decay, 5e-4);
    assert_eq!(config.settings.schedule.learning_rate, 0.1);
    assert_eq!(config.settings.schedule.kind, ScheduleKind::Constant);
    assert_eq!(
        (
            config.settings.schedule.drops.len(),
            config.settings.schedule.warmup
        ),
        (0, None)
    );
    assert_eq!(config.settings.method.name, MethodName::Lsgd);
    assert_eq!(
        (
            config.settings.method.local_pull,
            config.settings.method.global_pull
        ),
        (0.1, 0.1)
    );
    assert_eq!(
        (
            config.settings.method.local_period,
            config.settings.method.global_period
        ),
        (16, 64)
    );
    assert_eq!(
        (
            config.settings.method.local_prox,
            config.settings.method.global_prox
        ),
        (0.0, 0.0)
    );
    assert_eq!(
        (
            config.settings.method.loss_window,
            config.settings.method.max_staleness
        ),
        (16, None)
    );
    assert_eq!(config.settings.method.batch_norm, BatchNorm::Own);
    assert_eq!(config.settings.method.rank_by, RankBy::TrainingLoss);
    assert_eq!(
        (
            config.settings.workers.count,
            config.settings.workers.threads
        ),
        (None, 1)
    );
    assert_eq!(
        config.settings.workers.devices,
        Devices::Word(String::from("auto"))
    );
    let budget = &config.settings.budget;
    assert_eq!(
        (budget.epochs, budget.steps, budget.minutes),
        (Some(1.0), None, None)
    );
    let evaluate = &config.settings.evaluate;
    assert_eq!(evaluate.every_epochs, Some(1.0));
    assert_eq!((evaluate.every_steps, evaluate.every_minutes), (None, None));
    assert_eq!((evaluate.examples, evaluate.batch_norm_batches), (None, 50));
    let checkpoint = &config.settings.checkpoint;
    assert_eq!(
        (checkpoint.every_steps, checkpoint.every_epochs),
        (None, None)
    );
    assert_eq!((checkpoint.every_minutes, checkpoint.keep), (None, 2));
}

#[test]
fn the_template_is_the_defaults() {
    assert_eq!(load(&Config::template().unwrap()), load(""));
}

/// What is commented out in the template is valid too.
#[test]
fn the_templates_examples_are_valid() {
    for line in Config::template().unwrap().lines() {
        let Some((key, value)) = line
            .strip_prefix("# ")
            .and_then(|line| line.split_once(" = "))
        else {
            continue;
        };
        let value = value.split(" # ").next().unwrap().trim();
        let tables = [
            "run",
            "data",
            "model",
            "optimizer",
            "schedule",
            "method",
            "workers",
            "budget",
        ];
        let tables = tables.iter().chain(&[
            "evaluate",
            "average",
            "checkpoint",
            "faults",
            "record",
            "cluster",
        ]);
        let accepted = tables.filter(|table| {
            Config::from_toml("", "c.toml", &[format!("{table}.{key}={value}")]).is_ok()
        });
        assert!(accepted.count() >= 1, "{line}");
    }
}

#[test]
fn defaults_that_depend_on_other_keys() {
    assert_eq!(
        load("method.local_period = 5")
            .settings
            .method
            .global_period,
        20
    );
    assert_eq!(
        load_with("", &["method.local_period=5"])
            .settings
            .method
            .global_period,
        20
    );
    let both = load("[method]\nlocal_period = 5\nglobal_period = 5");
    assert_eq!(
        (
            both.settings.method.local_period,
            both.settings.method.global_period
        ),
        (5, 5)
    );

    let folder = |name: &str| {
        load_with("", &[&format!("data.name={name}")])
            .task
            .data
            .folder
    };
    assert_eq!(
        folder("cifar100"),
        Some(PathBuf::from("datasets/cifar-100-binary"))
    );
    assert_eq!(folder("digits"), None);
    assert_eq!(folder("generated"), None);

    let budget = load("budget.minutes = 2").settings.budget;
    assert_eq!((budget.epochs, budget.minutes), (None, Some(2.0)));
    let evaluate = load("evaluate.every_steps = 7").settings.evaluate;
    assert_eq!(
        (evaluate.every_epochs, evaluate.every_steps),
        (None, Some(7))
    );
}

#[test]
fn an_override_is_a_toml_value_or_a_bare_word() {
    let config = load_with(
        "[run]\nname = \"file\"\nseed = 3\n[budget]\nepochs = 5",
        &[
            "run.name=first",
            "run.name = word-2",
            "run.folder=../some where/runs",
            "data.name=generated",
            "data.shape=[1, 8, 8]",
            "optimizer.nesterov=true",
            "optimizer.weight_decay=1e-4",
            "schedule.kind=\"steps\"",
            "schedule.drops=[{ steps = 10, factor = 0.5 }]",
            "schedule.warmup={epochs=1}",
            "workers.devices=[\"cpu\", \"cpu\"]",
        ],
    );
    assert_eq!(
        (config.settings.run.name.as_str(), config.settings.run.seed),
        ("word-2", 3)
    );
    assert_eq!(config.settings.run.folder, Path::new("../some where/runs"));
    assert_eq!(config.task.data.shape, [1, 8, 8]);
    assert!(config.task.optimizer.nesterov);
    assert_eq!(config.task.optimizer.weight_decay, 1e-4);
    assert_eq!(config.settings.schedule.kind, ScheduleKind::Steps);
    assert_eq!(config.settings.schedule.drops[0].steps, Some(10));
    assert_eq!(config.settings.schedule.warmup.unwrap().epochs, Some(1.0));
    assert_eq!(
        config.settings.workers.devices,
        Devices::List(vec!["cpu".into(), "cpu".into()])
    );
    assert_eq!(config.settings.budget.epochs, Some(5.0));
}

/// Else `--set budget.steps` could not be used with a file that gives epochs, as every resolved
/// config does.
#[test]
fn an_override_takes_the_place_of_keys_that_exclude_it() {
    let file = "[budget]\nepochs = 5\n[evaluate]\nevery_epochs = 1\nexamples = 9\n\
                [checkpoint]\nevery_steps = 1";
    let set = [
        "budget.steps=3",
        "evaluate.every_minutes=2",
        "checkpoint.every_epochs=4",
    ];
    let config = load_with(file, &set);
    assert_eq!(
        (config.settings.budget.epochs, config.settings.budget.steps),
        (None, Some(3))
    );
    let evaluate = &config.settings.evaluate;
    assert_eq!(
        (evaluate.every_epochs, evaluate.every_minutes),
        (None, Some(2.0))
    );
    assert_eq!(evaluate.examples, Some(9));
    let checkpoint = &config.settings.checkpoint;
    assert_eq!(
        (checkpoint.every_steps, checkpoint.every_epochs),
        (None, Some(4.0))
    );
    assert_eq!(
        refusal(file, &["budget.steps=3", "budget.minutes=2"]),
        "--set: budget.steps 3 is given together with budget.minutes; give one of them"
    );
}

/// The TOML files of a folder below the workspace's `configs`, each with a header.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = workspace().join("configs").join(folder);
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = paths.filter(|path| path.is_file()).collect();
    for path in &files {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("# "), "{}: no header", path.display());
    }
    files
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_file_in_configs_loads() {
    let files = files("");
    assert!(files.len() >= 3);
    for path in files {
        if let Err(error) = Config::load(&path, &[]) {
            panic!("{error}");
        }
    }
}

#[test]
fn every_bench_in_configs_loads() {
    let files = files("bench");
    assert!(files.len() >= 2);
    let networks = ["cnn7", "resnet20", "vgg16"].map(|name| format!("model.name={name}"));
    for path in files {
        for network in &networks {
            let changes = Changes {
                name: None,
                set: vec![network.clone()],
            };
            let mut plan = Plan::load::<ImageConfig>(&path, changes).unwrap();
            plan.config = workspace().join(plan.config);
            match plan.entries::<ImageConfig>() {
                Ok(entries) => assert!(!entries.is_empty()),
                Err(error) => panic!("{}, {network}: {error}", path.display()),
            }
        }
    }
}
