//! The inner optimizers against PyTorch: `torch/optimizers.py` made the numbers.

mod muon;
mod shifts;

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use lsgd_core::{Layout, decode_optimizer, encode_optimizer};
use lsgd_train::image_config::{OptimizerConfig, OptimizerName};
use lsgd_train::optimizer::{clip, inner};

#[derive(serde::Deserialize)]
struct Reference {
    start: [f32; 3],
    gradients: Vec<[f32; 3]>,
    rates: Vec<f64>,
    weights: BTreeMap<String, Vec<[f32; 3]>>,
    lars: Vec<[f32; 3]>,
    groups: BTreeMap<String, Vec<[f32; 5]>>,
    clipped: BTreeMap<String, Vec<[f32; 5]>>,
    muon: muon::Reference,
}

impl Reference {
    fn get() -> Self {
        serde_json::from_str(include_str!("../torch/optimizers.json")).unwrap()
    }
}

/// The path of a last layer, which most modules here do not have.
const HEAD: &str = "head";

/// A weight of three values and a bias of two.
#[derive(Module, Debug)]
struct Layer {
    weights: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Layer {
    fn new(start: [f32; 3], device: &Device) -> Self {
        let bias = [start[0], start[1]];
        let weights = Tensor::<1>::from_data(start, device).reshape([3, 1]);
        Self {
            weights: Param::from_tensor(weights.detach()).set_require_grad(true),
            bias: Param::from_tensor(Tensor::from_data(bias, device)),
        }
    }

    fn values(&self) -> Vec<f32> {
        let weights = self.weights.val().into_data();
        let bias = self.bias.val().into_data();
        weights.iter::<f32>().chain(bias.iter::<f32>()).collect()
    }

    /// The gradients of the reference: the bias has the first two.
    fn gradients(&self, of: [f32; 3], device: &Device) -> GradientsParams {
        let bias = Tensor::<1>::from_data([of[0], of[1]], device);
        let weights = Tensor::<1>::from_data(of, device).reshape([3, 1]);
        let loss = (self.weights.val() * weights).sum() + (self.bias.val() * bias).sum();
        GradientsParams::from_grads(loss.backward(), self)
    }
}

/// The layer under an optimizer; the state goes through a record after two steps.
fn layer_trace(config: &OptimizerConfig, reference: &Reference) -> Vec<Vec<f32>> {
    let device = Device::flex().autodiff();
    let mut module = Layer::new(reference.start, &device);
    let layout = Layout::of(&module);
    let mut optimizer = inner(config, HEAD);
    let steps = reference.gradients.iter().zip(&reference.rates);
    let mut trace = Vec::new();
    for (step, (gradient, rate)) in steps.enumerate() {
        if step == 2 {
            let state = encode_optimizer(optimizer.to_record(), &layout).unwrap();
            let record = decode_optimizer(state, &module, &layout).unwrap();
            optimizer = inner(config, HEAD).load_record(record);
        }
        let mut gradients = module.gradients(*gradient, &device);
        if let Some(limit) = clip(config) {
            gradients = limit.apply(&module, gradients);
        }
        module = optimizer.step(*rate, module, gradients);
        trace.push(module.values());
    }
    trace
}

/// PyTorch's parameter groups: the weight with decay, the bias without.
#[test]
fn biases_have_no_decay_where_that_is_asked_for() {
    let reference = Reference::get();
    let cases = [
        ("sgd", config(OptimizerName::Sgd, 0.9, true, 0.05)),
        ("adam", config(OptimizerName::Adam, 0.9, false, 0.05)),
        ("adamw", config(OptimizerName::Adamw, 0.9, false, 0.05)),
        ("lion", config(OptimizerName::Lion, 0.9, false, 0.05)),
        ("lamb", config(OptimizerName::Lamb, 0.9, false, 0.05)),
    ];
    assert_eq!(cases.len(), reference.groups.len());
    for (name, config) in cases {
        let with = layer_trace(&config, &reference);
        let config = OptimizerConfig {
            decay_norms: false,
            ..config
        };
        let found = layer_trace(&config, &reference);
        assert_close(name, &found, &reference.groups[name]);
        let last = |trace: &[Vec<f32>]| trace[4].clone();
        assert_eq!(last(&with)[..3], last(&found)[..3], "{name}: the weight");
        assert_ne!(last(&with)[3..], last(&found)[3..], "{name}: the bias");
    }
}

/// PyTorch's `clip_grad_norm_` and `clip_grad_value_` before SGD with momentum.
#[test]
fn gradients_are_limited_as_by_pytorch() {
    let reference = Reference::get();
    let of = |clip_norm, clip_value| OptimizerConfig {
        clip_norm,
        clip_value,
        ..config(OptimizerName::Sgd, 0.9, false, 0.05)
    };
    // One limit that some gradients keep, one that none does, one that all do.
    let cases = [
        ("norm 1", of(Some(1.0), None)),
        ("norm 0.1", of(Some(0.1), None)),
        ("norm 100", of(Some(100.0), None)),
        ("value 0.4", of(None, Some(0.4))),
    ];
    assert_eq!(cases.len(), reference.clipped.len());
    for (name, config) in cases {
        assert_close(
            name,
            &layer_trace(&config, &reference),
            &reference.clipped[name],
        );
    }
    // Gradients within the limit keep their bits.
    let none = layer_trace(&of(None, None), &reference);
    assert_eq!(layer_trace(&of(Some(100.0), None), &reference), none);
}

#[derive(Module, Debug)]
struct Weights {
    weights: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Matrix {
    weights: Param<Tensor<2>>,
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
        trust_coefficient: 0.001,
        ..OptimizerConfig::default()
    }
}

#[test]
fn every_optimizer_takes_the_steps_of_its_reference() {
    let reference = Reference::get();
    let sgd = OptimizerName::Sgd;
    let cases = [
        ("sgd", config(sgd, 0.0, false, 0.0)),
        ("sgd, weight decay", config(sgd, 0.0, false, 0.05)),
        ("sgd, momentum", config(sgd, 0.9, false, 0.05)),
        ("sgd, nesterov", config(sgd, 0.9, true, 0.05)),
        ("adam", config(OptimizerName::Adam, 0.9, false, 0.05)),
        ("adamw", config(OptimizerName::Adamw, 0.9, false, 0.05)),
        ("lion", config(OptimizerName::Lion, 0.9, false, 0.05)),
        ("lamb", config(OptimizerName::Lamb, 0.9, false, 0.05)),
    ];
    assert_eq!(cases.len(), reference.weights.len());
    for (name, config) in cases {
        let expected = &reference.weights[name];
        assert_close(name, &trace(&config, &reference), expected);
    }
}

/// Of matrices; a bias moves as by SGD without decay.
#[test]
fn lars_scales_the_rate_of_every_matrix() {
    let reference = Reference::get();
    let config = config(OptimizerName::Lars, 0.9, false, 0.05);
    let device = Device::flex().autodiff();
    let start = Tensor::<1>::from_data(reference.start, &device).reshape([3, 1]);
    let mut module = Matrix {
        weights: Param::from_tensor(start.detach()).set_require_grad(true),
    };
    let mut optimizer = inner(&config, HEAD);
    let steps = reference.gradients.iter().zip(&reference.rates);
    let found: Vec<Vec<f32>> = steps
        .map(|(gradient, rate)| {
            let gradient = Tensor::<1>::from_data(*gradient, &device).reshape([3, 1]);
            let loss = (module.weights.val() * gradient).sum();
            let gradients = GradientsParams::from_grads(loss.backward(), &module);
            module = optimizer.step(*rate, module.clone(), gradients);
            module.weights.val().into_data().iter::<f32>().collect()
        })
        .collect();
    assert_close("lars", &found, &reference.lars);

    // While the rate does not change, momentum is the same before and after it.
    let plain = self::config(OptimizerName::Sgd, 0.9, false, 0.0);
    let plain: Vec<[f32; 3]> = trace(&plain, &reference)
        .iter()
        .map(|step| [step[0], step[1], step[2]])
        .collect();
    let found = trace(&config, &reference);
    assert_close("lars of a bias", &found[..2], &plain[..2]);
}

/// A tensor of noughts, or one whose gradient is, takes a plain step.
#[test]
fn lars_divides_by_nothing() {
    let device = Device::flex().autodiff();
    let config = config(OptimizerName::Lars, 0.0, false, 0.0);
    for (start, gradient, end) in [(0.0, 0.5, -0.5), (2.0, 0.0, 2.0)] {
        let weights = Tensor::<2>::full([2, 2], start, &device);
        let module = Matrix {
            weights: Param::from_tensor(weights),
        };
        let loss = (module.weights.val().mul_scalar(gradient)).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &module);
        let module = inner(&config, HEAD).step(1.0, module, gradients);
        let found: Vec<f32> = module.weights.val().into_data().iter::<f32>().collect();
        assert_eq!(found, [end; 4]);
    }
}

#[track_caller]
fn assert_close<const N: usize>(name: &str, found: &[Vec<f32>], expected: &[[f32; N]]) {
    assert_eq!(found.len(), expected.len());
    for (step, (expected, found)) in expected.iter().zip(found).enumerate() {
        assert_eq!(found.len(), N);
        for (expected, found) in expected.iter().zip(found) {
            assert!(
                (expected - found).abs() <= 2e-6 * expected.abs().max(1.0),
                "{name}, step {step}: {found}, not {expected}"
            );
        }
    }
}

fn trace(config: &OptimizerConfig, reference: &Reference) -> Vec<Vec<f32>> {
    let device = Device::flex().autodiff();
    let mut module = Weights {
        weights: Param::from_tensor(Tensor::from_data(reference.start, &device)),
    };
    let mut optimizer = inner(config, HEAD);
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
