//! Convolution, batch normalisation and max pooling for training on CPUs, as operations of Burn's `flex`
//! backend with gradients of their own.
//!
//! [`conv2d`], [`batch_norm_train`] and [`max_pool2d`] compute the same as Burn's operations of
//! that name, up to rounding. On `flex` (crate feature `flex`), in single precision, they use
//! kernels of this crate: convolution over blocks that stay in the cache, without unfolding the
//! input ([`Convolution`]), and batch normalisation with the residual sum and the ReLU that follow
//! it in the same passes ([`Images`]). On any other backend, and for any other number type, they
//! are Burn's own operations.
//!
//! They run on the threads of the rayon pool they are called from. The bits do not depend on the
//! number of threads, only on the processor's vector instructions, which are chosen at run time (by
//! [`pulp`]). There is no `unsafe` in this crate.
//!
//! ```
//! use burn::tensor::{Device, Tensor, Tolerance, module, ops::ConvOptions};
//!
//! let device = Device::flex();
//! let x = Tensor::<4>::ones([2, 3, 8, 8], &device);
//! let weight = Tensor::<4>::ones([4, 3, 3, 3], &device);
//! let y = lsgd_cpu::conv2d(x.clone(), weight.clone(), None, [1, 1], [1, 1]);
//! let burn = module::conv2d(x, weight, None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
//! y.into_data().assert_approx_eq::<f32>(&burn.into_data(), Tolerance::default());
//! ```

mod arch;
mod batch_norm;
mod convolution;
mod correlation;
mod layout;
mod max_pool;
#[cfg(feature = "flex")]
mod ops;
mod phases;
mod scratch;
mod shapes;
mod sums;
mod taps;
mod weights;
mod window;

use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Tensor, activation, module};

pub use batch_norm::{Affine, Gradients, Images, Statistics};
pub use max_pool::MaxPool;
pub use shapes::Convolution;

/// Two-dimensional convolution (cross-correlation) with zero padding.
///
/// # Shapes
///
/// - `x`: `[batch, in, height, width]`
/// - `weight`: `[out, in, kernel height, kernel width]`
/// - `bias`: `[out]`
/// - result: `[batch, out, h, w]`, `h = (height + 2 padding - kernel height) / stride + 1`, `w`
///   likewise
///
/// # Panics
///
/// Like Burn's operation: when shapes do not match.
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if ops::are_for(&x) {
        return ops::conv2d(x, weight, bias, stride, padding);
    }
    let options = ConvOptions::new(stride, padding, [1, 1], 1);
    module::conv2d(x, weight, bias, options)
}

/// The largest value of each window of an image.
///
/// # Shapes
///
/// - `x`: `[batch, channels, height, width]`
/// - result: `[batch, channels, h, w]`, `h = (height + 2 padding - kernel height) / stride + 1`,
///   `w` likewise
///
/// # Panics
///
/// Like Burn's operation: when the window does not fit the padded image, or the padding is more
/// than half of the window.
pub fn max_pool2d(
    x: Tensor<4>,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if ops::are_for(&x) {
        return ops::max_pool2d(x, kernel, stride, padding);
    }
    let options = MaxPoolOptions::new(kernel);
    module::max_pool2d(x, options.with_stride(stride).with_padding(padding))
}

/// What [`batch_norm_train`] gives.
#[derive(Debug, Clone)]
pub struct BatchNormTrain {
    /// The normalised input, `[batch, channels, height, width]`.
    pub output: Tensor<4>,
    /// Mean of each channel, `[channels]`, without gradient.
    pub mean: Tensor<1>,
    /// Variance of each channel (biased), `[channels]`, without gradient.
    pub variance: Tensor<1>,
}

/// What follows a normalisation.
#[derive(Debug, Clone)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// `max(y, 0)`.
    Relu,
    /// `max(y + residual, 0)`; the residual has the input's shape.
    AddRelu(Tensor<4>),
}

/// Batch normalisation in training (arXiv 1502.03167), with the mean and variance of each channel
/// over the batch: `scale (x - mean) / sqrt(variance + epsilon) + shift`, and the operation that
/// follows it.
///
/// # Shapes
///
/// - `x`: `[batch, channels, height, width]`
/// - `scale`, `shift`: `[channels]`
///
/// # Panics
///
/// Like Burn's operation: when shapes do not match.
pub fn batch_norm_train(
    x: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    epsilon: f64,
    then: Then,
) -> BatchNormTrain {
    #[cfg(feature = "flex")]
    if ops::are_for(&x) {
        return ops::batch_norm_train(x, scale, shift, epsilon, then);
    }
    let result = module::batch_norm_train(x, scale, shift, epsilon);
    let output = match then {
        Then::Nothing => result.output,
        Then::Relu => activation::relu(result.output),
        Then::AddRelu(residual) => activation::relu(result.output + residual),
    };
    BatchNormTrain {
        output,
        mean: result.mean.detach(),
        variance: result.variance.detach(),
    }
}
