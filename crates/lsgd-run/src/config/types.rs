//! The engine's tables, one struct per table, every key with its default.

use std::path::PathBuf;

use lsgd_core::{BatchNorm, Factors, Mode};
use serde::{Deserialize, Serialize};

pub use super::cluster::{ClusterConfig, Tls};
pub use super::simulate::{Death, SimulateConfig};

/// The tables of the engine: everything about a run except its task.
///
/// `Settings::default()` leaves open what depends on other keys (the budget, the evaluation
/// interval); [`Config::from_toml`](super::Config::from_toml) of an empty text fills those in too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Name, folder, seed and mode of the run.
    pub run: RunConfig,
    /// The learning rate over the run.
    pub schedule: ScheduleConfig,
    /// The training method.
    pub method: MethodConfig,
    /// The workers and their devices.
    pub workers: WorkersConfig,
    /// When the run ends.
    pub budget: BudgetConfig,
    /// When and on how many examples the workers are evaluated.
    pub evaluate: EvaluateConfig,
    /// What is averaged beside training.
    pub average: AverageConfig,
    /// When checkpoints are written.
    pub checkpoint: CheckpointConfig,
    /// What happens to workers that fail.
    pub faults: FaultsConfig,
    /// What is recorded beside the run's own files.
    pub record: RecordConfig,
    /// The other nodes, if there are any.
    pub cluster: ClusterConfig,
    /// The settings of `simulate`.
    pub simulate: SimulateConfig,
}

/// `[run]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Name of the run, and of its folder below `folder`.
    pub name: String,
    /// Folder of all runs.
    pub folder: PathBuf,
    /// Seed of everything random: initial weights, batches, augmentation, dropout.
    pub seed: u64,
    /// Whether workers wait for each other (`sync`) or never block (`async`).
    pub mode: Mode,
    /// Replace an existing run of the same name.
    pub overwrite: bool,
}

impl RunConfig {
    /// The folder of the run; of one on several nodes, the one that holds theirs.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }
}

/// `[schedule]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Learning rate after warm-up and before any drop; the highest of a `one_cycle`.
    pub learning_rate: f64,
    /// Shape of the learning rate over the run.
    pub kind: ScheduleKind,
    /// `steps` only: at each of these the learning rate is multiplied by the factor.
    pub drops: Vec<Drop>,
    /// The learning rate rises linearly from zero over this long; not for `one_cycle`.
    pub warmup: Option<Span>,
    /// `polynomial` only: power of the share of the budget that is left, over 0.
    pub power: f64,
    /// `one_cycle` only: where in the budget the rate is highest, as a share in (0, 1).
    pub peak: f64,
    /// `one_cycle` only: the shape of its rise and fall.
    pub anneal: Anneal,
    /// `one_cycle` only: it starts at `learning_rate` divided by this, at least 1.
    pub start_divisor: f64,
    /// `one_cycle` only: it ends at its first rate divided by this, at least 1.
    pub final_divisor: f64,
}

/// `schedule.kind`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Constant.
    Constant,
    /// Multiplied by a factor at each of `drops`.
    Steps,
    /// Half a cosine, from `learning_rate` to zero at the end of the budget.
    Cosine,
    /// `learning_rate` times a power of the share of the budget that is left.
    Polynomial,
    /// A rise to `learning_rate` and a longer fall (Smith and Topin, arXiv 1708.07120).
    OneCycle,
}

impl ScheduleKind {
    /// The word in configs.
    pub fn word(self) -> &'static str {
        match self {
            ScheduleKind::Constant => "constant",
            ScheduleKind::Steps => "steps",
            ScheduleKind::Cosine => "cosine",
            ScheduleKind::Polynomial => "polynomial",
            ScheduleKind::OneCycle => "one_cycle",
        }
    }

    /// Whether the learning rate of a step depends on the length of the run.
    pub fn goes_by_budget(self) -> bool {
        match self {
            ScheduleKind::Constant | ScheduleKind::Steps => false,
            ScheduleKind::Cosine | ScheduleKind::Polynomial | ScheduleKind::OneCycle => true,
        }
    }
}

/// `schedule.anneal`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    /// Half a cosine each way.
    Cosine,
    /// A straight line each way.
    Linear,
}

/// One entry of `schedule.drops`: `{ epochs = 80, factor = 0.1 }` or `{ steps = 1000, factor = 0.1 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drop {
    /// In epochs of the whole data. Exactly one of `epochs` and `steps` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// In steps of a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// The factor.
    pub factor: f64,
}

/// A length of training: `{ epochs = 5 }` or `{ steps = 500 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// In epochs of the whole data. Exactly one of `epochs` and `steps` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// In steps of a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
}

