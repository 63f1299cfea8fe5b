//! Every key of a config and what its value may be.
//!
//! Serde would refuse the same configs, but says neither the key's table nor what was meant. This
//! list lets errors name both; a test holds it against the structs of [`super::types`].

mod suggestions;
mod values;

use lsgd_models::{MAX_BASE_WIDTH, MAX_CLASSES, ModelKind};

use super::error::{ConfigError, Source};
pub(super) use suggestions::suggest;
pub(super) use values::{convert, convert_tables, not_in_range};

/// What a key's value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// A string that is a path; `~` is expanded.
    Path,
    /// One of these strings.
    Word(&'static [&'static str]),
    /// A boolean.
    Flag,
    /// An integer from the first to the second; a float that is one, such as `1e3`, is taken as such.
    Whole(u64, u64),
    /// A float, or an integer that is taken as one.
    Number,
    /// Three integers.
    Shape,
    /// A list of tables `{ epochs | steps, factor }`.
    Drops,
    /// A table `{ epochs | steps }`.
    Span,
    /// `"auto"` or a list of strings.
    Devices,
    /// A list of strings.
    Endpoints,
    /// A table `{ ca, certificate, key }`.
    Tls,
    /// A list of tables `{ worker, seconds }`.
    Deaths,
}

/// Largest integer of TOML.
const LARGEST: u64 = i64::MAX as u64;
/// Longest run, in steps of a worker; times workers and batch it still fits a u64.
const MOST_STEPS: u64 = 1_000_000_000_000;
/// Most workers of a node, and most threads of a worker.
pub(super) const MOST_WORKERS: usize = 1024;
/// Most nodes of a run.
const MOST_NODES: u64 = 4096;
/// Most simulated nodes.
const MOST_SIMULATED: u64 = 1024;
/// Longest time to wait, in seconds: a day.
const LONGEST_WAIT: u64 = 86_400;
/// Largest batch, in examples.
const LARGEST_BATCH: u64 = 1 << 16;
/// Most examples of a probe: every worker looks at all of them every local period.
const LARGEST_PROBE: u64 = 1 << 14;
/// Longest loss window, in batches.
const LONGEST_WINDOW: u64 = 1_000_000;

/// An integer from 1.
const fn up_to(most: u64) -> Kind {
    Kind::Whole(1, most)
}

/// Steps of a worker.
const STEPS: Kind = up_to(MOST_STEPS);

/// The methods.
const METHODS: &[&str] = &[
    "sgd",
    "data_parallel",
    "local_sgd",
    "easgd",
    "downpour",
    "diloco",
    "slowmo",
    "lsgd",
    "lsgd_plus",
    "leader_mean",
    "grawa",
    "grawa_layers",
];

