//! CNN7, the network that the EASGD paper and the Leader SGD paper train on CIFAR-10.

use burn::module::Module;
use burn::nn::Linear;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};

use crate::config::ModelConfig;
use crate::dropout::dropout;
use crate::forward_mode::ForwardMode;
use crate::layers::{self, Kernels};

/// Height or width after the convolutions and pools.
const fn side(image: usize) -> usize {
    ((image - 4) / 2 - 4) / 2 - 2
}

/// Three convolutions without padding and two fully connected layers.
///
/// Source: arXiv 1412.6651, section 5.1. Convolution 5 x 5 to 64 channels, ReLU, pool,
/// 5 x 5 to 128, ReLU, pool, 3 x 3 to 64, ReLU, fully connected to 256, dropout, fully
/// connected to the classes; no activation between the two. On 28 x 28 crops with three
/// channels and ten classes it has 351,946 parameters. Initial weights are PyTorch's default.
#[derive(Module, Debug)]
pub struct Cnn7 {
    conv1: Conv2d,
    conv2: Conv2d,
    conv3: Conv2d,
    fc1: Linear,
    fc2: Linear,
    dropout: f64,
    #[module(skip)]
    kernels: Kernels,
}

impl Cnn7 {
    pub(crate) fn new(config: &ModelConfig, device: &Device) -> Self {
        let features = 64 * side(config.height) * side(config.width);
        Self {
            conv1: layers::plain_conv([config.channels, 64], 5, device),
            conv2: layers::plain_conv([64, 128], 5, device),
            conv3: layers::plain_conv([128, 64], 3, device),
            fc1: layers::plain_linear(features, 256, device),
            fc2: layers::plain_linear(256, config.classes, device),
            dropout: config.dropout,
            kernels: config.kernels(),
        }
    }

    /// Logits of a batch of images.
    ///
    /// # Shapes
    ///
    /// `[batch, channels, height, width]` to `[batch, classes]`.
    pub fn forward(&self, images: Tensor<4>, mut phase: ForwardMode<'_>) -> Tensor<2> {
        // ReLU and pool commute, and a pool leaves a quarter of the values.
        let x = self.kernels.halve(self.kernels.conv(&self.conv1, images));
        let x = layers::relu(x);
        let x = self.kernels.halve(self.kernels.conv(&self.conv2, x));
        let x = layers::relu(x);
        let x = layers::relu(self.kernels.conv(&self.conv3, x));
        let x = layers::linear(&self.fc1, x.flatten(1, 3));
        let x = dropout(x, self.dropout, &mut phase);
        layers::linear(&self.fc2, x)
    }
}