/// `[method]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MethodConfig {
    /// Which method.
    pub name: MethodName,
    /// The paper's lambda: pull strength toward the local leader, in [0, 1].
    pub local_pull: f64,
    /// The paper's lambda_G: pull strength toward the global leader, in [0, 1].
    pub global_pull: f64,
    /// Final strength of both pulls, reached at the end of the budget along half a cosine, in [0,
    /// 1]; constant if absent.
    pub final_pull: Option<f64>,
    /// The paper's tau: steps of a worker between local exchanges.
    pub local_period: u64,
    /// The paper's tau_G: steps of a worker between global exchanges, a multiple of `local_period`.
    pub global_period: u64,
    /// alpha of the quadratic synchronization rule, in units of the learning rate, over 0: local periods are
    /// `(alpha / rate)^2` steps where that is more than `local_period`. `None`: they stay.
    pub quadratic_period: Option<f64>,
    /// Proximal strength toward the last local leader: `local_prox / local_period` a step.
    pub local_prox: f64,
    /// Proximal strength toward the last global leader: `global_prox / global_period` a step.
    pub global_prox: f64,
    /// Batches whose mean training loss ranks a worker.
    pub loss_window: usize,
    /// A report older than this many steps is not eligible; twice the period if absent.
    pub max_staleness: Option<u64>,
    /// What a pull does with BatchNorm's running statistics.
    pub batch_norm: BatchNorm,
    /// The loss that ranks the workers.
    pub rank_by: RankBy,
    /// Number of training examples held out for `probe_loss`.
    pub probe_examples: usize,
    /// A leader stays until another's loss is lower by this fraction of its own, in [0, 1).
    pub margin: f64,
    /// Whether followers take over their leader's factors of learning rate and weight decay, with a random
    /// change.
    pub adopt: bool,
    /// The standard deviation of the natural logarithm of that change, from 0.
    pub adopt_spread: f64,
    /// `easgd`: how strongly the centre follows the workers' mean in an exchange, in [0, 1]; each of
    /// W workers is pulled to the centre by `beta / W`.
    pub beta: f64,
    /// `lsgd_plus` and `leader_mean`: c of `m + c (z - m)`, a point between mean m and leader z, in
    /// [0, 1].
    pub leader_weight: f64,
    /// `leader_filter`: the mean is of the workers whose loss exceeds the lowest by at most this fraction of
    /// it, from 0; infinity is allowed.
    pub filter_margin: f64,
    /// `dppf`: length of the push from the mean in an exchange, from 0.
    pub push: f64,
    /// `diloco` and `slowmo`: learning rate of the outer step, over 0.
    pub outer_learning_rate: f64,
    /// `diloco` and `slowmo`: momentum of the outer step, in [0, 1).
    pub outer_momentum: f64,
}

/// `method.name`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodName {
    /// Independent workers, without communication.
    Sgd,
    /// All workers take every step with the mean of their gradients.
    DataParallel,
    /// All workers move to the mean of all parameters every `local_period` steps; in `async`, one by one, to a
    /// running mean.
    LocalSgd,
    /// Elastic averaging: workers are pulled to a centre that follows their mean, or in `async`
    /// each worker in turn.
    Easgd,
    /// Workers add their steps to a centre one by one, and move to it.
    Downpour,
    /// An outer step with Nesterov momentum on the pseudo-gradient.
    Diloco,
    /// The same with plain momentum.
    Slowmo,
    /// Leader SGD.
    Lsgd,
    /// Leader SGD whose proximal pulls go to a point between mean and leader.
    LsgdPlus,
    /// All workers move to a point between mean and leader.
    LeaderMean,
    /// All workers move to the mean of the leader and those nearly as good.
    LeaderFilter,
    /// Workers are pulled to a mean in which those with small gradients count more.
    Grawa,
    /// The same, layer by layer.
    GrawaLayers,
    /// Workers are pulled to their mean, and pushed from it.
    Dppf,
}

impl MethodName {
    /// The word in configs.
    pub fn word(self) -> &'static str {
        match self {
            MethodName::Sgd => "sgd",
            MethodName::DataParallel => "data_parallel",
            MethodName::LocalSgd => "local_sgd",
            MethodName::Easgd => "easgd",
            MethodName::Downpour => "downpour",
            MethodName::Diloco => "diloco",
            MethodName::Slowmo => "slowmo",
            MethodName::Lsgd => "lsgd",
            MethodName::LsgdPlus => "lsgd_plus",
            MethodName::LeaderMean => "leader_mean",
            MethodName::LeaderFilter => "leader_filter",
            MethodName::Grawa => "grawa",
            MethodName::GrawaLayers => "grawa_layers",
            MethodName::Dppf => "dppf",
        }
    }

    /// Whether its exchanges deliver a mean in this mode, which needs all workers.
    pub fn averages(self, mode: Mode) -> bool {
        match self {
            MethodName::Sgd | MethodName::Lsgd | MethodName::Downpour => false,
            MethodName::Easgd | MethodName::LocalSgd => mode == Mode::Sync,
            _ => true,
        }
    }

    /// Whether its exchanges have a leader.
    pub fn elects(self) -> bool {
        use MethodName::{LeaderMean, Lsgd, LsgdPlus};
        matches!(self, Lsgd | LsgdPlus | LeaderMean)
    }
}

