//! Max pool as a differentiable operation.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Shape;
use burn_flex::FlexTensor;

use super::{Ad, tensor};
use crate::MaxPool;

/// The pooled images, and where their values came from.
pub fn forward(shapes: &MaxPool, x: &FlexTensor) -> (FlexTensor, Vec<u32>) {
    let x = x.to_contiguous();
    let shape = x.shape();
    let [rows, columns] = shapes.output().unwrap_or([0, 0]);
    let (values, places) = shapes.forward(x.storage());
    (tensor(values, [shape[0], shape[1], rows, columns]), places)
}

pub fn differentiable<C: CheckpointStrategy>(
    x: FloatTensor<Ad<C>>,
    shapes: MaxPool,
) -> FloatTensor<Ad<C>> {
    let (output, places) = forward(&shapes, x.primitive());
    let prepared = MaxPoolBackward.prepare::<C>([x.node()]);
    match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let state = (Arc::new(places), x.primitive().shape(), shapes);
            prepared.finish(state, output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    }
}

#[derive(Debug)]
struct MaxPoolBackward;

impl Backward<Flex, 1> for MaxPoolBackward {
    type State = (Arc<Vec<u32>>, Shape, MaxPool);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (places, shape, shapes) = ops.state;
        let [parent] = ops.parents;
        if let Some(node) = parent {
            let values = shapes.input_gradient(&places, gradient.storage());
            grads.register::<Flex>(node.id, tensor(values, shape));
        }
    }
}
