//! Which model, and its sizes: checked once, before anything is allocated.

use std::fmt;
use std::str::FromStr;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::layers::Kernels;
use crate::{CifarResNet, Cnn7, Model, ModelError, ResNet, Vgg};

/// Largest image height and width. With [`MAX_CLASSES`] and [`MAX_BASE_WIDTH`] it keeps
/// any model that passes the checks below 5 x 10^8 parameters (2 GB).
pub const MAX_IMAGE_SIDE: usize = 512;
/// Largest number of image channels.
pub const MAX_CHANNELS: usize = 256;
/// Largest number of classes: ImageNet-21k has 21,841.
pub const MAX_CLASSES: usize = 65_536;
/// Largest first-stage width of a CIFAR ResNet.
pub const MAX_BASE_WIDTH: usize = 256;

/// The models of this crate, by the names that configurations use.
///
/// ```
/// use lsgd_models::ModelKind;
///
/// let kind: ModelKind = "resnet20".parse()?;
/// assert_eq!(kind, ModelKind::ResNet20);
/// assert_eq!(kind.to_string(), "resnet20");
/// # Ok::<(), lsgd_models::ModelError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ModelKind {
    /// The seven-layer network of the EASGD paper.
    Cnn7,
    /// CIFAR ResNet with 1 block a stage.
    ResNet8,
    /// CIFAR ResNet with 2 blocks a stage.
    ResNet14,
    /// CIFAR ResNet with 3 blocks a stage.
    ResNet20,
    /// CIFAR ResNet with 5 blocks a stage.
    ResNet32,
    /// CIFAR ResNet with 7 blocks a stage.
    ResNet44,
    /// CIFAR ResNet with 9 blocks a stage.
    ResNet56,
    /// CIFAR ResNet with 18 blocks a stage.
    ResNet110,
    /// ImageNet ResNet of 18 layers, basic blocks.
    ResNet18,
    /// ImageNet ResNet of 34 layers, basic blocks.
    ResNet34,
    /// ImageNet ResNet of 50 layers, bottleneck blocks.
    ResNet50,
    /// VGG, 8 convolutions.
    Vgg11,
    /// VGG, 10 convolutions.
    Vgg13,
    /// VGG, 13 convolutions.
    Vgg16,
    /// VGG, 16 convolutions.
    Vgg19,
}

/// What the layers of a [`ModelKind`] look like: the one place that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// One shape only.
    Cnn7,
    /// Residual blocks in each of three stages.
    CifarResNet { blocks: usize },
    /// Residual blocks in each of four stages.
    ResNet {
        blocks: [usize; 4],
        bottleneck: bool,
    },
    /// Convolutions in each of five stages.
    Vgg { convolutions: [usize; 5] },
}

impl ModelKind {
    /// Every kind, in the order in which error messages list them.
    pub const ALL: [Self; 15] = [
        Self::Cnn7,
        Self::ResNet8,
        Self::ResNet14,
        Self::ResNet20,
        Self::ResNet32,
        Self::ResNet44,
        Self::ResNet56,
        Self::ResNet110,
        Self::ResNet18,
        Self::ResNet34,
        Self::ResNet50,
        Self::Vgg11,
        Self::Vgg13,
        Self::Vgg16,
        Self::Vgg19,
    ];

