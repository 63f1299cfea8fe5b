//! A run's resolved config runs again as it is, and nothing that is typed can bring the parser down.

use std::path::PathBuf;

use lsgd_core::WireFormat;
use lsgd_core::{BatchNorm, Mode};
use lsgd_models::ModelKind;
use lsgd_run::config::Tls;
use lsgd_run::config::{
    Anneal, AverageConfig, BudgetConfig, CheckpointConfig, ClusterConfig, Death, Devices, Drop,
    EvaluateConfig, FaultsConfig, MethodConfig, MethodName, RankBy, RecordConfig, RunConfig,
    ScheduleConfig, ScheduleKind, Settings, SimulateConfig, Span, Variation, WorkersConfig,
};
use lsgd_train::image_config::{
    Augment, BadImages, ComputeConfig, Config, DataConfig, DataName, DataVariation, ImageConfig,
    Jitter, LossConfig, ModelConfig, OptimizerConfig, OptimizerName, Split,
};
use proptest::prelude::*;
use toml::Table;

/// A path without `~` at its start, which is the home folder.
const FOLDER: &str = "[a-z/. \u{e9}#=\\[-]\\PC{0,19}";

/// A length in just one of three units.
type Length = (Option<f64>, Option<u64>, Option<f64>);

fn length() -> impl Strategy<Value = Length> {
    prop_oneof![
        (1e-6..1e9f64).prop_map(|epochs| (Some(epochs), None, None)),
        (1..=1_000_000_000_000u64).prop_map(|steps| (None, Some(steps), None)),
        (1e-6..1e7f64).prop_map(|minutes| (None, None, Some(minutes))),
    ]
}

fn run() -> impl Strategy<Value = RunConfig> {
    let mode = prop_oneof![Just(Mode::Sync), Just(Mode::Async)];
    (
        "[a-z\"' \u{e9}#=\\[-]{1,20}",
        FOLDER,
        0..=i64::MAX as u64,
        mode,
        any::<bool>(),
    )
        .prop_map(|(name, folder, seed, mode, overwrite)| RunConfig {
            name,
            folder: PathBuf::from(folder),
            seed,
            mode,
            overwrite,
        })
}

fn data() -> impl Strategy<Value = DataConfig> {
    let name = prop_oneof![
        Just(DataName::Cifar10),
        Just(DataName::Cifar100),
        Just(DataName::Digits),
        Just(DataName::Generated),
    ];
    let augment = prop_oneof![
        Just(Augment::Paper),
        Just(Augment::PadCrop),
        Just(Augment::None)
    ];
    let folder = prop::option::of(FOLDER);
    let sizes = [1..5usize, 1..65, 1..65];
    (
        name,
        folder,
        // Mixing takes two.
        2..=65536usize,
        augment,
        16..=512u32,
        prop_oneof![Just(BadImages::Stop), Just(BadImages::Skip)],
        1e-6..=1.0f64,
        (1..10_000usize, 2..1000usize, sizes),
        (
            (
                prop::option::of(prop_oneof![
                    1e-6..1.0f64,
                    (1..10_000u32).prop_map(f64::from)
                ]),
                any::<bool>(),
                prop::option::of(jitter()),
                prop::option::of((1e-6..1e6f64).prop_map(|dirichlet| Split { dirichlet })),
                varied_data(),
            ),
            prop::option::of(1..=512usize),
            0.0..=1.0f64,
            prop::option::of(1e-6..=100.0f64),
            prop::option::of(1e-6..=100.0f64),
        ),
    )
        .prop_map(
            |(
                name,
                folder,
                batch_size,
                augment,
                side,
                bad_images,
                bad_images_limit,
                (examples, classes, shape),
                ((holdout, trivial_augment, jitter, split, vary), cutout, erasing, mixup, cutmix),
            )| {
                // A cifar without a folder is given its default one, so is never without.
                let folder = folder.or(match name {
                    DataName::Cifar10 | DataName::Cifar100 => Some(String::from("cifar")),
                    _ => None,
                });
                let folder = folder.map(PathBuf::from);
                let alters = name != DataName::Digits;
                let (trivial_augment, jitter) =
                    (trivial_augment && alters, jitter.filter(|_| alters));
                DataConfig {
                    name,
                    folder,
                    batch_size,
                    holdout,
                    split,
                    vary,
                    augment,
                    side,
                    trivial_augment,
                    jitter,
                    cutout,
                    erasing,
                    mixup,
                    cutmix,
                    bad_images,
                    bad_images_limit,
                    examples,
                    classes,
                    shape,
                }
            },
        )
}

