//! Layers that begin with given weights in place of drawn ones.

use burn::module::Param;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor, TensorData};

/// A 3 x 3 convolution without bias that keeps the image's size and whose first outputs repeat its inputs;
/// the weights of the other outputs are PyTorch's default.
pub(crate) fn identity_conv([inputs, outputs]: [usize; 2], device: &Device) -> Conv2d {
    let mut conv = Conv2dConfig::new([inputs, outputs], [3, 3])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_bias(false)
        .init(device);
    let mut values: Vec<f32> = conv.weight.to_data().iter().collect();
    for (output, filter) in values.chunks_exact_mut(9 * inputs).enumerate().take(inputs) {
        filter.fill(0.0);
        filter[9 * output + 4] = 1.0;
    }
    conv.weight = with_values(conv.weight, values);
    conv
}

/// The parameter with other values, which is trained if it was.
pub(crate) fn with_values<const D: usize>(
    param: Param<Tensor<D>>,
    values: Vec<f32>,
) -> Param<Tensor<D>> {
    param.map(|tensor| {
        let data = TensorData::new(values, tensor.shape());
        let new = Tensor::from_data(data, (&tensor.device(), tensor.dtype()));
        new.set_require_grad(tensor.is_require_grad())
    })
}
