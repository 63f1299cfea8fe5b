//! The program's tables, one struct per table, every key with its default.

use std::path::PathBuf;

use lsgd_models::ModelKind;
use serde::{Deserialize, Serialize};

/// What is trained, and on which examples: the tables of the program besides those of the engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// The examples and how they are made into batches.
    pub data: DataConfig,
    /// The network.
    pub model: ModelConfig,
    /// The inner optimizer of every worker.
    pub optimizer: OptimizerConfig,
    /// What is minimized.
    pub loss: LossConfig,
    /// How kernels are chosen.
    pub compute: ComputeConfig,
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Which data set.
    pub name: DataName,
    /// The folder that holds the data set's files themselves.
    pub folder: Option<PathBuf>,
    /// Examples per batch, per worker.
    pub batch_size: usize,
    /// Training images to score models on in place of the test images, and not to train on: a share of
    /// them if below 1, else their number, which is whole. `None`: none.
    pub holdout: Option<f64>,
    /// How the training images are divided among the workers; `None`: all have the same.
    pub split: Option<Split>,
    /// Workers whose training images are spoilt on purpose, or not augmented, each at most once.
    pub vary: Vec<DataVariation>,
    /// Random crops and flips of training images.
    pub augment: Augment,
    /// `folder` only: height and width of an image in a batch, in pixels.
    pub side: u32,
    /// Whether one random operation of TrivialAugment alters every training image.
    pub trivial_augment: bool,
    /// How far the colours of training images are changed, at random.
    pub jitter: Option<Jitter>,
    /// Side of the square that is cut out of every training image, in pixels.
    pub cutout: Option<usize>,
    /// Probability that a rectangle of a training image is erased, in [0, 1].
    pub erasing: f64,
    /// Shape of mixup's distribution of weights, over 0.
    pub mixup: Option<f64>,
    /// Shape of CutMix's distribution of areas, over 0.
    pub cutmix: Option<f64>,
    /// `folder` only: what an image that cannot be decoded does to the run.
    pub bad_images: BadImages,
    /// With `bad_images = "skip"`: most of a split's images that are skipped, as a share in (0, 1].
    pub bad_images_limit: f64,
    /// `generated` only: number of training examples (there are a fifth as many test examples).
    pub examples: usize,
    /// `generated` only: number of classes.
    pub classes: usize,
    /// `generated` only: channels, height, width.
    pub shape: [usize; 3],
}

/// `data.jitter`: how far each property of a training image's colours is changed, at random.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jitter {
    /// A factor is drawn from `1 - brightness` (at least 0) to `1 + brightness`.
    pub brightness: f64,
    /// Likewise.
    pub contrast: f64,
    /// Likewise.
    pub saturation: f64,
    /// The hue is turned by up to this share of the circle either way, in [0, 0.5].
    pub hue: f64,
}

/// `data.split`: shards of workers that differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The concentration of the distribution that each worker's mix of classes is drawn from, over 0.
    pub dirichlet: f64,
}

/// One entry of `[[data.vary]]`: a worker whose training images differ, for experiments.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataVariation {
    /// Its index among the workers of all nodes.
    pub worker: u64,
    /// Share of its labels that are drawn at random, in [0, 1].
    pub label_noise: f64,
    /// Share of its images that are noise, in [0, 1].
    pub image_noise: f64,
    /// Whether its images are augmented as those of the others.
    // If so, runs that were begun before there was this key have the same settings.
    #[serde(skip_serializing_if = "is_augmented")]
    pub augment: bool,
}

fn is_augmented(augment: &bool) -> bool {
    *augment
}

impl Default for DataVariation {
    fn default() -> Self {
        Self {
            worker: 0,
            label_noise: 0.0,
            image_noise: 0.0,
            augment: true,
        }
    }
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

/// `data.bad_images`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadImages {
    /// The first ends the run.
    Stop,
    /// Another takes its place in training, and the test is scored without it.
    Skip,
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
    /// Where the initial weights are: a safetensors file, or the folder of a run.
    pub init_from: Option<PathBuf>,
}

