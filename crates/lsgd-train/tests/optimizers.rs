//! The inner optimizers against PyTorch: `torch/optimizers.py` made the numbers.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use lsgd_train::config::{OptimizerConfig, OptimizerName};
use lsgd_train::optimizer::inner;

#[derive(serde::Deserialize)]
struct Reference {
    start: [f32; 3],
    gradients: Vec<[f32; 3]>,
    rates: Vec<f64>,
    weights: BTreeMap<String, Vec<[f32; 3]>>,
}

#[derive(Module, Debug)]
struct Weights {
    weights: Param<Tensor<1>>,
}

fn config(
    name: OptimizerName,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
) -> OptimizerConfig {
    OptimizerConfig {
        name,
        momentum,
        nesterov,
        weight_decay,
    }
}

#[test]
fn every_optimizer_takes_the_steps_that_pytorch_takes() {
    let reference: Reference = serde_json::from_str(include_str!("torch/optimizers.json")).unwrap();
    let sgd = OptimizerName::Sgd;
    let cases = [
        ("sgd", config(sgd, 0.0, false, 0.0)),
        ("sgd, weight decay", config(sgd, 0.0, false, 0.05)),
        ("sgd, momentum", config(sgd, 0.9, false, 0.05)),
        ("sgd, nesterov", config(sgd, 0.9, true, 0.05)),
        ("adam", config(OptimizerName::Adam, 0.9, false, 0.05)),
        ("adamw", config(OptimizerName::Adamw, 0.9, false, 0.05)),
    ];
    assert_eq!(cases.len(), reference.weights.len());
    for (name, config) in cases {
        let expected = &reference.weights[name];
        let found = trace(&config, &reference);
        for (step, (expected, found)) in expected.iter().zip(&found).enumerate() {
            for (expected, found) in expected.iter().zip(found) {
                assert!(
                    (expected - found).abs() <= 2e-6 * expected.abs().max(1.0),
                    "{name}, step {step}: {found}, PyTorch {expected}"
                );
            }
        }
    }
}

fn trace(config: &OptimizerConfig, reference: &Reference) -> Vec<Vec<f32>> {
    let device = Device::flex().autodiff();
    let mut module = Weights {
        weights: Param::from_tensor(Tensor::from_data(reference.start, &device)),
    };
    let mut optimizer = inner(config);
    let steps = reference.gradients.iter().zip(&reference.rates);
    steps
        .map(|(gradient, rate)| {
            // The gradient of a weighted sum is its weights.
            let gradient = Tensor::<1>::from_data(*gradient, &device);
            let loss = (module.weights.val() * gradient).sum();
            let gradients = GradientsParams::from_grads(loss.backward(), &module);
            module = optimizer.step(*rate, module.clone(), gradients);
            module.weights.val().into_data().iter::<f32>().collect()
        })
        .collect()
}
