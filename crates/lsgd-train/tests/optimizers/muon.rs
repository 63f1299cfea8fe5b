//! Muon for kernels and matrices, AdamW for the last layer and for biases.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use lsgd_core::{Layout, decode_optimizer, encode_optimizer};
use lsgd_models::{ModelConfig, ModelKind};
use lsgd_train::image_config::{OptimizerConfig, OptimizerName};
use lsgd_train::optimizer::inner;

use crate::{HEAD, config};

#[derive(serde::Deserialize)]
pub struct Reference {
    start: BTreeMap<String, Vec<f32>>,
    gradients: Vec<BTreeMap<String, Vec<f32>>>,
    /// After every step, of all parameters.
    values: BTreeMap<String, Vec<Vec<f32>>>,
}

#[derive(Module, Debug)]
struct Head {
    weight: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
struct Net {
    kernel: Param<Tensor<4>>,
    matrix: Param<Tensor<2>>,
    head: Head,
    bias: Param<Tensor<1>>,
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &device)
}

impl Net {
    fn of(values: &BTreeMap<String, Vec<f32>>) -> Self {
        Self {
            kernel: Param::from_tensor(tensor(&values["kernel"], [2, 1, 2, 2])),
            matrix: Param::from_tensor(tensor(&values["matrix"], [3, 2])),
            head: Head {
                weight: Param::from_tensor(tensor(&values["head"], [2, 2])),
            },
            bias: Param::from_tensor(tensor(&values["bias"], [3])),
        }
    }

    fn gradients(&self, of: &BTreeMap<String, Vec<f32>>) -> GradientsParams {
        // The gradient of a weighted sum is its weights.
        let of = Self::of(of);
        let loss = (self.kernel.val() * of.kernel.val().detach()).sum()
            + (self.matrix.val() * of.matrix.val().detach()).sum()
            + (self.head.weight.val() * of.head.weight.val().detach()).sum()
            + (self.bias.val() * of.bias.val().detach()).sum();
        GradientsParams::from_grads(loss.backward(), self)
    }

    fn values(&self) -> Vec<f32> {
        let values = |data: TensorData| data.iter::<f32>().collect::<Vec<f32>>();
        [
            values(self.kernel.val().into_data()),
            values(self.matrix.val().into_data()),
            values(self.head.weight.val().into_data()),
            values(self.bias.val().into_data()),
        ]
        .concat()
    }
}

/// The values after every step; where `saved`, the state goes through a record after each.
fn trace(
    config: &OptimizerConfig,
    rates: &[f64],
    reference: &Reference,
    saved: bool,
) -> Vec<Vec<f32>> {
    let mut net = Net::of(&reference.start);
    let layout = Layout::of(&net);
    let mut optimizer = inner(config, HEAD);
    let mut trace = Vec::new();
    for (rate, gradients) in rates.iter().zip(&reference.gradients) {
        let gradients = net.gradients(gradients);
        net = optimizer.step(*rate, net, gradients);
        trace.push(net.values());
        if saved {
            let state = encode_optimizer(optimizer.to_record(), &layout).unwrap();
            let record = decode_optimizer(state, &net, &layout).unwrap();
            optimizer = inner(config, HEAD).load_record(record);
        }
    }
    trace
}

#[test]
fn muon_takes_the_steps_that_pytorch_takes() {
    let reference = crate::Reference::get();
    let muon = OptimizerName::Muon;
    let cases = [
        ("muon", config(muon, 0.95, true, 0.05)),
        ("plain", config(muon, 0.9, false, 0.0)),
        ("no momentum", config(muon, 0.0, false, 0.05)),
    ];
    let (rates, reference) = (&reference.rates, &reference.muon);
    assert_eq!(cases.len(), reference.values.len());
    for (name, config) in cases {
        let found = trace(&config, rates, reference, false);
        for (step, (found, expected)) in found.iter().zip(&reference.values[name]).enumerate() {
            assert_eq!(found.len(), expected.len());
            for (value, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert!(
                    (found - expected).abs() <= 1e-5,
                    "{name}, step {step}, value {value}: {found}, not {expected}"
                );
            }
        }
        // Bit for bit, momentum and moments included.
        assert_eq!(trace(&config, rates, reference, true), found, "{name}");
    }
}

#[test]
fn only_the_bias_is_without_decay_where_that_is_asked_for() {
    let reference = crate::Reference::get();
    let with = config(OptimizerName::Muon, 0.95, true, 0.05);
    let without = OptimizerConfig {
        decay_norms: false,
        ..with.clone()
    };
    let last = |config| {
        trace(config, &reference.rates, &reference.muon, false)
            .pop()
            .unwrap()
    };
    let (with, without) = (last(&with), last(&without));
    let weights = with.len() - 3;
    assert_eq!(with[..weights], without[..weights]);
    for (with, without) in with[weights..].iter().zip(&without[weights..]) {
        assert_ne!(with, without);
    }
}

/// Muon leaves the parameters below that path alone.
#[test]
fn every_model_knows_the_path_of_its_last_layer() {
    for kind in ModelKind::ALL {
        let side = if kind == ModelKind::Cnn7 { 28 } else { 32 };
        let model = ModelConfig::new(kind, 10, [3, side, side]).init(&Device::flex().autodiff());
        let layout = Layout::of(&model.unwrap());
        let head = kind.head();
        let mut of_head = vec![format!("{head}.weight")];
        if kind != ModelKind::CifarNet {
            of_head.push(format!("{head}.bias"));
        }
        let paths = layout.parameters().iter().rev().map(|entry| &entry.path);
        let last: Vec<&String> = paths.take(of_head.len()).collect();
        assert!(last.into_iter().rev().eq(&of_head), "{kind}");
    }
}
