//! Every operation of the models, one function each.
//!
//! The parameters are Burn's own layers; only the arithmetic goes through here, so that a faster
//! kernel for an operation is called from a single place.

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation;
use burn::tensor::module::{adaptive_avg_pool2d, max_pool2d};
use burn::tensor::ops::{MaxPoolOptions, PadMode};
use burn::tensor::{Device, Tensor, s};
use lsgd_cpu::Then;

/// Added to the variance by every BatchNorm, as in PyTorch.
const BATCH_NORM_EPSILON: f64 = 1e-5;

/// A convolution without bias, padded so that stride one keeps the image's size (odd
/// kernels), drawn from He's normal distribution over the fan-out (arXiv 1502.01852; the
/// choice of torchvision's ResNets and VGGs).
pub(crate) fn he_conv(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    device: &Device,
) -> Conv2d {
    let padding = kernel / 2;
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(
            padding, padding, padding, padding,
        ))
        .with_bias(false)
        .with_initializer(Initializer::KaimingNormal {
            gain: std::f64::consts::SQRT_2,
            fan_out_only: true,
        })
        .init(device)
}

/// [`he_conv`] with a bias that starts at zero.
pub(crate) fn he_conv_biased(channels: [usize; 2], kernel: usize, device: &Device) -> Conv2d {
    let mut conv = he_conv(channels, kernel, 1, device);
    conv.bias = Some(Initializer::Zeros.init([channels[1]], device));
    conv
}

/// A biased convolution without padding, with PyTorch's default weights: weights and bias uniform
/// in plus or minus 1 / sqrt(fan-in).
pub(crate) fn plain_conv(channels: [usize; 2], kernel: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new(channels, [kernel, kernel]).init(device)
}

/// A biased fully connected layer with PyTorch's default weights: weights and bias uniform in plus
/// or minus 1 / sqrt(inputs).
pub(crate) fn plain_linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    LinearConfig::new(inputs, outputs).init(device)
}

/// The same without bias.
pub(crate) fn plain_linear_unbiased(inputs: usize, outputs: usize, device: &Device) -> Linear {
    LinearConfig::new(inputs, outputs)
        .with_bias(false)
        .init(device)
}

/// Batch normalisation starting as the identity: scale one, shift zero.
pub(crate) fn batch_norm(channels: usize, momentum: f64, device: &Device) -> BatchNorm {
    BatchNormConfig::new(channels)
        .with_epsilon(BATCH_NORM_EPSILON)
        .with_momentum(momentum)
        .init(device)
}

/// Which implementation computes convolutions, normalisations and pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kernels {
    /// On a CPU those of [`lsgd_cpu`]; otherwise, and on every other device, Burn's.
    pub cpu: bool,
}

impl Kernels {
    /// Convolution: `[batch, in, h, w]` to `[batch, out, h', w']`.
    pub fn conv(self, layer: &Conv2d, x: Tensor<4>) -> Tensor<4> {
        let padding = match layer.padding {
            PaddingConfig2d::Valid => [0, 0],
            PaddingConfig2d::Explicit(top, left, bottom, right)
                if (top, left) == (bottom, right) =>
            {
                [top, left]
            }
            _ => return layer.forward(x),
        };
        if !self.cpu || layer.groups != 1 || layer.dilation != [1, 1] {
            return layer.forward(x);
        }
        let bias = layer.bias.as_ref().map(|bias| bias.val());
        lsgd_cpu::conv2d(x, layer.weight.val(), bias, layer.stride, padding)
    }

    /// Normalisation per channel; the shape does not change.
    pub fn norm(self, layer: &BatchNorm, x: Tensor<4>) -> Tensor<4> {
        self.norm_then(layer, x, Then::Nothing)
    }

    /// Normalisation and ReLU; the shape does not change.
    pub fn norm_relu(self, layer: &BatchNorm, x: Tensor<4>) -> Tensor<4> {
        self.norm_then(layer, x, Then::Relu)
    }

