//! The tables of a run's config, one struct a table, every key with its default.
//!
//! These structs are what the rest of the program reads. A value of type [`Config`] that came out
//! of [`Config::load`] has been checked as a whole: nothing later checks again.

use std::path::PathBuf;

use lsgd_models::ModelKind;
use serde::{Deserialize, Serialize};

pub use super::cluster::ClusterConfig;
pub use super::simulate::{Death, SimulateConfig};

/// A whole run, as `config.toml` says it.
///
/// `Config::default()` leaves open what depends on other keys (the budget, the evaluation interval,
/// the data folder); [`Config::from_toml`] of an empty text fills those in too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name, folder, seed and mode of the run.
    pub run: RunConfig,
    /// The examples and how they are made into batches.
    pub data: DataConfig,
    /// The network.
    pub model: ModelConfig,
    /// The inner optimizer of every worker.
    pub optimizer: OptimizerConfig,
    /// The learning rate over the run.
    pub schedule: ScheduleConfig,
    /// How workers learn from each other.
    pub method: MethodConfig,
    /// How many workers, and on what.
    pub workers: WorkersConfig,
    /// How they compute.
    pub compute: ComputeConfig,
    /// When the run ends.
    pub budget: BudgetConfig,
    /// When and on how much the workers are evaluated.
    pub evaluate: EvaluateConfig,
    /// When the workers are written to disk.
    pub checkpoint: CheckpointConfig,
    /// The other nodes, if there are any.
    pub cluster: ClusterConfig,
    /// What `lsgd-train simulate` simulates.
    pub simulate: SimulateConfig,
}

/// `[run]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Folder of the run below `folder`.
    pub name: String,
    /// Folder of all runs.
    pub folder: PathBuf,
    /// Seed of everything random: initial weights, batches, augmentation, dropout.
    pub seed: u64,
    /// Whether workers meet (`sync`) or go on without waiting (`async`).
    pub mode: Mode,
    /// Replace an existing run of the same name.
    pub overwrite: bool,
}

/// `run.mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Every worker takes `local_period` steps, then all meet. Reproducible to the bit.
    Sync,
    /// The total number of steps triggers an exchange and nobody waits (Algorithm 1 of the paper).
    Async,
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Which data set.
    pub name: DataName,
    /// The folder that holds the data set's files themselves.
    pub folder: Option<PathBuf>,
    /// Examples a batch, per worker.
    pub batch_size: usize,
    /// Random changes of training images.
    pub augment: Augment,
    /// `generated` only: number of training examples (a fifth as many are made for the test).
    pub examples: usize,
    /// `generated` only: number of classes.
    pub classes: usize,
    /// `generated` only: channels, height, width.
    pub shape: [usize; 3],
}

/// `data.name`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataName {
    /// CIFAR-10 in its published binary layout.
    Cifar10,
    /// CIFAR-100 in its published binary layout.
    Cifar100,
    /// `train/CLASS/*.jpg` and `val/CLASS/*.jpg`.
    Folder,
    /// 1,797 handwritten digits of 8 x 8 pixels, shipped in `datasets/digits`.
    Digits,
    /// Images drawn from the seed, for tests and benchmarks.
    Generated,
}

/// `data.augment`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Augment {
    /// The paper's: horizontal flip, random crop of 28 x 28 (test: centre crop).
    Paper,
    /// The usual one: horizontal flip, pad by 4, random crop of the image's own size.
    PadCrop,
    /// None.
    None,
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Which network.
    pub name: ModelKind,
    /// Channels of the first stage of a CIFAR ResNet.
    pub width: usize,
    /// Dropout probability of CNN7 and VGG.
    pub dropout: f64,
}

/// `[optimizer]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Which optimizer.
    pub name: OptimizerName,
    /// Momentum of `sgd` and `lars`, in [0, 1).
    pub momentum: f64,
    /// Nesterov momentum (`sgd`, `lars`).
    pub nesterov: bool,
    /// Weight decay: added to the gradient by `sgd`, `adam` and `lars`, decoupled in `adamw`.
    pub weight_decay: f64,
    /// `lars`: how far a tensor may move in a step, relative to its norm, at a learning rate of 1; over
    /// 0.
    pub trust: f64,
}

/// `optimizer.name`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerName {
    /// Stochastic gradient descent with PyTorch's arithmetic (dampening 0).
    Sgd,
    /// Adam.
    Adam,
    /// Adam with decoupled weight decay.
    Adamw,
    /// SGD whose rate is scaled layer by layer.
    Lars,
}

/// `[schedule]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Learning rate after warm-up and before any drop.
    pub learning_rate: f64,
    /// Shape of the learning rate over the run.
    pub kind: ScheduleKind,
    /// `steps` only: at each of these the learning rate is multiplied by the factor.
    pub drops: Vec<Drop>,
    /// The learning rate rises linearly from zero over this long.
    pub warmup: Option<Span>,
}

/// `schedule.kind`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// The same throughout.
    Constant,
    /// Multiplied by a factor at each of `drops`.
    Steps,
    /// Half a cosine, from `learning_rate` to zero at the end of the budget.
    Cosine,
}

/// One entry of `schedule.drops`: `{ epochs = 80, factor = 0.1 }` or `{ steps = 1000, factor = 0.1 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drop {
    /// When, in epochs of the whole data. Just one of `epochs` and `steps` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// When, in steps of a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// What the learning rate is multiplied by.
    pub factor: f64,
}