/// `[optimizer]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Which optimizer.
    pub name: OptimizerName,
    /// Momentum of `sgd`, `lars` and `muon`, in [0, 1).
    pub momentum: f64,
    /// Nesterov momentum (`sgd`, `lars`, `muon`).
    pub nesterov: bool,
    /// Weight decay: added to the gradient by `sgd`, `adam` and `lars`, decoupled in the others.
    pub weight_decay: f64,
    /// Whether weight decay is of biases and of the scales and shifts of normalisations too; `lars` never
    /// does that.
    pub decay_norms: bool,
    /// What the learning rate is multiplied by for the shifts of normalisations, over 0.
    pub shift_rate: f64,
    /// Largest norm of all gradients together, over 0; not with `clip_value`.
    pub clip_norm: Option<f64>,
    /// Largest absolute value of a gradient, over 0.
    pub clip_value: Option<f64>,
    /// `lars`: how far a tensor may move in a step, relative to its norm, at a learning rate of 1;
    /// positive.
    pub trust_coefficient: f64,
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
    /// Steps along the sign of an interpolated gradient (Chen et al., arXiv 2302.06675).
    Lion,
    /// Adam whose rate is scaled layer by layer (You et al., arXiv 1904.00962).
    Lamb,
    /// Orthogonalized momentum for weights but those of the last layer, AdamW for the rest.
    Muon,
}

/// `[loss]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// Share of the target that is spread evenly over all classes in training, in [0, 1).
    pub label_smoothing: f64,
}

/// `[compute]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComputeConfig {
    /// On the CPU: convolutions and normalisations of `lsgd-cpu` instead of Burn's. Both give the
    /// same results up to rounding.
    pub cpu_kernels: bool,
}

impl DataConfig {
    /// How many of `examples` training images are held out to score models on.
    pub fn held_out(&self, examples: usize) -> usize {
        match self.holdout {
            None => 0,
            // At least one, so that there is something to score on.
            Some(share) if share < 1.0 => ((share * examples as f64).round() as usize).max(1),
            Some(number) => number as usize,
        }
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            name: DataName::Cifar10,
            folder: None,
            batch_size: 128,
            holdout: None,
            split: None,
            vary: Vec::new(),
            augment: Augment::PadCrop,
            side: 224,
            trivial_augment: false,
            jitter: None,
            cutout: None,
            erasing: 0.0,
            mixup: None,
            cutmix: None,
            bad_images: BadImages::Stop,
            bad_images_limit: 0.01,
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
            init_from: None,
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
            decay_norms: true,
            shift_rate: 1.0,
            clip_norm: None,
            clip_value: None,
            trust_coefficient: 0.001,
        }
    }
}

impl Default for ComputeConfig {
    fn default() -> Self {
        ComputeConfig { cpu_kernels: true }
    }
}

impl OptimizerName {
    /// As spelled in configs.
    pub fn word(self) -> &'static str {
        match self {
            OptimizerName::Sgd => "sgd",
            OptimizerName::Adam => "adam",
            OptimizerName::Adamw => "adamw",
            OptimizerName::Lars => "lars",
            OptimizerName::Lion => "lion",
            OptimizerName::Lamb => "lamb",
            OptimizerName::Muon => "muon",
        }
    }
}

impl DataName {
    /// As spelled in configs.
    pub fn word(self) -> &'static str {
        match self {
            DataName::Cifar10 => "cifar10",
            DataName::Cifar100 => "cifar100",
            DataName::Folder => "folder",
            DataName::Digits => "digits",
            DataName::Generated => "generated",
        }
    }

    /// Where the data set's files are by default: where `data fetch` puts them.
    pub fn default_folder(self) -> Option<PathBuf> {
        match self {
            DataName::Cifar10 => Some(PathBuf::from("datasets/cifar-10-batches-bin")),
            DataName::Cifar100 => Some(PathBuf::from("datasets/cifar-100-binary")),
            DataName::Folder | DataName::Digits | DataName::Generated => None,
        }
    }
}