/// `method.rank_by`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankBy {
    /// Mean training loss over the last `loss_window` batches, as in the paper.
    TrainingLoss,
    /// Loss on held-out training examples, the same for all workers.
    ProbeLoss,
}

/// `[workers]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkersConfig {
    /// Workers on this node; one per device if absent.
    pub count: Option<usize>,
    /// `"auto"`, or one name per worker such as `["cpu", "cpu"]` or `["wgpu:0", "wgpu:1"]`.
    pub devices: Devices,
    /// Compute threads per worker on the CPU.
    pub threads: usize,
    /// Threads per worker that prepare its batches; if absent, as many as there are processors for.
    pub loaders: Option<usize>,
    /// Batches of a gradient step, whose gradient is their mean.
    pub accumulate: u64,
    /// Workers that train differently, each at most once.
    pub vary: Vec<Variation>,
}

/// One entry of `[[workers.vary]]`: a worker that trains differently, for experiments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Variation {
    /// Its index among the workers of all nodes.
    pub worker: u64,
    /// Its learning rates are this times the schedule's; over 0.
    pub learning_rate: f64,
    /// Its weight decay is this times that of the others; from 0.
    // Without one, runs that were begun before there was this key have the same settings.
    #[serde(skip_serializing_if = "is_one")]
    pub weight_decay: f64,
    /// Its gradients are multiplied by this; negative ones lead uphill.
    pub gradient_scale: f64,
    /// Random bits of its gradient, as f32, that are flipped in every step.
    pub gradient_flips: u64,
}

fn is_one(factor: &f64) -> bool {
    *factor == 1.0
}

impl Variation {
    /// What the run's hyperparameters are multiplied by for this worker, at the beginning.
    pub fn factors(&self) -> Factors {
        Factors {
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
        }
    }
}

impl Default for Variation {
    fn default() -> Self {
        Self {
            worker: 0,
            learning_rate: 1.0,
            weight_decay: 1.0,
            gradient_scale: 1.0,
            gradient_flips: 0,
        }
    }
}

/// `workers.devices`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Devices {
    /// The word `auto`: GPUs if the build and the machine have any, else the CPU.
    /// [`Config::load`](super::Config::load) accepts no other word.
    Word(String),
    /// One device per worker.
    List(Vec<String>),
}

/// `[budget]`: exactly one of the first three is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetConfig {
    /// Epochs of the whole data, shared by all workers.
    pub epochs: Option<f64>,
    /// Steps per worker (in `async`, their mean).
    pub steps: Option<u64>,
    /// Minutes of training.
    pub minutes: Option<f64>,
    /// The run also ends at the last of so many evaluations in a row that are not the best so far; one node
    /// only.
    pub patience: Option<u64>,
}

/// `[evaluate]`: at most one of the first three is given; the end is always evaluated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateConfig {
    /// Every so many steps of a worker.
    pub every_steps: Option<u64>,
    /// Every so many epochs of the whole data.
    pub every_epochs: Option<f64>,
    /// Every so many minutes of training.
    pub every_minutes: Option<f64>,
    /// Test examples to use; all if absent.
    pub examples: Option<usize>,
    /// Training batches from which the BatchNorm statistics of a mean are re-estimated.
    pub batch_norm_batches: usize,
}

/// `[average]`: averages of parameters, which change nothing about training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AverageConfig {
    /// Decay of each worker's exponential moving average (EMA), in (0, 1); there is none if absent.
    pub ema_decay: Option<f64>,
    /// Evaluations whose replica means are averaged (LAWA), from 2; they are not if absent.
    pub window: Option<usize>,
}

/// `[faults]`: what happens to workers that fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultsConfig {
    /// How often a worker that fails may start again.
    pub restarts: u64,
    /// A worker has failed after so many steps without a finite loss.
    pub bad_steps: Option<u64>,
}

/// `[record]`: what is recorded beside the run's own files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordConfig {
    /// Whether metrics are also written as TensorBoard reads them.
    pub tensorboard: bool,
}

/// `[checkpoint]`: at most one of the first three is given; the end and the best are always kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Every so many steps of a worker.
    pub every_steps: Option<u64>,
    /// Every so many epochs of the whole data.
    pub every_epochs: Option<f64>,
    /// Every so many minutes of training.
    pub every_minutes: Option<f64>,
    /// Number of these that are kept.
    pub keep: usize,
}
