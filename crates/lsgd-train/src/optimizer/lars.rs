//! LARS: layer-wise adaptive rate scaling (You, Gitman and Ginsburg, arXiv 1708.03888, Algorithm
//! 1), for the large batches that result from data parallel training.
//!
//! ```text
//! g    <- gradient + decay w
//! rate <- trust |w| / (|gradient| + decay |w|)      of each tensor
//! v    <- momentum v + lr rate g
//! w    <- w - v
//! ```
//!
//! Biases and BatchNorm's scales and shifts (everything with one dimension) take plain steps
//! without decay (rate 1, decay 0), as is usual: many of them start at zero, where their rate would
//! keep them.

use burn::Tensor;
use burn::optim::momentum::Momentum;
use burn::optim::{LearningRate, Optimizer, SgdState};
use burn::tensor::Device;
use lsgd_core::sum_of_squares;

/// LARS for one tensor at a time.
#[derive(Clone)]
pub(super) struct Lars {
    /// The paper's eta: how far a tensor may move in a step, relative to its norm, at a learning rate
    /// of 1.
    pub trust_coefficient: f64,
    pub decay: f64,
    pub momentum: Option<Momentum>,
}

impl Optimizer for Lars {
    type State<const D: usize> = SgdState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let scaled = match D {
            0 | 1 => gradient,
            _ => self.scaled(&tensor, gradient),
        };
        let step = scaled.mul_scalar(lr);
        let (step, momentum) = match &self.momentum {
            Some(momentum) => {
                let before = state.and_then(|state| state.momentum);
                let (step, after) = momentum.transform(step, before);
                (step, Some(after))
            }
            None => (step, None),
        };
        (tensor - step, Some(SgdState::new(momentum)))
    }

    fn to_device<const D: usize>(mut state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.momentum = state.momentum.map(|state| state.to_device(device));
        state
    }
}

impl Lars {
    /// The gradient with decay, times the tensor's rate; unscaled where the tensor or gradient is
    /// zero.
    fn scaled<const D: usize>(&self, tensor: &Tensor<D>, gradient: Tensor<D>) -> Tensor<D> {
        let (of_tensor, of_gradient) = (
            sum_of_squares(tensor).sqrt(),
            sum_of_squares(&gradient).sqrt(),
        );
        let decayed = of_gradient.clone() + of_tensor.clone().mul_scalar(self.decay);
        let is_zero = of_tensor.clone().equal_elem(0.0);
        let is_zero = is_zero.bool_or(of_gradient.equal_elem(0.0));
        let rate = of_tensor.mul_scalar(self.trust_coefficient) / decayed;
        let rate = rate.mask_fill(is_zero, 1.0);
        let gradient = gradient + tensor.clone().mul_scalar(self.decay);
        gradient * rate.reshape([1; D])
    }
}