fn jitter() -> impl Strategy<Value = Jitter> {
    let spread = || 0.0..=10.0f64;
    // One that changes something.
    let all = (spread(), spread(), spread(), 1e-3..=0.5f64);
    all.prop_map(|(brightness, contrast, saturation, hue)| Jitter {
        brightness,
        contrast,
        saturation,
        hue,
    })
}

fn model_and_optimizer() -> impl Strategy<Value = (ModelConfig, OptimizerConfig)> {
    let name = prop_oneof![
        Just(OptimizerName::Sgd),
        Just(OptimizerName::Adam),
        Just(OptimizerName::Adamw),
        Just(OptimizerName::Lars),
        Just(OptimizerName::Lion),
        Just(OptimizerName::Lamb),
        Just(OptimizerName::Muon),
    ];
    (
        prop::sample::select(ModelKind::ALL.to_vec()),
        1..=256usize,
        0.0..1.0f64,
        name,
        1e-9..1.0f64,
        any::<bool>(),
        (0.0..1e9f64, 1e-9..1e9f64),
        (any::<bool>(), prop::option::of(1e-9..1e9f64), any::<bool>()),
    )
        .prop_map(
            |(
                model,
                width,
                dropout,
                name,
                momentum,
                nesterov,
                (weight_decay, trust_coefficient),
                (decay_norms, clip, of_norm),
            )| {
                (
                    ModelConfig {
                        name: model,
                        width,
                        dropout,
                        init_from: None,
                    },
                    OptimizerConfig {
                        name,
                        momentum,
                        nesterov,
                        weight_decay,
                        decay_norms,
                        // Refused where it makes no difference.
                        shift_rate: if model.normalises() {
                            1.0 + momentum
                        } else {
                            1.0
                        },
                        clip_norm: clip.filter(|_| of_norm),
                        clip_value: clip.filter(|_| !of_norm),
                        trust_coefficient,
                    },
                )
            },
        )
}

fn drops() -> impl Strategy<Value = Vec<Drop>> {
    let factor = || 1e-9..1e9f64;
    let steps = prop::collection::btree_map(1..1_000_000u64, factor(), 1..4);
    let in_steps = steps.prop_map(|drops| -> Vec<Drop> {
        let drops = drops.into_iter();
        drops
            .map(|(at, factor)| Drop {
                epochs: None,
                steps: Some(at),
                factor,
            })
            .collect()
    });
    let epochs = prop::collection::btree_map(1..1_000_000u32, factor(), 1..4);
    let in_epochs = epochs.prop_map(|drops| -> Vec<Drop> {
        let drops = drops
            .into_iter()
            .map(|(at, factor)| (f64::from(at) / 7.0, factor));
        drops
            .map(|(at, factor)| Drop {
                epochs: Some(at),
                steps: None,
                factor,
            })
            .collect()
    });
    prop_oneof![in_steps, in_epochs]
}

/// Budget and schedule, since some kinds want no budget of minutes, and a cycle has no warm-up.
fn schedule_and_budget() -> impl Strategy<Value = (ScheduleConfig, BudgetConfig)> {
    let kind = prop_oneof![
        Just(ScheduleKind::Constant),
        Just(ScheduleKind::Steps),
        Just(ScheduleKind::Cosine),
        Just(ScheduleKind::Polynomial),
        Just(ScheduleKind::OneCycle),
    ];
    let span = prop_oneof![
        (1e-6..1e9f64).prop_map(|epochs| Span {
            epochs: Some(epochs),
            steps: None
        }),
        (1..1_000_000u64).prop_map(|steps| Span {
            epochs: None,
            steps: Some(steps)
        }),
    ];
    (
        1e-300..1e300f64,
        kind,
        drops(),
        prop::option::of(span),
        length(),
        (1e-9..1e9f64, 1e-9..1.0f64, any::<bool>(), 1.0..1e9f64),
    )
        .prop_map(
            |(
                learning_rate,
                kind,
                drops,
                warmup,
                (epochs, steps, minutes),
                (power, peak, cosine, divisor),
            )| {
                let kind = match kind {
                    ScheduleKind::Cosine | ScheduleKind::Polynomial | ScheduleKind::OneCycle
                        if minutes.is_some() =>
                    {
                        ScheduleKind::Constant
                    }
                    kind => kind,
                };
                let anneal = match cosine {
                    true => Anneal::Cosine,
                    false => Anneal::Linear,
                };
                (
                    ScheduleConfig {
                        learning_rate,
                        kind,
                        drops,
                        warmup,
                        power,
                        peak,
                        anneal,
                        start_divisor: divisor,
                        final_divisor: 2.0 * divisor,
                    },
                    BudgetConfig {
                        epochs,
                        steps,
                        minutes,
                        patience: None,
                    },
                )
            },
        )
}

