//! The kernels as operations of Burn's `flex` backend.

use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Grads;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, DispatchTensorKind, Flex, TensorMetadata,
    backend_extension,
};
use burn::tensor::{DType, Shape, Tensor, TensorData};
use burn_flex::FlexTensor;

use crate::{Affine, BatchNormTrain, Convolution, Images, MaxPool, Statistics, Then};

/// Whether these operations can take a tensor.
pub(crate) fn are_for(x: &Tensor<4>) -> bool {
    let tensor = x.clone().into_dispatch();
    let on_flex = match tensor.kind {
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
    let convolution = Convolution {
        batch,
        channels: [inputs, outputs],
        image: [height, width],
        kernel: [kernel_height, kernel_width],
        stride,
        padding,
    };
    assert!(
        convolution.output().is_some(),
        "conv2d: the kernel does not fit the padded image: {convolution:?}"
    );
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        None => Dispatch::cpu_conv2d(x, weight, convolution),
        Some(bias) => Dispatch::cpu_conv2d_biased(x, weight, bias.into_dispatch(), convolution),
    })
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

pub(crate) fn max_pool2d(
    x: Tensor<4>,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let pool = MaxPool {
        planes: batch * channels,
        image: [height, width],
        kernel,
        stride,
        padding,
    };
    assert!(
        pool.output().is_some(),
        "max_pool2d: the window does not fit the padded image: {pool:?}"
    );
    Tensor::from_dispatch(Dispatch::cpu_max_pool(x.into_dispatch(), pool))
}

/// The operations; a batch normalisation gives its output, mean and variance.
#[backend_extension(Flex, Autodiff)]
trait CpuOps: Backend {
    fn cpu_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        convolution: Convolution,
    ) -> FloatTensor<Self>;

    fn cpu_conv2d_biased(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        convolution: Convolution,
    ) -> FloatTensor<Self>;

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

    fn cpu_max_pool(x: FloatTensor<Self>, pool: MaxPool) -> FloatTensor<Self>;
}

impl CpuOps for Flex {
    fn cpu_conv2d(x: FlexTensor, weight: FlexTensor, convolution: Convolution) -> FlexTensor {
        forward(&convolution, &x, &weight, None)
    }

    fn cpu_conv2d_biased(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        convolution: Convolution,
    ) -> FlexTensor {
        forward(&convolution, &x, &weight, Some(&bias))
    }

    fn cpu_batch_norm(
        x: FlexTensor,
        scale: FlexTensor,
        shift: FlexTensor,
        epsilon: f64,
        relu: bool,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let normalised = normalise(&x, &scale, &shift, None, epsilon, relu);
        normalised.into_tensors()
    }

    fn cpu_batch_norm_add_relu(
        x: FlexTensor,
        scale: FlexTensor,
        shift: FlexTensor,
        residual: FlexTensor,
        epsilon: f64,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let normalised = normalise(&x, &scale, &shift, Some(&residual), epsilon, true);
        normalised.into_tensors()
    }

    fn cpu_max_pool(x: FlexTensor, pool: MaxPool) -> FlexTensor {
        pooled(&x, pool).0
    }
}

type Ad<C> = Autodiff<Flex, C>;

/// Output, mean and variance.
type Normal<T> = (T, T, T);

