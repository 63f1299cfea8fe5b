//! Keys that the method, the data, the optimizer or the schedule has no use for.

use std::collections::BTreeSet;

use lsgd_run::config::{MethodName, RankBy, ScheduleKind};
use lsgd_train::image_config::{Config, DataName};

use super::{assert_refused, assert_set_refused, load, load_with, refusal};

#[test]
fn they_are_refused() {
    assert_refused(&[
        (
            "[data]\nname = \"digits\"\nexamples = 7",
            "c.toml: data.examples 7 is not used by data.name \"digits\", only by \"generated\"; \
             leave it out, or change data.name",
        ),
        (
            "[data]\nname = \"generated\"\nfolder = \"here\"",
            "c.toml: data.folder \"here\" is not used by data.name \"generated\", only by \
             \"cifar10\", \"cifar100\", \"digits\" or \"folder\"; leave it out, or change data.name",
        ),
        (
            "[data]\nname = \"digits\"\nbad_images = \"skip\"",
            "c.toml: data.bad_images \"skip\" is not used by data.name \"digits\", only by \
             \"folder\"; leave it out, or change data.name",
        ),
        (
            "[data]\nname = \"folder\"\nfolder = \"here\"\nbad_images_limit = 0.5",
            "c.toml: data.bad_images_limit 0.5 is not used by data.bad_images \"stop\", only by \
             \"skip\"; leave it out, or change data.bad_images",
        ),
        (
            "schedule.drops = [{ steps = 1, factor = 1 }]",
            "c.toml: schedule.drops [{ factor = 1.0, steps = 1 }] is not used by schedule.kind \
             \"constant\", only by \"steps\"; leave it out, or change schedule.kind",
        ),
        (
            "[schedule]\nkind = \"one_cycle\"\nwarmup = { steps = 5 }",
            "c.toml: schedule.warmup { steps = 5 } is not used by schedule.kind \"one_cycle\"; \
             leave it out, or change schedule.kind",
        ),
        (
            "[schedule]\nkind = \"cosine\"\npeak = 0.5",
            "c.toml: schedule.peak 0.5 is not used by schedule.kind \"cosine\", only by \
             \"one_cycle\"; leave it out, or change schedule.kind",
        ),
        (
            "schedule.power = 2",
            "c.toml: schedule.power 2 is not used by schedule.kind \"constant\", only by \
             \"polynomial\"; leave it out, or change schedule.kind",
        ),
        (
            "[optimizer]\nname = \"lars\"\ndecay_norms = false",
            "c.toml: optimizer.decay_norms false is not used by optimizer.name \"lars\", only by \
             \"sgd\", \"adam\", \"adamw\", \"lion\", \"lamb\" or \"muon\"; leave it out, or change \
             optimizer.name",
        ),
        (
            "[method]\nname = \"sgd\"\nbatch_norm = \"leader\"",
            "c.toml: method.batch_norm \"leader\" is not used by method.name \"sgd\"; \
             leave it out, or change method.name",
        ),
        (
            "method = { name = \"local_sgd\", rank_by = \"probe_loss\" }",
            "c.toml: method.rank_by \"probe_loss\" is not used by method.name \"local_sgd\", only by \
             \"lsgd\", \"lsgd_plus\", \"leader_mean\" or \"leader_filter\"; leave it out, or change \
             method.name",
        ),
        (
            "method = { name = \"leader_filter\", adopt = true }",
            "c.toml: method.adopt true is not used by method.name \"leader_filter\", only by \"lsgd\", \
             \"lsgd_plus\" or \"leader_mean\"; leave it out, or change method.name",
        ),
        (
            "method.probe_examples = 7",
            "c.toml: method.probe_examples 7 is not used by method.rank_by \"training_loss\", only by \
             \"probe_loss\"; leave it out, or change method.rank_by",
        ),
        (
            "[optimizer]\nname = \"adam\"\nmomentum = 0",
            "c.toml: optimizer.momentum 0 is not used by optimizer.name \"adam\", only by \"sgd\", \
             \"lars\" or \"muon\"; leave it out, or change optimizer.name",
        ),
        (
            "[optimizer]\nname = \"lion\"\nnesterov = true",
            "c.toml: optimizer.nesterov true is not used by optimizer.name \"lion\", only by \"sgd\", \
             \"lars\" or \"muon\"; leave it out, or change optimizer.name",
        ),
        (
            "[optimizer]\nname = \"lamb\"\ntrust_coefficient = 0.1",
            "c.toml: optimizer.trust_coefficient 0.1 is not used by optimizer.name \"lamb\", only by \
             \"lars\"; leave it out, or change optimizer.name",
        ),
    ]);
    assert_set_refused(&[(
        "method.beta=0.5",
        "--set: method.beta 0.5 is not used by method.name \"lsgd\", only by \"easgd\"; \
         leave it out, or change method.name",
    )]);
    for set in [
        ["method.name=local_sgd", "method.local_pull=0.5"],
        ["method.local_pull=0.5", "method.name=local_sgd"],
    ] {
        assert_eq!(
            refusal("", &set),
            "--set: method.local_pull 0.5 is not used by method.name \"local_sgd\", only by \
             \"lsgd\", \"lsgd_plus\", \"grawa\", \"grawa_layers\" or \"dppf\"; leave it out, or change method.name"
        );
    }
}

