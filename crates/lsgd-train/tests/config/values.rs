//! How what is typed and what stands in a file becomes the value of a key.

use std::path::{Path, PathBuf};

use lsgd_run::config::{Devices, MethodName};

use super::{assert_refused, assert_set_refused, load, load_with};

/// Whatever else it may look like: a number, a date, a boolean, a list.
#[test]
fn a_string_is_what_was_typed() {
    for name in [
        "4711",
        "007",
        "1e3",
        "77950e8",
        "0x1F",
        "1_000",
        "-0.50",
        "inf",
        "2025-01-31",
        "12:30:00",
        "true",
        "a # b",
        "[a, b]",
        "{a = 1}",
        "a=b",
    ] {
        let config = load_with("", &[&format!("run.name={name}")]);
        assert_eq!(config.settings.run.name, name);
        let config = load_with("", &[&format!("run.folder= {name} ")]);
        assert_eq!(config.settings.run.folder, Path::new(name));
    }
    for quoted in ["\"4711\"", "'4711'"] {
        let config = load_with("", &[&format!("run.name={quoted}")]);
        assert_eq!(config.settings.run.name, "4711");
    }
    assert_eq!(
        load_with("", &["method.name=sgd"]).settings.method.name,
        MethodName::Sgd
    );
}

#[test]
fn a_whole_number_may_have_a_point_or_an_exponent() {
    for (text, number) in [
        ("1e3", 1000),
        ("1.5e3", 1500),
        ("1500.0", 1500),
        ("1_000", 1000),
        ("2.5e1", 25),
    ] {
        let set = format!("budget.steps={text}");
        assert_eq!(
            load_with("", &[&set]).settings.budget.steps,
            Some(number),
            "{text}"
        );
        let file = format!("budget.steps = {text}");
        assert_eq!(load(&file).settings.budget.steps, Some(number), "{text}");
    }
    assert_eq!(
        load_with("", &["data.batch_size=064"]).task.data.batch_size,
        64
    );
    let nested = load(
        "data = { name = 'generated', shape = [3.0, 1e1, 8] }\n\
         schedule.kind = 'steps'\n\
         schedule.drops = [{ steps = 1e3, factor = 1 }]\n\
         schedule.warmup = { steps = 2e2 }\n\
         simulate.deaths = [{ worker = 1e0, seconds = 1 }]",
    );
    assert_eq!(nested.task.data.shape, [3, 10, 8]);
    assert_eq!(nested.settings.schedule.drops[0].steps, Some(1000));
    assert_eq!(nested.settings.schedule.warmup.unwrap().steps, Some(200));
    assert_eq!(nested.settings.simulate.deaths[0].worker, 1);
    // 2^53, up to which all whole numbers are floats.
    assert_eq!(
        load("run.seed = 9007199254740992.0").settings.run.seed,
        1 << 53
    );
}

#[test]
fn numbers_that_are_not_whole_or_too_large() {
    let range = "is not in [0, 9223372036854775807]; \
                 give a whole number from 0 to 9223372036854775807";
    assert_set_refused(&[
        (
            "data.batch_size=1.5",
            "--set: data.batch_size 1.5 is a float; give a whole number from 1 to 65536",
        ),
        (
            "data.batch_size=many",
            "--set: data.batch_size \"many\" is not a whole number from 1 to 65536",
        ),
        (
            "data.batch_size=-1",
            "--set: data.batch_size -1 is not in [1, 65536]; give a whole number from 1 to 65536",
        ),
        (
            "data.batch_size=1e300",
            "--set: data.batch_size 1e300 is not in [1, 65536]; give a whole number from 1 to 65536",
        ),
        (
            "data.batch_size=99999999999999999999",
            "--set: data.batch_size 99999999999999999999 is not in [1, 65536]; \
             give a whole number from 1 to 65536",
        ),
        (
            "run.seed=9223372036854775808",
            &format!("--set: run.seed 9223372036854775808 {range}"),
        ),
        (
            "run.seed=1e18",
            "--set: run.seed 1e18 is too large for a float to hold exactly; write all its digits",
        ),
        ("run.seed=1e19", &format!("--set: run.seed 1e19 {range}")),
        (
            "run.overwrite=1e0",
            "--set: run.overwrite \"1e0\" is not true or false",
        ),
        (
            "method.local_pull=true",
            "--set: method.local_pull \"true\" is not a number",
        ),
        (
            "schedule.drops=80",
            "--set: schedule.drops \"80\" is not a list, such as [{ epochs = 80, factor = 0.1 }]",
        ),
    ]);
    assert_refused(&[
        (
            "budget.steps = 1.5",
            "c.toml: budget.steps 1.5 is a float; give a whole number from 1 to 1000000000000",
        ),
        (
            "budget.steps = inf",
            "c.toml: budget.steps inf is a float; give a whole number from 1 to 1000000000000",
        ),
        (
            "schedule.warmup = { steps = -2e0 }",
            "c.toml: schedule.warmup.steps -2 is not in [1, 1000000000000]; \
             give a whole number from 1 to 1000000000000",
        ),
        (
            "run.seed = 9223372036854775808",
            "c.toml:1:12: u64 value was too large",
        ),
    ]);
}

