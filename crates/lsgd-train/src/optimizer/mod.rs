//! The inner optimizer of a worker.

mod lars;

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::{Momentum, MomentumConfig};
use burn::optim::{AdamConfig, AdamWConfig, ModuleOptimizer, SgdConfig};

use self::lars::Lars;
use crate::image_config::{OptimizerConfig, OptimizerName};

/// What Adam adds to a gradient's root mean square, as in PyTorch; Burn's default is larger.
const EPSILON: f32 = 1e-8;

/// Makes the optimizer, with PyTorch's arithmetic: dampening 0, weight decay added to the gradient
/// before momentum (`sgd`, `adam`) or decoupled (`adamw`).
pub fn inner(config: &OptimizerConfig) -> ModuleOptimizer {
    let decay = config.weight_decay as f32;
    let added = (decay > 0.0).then(|| WeightDecayConfig::new(decay));
    let momentum = (config.momentum > 0.0).then(|| {
        MomentumConfig::new()
            .with_momentum(config.momentum)
            .with_dampening(0.0)
            .with_nesterov(config.nesterov)
    });
    match config.name {
        OptimizerName::Sgd => {
            let optimizer = SgdConfig::new().with_weight_decay(added);
            optimizer.with_momentum(momentum).init()
        }
        OptimizerName::Lars => ModuleOptimizer::from(Lars {
            trust_coefficient: config.trust_coefficient,
            decay: config.weight_decay,
            momentum: momentum.as_ref().map(Momentum::new),
        }),
        OptimizerName::Adam => AdamConfig::new()
            .with_epsilon(EPSILON)
            .with_weight_decay(added)
            .init(),
        OptimizerName::Adamw => AdamWConfig::new()
            .with_epsilon(EPSILON)
            .with_weight_decay(decay)
            .init(),
    }
}
