//! Names of the tensors in PyTorch.

use crate::error::ModelError;
use crate::kind::{Family, ModelKind};

/// The place of a tensor in a PyTorch `state_dict`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorchName {
    /// PyTorch's name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// Whether the matrix must be transposed in conversion: Burn stores a fully connected layer's
    /// weight as `[in, out]`, PyTorch as `[out, in]`.
    pub transpose: bool,
}

/// The kind of layer that a tensor belongs to, which decides how the tensor's last name translates.
#[derive(Clone, Copy)]
enum Layer {
    Conv { biased: bool },
    Norm,
    Linear { biased: bool },
}

impl Layer {
    /// PyTorch's name for a field of Burn's layer, and whether to transpose.
    fn field(self, field: &str) -> Option<(&'static str, bool)> {
        match (self, field) {
            (Self::Conv { .. }, "weight") => Some(("weight", false)),
            (Self::Conv { biased: true }, "bias") => Some(("bias", false)),
            (Self::Linear { .. }, "weight") => Some(("weight", true)),
            (Self::Linear { biased: true }, "bias") => Some(("bias", false)),
            (Self::Norm, "gamma") => Some(("weight", false)),
            (Self::Norm, "beta") => Some(("bias", false)),
            (Self::Norm, "running_mean") => Some(("running_mean", false)),
            (Self::Norm, "running_var") => Some(("running_var", false)),
            _ => None,
        }
    }
}

impl ModelKind {
    /// PyTorch's name for the tensor at a module path, such as
    /// `CifarResNet.layer1.0.bn1.gamma`: the names of fields, indices and enum variants that
    /// a [`ModuleVisitor`](burn::module::ModuleVisitor) enters, joined by dots.
    ///
    /// ResNet-18/34/50 have torchvision's names, all of them. So have VGG's features, but its head
    /// is the one usual on CIFAR, with dropout first; the other models follow
    /// `scripts/torch_models.py`. PyTorch's `num_batches_tracked` has no counterpart here.
    ///
    /// ```
    /// use lsgd_models::ModelKind;
    ///
    /// let name = ModelKind::Vgg11.torch_name("Vgg.features.1.bn.gamma")?;
    /// assert_eq!(name.name, "features.5.weight");
    /// assert!(ModelKind::Vgg11.torch_name("Vgg.fc3.weight")?.transpose);
    /// # Ok::<(), lsgd_models::ModelError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ModelError::UnknownPath`] if models of this kind have no tensor there.
    pub fn torch_name(self, path: &str) -> Result<TorchName, ModelError> {
        let parts: Vec<&str> = path.split('.').collect();
        self.translate(&parts)
            .ok_or_else(|| ModelError::UnknownPath {
                kind: self,
                path: path.to_owned(),
            })
    }

    fn translate(self, parts: &[&str]) -> Option<TorchName> {
        let (field, layers) = parts.split_last()?;
        let (variant, layers) = layers.split_first()?;
        let (prefix, layer) = match (self.family(), *variant) {
            (Family::Cnn7, "Cnn7") => cnn7(layers),
            (Family::CifarResNet { blocks }, "CifarResNet") => cifar(layers, blocks),
            (Family::ResNet { blocks, bottleneck }, "ResNet") => resnet(layers, blocks, bottleneck),
            (Family::Vgg { convolutions }, "Vgg") => vgg(layers, convolutions),
            (Family::CifarNet, "CifarNet") => cifar_net(layers),
            _ => None,
        }?;
        let (field, transpose) = layer.field(field)?;
        Some(TorchName {
            name: format!("{prefix}.{field}"),
            transpose,
        })
    }
}

fn cnn7(layers: &[&str]) -> Option<(String, Layer)> {
    match layers {
        [name @ ("conv1" | "conv2" | "conv3")] => {
            Some((name.to_string(), Layer::Conv { biased: true }))
        }
        [name @ ("fc1" | "fc2")] => Some((name.to_string(), Layer::Linear { biased: true })),
        _ => None,
    }
}

