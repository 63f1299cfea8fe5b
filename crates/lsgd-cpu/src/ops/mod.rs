//! The kernels as operations of Burn's `flex` backend, with their gradients.

mod batch_norm;
mod convolution;
mod max_pool;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchTensorKind, Flex, backend_extension};
use burn::tensor::{DType, Shape, Tensor, TensorData};
use burn_flex::FlexTensor;

use crate::{BatchNormTrain, Convolution, MaxPool, Then};

/// Whether these operations support a tensor.
pub(crate) fn are_for(x: &Tensor<4>) -> bool {
    let on_flex = match x.clone().into_dispatch().kind {
        DispatchTensorKind::Flex(_) => true,
        DispatchTensorKind::Autodiff(inner) => matches!(*inner, DispatchTensorKind::Flex(_)),
        #[allow(unreachable_patterns, reason = "other backends are features of Burn")]
        _ => false,
    };
    on_flex && x.dtype() == DType::F32
}

pub(crate) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    let [batch, inputs, height, width] = x.dims();
    let [outputs, of_weight, kernel_height, kernel_width] = weight.dims();
    assert_eq!(
        inputs, of_weight,
        "conv2d: input channels of x and of weight"
    );
    if let Some(bias) = &bias {
        assert_eq!(bias.dims(), [outputs], "conv2d: shape of bias");
    }
    let shapes = Convolution {
        batch,
        channels: [inputs, outputs],
        image: [height, width],
        kernel: [kernel_height, kernel_width],
        stride,
        padding,
    };
    assert!(
        shapes.output().is_some(),
        "conv2d: the kernel does not fit the padded image: {shapes:?}"
    );
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        None => Dispatch::cpu_conv2d(x, weight, shapes),
        Some(bias) => Dispatch::cpu_conv2d_biased(x, weight, bias.into_dispatch(), shapes),
    })
}

pub(crate) fn max_pool2d(
    x: Tensor<4>,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let shapes = MaxPool {
        planes: batch * channels,
        image: [height, width],
        kernel,
        stride,
        padding,
    };
    assert!(
        shapes.output().is_some(),
        "max_pool2d: the window does not fit the padded image: {shapes:?}"
    );
    Tensor::from_dispatch(Dispatch::cpu_max_pool(x.into_dispatch(), shapes))
}

pub(crate) fn batch_norm_train(
    x: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    epsilon: f64,
    then: Then,
) -> BatchNormTrain {
    let [_, channels, ..] = x.dims();
    assert_eq!(scale.dims(), [channels], "batch_norm_train: shape of scale");
    assert_eq!(shift.dims(), [channels], "batch_norm_train: shape of shift");
    let (scale, shift) = (scale.into_dispatch(), shift.into_dispatch());
    let (output, mean, variance) = match then {
        Then::Nothing | Then::Relu => {
            let relu = matches!(then, Then::Relu);
            Dispatch::cpu_batch_norm(x.into_dispatch(), scale, shift, epsilon, relu)
        }
        Then::AddRelu(residual) => {
            assert_eq!(
                residual.dims(),
                x.dims(),
                "batch_norm_train: shape of residual"
            );
            let (x, residual) = (x.into_dispatch(), residual.into_dispatch());
            Dispatch::cpu_batch_norm_add_relu(x, scale, shift, residual, epsilon)
        }
    };
    BatchNormTrain {
        output: Tensor::from_dispatch(output),
        mean: Tensor::from_dispatch(mean),
        variance: Tensor::from_dispatch(variance),
    }
}

/// The operations. Shapes have been checked; a batch normalisation returns its output, mean and
/// variance.
#[backend_extension(Flex, Autodiff)]
trait CpuOps: Backend {
    fn cpu_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shapes: Convolution,
    ) -> FloatTensor<Self>;

    fn cpu_conv2d_biased(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        shapes: Convolution,
    ) -> FloatTensor<Self>;

    fn cpu_max_pool(x: FloatTensor<Self>, shapes: MaxPool) -> FloatTensor<Self>;

    fn cpu_batch_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    fn cpu_batch_norm_add_relu(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl CpuOps for Flex {
    fn cpu_conv2d(x: FlexTensor, weight: FlexTensor, shapes: Convolution) -> FlexTensor {
        convolution::forward(&shapes, &x, &weight, None)
    }

    fn cpu_conv2d_biased(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        shapes: Convolution,
    ) -> FlexTensor {
        convolution::forward(&shapes, &x, &weight, Some(&bias))
    }

    fn cpu_max_pool(x: FlexTensor, shapes: MaxPool) -> FlexTensor {
        max_pool::forward(&shapes, &x).0
    }

    fn cpu_batch_norm(
        x: FlexTensor,
        scale: FlexTensor,
        shift: FlexTensor,
        epsilon: f64,
        relu: bool,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        batch_norm::forward([&x, &scale, &shift], None, epsilon, relu).into_tensors()
    }

    fn cpu_batch_norm_add_relu(
        x: FlexTensor,
        scale: FlexTensor,
        shift: FlexTensor,
        residual: FlexTensor,
        epsilon: f64,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        batch_norm::forward([&x, &scale, &shift], Some(&residual), epsilon, true).into_tensors()
    }
}

/// `flex` with gradients.
type Ad<C> = Autodiff<Flex, C>;

impl<C: CheckpointStrategy> CpuOps for Ad<C> {
    fn cpu_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shapes: Convolution,
    ) -> FloatTensor<Self> {
        convolution::differentiable::<C, 2>([x, weight], shapes)
    }

    fn cpu_conv2d_biased(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        shapes: Convolution,
    ) -> FloatTensor<Self> {
        convolution::differentiable::<C, 3>([x, weight, bias], shapes)
    }

    fn cpu_max_pool(x: FloatTensor<Self>, shapes: MaxPool) -> FloatTensor<Self> {
        max_pool::differentiable::<C>(x, shapes)
    }

    fn cpu_batch_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        batch_norm::differentiable::<C, 3>([x, scale, shift], epsilon, relu)
    }

    fn cpu_batch_norm_add_relu(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        batch_norm::differentiable::<C, 4>([x, scale, shift, residual], epsilon, true)
    }
}

fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}
