//! The defaults of all keys, including those that depend on other keys.

use std::path::PathBuf;

use lsgd_core::{BatchNorm, Mode};

use super::check::ConfigSources;
use super::types::*;

impl Default for RunConfig {
    fn default() -> Self {
        RunConfig {
            name: String::from("run"),
            folder: PathBuf::from("runs"),
            seed: 1,
            mode: Mode::Sync,
            overwrite: false,
        }
    }
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        ScheduleConfig {
            learning_rate: 0.1,
            kind: ScheduleKind::Constant,
            drops: Vec::new(),
            warmup: None,
            power: 1.0,
            peak: 0.3,
            anneal: Anneal::Cosine,
            start_divisor: 25.0,
            final_divisor: 1e4,
        }
    }
}

impl Default for MethodConfig {
    fn default() -> Self {
        MethodConfig {
            name: MethodName::Lsgd,
            local_pull: 0.1,
            global_pull: 0.1,
            final_pull: None,
            local_period: 16,
            global_period: 16 * GLOBAL_PERIOD_FACTOR,
            quadratic_period: None,
            local_prox: 0.0,
            global_prox: 0.0,
            loss_window: 16,
            max_staleness: None,
            batch_norm: BatchNorm::Own,
            rank_by: RankBy::TrainingLoss,
            probe_examples: 256,
            margin: 0.0,
            adopt: false,
            adopt_spread: 0.1,
            beta: 0.43,
            leader_weight: 0.3,
            filter_margin: 0.1,
            push: 0.1,
            outer_learning_rate: 0.7,
            outer_momentum: 0.9,
        }
    }
}

impl Default for WorkersConfig {
    fn default() -> Self {
        WorkersConfig {
            count: None,
            devices: Devices::Word(String::from("auto")),
            threads: 1,
            loaders: None,
            accumulate: 1,
            vary: Vec::new(),
        }
    }
}

impl Default for EvaluateConfig {
    fn default() -> Self {
        EvaluateConfig {
            every_steps: None,
            every_epochs: None,
            every_minutes: None,
            examples: None,
            batch_norm_batches: 50,
        }
    }
}

impl Default for FaultsConfig {
    fn default() -> Self {
        FaultsConfig {
            restarts: 3,
            bad_steps: None,
        }
    }
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        CheckpointConfig {
            every_steps: None,
            every_epochs: None,
            every_minutes: None,
            keep: 2,
        }
    }
}

/// Local exchanges per global one if only `method.local_period` is given; the ratio in the authors'
/// own runs.
const GLOBAL_PERIOD_FACTOR: u64 = 4;

/// Fills in the defaults that depend on other keys, so that the result is complete.
///
/// `sources` knows which keys were given, by the file or by `--set`.
pub(super) fn resolve(settings: &mut Settings, sources: &ConfigSources) {
    let is_given = |key: &str| sources.is_given(key);

    let method = &mut settings.method;
    if is_given("method.local_period") && !is_given("method.global_period") {
        method.global_period = method.local_period.saturating_mul(GLOBAL_PERIOD_FACTOR);
    }

    if method.name == MethodName::Slowmo {
        if !is_given("method.outer_learning_rate") {
            method.outer_learning_rate = 1.0;
        }
        if !is_given("method.outer_momentum") {
            method.outer_momentum = 0.5;
        }
    }

    let cluster = &mut settings.cluster;
    let lists_all = cluster.connect.len() == cluster.nodes as usize;
    if let Some(node) = cluster.node
        && cluster.nodes > 1
        && lists_all
        && cluster.listen.is_empty()
    {
        let own = (node as usize).checked_sub(1);
        cluster
            .listen
            .extend(own.and_then(|own| cluster.connect.get(own).cloned()));
    }

    let budget = &mut settings.budget;
    if budget.epochs.is_none() && budget.steps.is_none() && budget.minutes.is_none() {
        budget.epochs = Some(1.0);
    }

    let evaluate = &mut settings.evaluate;
    if evaluate.every_epochs.is_none()
        && evaluate.every_steps.is_none()
        && evaluate.every_minutes.is_none()
    {
        evaluate.every_epochs = Some(1.0);
    }
}