/// Shells take quotes away, and `--connect` has none.
#[test]
fn a_list_of_strings_needs_no_quotes() {
    let devices = |text: &str| load_with("", &[&format!("workers.devices={text}")]);
    for text in [
        "cpu,wgpu:0",
        "cpu, wgpu:0",
        "[cpu,wgpu:0]",
        "[ cpu, wgpu:0 ]",
        "[\"cpu\", 'wgpu:0']",
    ] {
        let expected = Devices::List(vec!["cpu".into(), "wgpu:0".into()]);
        assert_eq!(devices(text).settings.workers.devices, expected, "{text}");
    }
    let one = Devices::List(vec!["cpu".into()]);
    assert_eq!(devices("cpu").settings.workers.devices, one);
    for text in ["auto", "\"auto\""] {
        let auto = Devices::Word("auto".into());
        assert_eq!(devices(text).settings.workers.devices, auto);
    }
    let set = ["cluster.connect=[tcp/[::1]:7401,tcp/127.0.0.1:7402]"];
    assert_eq!(
        load_with("", &set).settings.cluster.connect,
        ["tcp/[::1]:7401", "tcp/127.0.0.1:7402"]
    );
    assert_set_refused(&[
        (
            "workers.devices=[cpu, \"cpu\"]",
            "--set workers.devices=[cpu, \"cpu\"]: the value is not TOML: \
             string values must be quoted, expected literal string",
        ),
        (
            "workers.devices=[cpu",
            "--set workers.devices=[cpu: the value is not TOML: unclosed array, expected `]`",
        ),
        (
            "workers.devices=cpu,,cpu",
            "--set: workers.devices [\"cpu\", \"\", \"cpu\"] has an empty name; \
             give the name of a device, such as \"cpu\"",
        ),
    ]);
}

#[test]
fn a_tilde_is_the_home_folder_in_every_path() {
    let home = std::env::home_dir().unwrap();
    let file = "run.folder = \"~/runs\"\ndata.folder = \"~\"\n\
                cluster.tls = { ca = \"~/ca\", certificate = \"./~/c\", key = \"k~\" }";
    let config = load(file);
    assert_eq!(config.settings.run.folder, home.join("runs"));
    assert_eq!(config.task.data.folder, Some(home.clone()));
    let tls = config.settings.cluster.tls.unwrap();
    assert_eq!(tls.ca, home.join("ca"));
    let unchanged = [tls.certificate, tls.key];
    assert_eq!(unchanged, ["./~/c", "k~"].map(PathBuf::from));
    for set in ["data.folder=~/c 10", "data.folder=\"~/c 10\""] {
        let config = load_with("", &[set]);
        assert_eq!(config.task.data.folder, Some(home.join("c 10")));
    }
    // No path, and so no home folder.
    assert_eq!(load("run.name = \"~\"").settings.run.name, "~");
    let text = "begins with ~ but not with ~/, the home folder; write the whole path, \
                or ./~ for a name that begins so";
    assert_refused(&[(
        "cluster.tls = { ca = \"~you/ca\", certificate = \"c\", key = \"k\" }",
        &format!("c.toml: cluster.tls.ca \"~you/ca\" {text}"),
    )]);
    assert_set_refused(&[(
        "data.folder=~you",
        &format!("--set: data.folder \"~you\" {text}"),
    )]);
}

/// Every word of a fixed list, in one way.
#[test]
fn a_word_that_is_misspelt_is_guessed() {
    for (set, meant) in [
        ("run.mode=asinc", "async"),
        ("data.name=cifar-10", "cifar10"),
        ("data.augment=pad-crop", "pad_crop"),
        ("model.name=ResNet-20", "resnet20"),
        ("model.name=vgg-16", "vgg16"),
        ("optimizer.name=adamW", "adamw"),
        ("schedule.kind=cosin", "cosine"),
        ("method.name=lsdg", "lsgd"),
        ("method.name=LocalSGD", "local_sgd"),
        ("method.batch_norm=leeder", "leader"),
        ("method.rank_by=train_loss", "training_loss"),
        ("cluster.wire=bf-16", "bf16"),
    ] {
        let refused = super::refusal("", &[set]);
        assert!(refused.contains(" is not known; give \""), "{refused}");
        let expected = format!("; did you mean \"{meant}\"?");
        assert!(refused.ends_with(&expected), "{refused}");
    }
    assert_set_refused(&[
        (
            "run.mode=snyc",
            "--set: run.mode \"snyc\" is not known; give \"sync\" or \"async\"; \
             did you mean \"sync\"?",
        ),
        (
            "optimizer.name=rprop",
            "--set: optimizer.name \"rprop\" is not known; \
             give \"sgd\", \"adam\", \"adamw\", \"lars\", \"lion\", \"lamb\" or \"muon\"",
        ),
    ]);
}
