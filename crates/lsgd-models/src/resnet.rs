//! ResNet-18, 34 and 50 for images of ImageNet's size.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, Linear};
use burn::tensor::{Device, Tensor};

use crate::config::ModelConfig;
use crate::layers::{self, Kernels};

/// Channels inside the blocks of the four stages.
const CHANNELS: [usize; 4] = [64, 128, 256, 512];

/// The output channels of a bottleneck block are this many times its inner channels.
const EXPANSION: usize = 4;

/// Shapes of one block.
#[derive(Clone, Copy)]
struct BlockShape {
    inputs: usize,
    inner: usize,
    outputs: usize,
    stride: usize,
}

impl BlockShape {
    /// A 1 x 1 convolution where the block changes the shape, else nothing (option B).
    fn downsample(self, momentum: f64, device: &Device) -> Option<Downsample> {
        (self.stride != 1 || self.inputs != self.outputs).then(|| Downsample {
            conv: layers::he_conv([self.inputs, self.outputs], 1, self.stride, device),
            bn: layers::batch_norm(self.outputs, momentum, device),
        })
    }
}

/// Shortcut of a block that changes the shape: 1 x 1 convolution and normalisation.
#[derive(Module, Debug)]
pub struct Downsample {
    conv: Conv2d,
    bn: BatchNorm,
}

/// The shortcut's value: `x` itself, or projected to the block's output shape.
fn shortcut(downsample: Option<&Downsample>, x: Tensor<4>, kernels: Kernels) -> Tensor<4> {
    match downsample {
        Some(layer) => kernels.norm(&layer.bn, kernels.conv(&layer.conv, x)),
        None => x,
    }
}

/// Two 3 x 3 convolutions; the first has the stride.
#[derive(Module, Debug)]
pub struct BasicBlock {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    downsample: Option<Downsample>,
}

impl BasicBlock {
    fn new(shape: BlockShape, momentum: f64, device: &Device) -> Self {
        let BlockShape {
            inputs,
            inner,
            outputs,
            stride,
        } = shape;
        Self {
            conv1: layers::he_conv([inputs, inner], 3, stride, device),
            bn1: layers::batch_norm(inner, momentum, device),
            conv2: layers::he_conv([inner, outputs], 3, 1, device),
            bn2: layers::batch_norm(outputs, momentum, device),
            downsample: shape.downsample(momentum, device),
        }
    }

    fn forward(&self, x: Tensor<4>, kernels: Kernels) -> Tensor<4> {
        let shortcut = shortcut(self.downsample.as_ref(), x.clone(), kernels);
        let y = kernels.norm_relu(&self.bn1, kernels.conv(&self.conv1, x));
        kernels.norm_add_relu(&self.bn2, kernels.conv(&self.conv2, y), shortcut)
    }
}

/// Convolutions 1 x 1, 3 x 3, 1 x 1; the middle one has the stride, as in torchvision (the
/// paper has it in the first).
#[derive(Module, Debug)]
pub struct Bottleneck {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    conv3: Conv2d,
    bn3: BatchNorm,
    downsample: Option<Downsample>,
}

impl Bottleneck {
    fn new(shape: BlockShape, momentum: f64, device: &Device) -> Self {
        let BlockShape {
            inputs,
            inner,
            outputs,
            stride,
        } = shape;
        Self {
            conv1: layers::he_conv([inputs, inner], 1, 1, device),
            bn1: layers::batch_norm(inner, momentum, device),
            conv2: layers::he_conv([inner, inner], 3, stride, device),
            bn2: layers::batch_norm(inner, momentum, device),
            conv3: layers::he_conv([inner, outputs], 1, 1, device),
            bn3: layers::batch_norm(outputs, momentum, device),
            downsample: shape.downsample(momentum, device),
        }
    }

    fn forward(&self, x: Tensor<4>, kernels: Kernels) -> Tensor<4> {
        let shortcut = shortcut(self.downsample.as_ref(), x.clone(), kernels);
        let y = kernels.norm_relu(&self.bn1, kernels.conv(&self.conv1, x));
        let y = kernels.norm_relu(&self.bn2, kernels.conv(&self.conv2, y));
        kernels.norm_add_relu(&self.bn3, kernels.conv(&self.conv3, y), shortcut)
    }
}

/// One residual block of an ImageNet ResNet.
#[derive(Module, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a model's blocks are all of one variant"
)]
pub enum Block {
    /// Of ResNet-18 and 34.
    Basic(BasicBlock),
    /// Of ResNet-50.
    Bottleneck(Bottleneck),
}

impl Block {
    fn forward(&self, x: Tensor<4>, kernels: Kernels) -> Tensor<4> {
        match self {
            Self::Basic(block) => block.forward(x, kernels),
            Self::Bottleneck(block) => block.forward(x, kernels),
        }
    }
}

/// A 7 x 7 convolution at stride 2, 3 x 3 pool at stride 2, four stages of residual blocks,
/// global average, fully connected.
///
/// Source: arXiv 1512.03385, table 1; layers, names and initial weights are torchvision's.
/// For 1000 classes ResNet-18, 34 and 50 have 11,689,512, 21,797,672 and 25,557,032
/// parameters. Convolutions start from He's normal distribution over the fan-out, the last
/// layer from PyTorch's default.
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    fc: Linear,
    #[module(skip)]
    kernels: Kernels,
}

impl ResNet {
    pub(crate) fn new(
        config: &ModelConfig,
        blocks: [usize; 4],
        bottleneck: bool,
        device: &Device,
    ) -> Self {
        let momentum = config.batch_norm_momentum;
        let expansion = if bottleneck { EXPANSION } else { 1 };
        let stage = |stage: usize| {
            let inner = CHANNELS[stage];
            let outputs = expansion * inner;
            // The stem outputs 64 channels, and each stage feeds the next.
            let before = match stage {
                0 => 64,
                _ => expansion * CHANNELS[stage - 1],
            };
            (0..blocks[stage])
                .map(|block| {
                    let shape = BlockShape {
                        inputs: if block == 0 { before } else { outputs },
                        inner,
                        outputs,
                        stride: if block == 0 && stage > 0 { 2 } else { 1 },
                    };
                    match bottleneck {
                        true => Block::Bottleneck(Bottleneck::new(shape, momentum, device)),
                        false => Block::Basic(BasicBlock::new(shape, momentum, device)),
                    }
                })
                .collect()
        };
        Self {
            conv1: layers::he_conv([config.channels, 64], 7, 2, device),
            bn1: layers::batch_norm(64, momentum, device),
            layer1: stage(0),
            layer2: stage(1),
            layer3: stage(2),
            layer4: stage(3),
            fc: layers::plain_linear(512 * expansion, config.classes, device),
            kernels: config.kernels(),
        }
    }

    /// Logits of a batch of images with any height and width of at least 32.
    ///
    /// # Shapes
    ///
    /// `[batch, channels, height, width]` to `[batch, classes]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self
            .kernels
            .norm_relu(&self.bn1, self.kernels.conv(&self.conv1, images));
        let x = self.kernels.stem_pool(x);
        let stages = [&self.layer1, &self.layer2, &self.layer3, &self.layer4];
        let x = stages
            .into_iter()
            .flatten()
            .fold(x, |x, block| block.forward(x, self.kernels));
        layers::linear(&self.fc, layers::global_average(x))
    }
}
