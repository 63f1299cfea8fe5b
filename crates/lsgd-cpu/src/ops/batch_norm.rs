//! Batch normalisation, and what follows it, as a differentiable operation.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{AutodiffBackend, Flex, TensorMetadata};
use burn_flex::FlexTensor;

use super::{Ad, tensor};
use crate::{Affine, Images, Statistics};

/// Output, mean and variance.
type Three<T> = (T, T, T);

/// A normalised batch, and what its gradient needs.
pub struct Normalised {
    output: FlexTensor,
    statistics: Statistics,
    images: Images,
}

/// Normalises the input, given with scale and shift.
pub fn forward(
    operands: [&FlexTensor; 3],
    residual: Option<&FlexTensor>,
    epsilon: f64,
    relu: bool,
) -> Normalised {
    let [x, scale, shift] = operands.map(FlexTensor::to_contiguous);
    let residual = residual.map(FlexTensor::to_contiguous);
    let shape = x.shape();
    let images = Images {
        batch: shape[0],
        channels: shape[1],
        pixels: shape[2] * shape[3],
    };
    let statistics = images.statistics(x.storage());
    let affine = Affine {
        scale: scale.storage(),
        shift: shift.storage(),
        epsilon: epsilon as f32,
    };
    let residual = residual.as_ref().map(|residual| residual.storage());
    let output = images.normalise(x.storage(), &statistics, affine, residual, relu);
    Normalised {
        output: tensor(output, shape),
        statistics,
        images,
    }
}

impl Normalised {
    pub fn into_tensors(self) -> Three<FlexTensor> {
        let channels = [self.images.channels];
        let Statistics { mean, variance } = self.statistics;
        (
            self.output,
            tensor(mean, channels),
            tensor(variance, channels),
        )
    }
}

/// The gradients of an input, scale, shift and, with four operands, a residual. Mean and variance
/// have no gradient.
pub fn differentiable<C: CheckpointStrategy, const N: usize>(
    operands: [FloatTensor<Ad<C>>; N],
    epsilon: f64,
    relu: bool,
) -> Three<FloatTensor<Ad<C>>> {
    let [x, scale, shift] = [&operands[0], &operands[1], &operands[2]];
    let residual = operands.get(3).map(|residual| residual.primitive());
    let normalised = forward(
        [x, scale, shift].map(|o| o.primitive()),
        residual,
        epsilon,
        relu,
    );
    let prepared = BatchNormBackward.prepare::<C>(operands.each_ref().map(|o| o.node()));
    let tracked = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(mut prepared) => {
            let state = State {
                nodes: [prepared.checkpoint(x), prepared.checkpoint(scale)],
                passed: relu.then(|| normalised.output.clone()),
                statistics: normalised.statistics.clone(),
                images: normalised.images,
                epsilon: epsilon as f32,
            };
            prepared.finish(state, normalised.output.clone())
        }
        OpsKind::UnTracked(prepared) => prepared.finish(normalised.output.clone()),
    };
    let (_, mean, variance) = normalised.into_tensors();
    let [mean, variance] = [mean, variance].map(<Ad<C> as AutodiffBackend>::from_inner);
    (tracked, mean, variance)
}

#[derive(Debug)]
struct BatchNormBackward;

#[derive(Debug, Clone)]
struct State {
    /// The input's and the scale's.
    nodes: [NodeId; 2],
    /// The output, which says where the ReLU let values through. The next operation keeps it as
    /// well.
    passed: Option<FlexTensor>,
    statistics: Statistics,
    images: Images,
    epsilon: f32,
}

impl<const N: usize> Backward<Flex, N> for BatchNormBackward {
    type State = State;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let state = ops.state;
        let [x, scale] = state.nodes.map(|node| {
            let tensor = checkpointer.retrieve_node_output::<FlexTensor>(node);
            tensor.to_contiguous()
        });
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
            state.passed.as_ref().map(|output| output.storage()),
            to_residual.is_some(),
            gradient.storage(),
        );
        let (shape, channels) = (x.shape(), [state.images.channels]);
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
