//! VGG-11, 13, 16 and 19 with batch normalisation and a small head.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, Linear};
use burn::tensor::{Device, Tensor};

use crate::config::ModelConfig;
use crate::dropout::dropout;
use crate::forward_mode::ForwardMode;
use crate::layers::{self, Kernels};

/// Channels of the five stages.
const CHANNELS: [usize; 5] = [64, 128, 256, 512, 512];

/// Units in each of the head's two hidden layers.
const HIDDEN: usize = 512;

/// A biased 3 x 3 convolution and its normalisation.
#[derive(Module, Debug)]
pub struct ConvNorm {
    conv: Conv2d,
    bn: BatchNorm,
}

/// Five stages of 3 x 3 convolutions, each normalised and followed by a ReLU, with a pool after
/// each stage; then dropout, 512, ReLU, dropout, 512, ReLU, classes.
///
/// Source: arXiv 1409.1556, table 1 (A, B, D, E), with the BatchNorm of torchvision's `vgg*_bn`.
/// VGG-16 on 32 x 32 images with three channels and ten classes has 15,253,578 parameters.
/// Convolutions start from He's normal distribution over the fan-out with zero biases, the head
/// from PyTorch's default (torchvision's normal of 0.01 is for a head eight times as wide: here
/// gradients would almost vanish).
#[derive(Module, Debug)]
pub struct Vgg {
    features: Vec<ConvNorm>,
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
    convolutions: [usize; 5],
    dropout: f64,
    #[module(skip)]
    kernels: Kernels,
}

impl Vgg {
    pub(crate) fn new(config: &ModelConfig, convolutions: [usize; 5], device: &Device) -> Self {
        let mut inputs = config.channels;
        let mut features = Vec::new();
        for (outputs, count) in CHANNELS.into_iter().zip(convolutions) {
            for _ in 0..count {
                features.push(ConvNorm {
                    conv: layers::he_conv_biased([inputs, outputs], 3, device),
                    bn: layers::batch_norm(outputs, config.batch_norm_momentum, device),
                });
                inputs = outputs;
            }
        }
        let flat = inputs * (config.height / 32) * (config.width / 32);
        Self {
            features,
            fc1: layers::plain_linear(flat, HIDDEN, device),
            fc2: layers::plain_linear(HIDDEN, HIDDEN, device),
            fc3: layers::plain_linear(HIDDEN, config.classes, device),
            convolutions,
            dropout: config.dropout,
            kernels: config.kernels(),
        }
    }

    /// Logits of a batch of images of the configured size.
    ///
    /// # Shapes
    ///
    /// `[batch, channels, height, width]` to `[batch, classes]`.
    pub fn forward(&self, images: Tensor<4>, mut phase: ForwardMode<'_>) -> Tensor<2> {
        let mut x = images;
        let mut remaining = self.features.iter();
        for count in self.convolutions {
            for layer in remaining.by_ref().take(count) {
                x = self
                    .kernels
                    .norm_relu(&layer.bn, self.kernels.conv(&layer.conv, x));
            }
            x = self.kernels.halve(x);
        }
        let x = dropout(x.flatten(1, 3), self.dropout, &mut phase);
        let x = layers::relu(layers::linear(&self.fc1, x));
        let x = dropout(x, self.dropout, &mut phase);
        let x = layers::relu(layers::linear(&self.fc2, x));
        layers::linear(&self.fc3, x)
    }
}