    /// Normalisation, residual added, ReLU; `x` and `residual` have the same shape, which does not
    /// change.
    pub fn norm_add_relu(self, layer: &BatchNorm, x: Tensor<4>, residual: Tensor<4>) -> Tensor<4> {
        self.norm_then(layer, x, Then::AddRelu(residual))
    }

    /// Maximum over 2 x 2 squares: halves height and width, rounding down.
    pub fn halve(self, x: Tensor<4>) -> Tensor<4> {
        self.max_pool(x, [2, 2], [2, 2], 0)
    }

    /// Maximum over 3 x 3 squares at stride 2 with a border of one: halves height and width,
    /// rounding up.
    pub fn stem_pool(self, x: Tensor<4>) -> Tensor<4> {
        self.max_pool(x, [3, 3], [2, 2], 1)
    }

    /// Maximum over height and width: `[batch, channels, h, w]` to `[batch, channels]`.
    pub fn global_max(self, x: Tensor<4>) -> Tensor<2> {
        let [_, _, height, width] = x.dims();
        self.max_pool(x, [height, width], [1, 1], 0).flatten(1, 3)
    }

    fn max_pool(
        self,
        x: Tensor<4>,
        kernel: [usize; 2],
        stride: [usize; 2],
        border: usize,
    ) -> Tensor<4> {
        let padding = [border, border];
        if self.cpu {
            return lsgd_cpu::max_pool2d(x, kernel, stride, padding);
        }
        let options = MaxPoolOptions::new(kernel).with_stride(stride);
        max_pool2d(x, options.with_padding(padding))
    }

    fn norm_then(self, layer: &BatchNorm, x: Tensor<4>, then: Then) -> Tensor<4> {
        // Burn's rule for when the batch is normalised by its own statistics.
        let trains = x.device().is_autodiff() && layer.training.is_enabled();
        if !(self.cpu && trains) {
            let y = layer.forward(x);
            return match then {
                Then::Nothing => y,
                Then::Relu => relu(y),
                Then::AddRelu(residual) => relu(y + residual),
            };
        }
        let (scale, shift) = (layer.gamma.val(), layer.beta.val());
        let result = lsgd_cpu::batch_norm_train(x, scale, shift, layer.epsilon, then);
        for (running, of_batch) in [
            (&layer.running_mean, result.mean),
            (&layer.running_var, result.variance),
        ] {
            let kept = running.value_sync().to_device(&of_batch.device());
            let kept = kept.mul_scalar(1.0 - layer.momentum);
            running.update(kept.add(of_batch.mul_scalar(layer.momentum)).detach());
        }
        result.output
    }
}

/// `max(x, 0)`; the shape does not change.
pub(crate) fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::relu(x)
}

/// Mean over height and width: `[batch, channels, h, w]` to `[batch, channels]`.
pub(crate) fn global_average(x: Tensor<4>) -> Tensor<2> {
    adaptive_avg_pool2d(x, [1, 1]).flatten(1, 3)
}

/// Shortcut without parameters (option A of arXiv 1512.03385): every `stride`-th pixel, and zero
/// channels on both sides up to `channels` (an odd one at the end).
pub(crate) fn subsample_pad(x: Tensor<4>, stride: usize, channels: usize) -> Tensor<4> {
    let [_, inputs, _, _] = x.dims();
    let x = match stride {
        1 => x,
        _ => {
            let step = stride as isize;
            x.slice(s![.., .., ..;step, ..;step])
        }
    };
    let extra = channels.saturating_sub(inputs);
    match extra {
        0 => x,
        _ => {
            let before = extra / 2;
            x.pad(
                [(before, extra - before), (0, 0), (0, 0)],
                PadMode::Constant(0.0),
            )
        }
    }
}

/// Fully connected: `[batch, in]` to `[batch, out]`.
pub(crate) fn linear(layer: &Linear, x: Tensor<2>) -> Tensor<2> {
    layer.forward(x)
}