fn method() -> impl Strategy<Value = MethodConfig> {
    // Those that run in every mode.
    let name = prop_oneof![Just(MethodName::Sgd), Just(MethodName::Lsgd)];
    let batch_norm = prop_oneof![
        Just(BatchNorm::Own),
        Just(BatchNorm::Leader),
        Just(BatchNorm::Mean),
    ];
    let others = (
        0.0..=1.0f64,
        0.0..=1.0f64,
        0.0..100.0f64,
        1e-3..10.0f64,
        0.0..0.99f64,
    );
    let rank_by = prop_oneof![Just(RankBy::TrainingLoss), Just(RankBy::ProbeLoss)];
    let adopting = prop::option::of(0.0..=1.0f64);
    let ranking = (rank_by, 1..=16384usize, 0.0..0.99f64, adopting);
    let strength = || 0.0..=1.0f64;
    let strengths = (strength(), strength(), strength(), strength());
    let periods = (1..=1_000_000u64, 1..=1_000_000u64);
    let staleness = prop::option::of(0..=i64::MAX as u64);
    (
        name,
        strengths,
        periods,
        1..=1_000_000usize,
        staleness,
        batch_norm,
        others,
        ranking,
    )
        .prop_map(
            |(
                name,
                strengths,
                (local_period, factor),
                loss_window,
                max_staleness,
                batch_norm,
                others,
                ranking,
            )| {
                let (beta, leader_weight, push, outer_learning_rate, outer_momentum) = others;
                let (rank_by, probe_examples, margin, adopting) = ranking;
                let (rank_by, adopting) = match name {
                    MethodName::Lsgd => (rank_by, adopting),
                    _ => (RankBy::TrainingLoss, None),
                };
                let (local_pull, global_pull, local_prox, global_prox) = strengths;
                MethodConfig {
                    name,
                    local_pull,
                    global_pull,
                    // These need a budget of steps, which not all have.
                    final_pull: None,
                    quadratic_period: None,
                    local_period,
                    global_period: local_period * factor,
                    local_prox,
                    global_prox,
                    loss_window,
                    max_staleness,
                    batch_norm,
                    rank_by,
                    probe_examples,
                    margin,
                    adopt: adopting.is_some(),
                    adopt_spread: adopting.unwrap_or(0.1),
                    beta,
                    leader_weight,
                    filter_margin: push,
                    push,
                    outer_learning_rate,
                    outer_momentum,
                }
            },
        )
}

/// Of at most one worker, since each may be varied once.
fn varied_data() -> impl Strategy<Value = Vec<DataVariation>> {
    let varied = (0..1024u64, 0.0..=1.0f64, 0.0..=1.0f64, any::<bool>());
    let varied = varied.prop_map(
        |(worker, label_noise, image_noise, augment)| DataVariation {
            worker,
            label_noise,
            image_noise,
            augment,
        },
    );
    prop::collection::vec(varied, 0..2)
}

fn varied_workers() -> impl Strategy<Value = Vec<Variation>> {
    // Within the bounds of what followers take over.
    let factor = || 1e-3..=1e3f64;
    let varied = (0..1024u64, factor(), factor(), -1e6..1e6f64, 0..=65536u64);
    let varied = varied.prop_map(
        |(worker, learning_rate, weight_decay, gradient_scale, gradient_flips)| Variation {
            worker,
            learning_rate,
            weight_decay,
            gradient_scale,
            gradient_flips,
        },
    );
    prop::collection::vec(varied, 0..2)
}