    /// The name in configurations, such as `resnet20`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cnn7 => "cnn7",
            Self::ResNet8 => "resnet8",
            Self::ResNet14 => "resnet14",
            Self::ResNet20 => "resnet20",
            Self::ResNet32 => "resnet32",
            Self::ResNet44 => "resnet44",
            Self::ResNet56 => "resnet56",
            Self::ResNet110 => "resnet110",
            Self::ResNet18 => "resnet18",
            Self::ResNet34 => "resnet34",
            Self::ResNet50 => "resnet50",
            Self::Vgg11 => "vgg11",
            Self::Vgg13 => "vgg13",
            Self::Vgg16 => "vgg16",
            Self::Vgg19 => "vgg19",
        }
    }

    /// The names of [`ALL`](Self::ALL), in its order.
    pub const NAMES: [&str; 15] = {
        let mut names = [""; 15];
        let mut index = 0;
        while index < names.len() {
            names[index] = Self::ALL[index].name();
            index += 1;
        }
        names
    };

    /// All names with commas between them, for messages.
    pub fn names() -> String {
        Self::NAMES.join(", ")
    }

    /// Depth of a CIFAR ResNet is 6n + 2 with n blocks a stage (arXiv 1512.03385, section
    /// 4.2); ImageNet ResNets are its table 1, VGGs table 1 of arXiv 1409.1556.
    pub(crate) const fn family(self) -> Family {
        match self {
            Self::Cnn7 => Family::Cnn7,
            Self::ResNet8 => Family::CifarResNet { blocks: 1 },
            Self::ResNet14 => Family::CifarResNet { blocks: 2 },
            Self::ResNet20 => Family::CifarResNet { blocks: 3 },
            Self::ResNet32 => Family::CifarResNet { blocks: 5 },
            Self::ResNet44 => Family::CifarResNet { blocks: 7 },
            Self::ResNet56 => Family::CifarResNet { blocks: 9 },
            Self::ResNet110 => Family::CifarResNet { blocks: 18 },
            Self::ResNet18 => Family::ResNet {
                blocks: [2, 2, 2, 2],
                bottleneck: false,
            },
            Self::ResNet34 => Family::ResNet {
                blocks: [3, 4, 6, 3],
                bottleneck: false,
            },
            Self::ResNet50 => Family::ResNet {
                blocks: [3, 4, 6, 3],
                bottleneck: true,
            },
            Self::Vgg11 => Family::Vgg {
                convolutions: [1, 1, 2, 2, 2],
            },
            Self::Vgg13 => Family::Vgg {
                convolutions: [2, 2, 2, 2, 2],
            },
            Self::Vgg16 => Family::Vgg {
                convolutions: [2, 2, 3, 3, 3],
            },
            Self::Vgg19 => Family::Vgg {
                convolutions: [2, 2, 4, 4, 4],
            },
        }
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ModelKind {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| ModelError::UnknownKind {
                name: name.to_owned(),
            })
    }
}

impl TryFrom<String> for ModelKind {
    type Error = ModelError;

    fn try_from(name: String) -> Result<Self, ModelError> {
        name.parse()
    }
}

impl From<ModelKind> for String {
    fn from(kind: ModelKind) -> Self {
        kind.name().to_owned()
    }
}

/// A model and its sizes. [`init`](Self::init) checks them and draws the initial weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Which model.
    pub kind: ModelKind,
    /// Number of classes, 1 to [`MAX_CLASSES`].
    pub classes: usize,
    /// Image channels, 1 to [`MAX_CHANNELS`].
    pub channels: usize,
    /// Image height in pixels, up to [`MAX_IMAGE_SIDE`]. Least: CNN7 24, CIFAR ResNets 4,
    /// ImageNet ResNets 32; VGGs take multiples of 32.
    pub height: usize,
    /// Image width in pixels, with the limits of `height`.
    pub width: usize,
    /// Channels of a CIFAR ResNet's first stage, 1 to [`MAX_BASE_WIDTH`] (default 16, the
    /// paper's). Other models have fixed widths and leave it unread.
    #[serde(default = "default_base_width")]
    pub base_width: usize,
    /// Probability of zeroing a hidden unit in the head of CNN7 and VGG, in [0, 1) (default
    /// 0.5). ResNets have no dropout and leave it unread.
    #[serde(default = "default_dropout")]
    pub dropout: f64,
    /// Weight of the newest batch in BatchNorm's running statistics, in [0, 1] (default 0.1).
    /// At 1 they become those of the last training batch (but what is not a number stays so).
    #[serde(default = "default_batch_norm_momentum")]
    pub batch_norm_momentum: f64,
    /// Whether convolutions and normalisations on Burn's `flex` backend are those of [`lsgd_cpu`]
    /// (default) or Burn's. They give the same to rounding.
    #[serde(default = "default_cpu_kernels")]
    pub cpu_kernels: bool,
}

const fn default_cpu_kernels() -> bool {
    true
}

const fn default_base_width() -> usize {
    16
}

const fn default_dropout() -> f64 {
    0.5
}

const fn default_batch_norm_momentum() -> f64 {
    0.1
}

impl ModelConfig {
    /// A model for images of `[channels, height, width]`, everything else at its default.
    pub fn new(kind: ModelKind, classes: usize, [channels, height, width]: [usize; 3]) -> Self {
        Self {
            kind,
            classes,
            channels,
            height,
            width,
            base_width: default_base_width(),
            dropout: default_dropout(),
            batch_norm_momentum: default_batch_norm_momentum(),
            cpu_kernels: default_cpu_kernels(),
        }
    }

    pub(crate) fn kernels(&self) -> Kernels {
        Kernels {
            cpu: self.cpu_kernels,
        }
    }