/// As in the template, and in the `config.toml` of a run.
#[test]
fn they_may_have_their_defaults() {
    load(
        "[method]\nname = \"local_sgd\"\nlocal_pull = 0.1\nbeta = 0.43\nrank_by = \"training_loss\"",
    );
    load("[data]\nname = \"digits\"\nexamples = 2048\nshape = [3, 32, 32]");
    for name in ["sgd", "local_sgd", "slowmo", "easgd", "lsgd_plus"] {
        let config = load_with("", &[&format!("method.name={name}")]);
        assert_eq!(load(&config.to_toml().unwrap()), config);
        let edited = Config::template()
            .unwrap()
            .replace("\"lsgd\"  ", &format!("\"{name}\"  "));
        assert_eq!(
            load(&edited).settings.method.name,
            config.settings.method.name
        );
    }
}

/// A choice made with `--set` replaces what the file says about its own choice.
#[test]
fn a_files_are_left_out_where_set_chooses_something_else() {
    let file = "[method]\nname = \"lsgd\"\nlocal_pull = 0.5\nrank_by = \"probe_loss\"\nprobe_examples = 9\n\
                [data]\nname = \"generated\"\nclasses = 4\n\
                [schedule]\nkind = \"steps\"\ndrops = [{ steps = 1, factor = 0.5 }]";
    let set = [
        "method.name=local_sgd",
        "data.name=digits",
        "schedule.kind=constant",
    ];
    let config = load_with(file, &set);
    let method = &config.settings.method;
    assert_eq!(method.name, MethodName::LocalSgd);
    assert_eq!(
        (method.local_pull, method.rank_by),
        (0.1, RankBy::TrainingLoss)
    );
    assert_eq!(method.probe_examples, 256);
    assert_eq!(
        (config.task.data.name, config.task.data.classes),
        (DataName::Digits, 10)
    );
    assert_eq!(config.settings.schedule.kind, ScheduleKind::Constant);
    assert!(config.settings.schedule.drops.is_empty());
    assert_eq!(config, load_with("", &set));
    // Not where the file's choice stays.
    assert!(
        refusal(
            "method = { name = \"sgd\", beta = 1 }",
            &["data.name=digits"]
        )
        .contains("beta")
    );
}

/// The defaults of other keys are not those of the keys that are left out.
#[test]
fn nothing_follows_from_keys_that_are_left_out() {
    let file = "[method]\nname = \"diloco\"\nouter_learning_rate = 0.9\nouter_momentum = 0.3";
    let config = load_with(file, &["method.name=lsgd"]);
    assert_eq!(
        (
            config.settings.method.outer_learning_rate,
            config.settings.method.outer_momentum
        ),
        (0.7, 0.9)
    );
}

/// As Muon is known: 0.95, Nesterov's; a value that is given stays.
#[test]
fn muon_has_a_momentum_of_its_own() {
    let of = |set: &[&str]| {
        let optimizer = load_with("", set).task.optimizer;
        (optimizer.momentum, optimizer.nesterov)
    };
    assert_eq!(of(&["optimizer.name=muon"]), (0.95, true));
    assert_eq!(of(&["optimizer.name=sgd"]), (0.9, false));
    let none = ["optimizer.name=muon", "optimizer.momentum=0"];
    assert_eq!(of(&none), (0.0, false));
    let own = [
        "optimizer.name=muon",
        "optimizer.momentum=0.6",
        "optimizer.nesterov=false",
    ];
    assert_eq!(of(&own), (0.6, false));
    // Written down, and read again.
    let config = load_with("", &["optimizer.name=muon"]);
    assert_eq!(load(&config.to_toml().unwrap()), config);
    let back = load_with(&config.to_toml().unwrap(), &["optimizer.name=adamw"]);
    assert_eq!(back.task.optimizer.momentum, 0.9);
}

#[test]
fn overrides_of_several_configs_are_left_out_where_they_are_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, "").unwrap();
    let load = |name: &str, shared: &[&str]| {
        let set = ["method.local_pull=0.5", &format!("method.name={name}")].map(String::from);
        let shared: BTreeSet<String> = shared.iter().map(|key| key.to_string()).collect();
        Config::load_shared(&path, &set, &shared)
    };
    let shared = ["method.local_pull"];
    assert_eq!(
        load("lsgd", &shared).unwrap().settings.method.local_pull,
        0.5
    );
    assert_eq!(
        load("local_sgd", &shared)
            .unwrap()
            .settings
            .method
            .local_pull,
        0.1
    );
    assert!(load("local_sgd", &[]).is_err());
}