/// A length of training: `{ epochs = 5 }` or `{ steps = 500 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// In epochs of the whole data. Just one of `epochs` and `steps` is given.
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
    /// Where both pulls go over the budget, by half a cosine, in [0, 1]; they stay when absent.
    pub final_pull: Option<f64>,
    /// The paper's tau: steps of a worker between local exchanges.
    pub local_period: u64,
    /// The paper's tau_G: steps of a worker between global exchanges, a multiple of `local_period`.
    pub global_period: u64,
    /// Proximal strength toward the last local leader: `local_prox / local_period` a step.
    pub local_prox: f64,
    /// Proximal strength toward the last global leader: `global_prox / global_period` a step.
    pub global_prox: f64,
    /// Batches whose mean training loss ranks a worker.
    pub loss_window: usize,
    /// A report older than this many steps cannot lead; twice the period when absent.
    pub max_staleness: Option<u64>,
    /// What a pull does with BatchNorm's running statistics.
    pub batch_norm: BatchNormPolicy,
    /// What ranks the workers.
    pub score: Score,
    /// Training examples that are held out for `probe_loss`.
    pub probe_examples: usize,
    /// A leader stays until another's loss is lower by this share of its own, in [0, 1).
    pub margin: f64,
    /// `easgd`: how strongly the centre follows the workers' mean in an exchange, in [0, 1]; each of
    /// W workers is pulled to the centre by `beta / W`.
    pub beta: f64,
    /// `lsgd_plus` and `leader_mean`: c of `m + c (z - m)`, a point between mean m and leader z, in
    /// [0, 1].
    pub leader_weight: f64,
    /// `diloco` and `slowmo`: learning rate of the outer step, over 0.
    pub outer_rate: f64,
    /// `diloco` and `slowmo`: momentum of the outer step, in [0, 1).
    pub outer_momentum: f64,
}

/// `method.name`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodName {
    /// Workers that never talk.
    Sgd,
    /// All take every step with the mean of their gradients.
    DataParallel,
    /// All move to the mean of all parameters every `local_period` steps.
    LocalSgd,
    /// Elastic averaging: pulled to a centre that follows the mean, or in `async` follows workers one
    /// by one.
    Easgd,
    /// Workers bring their steps to a centre one by one, and move to it.
    Downpour,
    /// An outer step with Nesterov's momentum along the way of the mean.
    Diloco,
    /// The same with plain momentum.
    Slowmo,
    /// Leader SGD.
    Lsgd,
    /// Leader SGD that is pulled between exchanges to a point between mean and leader.
    LsgdPlus,
    /// All move to a point between mean and leader.
    LeaderMean,
    /// Pulled to a mean in which workers of small gradients count more.
    Grawa,
    /// The same, layer by layer.
    GrawaLayers,
}

impl MethodName {
    /// As configs write it.
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
            MethodName::Grawa => "grawa",
            MethodName::GrawaLayers => "grawa_layers",
        }
    }

    /// Whether its exchanges deliver a mean in this mode, for which all workers have to meet.
    pub fn averages(self, mode: Mode) -> bool {
        match self {
            MethodName::Sgd | MethodName::Lsgd | MethodName::Downpour => false,
            MethodName::Easgd => mode == Mode::Sync,
            _ => true,
        }
    }

    /// Whether its exchanges have a leader.
    pub fn elects(self) -> bool {
        use MethodName::{LeaderMean, Lsgd, LsgdPlus};
        matches!(self, Lsgd | LsgdPlus | LeaderMean)
    }
}

/// `method.batch_norm`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchNormPolicy {
    /// Every worker keeps its own running statistics.
    Own,
    /// Running statistics are pulled like parameters.
    Leader,
    /// Every exchange sets them to the mean over the workers.
    Mean,
}

/// `method.score`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// Mean training loss over the last `loss_window` batches, as in the paper.
    TrainingLoss,
    /// Loss on training examples that are held out, the same for all workers.
    ProbeLoss,
}

/// `[workers]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkersConfig {
    /// Workers on this node; one a device when absent.
    pub count: Option<usize>,
    /// `"auto"`, or one name per worker such as `["cpu", "cpu"]` or `["wgpu:0", "wgpu:1"]`.
    pub devices: Devices,
    /// Compute threads per worker on the CPU.
    pub threads: usize,
}

/// `workers.devices`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Devices {
    /// The word `auto`: GPUs if the build and the machine have any, else the CPU. After
    /// [`Config::load`] no other word stands here.
    Word(String),
    /// A device per worker.
    List(Vec<String>),
}

/// `[compute]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComputeConfig {
    /// On the CPU: convolutions and normalisations of `lsgd-cpu` instead of Burn's. They give the
    /// same to rounding.
    pub cpu_kernels: bool,
}

/// `[budget]`: just one of the three is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetConfig {
    /// Epochs of the whole data, shared by all workers.
    pub epochs: Option<f64>,
    /// Steps per worker (in `async`, their mean).
    pub steps: Option<u64>,
    /// Minutes of training.
    pub minutes: Option<f64>,
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
    /// Test examples to use; all when absent.
    pub examples: Option<usize>,
    /// Training batches from which BatchNorm statistics of a mean are estimated anew.
    pub batch_norm_batches: usize,
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
    /// How many of these are kept.
    pub keep: usize,
}
