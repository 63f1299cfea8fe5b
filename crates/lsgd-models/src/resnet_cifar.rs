//! ResNets of depth 6n + 2 for images of CIFAR's size and smaller.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, Linear};
use burn::tensor::{Device, Tensor};

use crate::config::ModelConfig;
use crate::layers::{self, Kernels};

/// Two 3 x 3 convolutions with a shortcut that has no parameters (option A).
#[derive(Module, Debug)]
pub struct CifarBlock {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    stride: usize,
    outputs: usize,
}

impl CifarBlock {
    fn new([inputs, outputs]: [usize; 2], stride: usize, momentum: f64, device: &Device) -> Self {
        Self {
            conv1: layers::he_conv([inputs, outputs], 3, stride, device),
            bn1: layers::batch_norm(outputs, momentum, device),
            conv2: layers::he_conv([outputs, outputs], 3, 1, device),
            bn2: layers::batch_norm(outputs, momentum, device),
            stride,
            outputs,
        }
    }

    fn forward(&self, x: Tensor<4>, kernels: Kernels) -> Tensor<4> {
        let shortcut = layers::subsample_pad(x.clone(), self.stride, self.outputs);
        let y = kernels.norm_relu(&self.bn1, kernels.conv(&self.conv1, x));
        kernels.norm_add_relu(&self.bn2, kernels.conv(&self.conv2, y), shortcut)
    }
}

/// A 3 x 3 convolution, three stages of n blocks at w, 2w and 4w channels (the second and
/// third halve the image), global average, fully connected.
///
/// Source: arXiv 1512.03385, section 4.2, with w = `base_width` 16. ResNet-20 for three
/// channels and ten classes has 269,722 parameters. Convolutions start from He's normal
/// distribution over the fan-out, the last layer from PyTorch's default.
#[derive(Module, Debug)]
pub struct CifarResNet {
    conv1: Conv2d,
    bn1: BatchNorm,
    layer1: Vec<CifarBlock>,
    layer2: Vec<CifarBlock>,
    layer3: Vec<CifarBlock>,
    fc: Linear,
    #[module(skip)]
    kernels: Kernels,
}

impl CifarResNet {
    pub(crate) fn new(config: &ModelConfig, blocks: usize, device: &Device) -> Self {
        let w = config.base_width;
        let momentum = config.batch_norm_momentum;
        let stage = |[inputs, outputs]: [usize; 2], stride| {
            (0..blocks)
                .map(|block| match block {
                    0 => CifarBlock::new([inputs, outputs], stride, momentum, device),
                    _ => CifarBlock::new([outputs, outputs], 1, momentum, device),
                })
                .collect()
        };
        Self {
            conv1: layers::he_conv([config.channels, w], 3, 1, device),
            bn1: layers::batch_norm(w, momentum, device),
            layer1: stage([w, w], 1),
            layer2: stage([w, 2 * w], 2),
            layer3: stage([2 * w, 4 * w], 2),
            fc: layers::plain_linear(4 * w, config.classes, device),
            kernels: config.kernels(),
        }
    }

    /// Logits of a batch of images with any height and width of at least 4.
    ///
    /// # Shapes
    ///
    /// `[batch, channels, height, width]` to `[batch, classes]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self
            .kernels
            .norm_relu(&self.bn1, self.kernels.conv(&self.conv1, images));
        let stages = [&self.layer1, &self.layer2, &self.layer3];
        let x = stages
            .into_iter()
            .flatten()
            .fold(x, |x, block| block.forward(x, self.kernels));
        layers::linear(&self.fc, layers::global_average(x))
    }
}
