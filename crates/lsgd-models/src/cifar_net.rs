//! The network of the CIFAR-10 speed runs: few wide layers, the first of which whitens small patches.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, Linear};
use burn::tensor::{Device, Tensor};

use crate::config::ModelConfig;
use crate::initial;
use crate::layers::{self, Kernels};
use crate::whitening::{self, SIDE, Whitening};

/// Channels of the three blocks.
const CHANNELS: [usize; 3] = [64, 256, 256];

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
            conv1: initial::identity_conv([inputs, outputs], device),
            bn1: layers::batch_norm(outputs, momentum, device),
            conv2: initial::identity_conv([outputs, outputs], device),
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
/// Source: K. Jordan, arXiv 2404.00498, section 3; with ReLU in place of its GELU, and with the first layer
/// and the scales of the normalisations, which are frozen there, trained like all others.
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
        let x = self.kernels.global_max(x);
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
        self.conv1.weight = initial::with_values(self.conv1.weight, filters);
        self.conv1.bias = self.conv1.bias.map(|bias| {
            let zeros = vec![0.0; bias.lazy_shape().num_elements()];
            initial::with_values(bias, zeros)
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::kind::ModelKind;

    /// The first layer's outputs for the images that it was made from have mean squares of one and mean
    /// products of zero, and those of the second half are the negatives of the first.
    #[test]
    fn the_first_layer_whitens() {
        let shape = [2, 9, 10];
        let count = 30;
        let mut state = 1u32;
        let mut value = 0.0;
        let images = (0..count * shape.iter().product::<usize>()).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            value = 0.8 * value + (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
            value
        });
        let images: Vec<f32> = images.collect();
        let device = Device::flex();
        let net = CifarNet::new(&ModelConfig::new(ModelKind::CifarNet, 3, shape), &device);
        let net = net.whitened(&Whitening::of(&images, shape));
        let [channels, height, width] = shape;
        let data = TensorData::new(images, [count, channels, height, width]);
        let outputs = net.conv1.forward(Tensor::from_data(data, &device));
        assert_eq!(outputs.dims(), [count, 16, 8, 9]);
        let outputs = outputs.swap_dims(0, 1).reshape([16, count * 72]);
        let products = outputs.clone().matmul(outputs.transpose()) / (count * 72) as f64;
        let products: Vec<f32> = products.into_data().iter().collect();
        for (index, found) in products.into_iter().enumerate() {
            let (row, column) = (index / 16, index % 16);
            let expected = match (row == column, row % 8 == column % 8) {
                (true, _) => 1.0,
                (false, true) => -1.0,
                (false, false) => 0.0,
            };
            // The smallest components are a little below, for what is added to their variances.
            assert!((found - expected).abs() < 0.05, "{row} {column}: {found}");
        }
    }
}
