//! A model's sizes, checked once before anything is allocated.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::kind::{Family, ModelKind};
use crate::layers::Kernels;

/// Largest image height and width. With [`MAX_CLASSES`] and [`MAX_BASE_WIDTH`] it keeps
/// any model that passes the checks below 5 x 10^8 parameters (2 GB).
pub const MAX_IMAGE_SIDE: usize = 512;
/// Largest number of image channels.
pub const MAX_CHANNELS: usize = 256;
/// Largest number of classes: ImageNet-21k has 21,841.
pub const MAX_CLASSES: usize = 65_536;
/// Largest first-stage width of a CIFAR ResNet.
pub const MAX_BASE_WIDTH: usize = 256;
/// Largest number of channels of CifarNet's images: its first layer has eight filters for each.
pub const MAX_WHITENED_CHANNELS: usize = 16;

/// A model and its sizes. [`init`](Self::init) checks them and draws the initial weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Which model.
    pub kind: ModelKind,
    /// Number of classes, 1 to [`MAX_CLASSES`].
    pub classes: usize,
    /// Image channels, 1 to [`MAX_CHANNELS`]; for CifarNet to [`MAX_WHITENED_CHANNELS`].
    pub channels: usize,
    /// Image height in pixels, up to [`MAX_IMAGE_SIDE`]. At least 24 for CNN7, 4 for CIFAR
    /// ResNets, 32 for ImageNet ResNets and 9 for CifarNet; VGGs take multiples of 32.
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
    /// Weight of the newest batch in BatchNorm's running statistics, in [0, 1] (default 0.1). At 1
    /// they become those of the last training batch (except that NaN stays).
    #[serde(default = "default_batch_norm_momentum")]
    pub batch_norm_momentum: f64,
    /// Whether convolutions and normalisations on Burn's `flex` backend are those of [`lsgd_cpu`]
    /// (default) or Burn's. Both give the same results up to rounding.
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
        let most_channels = match kind.family() {
            Family::CifarNet => MAX_WHITENED_CHANNELS,
            _ => MAX_CHANNELS,
        };
        for (field, value, most) in [
            ("classes", self.classes, MAX_CLASSES),
            ("channels", self.channels, most_channels),
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

    /// Number of values of an image in a channel of the smallest map that is batch-normalised;
    /// `None` for a model without BatchNorm.
    ///
    /// In training, BatchNorm takes its statistics from this many values times the batch size. From
    /// a single value it outputs its bias, for any input; from two, plus or minus one.
    ///
    /// ```
    /// use lsgd_models::{ModelConfig, ModelKind};
    ///
    /// let values = |kind, side| ModelConfig::new(kind, 10, [3, side, side]).least_normalised();
    /// assert_eq!(values(ModelKind::ResNet20, 32), Some(8 * 8));
    /// assert_eq!(values(ModelKind::ResNet20, 4), Some(1));
    /// assert_eq!(values(ModelKind::CifarNet, 32), Some(3 * 3));
    /// assert_eq!(values(ModelKind::Cnn7, 32), None);
    /// ```
    pub fn least_normalised(&self) -> Option<usize> {
        // How often a side is halved, rounding up, before the last map.
        let halved = |side: usize, times: u32| side.div_ceil(1 << times);
        let side = |side: usize| match self.kind.family() {
            Family::Cnn7 => None,
            Family::CifarResNet { .. } => Some(halved(side, 2)),
            Family::ResNet { .. } => Some(halved(side, 5)),
            Family::Vgg { .. } => Some(halved(side, 4)),
            // The first layer takes one, and pools round down.
            Family::CifarNet => Some(side.saturating_sub(1) >> 3),
        };
        Some(side(self.height)? * side(self.width)?)
    }

    fn check_image(&self) -> Result<(), ModelError> {
        let Self {
            kind,
            height,
            width,
            ..
        } = *self;
        let least = match kind.family() {
            // One pixel must be left: (((24 - 4) / 2) - 4) / 2 - 2 = 1.
            Family::Cnn7 => 24,
            // The side is halved twice.
            Family::CifarResNet { .. } => 4,
            // Five times.
            Family::ResNet { .. } => 32,
            // One pixel must be left of a side that is one less and halved three times.
            Family::CifarNet => 9,
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