/// The layers outside the stages, the same in both ResNets.
fn stem_or_head(layers: &[&str]) -> Option<(String, Layer)> {
    let layer = match layers {
        ["conv1"] => Layer::Conv { biased: false },
        ["bn1"] => Layer::Norm,
        ["fc"] => Layer::Linear { biased: true },
        _ => return None,
    };
    Some((layers.concat(), layer))
}

/// `convK` or `bnK` of a block with `count` convolutions.
fn block_layer(name: &str, count: usize) -> Option<Layer> {
    let (layer, number) = match (name.strip_prefix("conv"), name.strip_prefix("bn")) {
        (Some(number), _) => (Layer::Conv { biased: false }, number),
        (_, Some(number)) => (Layer::Norm, number),
        _ => return None,
    };
    index(number)
        .filter(|k| (1..=count).contains(k))
        .map(|_| layer)
}

/// The index in its canonical spelling: no sign, no leading zero.
fn index(text: &str) -> Option<usize> {
    text.parse().ok().filter(|k: &usize| k.to_string() == text)
}

/// The number of blocks in `layerK`, whose stages have `blocks` of them.
fn stage(name: &str, blocks: &[usize]) -> Option<usize> {
    let number = index(name.strip_prefix("layer")?)?;
    blocks.get(number.checked_sub(1)?).copied()
}

fn cifar(layers: &[&str], blocks: usize) -> Option<(String, Layer)> {
    let [stage_name, block, name] = layers else {
        return stem_or_head(layers);
    };
    let count = stage(stage_name, &[blocks; 3])?;
    index(block).filter(|&b| b < count)?;
    Some((
        format!("{stage_name}.{block}.{name}"),
        block_layer(name, 2)?,
    ))
}

fn resnet(layers: &[&str], blocks: [usize; 4], bottleneck: bool) -> Option<(String, Layer)> {
    let [stage_name, block, variant, rest @ ..] = layers else {
        return stem_or_head(layers);
    };
    let count = stage(stage_name, &blocks)?;
    index(block).filter(|&b| b < count)?;
    let (expected, convolutions) = if bottleneck {
        ("Bottleneck", 3)
    } else {
        ("Basic", 2)
    };
    if *variant != expected {
        return None;
    }
    // Only a stage's first block changes the shape; ResNet-18 and 34 begin with one that keeps it.
    let projected = *block == "0" && (bottleneck || *stage_name != "layer1");
    let (name, layer) = match rest {
        ["downsample", "conv"] if projected => ("downsample.0", Layer::Conv { biased: false }),
        ["downsample", "bn"] if projected => ("downsample.1", Layer::Norm),
        [name] => (*name, block_layer(name, convolutions)?),
        _ => return None,
    };
    Some((format!("{stage_name}.{block}.{name}"), layer))
}

/// torchvision numbers the convolution, normalisation and ReLU of each layer, and the pool after
/// each stage. The head is not torchvision's: dropout 0, fc1 1, ReLU 2, dropout 3, fc2 4, ReLU 5,
/// fc3 6.
fn vgg(layers: &[&str], convolutions: [usize; 5]) -> Option<(String, Layer)> {
    match layers {
        ["fc1"] => Some(("classifier.1".to_owned(), Layer::Linear { biased: true })),
        ["fc2"] => Some(("classifier.4".to_owned(), Layer::Linear { biased: true })),
        ["fc3"] => Some(("classifier.6".to_owned(), Layer::Linear { biased: true })),
        ["features", number, name] => {
            let number = index(number)?;
            let mut end = 0;
            let pools_before = convolutions.iter().position(|count| {
                end += count;
                number < end
            })?;
            let first = 3 * number + pools_before;
            match *name {
                "conv" => Some((format!("features.{first}"), Layer::Conv { biased: true })),
                "bn" => Some((format!("features.{}", first + 1), Layer::Norm)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn cifar_net(layers: &[&str]) -> Option<(String, Layer)> {
    match layers {
        ["conv1"] => Some(("conv1".to_owned(), Layer::Conv { biased: true })),
        ["fc"] => Some(("fc".to_owned(), Layer::Linear { biased: false })),
        [block @ ("block1" | "block2" | "block3"), name] => {
            Some((format!("{block}.{name}"), block_layer(name, 2)?))
        }
        _ => None,
    }
}
