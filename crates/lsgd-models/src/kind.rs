//! Which models there are, by name and by what their layers look like.

use std::fmt;

use serde::{Deserialize, Serialize};

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
    /// CIFAR ResNet with 1 block per stage.
    ResNet8,
    /// CIFAR ResNet with 2 blocks per stage.
    ResNet14,
    /// CIFAR ResNet with 3 blocks per stage.
    ResNet20,
    /// CIFAR ResNet with 5 blocks per stage.
    ResNet32,
    /// CIFAR ResNet with 7 blocks per stage.
    ResNet44,
    /// CIFAR ResNet with 9 blocks per stage.
    ResNet56,
    /// CIFAR ResNet with 18 blocks per stage.
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
    /// The network of the CIFAR-10 speed runs.
    CifarNet,
}

/// The layers of a [`ModelKind`]: the only place that defines them.
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
    /// One shape only.
    CifarNet,
}

impl ModelKind {
    /// Every kind, in the order in which error messages list them.
    pub const ALL: [Self; 16] = [
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
        Self::CifarNet,
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
            Self::CifarNet => "cifarnet",
        }
    }

    /// The names of [`ALL`](Self::ALL), in its order.
    pub const NAMES: [&str; 16] = {
        let mut names = [""; 16];
        let mut index = 0;
        while index < names.len() {
            names[index] = Self::ALL[index].name();
            index += 1;
        }
        names
    };

    /// All names separated by commas, for messages.
    pub fn names() -> String {
        Self::NAMES.join(", ")
    }

    /// The module path of the last layer, which has an output for each class, such as
    /// `CifarResNet.fc`.
    pub const fn head(self) -> &'static str {
        match self.family() {
            Family::Cnn7 => "Cnn7.fc2",
            Family::CifarResNet { .. } => "CifarResNet.fc",
            Family::ResNet { .. } => "ResNet.fc",
            Family::Vgg { .. } => "Vgg.fc3",
            Family::CifarNet => "CifarNet.fc",
        }
    }

    /// Whether the model has BatchNorm.
    pub const fn normalises(self) -> bool {
        !matches!(self, Self::Cnn7)
    }

    /// Whether the model's first layer is to begin with filters that whiten the images
    /// ([`Model::whitened`](crate::Model::whitened)).
    pub const fn whitens(self) -> bool {
        matches!(self, Self::CifarNet)
    }

    /// Depth of a CIFAR ResNet is 6n + 2 with n blocks per stage (arXiv 1512.03385, section
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
            Self::CifarNet => Family::CifarNet,
        }
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
