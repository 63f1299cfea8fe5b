//! The network of the CIFAR-10 speed runs: few wide layers, the first of which whitens small patches.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, Linear};
use burn::tensor::{Device, Tensor};

use crate::config::ModelConfig;
use crate::layers::{self, Kernels};
use crate::whitening::{self, SIDE, Whitening};

/// Channels of the three blocks.
const CHANNELS: [usize; 3] = [64, 256, 256];

/// Height or width of the last block's maps.
pub(crate) const fn last_side(image: usize) -> usize {
    (image + 1).saturating_sub(SIDE) >> CHANNELS.len()
}

/// Factor of the logits, which keeps them small in the first steps.
const LOGIT_SCALE: f64 = 1.0 / 9.0;

/// Two 3 x 3 convolutions, each normalised and followed by a ReLU; the first is followed by a pool that
/// halves the image, rounding down.
#[derive(Module, Debug)]
pub struct CifarNetBlock {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
}

impl CifarNetBlock {
    fn new([inputs, outputs]: [usize; 2], momentum: f64, device: &Device) -> Self {
        Self {
            conv1: layers::identity_conv([inputs, outputs], device),
            bn1: layers::batch_norm(outputs, momentum, device),
            conv2: layers::identity_conv([outputs, outputs], device),
            bn2: layers::batch_norm(outputs, momentum, device),
        }
    }

    fn forward(&self, x: Tensor<4>, kernels: Kernels) -> Tensor<4> {
        let x = kernels.halve(kernels.conv(&self.conv1, x));
        let x = kernels.norm_relu(&self.bn1, x);
        kernels.norm_relu(&self.bn2, kernels.conv(&self.conv2, x))
    }
}

/// A 2 x 2 convolution, three blocks of 64, 256 and 256 channels, the maximum over what is left of the
/// image, fully connected without bias, a ninth of that.
///
/// Source: K. Jordan, arXiv 2404.00498, section 3; ReLU in place of its GELU, and scales that are trained.
/// For three channels and ten classes it has 1,972,792 parameters. The first outputs of every 3 x 3
/// convolution repeat its inputs, the other weights start from PyTorch's default; so do those of the
/// first layer, until [`whitened`](Self::whitened) sets them.
#[derive(Module, Debug)]
pub struct CifarNet {
    conv1: Conv2d,
    block1: CifarNetBlock,
    block2: CifarNetBlock,
    block3: CifarNetBlock,
    fc: Linear,
    #[module(skip)]
    kernels: Kernels,
}

impl CifarNet {
    pub(crate) fn new(config: &ModelConfig, device: &Device) -> Self {
        let momentum = config.batch_norm_momentum;
        let block = |channels| CifarNetBlock::new(channels, momentum, device);
        let first = whitening::filters_of(config.channels);
        let [a, b, c] = CHANNELS;
        Self {
            conv1: layers::plain_conv([config.channels, first], SIDE, device),
            block1: block([first, a]),
            block2: block([a, b]),
            block3: block([b, c]),
            fc: layers::plain_linear_unbiased(c, config.classes, device),
            kernels: config.kernels(),
        }
    }

    /// Logits of a batch of images with any height and width of at least 9.
    ///
    /// # Shapes
    ///
    /// `[batch, channels, height, width]` to `[batch, classes]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = layers::relu(self.kernels.conv(&self.conv1, images));
        let x = [&self.block1, &self.block2, &self.block3]
            .into_iter()
            .fold(x, |x, block| block.forward(x, self.kernels));
        let x = self.kernels.largest(x);
        layers::linear(&self.fc, x).mul_scalar(LOGIT_SCALE)
    }

    /// The same with these filters in the first layer, and a bias of zero.
    ///
    /// # Panics
    ///
    /// If they are for images of another number of channels.
    #[must_use]
    pub fn whitened(mut self, whitening: &Whitening) -> Self {
        let filters = whitening.filters().to_vec();
        self.conv1.weight = layers::with_values(self.conv1.weight, filters);
        self.conv1.bias = self.conv1.bias.map(|bias| {
            let zeros = vec![0.0; bias.lazy_shape().num_elements()];
            layers::with_values(bias, zeros)
        });
        self
    }
}