impl<C: CheckpointStrategy> CpuOps for Ad<C> {
    fn cpu_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        convolution: Convolution,
    ) -> FloatTensor<Self> {
        let prepared = ConvBackward.prepare::<C>([x.node(), weight.node()]);
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(mut prepared) => {
                let state = (
                    prepared.checkpoint(&x),
                    prepared.checkpoint(&weight),
                    convolution,
                );
                let output = forward(&convolution, x.primitive(), weight.primitive(), None);
                prepared.finish(state, output)
            }
            OpsKind::UnTracked(prepared) => {
                let output = forward(&convolution, x.primitive(), weight.primitive(), None);
                prepared.finish(output)
            }
        }
    }

    fn cpu_conv2d_biased(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        convolution: Convolution,
    ) -> FloatTensor<Self> {
        let prepared = ConvBackward.prepare::<C>([x.node(), weight.node(), bias.node()]);
        let bias = Some(bias.primitive());
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(mut prepared) => {
                let state = (
                    prepared.checkpoint(&x),
                    prepared.checkpoint(&weight),
                    convolution,
                );
                let output = forward(&convolution, x.primitive(), weight.primitive(), bias);
                prepared.finish(state, output)
            }
            OpsKind::UnTracked(prepared) => {
                let output = forward(&convolution, x.primitive(), weight.primitive(), bias);
                prepared.finish(output)
            }
        }
    }

    fn cpu_batch_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let prepared = NormBackward.prepare::<C>([x.node(), scale.node(), shift.node()]);
        let normalised = normalise(
            x.primitive(),
            scale.primitive(),
            shift.primitive(),
            None,
            epsilon,
            relu,
        );
        let output = match prepared.compute_bound().stateful() {
            OpsKind::Tracked(mut prepared) => {
                let nodes = [prepared.checkpoint(&x), prepared.checkpoint(&scale)];
                let state = normalised.state(nodes);
                prepared.finish(state, normalised.output.clone())
            }
            OpsKind::UnTracked(prepared) => prepared.finish(normalised.output.clone()),
        };
        normalised.beside::<C>(output)
    }

    fn cpu_batch_norm_add_relu(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), scale.node(), shift.node(), residual.node()];
        let prepared = NormBackward.prepare::<C>(nodes);
        let normalised = normalise(
            x.primitive(),
            scale.primitive(),
            shift.primitive(),
            Some(residual.primitive()),
            epsilon,
            true,
        );
        let output = match prepared.compute_bound().stateful() {
            OpsKind::Tracked(mut prepared) => {
                let nodes = [prepared.checkpoint(&x), prepared.checkpoint(&scale)];
                let state = normalised.state(nodes);
                prepared.finish(state, normalised.output.clone())
            }
            OpsKind::UnTracked(prepared) => prepared.finish(normalised.output.clone()),
        };
        normalised.beside::<C>(output)
    }

    fn cpu_max_pool(x: FloatTensor<Self>, pool: MaxPool) -> FloatTensor<Self> {
        let prepared = PoolBackward.prepare::<C>([x.node()]);
        let (output, places) = pooled(x.primitive(), pool);
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let state = (Arc::new(places), x.primitive().shape(), pool);
                prepared.finish(state, output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

fn forward(
    convolution: &Convolution,
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
) -> FlexTensor {
    let [x, weight] = [x.to_contiguous(), weight.to_contiguous()];
    let bias = bias.map(FlexTensor::to_contiguous);
    let output = convolution.forward(
        x.storage(),
        weight.storage(),
        bias.as_ref().map(|b| b.storage()),
    );
    let [rows, columns] = convolution.output().unwrap_or([0, 0]);
    tensor(
        output,
        [convolution.batch, convolution.channels[1], rows, columns],
    )
}

/// Of a convolution, with a bias (three parents) or without.
#[derive(Debug)]
struct ConvBackward;

impl<const N: usize> Backward<Flex, N> for ConvBackward {
    type State = (NodeId, NodeId, Convolution);

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Grads,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (x, weight, convolution) = ops.state;
        let x = checkpointer.retrieve_node_output::<FlexTensor>(x);
        let weight = checkpointer.retrieve_node_output::<FlexTensor>(weight);
        let (of_x, of_weight) = (x.shape(), weight.shape());
        let mut parents = ops.parents.into_iter();
        let mut parent = || parents.next().flatten();
        let (to_x, to_weight, to_bias) = (parent(), parent(), parent());
        if let Some(node) = to_x {
            let weight = weight.to_contiguous();
            let values = convolution.input_gradient(weight.storage(), gradient.storage());
            grads.register::<Flex>(node.id, tensor(values, of_x));
        }
        if let Some(node) = to_weight {
            let x = x.to_contiguous();
            let values = convolution.weight_gradient(x.storage(), gradient.storage());
            grads.register::<Flex>(node.id, tensor(values, of_weight));
        }
        if let Some(node) = to_bias {
            let values = convolution.bias_gradient(gradient.storage());
            grads.register::<Flex>(node.id, tensor(values, [convolution.channels[1]]));
        }
    }
}

/// The pooled images, and where their values came from.
fn pooled(x: &FlexTensor, pool: MaxPool) -> (FlexTensor, Vec<u32>) {
    let x = x.to_contiguous();
    let shape = x.shape();
    let [rows, columns] = pool.output().unwrap_or([0, 0]);
    let (values, places) = pool.forward(x.storage());
    (tensor(values, [shape[0], shape[1], rows, columns]), places)
}

#[derive(Debug)]
struct PoolBackward;

impl Backward<Flex, 1> for PoolBackward {
    type State = (Arc<Vec<u32>>, Shape, MaxPool);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Grads, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (places, shape, pool) = ops.state;
        let [parent] = ops.parents;
        if let Some(node) = parent {
            let values = pool.input_gradient(&places, gradient.storage());
            grads.register::<Flex>(node.id, tensor(values, shape));
        }
    }
}