fn workers() -> impl Strategy<Value = WorkersConfig> {
    let loaders = prop::option::of(1..=256usize);
    let auto = (
        prop::option::of(1..=1024usize),
        1..=1024usize,
        loaders,
        1..=4096u64,
        varied_workers(),
    );
    let auto = auto.prop_map(
        |(count, threads, loaders, accumulate, vary)| WorkersConfig {
            count,
            devices: Devices::Word(String::from("auto")),
            threads,
            loaders,
            accumulate,
            vary,
        },
    );
    let listed = (
        prop::collection::vec("[a-z]{1,5}:[0-9]", 1..5),
        any::<bool>(),
    )
        .prop_map(|(devices, counted)| WorkersConfig {
            count: counted.then_some(devices.len()),
            devices: Devices::List(devices),
            threads: 1,
            loaders: None,
            accumulate: 1,
            vary: Vec::new(),
        });
    prop_oneof![auto, listed]
}

fn evaluate_and_checkpoint() -> impl Strategy<Value = (EvaluateConfig, CheckpointConfig)> {
    let examples = prop::option::of(1..1_000_000usize);
    let batches = 1..=1_000_000usize;
    (
        length(),
        examples,
        batches.clone(),
        prop::option::of(length()),
        batches,
    )
        .prop_map(
            |(evaluate, examples, batch_norm_batches, checkpoint, keep)| {
                let checkpoint = checkpoint.unwrap_or_default();
                (
                    EvaluateConfig {
                        every_epochs: evaluate.0,
                        every_steps: evaluate.1,
                        every_minutes: evaluate.2,
                        examples,
                        batch_norm_batches,
                    },
                    CheckpointConfig {
                        every_epochs: checkpoint.0,
                        every_steps: checkpoint.1,
                        every_minutes: checkpoint.2,
                        keep,
                    },
                )
            },
        )
}

fn average() -> impl Strategy<Value = AverageConfig> {
    let decay = prop::option::of(1e-6..1.0f64);
    (decay, prop::option::of(2..=100usize))
        .prop_map(|(ema_decay, window)| AverageConfig { ema_decay, window })
}

fn faults() -> impl Strategy<Value = FaultsConfig> {
    let steps = 1..=1_000_000u64;
    (0..=1_000_000u64, prop::option::of(steps)).prop_map(|(restarts, bad_steps)| FaultsConfig {
        restarts,
        bad_steps,
    })
}

fn record() -> impl Strategy<Value = RecordConfig> {
    any::<bool>().prop_map(|tensorboard| RecordConfig { tensorboard })
}

/// One node, or one of several with an endpoint each.
fn cluster() -> impl Strategy<Value = ClusterConfig> {
    let tls = Tls {
        ca: PathBuf::from("ca.pem"),
        certificate: PathBuf::from("node.pem"),
        key: PathBuf::from("node.key"),
    };
    let several = (
        2..6u64,
        any::<bool>(),
        any::<bool>(),
        0.5..=60.0f64,
        1..86_400u64,
        1..86_400u64,
    );
    let several = several.prop_flat_map(move |(nodes, secure, bf16, silence, wait, limit)| {
        let tls = secure.then(|| tls.clone());
        (1..=nodes).prop_map(move |node| {
            let protocol = if secure { "tls" } else { "tcp" };
            let endpoint = |n: u64| format!("{protocol}/127.0.0.{n}:7400");
            ClusterConfig {
                node: Some(node),
                nodes,
                listen: vec![endpoint(node)],
                connect: (1..=nodes).map(endpoint).collect(),
                wire: if bf16 {
                    WireFormat::Bf16
                } else {
                    WireFormat::F32
                },
                tls: tls.clone(),
                insecure: !secure,
                silence_seconds: silence.min(((limit * 100 / 3) as f64 / 100.0).max(1.25)),
                wait_seconds: wait,
                round_limit_seconds: limit,
            }
        })
    });
    prop_oneof![Just(ClusterConfig::default()), several]
}

