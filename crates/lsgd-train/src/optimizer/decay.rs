//! Weight decay of weights alone.

use burn::Tensor;
use burn::optim::{LearningRate, Optimizer};
use burn::tensor::Device;

/// One optimizer for weights and the same, with or without decay, for biases and the scales and shifts of
/// a normalisation, which are everything with one dimension.
///
/// Burn's parameter groups name parameters by path or id, which a task's optimizer does not know; a
/// tensor's dimensions are known in every step. The two have states of one type, so a state on disk fits
/// both.
#[derive(Clone)]
pub(super) struct WeightsDecay<O> {
    weights: O,
    others: O,
}

impl<O: Optimizer> Optimizer for WeightsDecay<O> {
    type State<const D: usize> = O::State<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let own = match D {
            0 | 1 => &self.others,
            _ => &self.weights,
        };
        own.step(lr, tensor, gradient, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        O::to_device(state, device)
    }
}

/// The optimizer from `make(decays)`, which decays every parameter or, unless `norms`, weights alone.
pub(super) fn decaying<O: Optimizer>(norms: bool, make: impl Fn(bool) -> O) -> WeightsDecay<O> {
    WeightsDecay {
        weights: make(true),
        others: make(norms),
    }
}