/// A normalised batch, and what its gradient needs.
struct Normalised {
    output: FlexTensor,
    statistics: Statistics,
    images: Images,
    epsilon: f32,
    relu: bool,
}

fn normalise(
    x: &FlexTensor,
    scale: &FlexTensor,
    shift: &FlexTensor,
    residual: Option<&FlexTensor>,
    epsilon: f64,
    relu: bool,
) -> Normalised {
    let shape = x.shape();
    let images = Images {
        batch: shape[0],
        channels: shape[1],
        pixels: shape[2] * shape[3],
    };
    let [x, scale, shift] = [x, scale, shift].map(FlexTensor::to_contiguous);
    let residual = residual.map(FlexTensor::to_contiguous);
    let epsilon = epsilon as f32;
    let statistics = images.statistics(x.storage());
    let affine = Affine {
        scale: scale.storage(),
        shift: shift.storage(),
        epsilon,
    };
    let residual = residual.as_ref().map(|residual| residual.storage());
    let output = images.normalise(x.storage(), &statistics, affine, residual, relu);
    Normalised {
        output: tensor(output, shape),
        statistics,
        images,
        epsilon,
        relu,
    }
}

impl Normalised {
    fn statistics(&self) -> [FlexTensor; 2] {
        let Statistics { mean, variance } = self.statistics.clone();
        let channels = [self.images.channels];
        [tensor(mean, channels), tensor(variance, channels)]
    }

    fn into_tensors(self) -> Normal<FlexTensor> {
        let [mean, variance] = self.statistics();
        (self.output, mean, variance)
    }

    fn state(&self, nodes: [NodeId; 2]) -> NormState {
        NormState {
            nodes,
            // Where the ReLU let values through; the next operation holds it as well.
            output: self.relu.then(|| self.output.clone()),
            statistics: self.statistics.clone(),
            images: self.images,
            epsilon: self.epsilon,
        }
    }

    /// The statistics, without gradient, beside the output.
    fn beside<C: CheckpointStrategy>(
        &self,
        output: FloatTensor<Ad<C>>,
    ) -> Normal<FloatTensor<Ad<C>>> {
        let [mean, variance] = self.statistics();
        let [mean, variance] = [mean, variance].map(<Ad<C> as AutodiffBackend>::from_inner);
        (output, mean, variance)
    }
}

/// Of a normalisation, with a residual (four parents) or without.
#[derive(Debug)]
struct NormBackward;

#[derive(Debug, Clone)]
struct NormState {
    /// The input's and the scale's.
    nodes: [NodeId; 2],
    output: Option<FlexTensor>,
    statistics: Statistics,
    images: Images,
    epsilon: f32,
}

impl<const N: usize> Backward<Flex, N> for NormBackward {
    type State = NormState;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Grads,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let state = ops.state;
        let [x, scale] = state.nodes.map(|node| {
            let tensor = checkpointer.retrieve_node_output::<FlexTensor>(node);
            tensor.to_contiguous()
        });
        let shape = x.shape();
        let mut parents = ops.parents.into_iter();
        let mut parent = || parents.next().flatten();
        let (to_x, to_scale, to_shift, to_residual) = (parent(), parent(), parent(), parent());
        let affine = Affine {
            scale: scale.storage(),
            // No gradient depends on the shift.
            shift: &[],
            epsilon: state.epsilon,
        };
        let gradients = state.images.gradients(
            x.storage(),
            &state.statistics,
            affine,
            state.output.as_ref().map(|output| output.storage()),
            to_residual.is_some(),
            gradient.storage(),
        );
        let channels = [state.images.channels];
        if let Some(node) = to_x {
            grads.register::<Flex>(node.id, tensor(gradients.input, shape.clone()));
        }
        if let Some(node) = to_scale {
            grads.register::<Flex>(node.id, tensor(gradients.scale, channels));
        }
        if let Some(node) = to_shift {
            grads.register::<Flex>(node.id, tensor(gradients.shift, channels));
        }
        if let (Some(node), Some(values)) = (to_residual, gradients.residual) {
            grads.register::<Flex>(node.id, tensor(values, shape));
        }
    }
}

fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}
