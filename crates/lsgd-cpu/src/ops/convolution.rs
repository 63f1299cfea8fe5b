//! Convolution as a differentiable operation.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;

use super::{Ad, tensor};
use crate::Convolution;

pub fn forward(
    shapes: &Convolution,
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
) -> FlexTensor {
    let [x, weight] = [x, weight].map(FlexTensor::to_contiguous);
    let bias = bias.map(FlexTensor::to_contiguous);
    let bias = bias.as_ref().map(|bias| bias.storage());
    let output = shapes.forward(x.storage(), weight.storage(), bias);
    let [rows, columns] = shapes.output().unwrap_or([0, 0]);
    tensor(output, [shapes.batch, shapes.channels[1], rows, columns])
}

/// The gradients of an input, weights and, with three operands, a bias.
pub fn differentiable<C: CheckpointStrategy, const N: usize>(
    operands: [FloatTensor<Ad<C>>; N],
    shapes: Convolution,
) -> FloatTensor<Ad<C>> {
    let [x, weight] = [&operands[0], &operands[1]];
    let bias = operands.get(2).map(|bias| bias.primitive());
    let output = forward(&shapes, x.primitive(), weight.primitive(), bias);
    let prepared = ConvolutionBackward.prepare::<C>(operands.each_ref().map(|o| o.node()));
    match prepared.compute_bound().stateful() {
        OpsKind::Tracked(mut prepared) => {
            let state = (prepared.checkpoint(x), prepared.checkpoint(weight), shapes);
            prepared.finish(state, output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    }
}

#[derive(Debug)]
struct ConvolutionBackward;

impl<const N: usize> Backward<Flex, N> for ConvolutionBackward {
    type State = (NodeId, NodeId, Convolution);

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (x, weight, shapes) = ops.state;
        let x = checkpointer.retrieve_node_output::<FlexTensor>(x);
        let weight = checkpointer.retrieve_node_output::<FlexTensor>(weight);
        let (of_x, of_weight) = (x.shape(), weight.shape());
        let mut parents = ops.parents.into_iter();
        let mut parent = || parents.next().flatten();
        let (to_x, to_weight, to_bias) = (parent(), parent(), parent());
        if let Some(node) = to_x {
            let weight = weight.to_contiguous();
            let values = shapes.input_gradient(weight.storage(), gradient.storage());
            grads.register::<Flex>(node.id, tensor(values, of_x));
        }
        if let Some(node) = to_weight {
            let x = x.to_contiguous();
            let values = shapes.weight_gradient(x.storage(), gradient.storage());
            grads.register::<Flex>(node.id, tensor(values, of_weight));
        }
        if let Some(node) = to_bias {
            let values = shapes.bias_gradient(gradient.storage());
            grads.register::<Flex>(node.id, tensor(values, [shapes.channels[1]]));
        }
    }
}