/// Each key as `table.key`.
#[rustfmt::skip]
pub(super) const KEYS: &[(&str, Kind)] = &[
    ("run.name", Kind::Text),
    ("run.folder", Kind::Path),
    ("run.seed", Kind::Whole(0, LARGEST)),
    ("run.mode", Kind::Word(&["sync", "async"])),
    ("run.overwrite", Kind::Flag),
    ("data.name", Kind::Word(&["cifar10", "cifar100", "folder", "digits", "generated"])),
    ("data.folder", Kind::Path),
    ("data.batch_size", up_to(LARGEST_BATCH)),
    ("data.augment", Kind::Word(&["paper", "pad_crop", "none"])),
    ("data.examples", up_to(1_000_000)),
    ("data.classes", Kind::Whole(2, MAX_CLASSES as u64)),
    ("data.shape", Kind::Shape),
    ("model.name", Kind::Word(&ModelKind::NAMES)),
    ("model.width", up_to(MAX_BASE_WIDTH as u64)),
    ("model.dropout", Kind::Number),
    ("optimizer.name", Kind::Word(&["sgd", "adam", "adamw", "lars"])),
    ("optimizer.momentum", Kind::Number),
    ("optimizer.nesterov", Kind::Flag),
    ("optimizer.weight_decay", Kind::Number),
    ("optimizer.trust", Kind::Number),
    ("schedule.learning_rate", Kind::Number),
    ("schedule.kind", Kind::Word(&["constant", "steps", "cosine"])),
    ("schedule.drops", Kind::Drops),
    ("schedule.warmup", Kind::Span),
    ("method.name", Kind::Word(METHODS)),
    ("method.local_pull", Kind::Number),
    ("method.global_pull", Kind::Number),
    ("method.final_pull", Kind::Number),
    ("method.local_period", STEPS),
    ("method.global_period", STEPS),
    ("method.local_prox", Kind::Number),
    ("method.global_prox", Kind::Number),
    ("method.loss_window", up_to(LONGEST_WINDOW)),
    ("method.max_staleness", Kind::Whole(0, LARGEST)),
    ("method.batch_norm", Kind::Word(&["own", "leader", "mean"])),
    ("method.score", Kind::Word(&["training_loss", "probe_loss"])),
    ("method.probe_examples", up_to(LARGEST_PROBE)),
    ("method.margin", Kind::Number),
    ("method.beta", Kind::Number),
    ("method.leader_weight", Kind::Number),
    ("method.outer_rate", Kind::Number),
    ("method.outer_momentum", Kind::Number),
    ("workers.count", up_to(MOST_WORKERS as u64)),
    ("workers.devices", Kind::Devices),
    ("workers.threads", up_to(MOST_WORKERS as u64)),
    ("compute.cpu_kernels", Kind::Flag),
    ("budget.epochs", Kind::Number),
    ("budget.steps", STEPS),
    ("budget.minutes", Kind::Number),
    ("evaluate.every_steps", STEPS),
    ("evaluate.every_epochs", Kind::Number),
    ("evaluate.every_minutes", Kind::Number),
    ("evaluate.examples", up_to(1_000_000_000)),
    ("evaluate.batch_norm_batches", up_to(LONGEST_WINDOW)),
    ("checkpoint.every_steps", STEPS),
    ("checkpoint.every_epochs", Kind::Number),
    ("checkpoint.every_minutes", Kind::Number),
    ("checkpoint.keep", up_to(LONGEST_WINDOW)),
    ("cluster.node", up_to(MOST_NODES)),
    ("cluster.nodes", up_to(MOST_NODES)),
    ("cluster.listen", Kind::Endpoints),
    ("cluster.connect", Kind::Endpoints),
    ("cluster.wire", Kind::Word(&["f32", "bf16"])),
    ("cluster.tls", Kind::Tls),
    ("cluster.insecure", Kind::Flag),
    ("cluster.wait_seconds", up_to(LONGEST_WAIT)),
    ("cluster.round_limit_seconds", up_to(LONGEST_WAIT)),
    ("simulate.nodes", up_to(MOST_SIMULATED)),
    ("simulate.training", Kind::Flag),
    ("simulate.step_seconds", Kind::Number),
    ("simulate.step_sigma", Kind::Number),
    ("simulate.slow_workers", Kind::Whole(0, MOST_SIMULATED * MOST_WORKERS as u64)),
    ("simulate.slow_factor", Kind::Number),
    ("simulate.latency_seconds", Kind::Number),
    ("simulate.bytes_per_second", Kind::Number),
    ("simulate.local_latency_seconds", Kind::Number),
    ("simulate.local_bytes_per_second", Kind::Number),
    ("simulate.deaths", Kind::Deaths),
];

/// Keys of one entry of `schedule.drops`.
const DROP: &[(&str, Kind)] = &[
    ("epochs", Kind::Number),
    ("steps", STEPS),
    ("factor", Kind::Number),
];

/// Keys of `schedule.warmup`.
const SPAN: &[(&str, Kind)] = &[("epochs", Kind::Number), ("steps", STEPS)];

/// Keys of `cluster.tls`, all needed.
const TLS: &[(&str, Kind)] = &[
    ("ca", Kind::Path),
    ("certificate", Kind::Path),
    ("key", Kind::Path),
];

/// Keys of one entry of `simulate.deaths`, all needed.
const DEATH: &[(&str, Kind)] = &[
    ("worker", Kind::Whole(0, LARGEST)),
    ("seconds", Kind::Number),
];

/// What the value of `key`, as `table.key`, may be.
///
/// # Errors
///
/// [`ConfigError::UnknownKey`] if no table has the key.
pub(super) fn kind_of(key: &str, source: &Source) -> Result<Kind, ConfigError> {
    match KEYS.iter().find(|(known, _)| *known == key) {
        Some((_, kind)) => Ok(*kind),
        None => Err(suggestions::unknown(key, source)),
    }
}

fn is_table(name: &str) -> bool {
    KEYS.iter()
        .any(|(key, _)| key.split('.').next() == Some(name))
}

#[cfg(test)]
mod tests;