fn simulate() -> impl Strategy<Value = SimulateConfig> {
    let seconds = (1e-6..1e6f64, 0.0..=3.0f64, 1e-3..1e3f64);
    let links = (0.0..10.0f64, 1.0..1e12f64, 0.0..10.0f64, 1.0..1e12f64);
    let death = (0..100u64, 0.0..1e6f64).prop_map(|(worker, seconds)| Death { worker, seconds });
    let deaths = prop::collection::vec(death, 0..3);
    (1..=1024u64, 0..1000u64, seconds, links, deaths).prop_map(
        |(nodes, slow_workers, (step_seconds, step_sigma, slow_factor), links, deaths)| {
            let (latency_seconds, bytes_per_second, local_latency_seconds, local_bytes_per_second) =
                links;
            SimulateConfig {
                nodes,
                training: slow_workers % 2 == 0,
                step_seconds,
                step_sigma,
                slow_workers,
                slow_factor,
                latency_seconds,
                bytes_per_second,
                local_latency_seconds,
                local_bytes_per_second,
                deaths,
            }
        },
    )
}

fn config() -> impl Strategy<Value = Config> {
    (
        run(),
        data(),
        model_and_optimizer(),
        schedule_and_budget(),
        method(),
        (workers(), any::<bool>(), 0.0..1.0f64),
        (evaluate_and_checkpoint(), average(), faults(), record()),
        (cluster(), simulate()),
    )
        .prop_map(
            |(
                run,
                data,
                (model, optimizer),
                (schedule, budget),
                method,
                (workers, cpu_kernels, label_smoothing),
                last,
                (cluster, simulate),
            )| {
                let ((evaluate, checkpoint), average, faults, record) = last;
                Config {
                    settings: Settings {
                        run,
                        schedule,
                        method,
                        workers,
                        budget,
                        evaluate,
                        average,
                        checkpoint,
                        faults,
                        record,
                        cluster,
                        simulate,
                    },
                    task: ImageConfig {
                        data,
                        model,
                        optimizer,
                        loss: LossConfig { label_smoothing },
                        compute: ComputeConfig { cpu_kernels },
                    },
                }
            },
        )
}

/// The tables of `config`, keys that are not used with their defaults.
fn without_unused(config: &Config) -> Table {
    let mut tables = Table::try_from(config).unwrap();
    let defaults = Table::try_from(Config::default()).unwrap();
    for key in Config::keys() {
        let Some(used) = key.used else { continue };
        let (table, by) = used.by.split_once('.').unwrap();
        if used.is(tables[table][by].as_str().unwrap()) {
            continue;
        }
        let entries = tables[key.table()].as_table_mut().unwrap();
        match defaults[key.table()].get(key.name()) {
            Some(default) => entries.insert(key.name().to_string(), default.clone()),
            None => entries.remove(key.name()),
        };
    }
    tables
}

proptest! {
    #[test]
    fn a_resolved_config_loads_as_itself(config in config()) {
        let tables = without_unused(&config);
        let text = tables.to_string();
        match Config::from_toml(&text, "config.toml", &[]) {
            Ok(loaded) => {
                prop_assert_eq!(Table::try_from(&loaded).unwrap(), tables);
                let again = Config::from_toml(&loaded.to_toml().unwrap(), "config.toml", &[]);
                prop_assert_eq!(again.unwrap(), loaded);
            }
            Err(error) => prop_assert!(false, "{}\n{}", error, text),
        }
    }

    /// Damaged text and odd overrides are loaded or refused in one line.
    #[test]
    fn anything_else_is_one_line(
        at in 0..Config::template().unwrap().len(),
        length in 0..40usize,
        with in "\\PC{0,5}|[\\[\\]{}\"'=.,0-9a-z \n-]{0,9}",
        set in "([a-z]{1,8}\\.[a-z_]{1,12}|method\\.local_pull|run\\.name)=?\\PC{0,12}",
    ) {
        let mut text = Config::template().unwrap();
        let end = (at + length).min(text.len());
        text.replace_range(at..end, &with);
        for (text, overrides) in [(text.as_str(), vec![]), ("", vec![set])] {
            if let Err(error) = Config::from_toml(text, "c.toml", &overrides) {
                let error = error.to_string();
                prop_assert!(error.lines().count() == 1 && error.len() < 1000, "{}", error);
            }
        }
    }
}
