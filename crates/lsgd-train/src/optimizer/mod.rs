//! The inner optimizer of a worker.

mod decay;
mod lars;
mod muon;
mod shifts;

use burn::module::ParamGroup;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::{Momentum, MomentumConfig};
use burn::optim::{
    AdamConfig, AdamW, AdamWConfig, LambConfig, LionConfig, ModuleOptimizer, SgdConfig,
};
use lsgd_core::GradientClip;

use self::decay::decaying;
use self::lars::Lars;
use self::muon::Muon;
use self::shifts::of_module;
use crate::image_config::{OptimizerConfig, OptimizerName};

/// What Adam adds to a gradient's root mean square, as in PyTorch; Burn's default is larger.
const EPSILON: f32 = 1e-8;

/// Makes the optimizer of a model whose last layer has the path `head`, with PyTorch's arithmetic:
/// dampening 0, weight decay added to the gradient before momentum (`sgd`, `adam`) or decoupled (`adamw`,
/// `lion`, `muon`, and `lamb`, which scales it with the step), of weights alone unless `decay_norms`, and
/// the shifts of normalisations at `shift_rate` times the learning rate.
///
/// `muon` leaves parameters of one dimension, and all of the last layer, to `adamw`.
pub fn inner(config: &OptimizerConfig, head: &str) -> ModuleOptimizer {
    let decay = config.weight_decay as f32;
    let added = (decay > 0.0).then(|| WeightDecayConfig::new(decay));
    let decoupled = |decays: bool| if decays { decay } else { 0.0 };
    let momentum = (config.momentum > 0.0).then(|| {
        MomentumConfig::new()
            .with_momentum(config.momentum)
            .with_dampening(0.0)
            .with_nesterov(config.nesterov)
    });
    let factor = config.shift_rate;
    match config.name {
        OptimizerName::Sgd => {
            let sgd = decaying(config.decay_norms, |decays| {
                let optimizer =
                    SgdConfig::new().with_weight_decay(added.clone().filter(|_| decays));
                optimizer.with_momentum(momentum.clone()).build()
            });
            of_module(sgd, factor)
        }
        OptimizerName::Lars => {
            let lars = Lars {
                trust_coefficient: config.trust_coefficient,
                decay: config.weight_decay,
                momentum: momentum.as_ref().map(Momentum::new),
            };
            of_module(lars, factor)
        }
        OptimizerName::Adam => {
            let adam = decaying(config.decay_norms, |decays| {
                let optimizer = AdamConfig::new().with_epsilon(EPSILON);
                optimizer
                    .with_weight_decay(added.clone().filter(|_| decays))
                    .build()
            });
            of_module(adam, factor)
        }
        OptimizerName::Adamw => {
            let adamw = decaying(config.decay_norms, |decays| adamw(decoupled(decays)));
            of_module(adamw, factor)
        }
        OptimizerName::Lion => {
            let lion = decaying(config.decay_norms, |decays| {
                let optimizer = LionConfig::new();
                optimizer.with_weight_decay(decoupled(decays)).build()
            });
            of_module(lion, factor)
        }
        OptimizerName::Lamb => {
            let lamb = decaying(config.decay_norms, |decays| {
                let optimizer = LambConfig::new();
                optimizer.with_weight_decay(decoupled(decays)).build()
            });
            of_module(lamb, factor)
        }
        OptimizerName::Muon => {
            let others = adamw(decoupled(config.decay_norms));
            let muon = Muon::new(momentum.as_ref(), decay, others);
            let head = ParamGroup::from_path(format!("{head}.weight"));
            of_module(muon, factor).with_group(head, adamw(decay), None)
        }
    }
}

fn adamw(decay: f32) -> AdamW {
    let optimizer = AdamWConfig::new().with_epsilon(EPSILON);
    optimizer.with_weight_decay(decay).build()
}

/// The limit on the gradients of every step; a checked config has one at most.
pub fn clip(config: &OptimizerConfig) -> Option<GradientClip> {
    let norm = config.clip_norm.map(GradientClip::Norm);
    norm.or(config.clip_value.map(GradientClip::Value))
}
