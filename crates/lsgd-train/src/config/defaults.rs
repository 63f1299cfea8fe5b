//! The defaults of every key, and those that depend on what else was given.

use std::path::PathBuf;

use lsgd_models::ModelKind;
use toml::Table;

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

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            name: DataName::Cifar10,
            folder: None,
            batch_size: 128,
            augment: Augment::PadCrop,
            examples: 2048,
            classes: 10,
            shape: [3, 32, 32],
        }
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig {
            name: ModelKind::ResNet20,
            width: 16,
            dropout: 0.5,
        }
    }
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        OptimizerConfig {
            name: OptimizerName::Sgd,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 5e-4,
            trust: 0.001,
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
            local_prox: 0.0,
            global_prox: 0.0,
            loss_window: 16,
            max_staleness: None,
            batch_norm: BatchNormPolicy::Own,
            score: Score::TrainingLoss,
            probe_examples: 256,
            margin: 0.0,
            beta: 0.43,
            leader_weight: 0.3,
            outer_rate: 0.7,
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
        }
    }
}

impl Default for ComputeConfig {
    fn default() -> Self {
        ComputeConfig { cpu_kernels: true }
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

impl DataName {
    /// Where the data set's files are when a config does not say: where `data fetch` puts them.
    pub fn default_folder(self) -> Option<PathBuf> {
        match self {
            DataName::Cifar10 => Some(PathBuf::from("datasets/cifar-10-batches-bin")),
            DataName::Cifar100 => Some(PathBuf::from("datasets/cifar-100-binary")),
            DataName::Folder | DataName::Digits | DataName::Generated => None,
        }
    }
}

/// Local exchanges per global one when only `method.local_period` is given; the ratio of the
/// authors' own runs.
const GLOBAL_PERIOD_FACTOR: u64 = 4;

/// Fills in the defaults that depend on other keys, so that the result says all it means.
///
/// `given` holds the keys that were written, by the file or by `--set`.
pub(super) fn resolve(config: &mut Config, given: &Table) {
    let is_given = |table: &str, key: &str| {
        given
            .get(table)
            .and_then(|entries| entries.get(key))
            .is_some()
    };

    let data = &mut config.data;
    if data.folder.is_none() {
        data.folder = data.name.default_folder();
    }

    let method = &mut config.method;
    if is_given("method", "local_period") && !is_given("method", "global_period") {
        method.global_period = method.local_period.saturating_mul(GLOBAL_PERIOD_FACTOR);
    }

    if method.name == MethodName::Slowmo {
        if !is_given("method", "outer_rate") {
            method.outer_rate = 1.0;
        }
        if !is_given("method", "outer_momentum") {
            method.outer_momentum = 0.5;
        }
    }

    let cluster = &mut config.cluster;
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

    let budget = &mut config.budget;
    if budget.epochs.is_none() && budget.steps.is_none() && budget.minutes.is_none() {
        budget.epochs = Some(1.0);
    }

    let evaluate = &mut config.evaluate;
    if evaluate.every_epochs.is_none()
        && evaluate.every_steps.is_none()
        && evaluate.every_minutes.is_none()
    {
        evaluate.every_epochs = Some(1.0);
    }
}
