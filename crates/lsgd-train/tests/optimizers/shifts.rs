//! A learning rate of their own for the shifts of normalisations.

use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use lsgd_core::{Layout, decode_optimizer, encode_optimizer};
use lsgd_models::{ModelConfig, ModelKind};
use lsgd_train::image_config::{OptimizerConfig, OptimizerName};
use lsgd_train::optimizer::inner;

use super::{HEAD, Reference};

/// What the path of a shift ends in.
const SHIFT: &str = ".beta";

/// A weight, a bias, and a normalisation with a scale and a shift, of three values each.
#[derive(Module, Debug)]
struct Normed {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    norm: BatchNorm,
}

impl Normed {
    fn new(start: [f32; 3], device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::from_data([start], device)),
            bias: Param::from_tensor(Tensor::from_data(start, device)),
            norm: BatchNormConfig::new(3).init(device),
        }
    }

    /// Every parameter has the same gradient.
    fn gradients(&self, of: [f32; 3], device: &Device) -> GradientsParams {
        let of = Tensor::<1>::from_data(of, device);
        let others = [&self.bias, &self.norm.gamma, &self.norm.beta];
        let losses = others.map(|param| (param.val() * of.clone()).sum());
        let weight = (self.weight.val() * of.unsqueeze()).sum();
        let loss = losses.into_iter().fold(weight, |sum, loss| sum + loss);
        GradientsParams::from_grads(loss.backward(), self)
    }

    /// The shift, and everything else.
    fn values(&self) -> [Vec<f32>; 2] {
        let values = |data: TensorData| data.iter().collect::<Vec<f32>>();
        let others = [
            self.weight.val().into_data(),
            self.bias.val().into_data(),
            self.norm.gamma.val().into_data(),
        ];
        [
            values(self.norm.beta.val().into_data()),
            others.into_iter().flat_map(values).collect(),
        ]
    }
}

/// Shift and other values after each step at `times` the rates; the state goes through a record on the way.
fn trace(config: &OptimizerConfig, reference: &Reference, times: f64) -> Vec<[Vec<f32>; 2]> {
    let device = Device::flex().autodiff();
    let mut module = Normed::new(reference.start, &device);
    let layout = Layout::of(&module);
    let mut optimizer = inner(config, HEAD);
    let steps = reference.gradients.iter().zip(&reference.rates);
    let steps = steps.enumerate().map(|(step, (gradient, rate))| {
        if step == 2 {
            let state = encode_optimizer(optimizer.to_record(), &layout).unwrap();
            let record = decode_optimizer(state, &module, &layout).unwrap();
            optimizer = inner(config, HEAD).load_record(record);
        }
        let gradients = module.gradients(*gradient, &device);
        module = optimizer.step(rate * times, module.clone(), gradients);
        module.values()
    });
    steps.collect()
}

/// To the bit what the same optimizer does at that many times the rate; everything else is as without.
#[test]
fn shifts_have_a_learning_rate_of_their_own() {
    let reference = Reference::get();
    for name in [
        OptimizerName::Sgd,
        OptimizerName::Adam,
        OptimizerName::Adamw,
        OptimizerName::Lars,
        OptimizerName::Lion,
        OptimizerName::Lamb,
        OptimizerName::Muon,
    ] {
        for decay_norms in [true, false] {
            let usual = OptimizerConfig {
                name,
                weight_decay: 0.05,
                decay_norms,
                ..OptimizerConfig::default()
            };
            let faster = OptimizerConfig {
                shift_rate: 3.0,
                ..usual.clone()
            };
            let at_rate = trace(&usual, &reference, 1.0);
            let at_thrice = trace(&usual, &reference, 3.0);
            let found = trace(&faster, &reference, 1.0);
            assert_eq!(found.len(), 5);
            for (step, found) in found.iter().enumerate() {
                assert_eq!(found[0], at_thrice[step][0], "{name:?}, step {step}");
                assert_eq!(found[1], at_rate[step][1], "{name:?}, step {step}");
                assert_ne!(found[0], at_rate[step][0], "{name:?}, step {step}");
            }
        }
    }
}

/// A shift stands beside the running mean of its layer; no other parameter has a path with that name in it.
#[test]
fn every_model_names_its_shifts_alike() {
    for kind in ModelKind::ALL {
        let model = ModelConfig::new(kind, 10, [3, 32, 32]).init(&Device::flex().autodiff());
        let layout = Layout::of(&model.unwrap());
        let paths = layout.parameters().iter().map(|entry| &entry.path);
        let shifts = paths.filter(|path| path.contains(SHIFT));
        let layers: Vec<&str> = shifts
            .map(|path| path.strip_suffix(SHIFT).unwrap())
            .collect();
        let buffers = layout.buffers().iter();
        let means = buffers.filter_map(|entry| entry.path.strip_suffix(".running_mean"));
        assert!(means.eq(layers.iter().copied()), "{kind}");
        assert_eq!(kind.normalises(), !layers.is_empty(), "{kind}");
    }
}
