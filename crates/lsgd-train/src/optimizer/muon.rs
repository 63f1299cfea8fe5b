//! Muon (Jordan et al., <https://kellerjordan.github.io/posts/muon/>) for weights, and AdamW for the
//! rest, at one learning rate: Muon's steps are as long as those of AdamW (Liu et al., arXiv 2502.16982,
//! section 2.2).
//!
//! ```text
//! v <- momentum v + g                                    of each weight
//! u <- g + momentum v                                    or v, without Nesterov's momentum
//! o <- U V^T, nearly, where u = U S V^T as a matrix      by five Newton-Schulz iterations
//! w <- (1 - lr decay) w - lr 0.2 sqrt(max(rows, columns)) o
//! ```
//!
//! A convolution's kernel is a matrix with a row for each output channel. Burn has the iteration and the
//! step for matrices alone; the momentum is here because its state must have the kernel's shape.

use burn::Tensor;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::{Momentum, MomentumConfig, MomentumState};
use burn::optim::{
    AdamW, AdamWState, AdjustLrFn, LearningRate, MuonConfig, Optimizer, RecordState, StateSink,
    StateSource,
};
use burn::tensor::Device;

/// Muon for everything with two dimensions or more, AdamW for biases and for the scales and shifts of
/// normalisations.
#[derive(Clone)]
pub(super) struct Muon {
    /// Of the gradient; none where its factor is zero.
    momentum: Option<Momentum>,
    /// Burn's, without momentum.
    matrices: burn::optim::Muon,
    others: AdamW,
}

impl Muon {
    /// With weight decay `decay` of everything that `others` has not.
    pub fn new(momentum: Option<&MomentumConfig>, decay: f32, others: AdamW) -> Self {
        let none = MomentumConfig::new().with_momentum(0.0).with_dampening(0.0);
        let matrices = MuonConfig::new()
            .with_momentum(none)
            .with_weight_decay((decay > 0.0).then(|| WeightDecayConfig::new(decay)))
            .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW);
        Self {
            momentum: momentum.map(Momentum::new),
            matrices: matrices.build(),
            others,
        }
    }

    fn weight_step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        velocity: Option<MomentumState<D>>,
    ) -> (Tensor<D>, Option<MomentumState<D>>) {
        let (gradient, velocity) = match &self.momentum {
            Some(momentum) => {
                let (gradient, velocity) = momentum.transform(gradient, velocity);
                (gradient, Some(velocity))
            }
            None => (gradient, None),
        };
        let shape = tensor.dims();
        let columns = shape.iter().skip(1).product();
        let matrix = |tensor: Tensor<D>| -> Tensor<2> { tensor.reshape([shape[0], columns]) };
        let (tensor, _) = self
            .matrices
            .step(lr, matrix(tensor), matrix(gradient), None);
        (tensor.reshape(shape), velocity)
    }
}

impl Optimizer for Muon {
    type State<const D: usize> = MuonState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        if is_weight(D) {
            let velocity = match state {
                Some(MuonState::Weight(velocity)) => velocity,
                Some(MuonState::Other(_)) | None => None,
            };
            let (tensor, velocity) = self.weight_step(lr, tensor, gradient, velocity);
            return (tensor, Some(MuonState::Weight(velocity)));
        }
        let moments = match state {
            Some(MuonState::Other(moments)) => Some(*moments),
            Some(MuonState::Weight(_)) | None => None,
        };
        let (tensor, moments) = self.others.step(lr, tensor, gradient, moments);
        (tensor, moments.map(MuonState::of_moments))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        match state {
            MuonState::Weight(velocity) => {
                MuonState::Weight(velocity.map(|velocity| velocity.to_device(device)))
            }
            MuonState::Other(moments) => MuonState::of_moments(AdamW::to_device(*moments, device)),
        }
    }
}

/// Whether a parameter of so many dimensions is a weight, which Muon changes.
fn is_weight(dimensions: usize) -> bool {
    dimensions >= 2
}

/// What is remembered of a parameter. Its dimensions decide which of the two it is.
#[derive(Clone)]
pub(super) enum MuonState<const D: usize> {
    /// Of a weight; none without momentum.
    Weight(Option<MomentumState<D>>),
    Other(Box<AdamWState<D>>),
}

impl<const D: usize> MuonState<D> {
    fn of_moments(moments: AdamWState<D>) -> Self {
        Self::Other(Box::new(moments))
    }
}

/// The name of the momentum in records.
const MOMENTUM: &str = "momentum";

impl<const D: usize> RecordState for MuonState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        match self {
            Self::Weight(Some(velocity)) => velocity.state_flatten(&of_momentum(prefix), out),
            Self::Weight(None) => {}
            Self::Other(moments) => moments.state_flatten(prefix, out),
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        if !is_weight(D) {
            return AdamWState::state_unflatten(prefix, source, device).map(Self::of_moments);
        }
        let momentum = of_momentum(prefix);
        let velocity = match source.has_under(&momentum) {
            true => Some(MomentumState::state_unflatten(&momentum, source, device)?),
            false => None,
        };
        Some(Self::Weight(velocity))
    }
}

fn of_momentum(prefix: &str) -> String {
    format!("{prefix}.{MOMENTUM}")
}
