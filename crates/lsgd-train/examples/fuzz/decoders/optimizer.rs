//! States of inner optimizers.

use std::sync::Arc;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use lsgd_core::{Layout, decode_optimizer, encode_optimizer};
use lsgd_train::image_config::{OptimizerConfig, OptimizerName};
use lsgd_train::optimizer::inner;

use super::kib;
use crate::changes::Form;
use crate::harness::Decoder;

type Make = Box<dyn Fn() -> ModuleOptimizer>;

pub fn decoder() -> Decoder {
    let device = Device::flex().autodiff();
    let module = LinearConfig::new(3, 2).init(&device);
    let layout = Layout::of(&module);
    let of = |name| -> Make {
        let config = OptimizerConfig {
            name,
            momentum: 0.9,
            ..OptimizerConfig::default()
        };
        Box::new(move || inner(&config, "no head"))
    };
    let optimizers = [
        of(OptimizerName::Sgd),
        of(OptimizerName::Lars),
        of(OptimizerName::Adam),
        of(OptimizerName::Adamw),
        of(OptimizerName::Lion),
        of(OptimizerName::Lamb),
        of(OptimizerName::Muon),
    ];
    let valid = optimizers.iter().map(|make| {
        let mut optimizer = make();
        step(&mut optimizer, &module);
        encode_optimizer(optimizer.to_record(), &layout).expect("all parameters have a path")
    });
    Decoder {
        name: "optimizer state",
        form: Form::Burnpack,
        valid: valid.collect(),
        bound: kib(256, 64),
        share: 50,
        read: Box::new(move |bytes| read(bytes, &optimizers, &module, &layout)),
    }
}

/// Loads the state into each optimizer, and takes a step.
fn read(bytes: &[u8], optimizers: &[Make], module: &Linear, layout: &Arc<Layout>) -> bool {
    for make in optimizers {
        let Ok(record) = decode_optimizer(bytes.to_vec(), module, layout) else {
            return false;
        };
        step(&mut make().load_record(record), module);
    }
    true
}

fn step(optimizer: &mut ModuleOptimizer, module: &Linear) {
    let device = module.weight.device();
    let input: Tensor<2> = Tensor::ones([1, 3], &device);
    let loss = module.forward(input).square().sum();
    let gradients = GradientsParams::from_grads(loss.backward(), module);
    optimizer.step(0.1, module.clone(), gradients).no_grad();
}