    /// Checks every field, whether the model reads it or not.
    ///
    /// # Errors
    ///
    /// [`ModelError::OutOfRange`], [`ModelError::Rate`], [`ModelError::ImageTooSmall`] and
    /// [`ModelError::ImageNotHalvable`], the first that applies in field order.
    pub fn check(&self) -> Result<(), ModelError> {
        let kind = self.kind;
        for (field, value, most) in [
            ("classes", self.classes, MAX_CLASSES),
            ("channels", self.channels, MAX_CHANNELS),
            ("height", self.height, MAX_IMAGE_SIDE),
            ("width", self.width, MAX_IMAGE_SIDE),
            ("base_width", self.base_width, MAX_BASE_WIDTH),
        ] {
            if !(1..=most).contains(&value) {
                return Err(ModelError::OutOfRange {
                    kind,
                    field,
                    value,
                    least: 1,
                    most,
                });
            }
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let (field, value) = ("dropout", self.dropout);
            return Err(ModelError::Rate {
                kind,
                field,
                value,
                range: "[0, 1)",
            });
        }
        if !(0.0..=1.0).contains(&self.batch_norm_momentum) {
            let (field, value) = ("batch_norm_momentum", self.batch_norm_momentum);
            return Err(ModelError::Rate {
                kind,
                field,
                value,
                range: "[0, 1]",
            });
        }
        self.check_image()
    }

    /// Values that an image has in a channel of the smallest map that is batch-normalised; `None`
    /// for a model without BatchNorm.
    ///
    /// BatchNorm takes its statistics in training from this many times the batch size. From a single
    /// value it gives its bias, whatever comes in; from two, plus or minus one.
    ///
    /// ```
    /// use lsgd_models::{ModelConfig, ModelKind};
    ///
    /// let values = |kind, side| ModelConfig::new(kind, 10, [3, side, side]).least_normalised();
    /// assert_eq!(values(ModelKind::ResNet20, 32), Some(8 * 8));
    /// assert_eq!(values(ModelKind::ResNet20, 4), Some(1));
    /// assert_eq!(values(ModelKind::Cnn7, 32), None);
    /// ```
    pub fn least_normalised(&self) -> Option<usize> {
        // How often a side is halved, a half pixel counted as one, before the last map.
        let halvings = match self.kind.family() {
            Family::Cnn7 => return None,
            Family::CifarResNet { .. } => 2,
            Family::ResNet { .. } => 5,
            Family::Vgg { .. } => 4,
        };
        let side = |side: usize| side.div_ceil(1 << halvings);
        Some(side(self.height) * side(self.width))
    }

    fn check_image(&self) -> Result<(), ModelError> {
        let Self {
            kind,
            height,
            width,
            ..
        } = *self;
        let least = match kind.family() {
            Family::Cnn7 => crate::cnn7::LEAST_SIDE,
            Family::CifarResNet { .. } => crate::resnet_cifar::LEAST_SIDE,
            Family::ResNet { .. } => crate::resnet::LEAST_SIDE,
            Family::Vgg { .. } => {
                let halvable = height % 32 == 0 && width % 32 == 0;
                return match halvable {
                    true => Ok(()),
                    false => Err(ModelError::ImageNotHalvable {
                        kind,
                        height,
                        width,
                    }),
                };
            }
        };
        if height.min(width) < least {
            return Err(ModelError::ImageTooSmall {
                kind,
                height,
                width,
                least,
            });
        }
        Ok(())
    }

    /// Builds the model on `device` and draws its initial weights there and then.
    ///
    /// The weights come from the device's own generator: seed it with `device.seed(seed)`
    /// just before for the same weights again. That generator is shared by the whole process,
    /// so draw before other threads use it. For training give an autodiff device.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check); nothing is allocated then.
    pub fn init(&self, device: &Device) -> Result<Model, ModelError> {
        self.check()?;
        let model = match self.kind.family() {
            Family::Cnn7 => Model::Cnn7(Cnn7::new(self, device)),
            Family::CifarResNet { blocks } => {
                Model::CifarResNet(CifarResNet::new(self, blocks, device))
            }
            Family::ResNet { blocks, bottleneck } => {
                Model::ResNet(ResNet::new(self, blocks, bottleneck, device))
            }
            Family::Vgg { convolutions } => Model::Vgg(Vgg::new(self, convolutions, device)),
        };
        // Burn draws a weight when it is first used; drawn in another order, or on another
        // thread, the same seed would give other weights.
        model.visit(&mut Draw);
        Ok(model)
    }
}

/// Draws every weight in the order of the module tree.
struct Draw;

impl ModuleVisitor for Draw {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let _ = param.val();
    }
}
