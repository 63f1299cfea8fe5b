//! What `init` draws. Burn's generator belongs to the process, so this is one test in a
//! program of its own: beside another that draws, no seed would give the same numbers twice.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Tensor};
use lsgd_models::{Model, ModelConfig, ModelKind};

#[derive(Default)]
struct Values {
    path: Vec<String>,
    found: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Values {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = param.val().into_data().iter::<f32>().collect();
        self.found.insert(self.path.join("."), values);
    }
}

fn values(model: &Model) -> BTreeMap<String, Vec<f32>> {
    let mut values = Values::default();
    model.visit(&mut values);
    values.found
}

/// The model of that seed, read after so many `others` were drawn from Burn's generator.
fn drawn(kind: ModelKind, seed: u64, others: usize) -> BTreeMap<String, Vec<f32>> {
    let device = Device::flex();
    device.seed(seed);
    let config = ModelConfig::new(kind, 10, [3, 32, 32]);
    let model = config.init(&device).expect("a model");
    let _ = Tensor::<1>::random([others], Distribution::Default, &device);
    values(&model)
}

fn deviation(values: &[f32]) -> f64 {
    let squares: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum();
    (squares / values.len() as f64).sqrt()
}

#[track_caller]
fn assert_near(value: f64, expected: f64) {
    assert!(
        (value / expected - 1.0).abs() < 0.03,
        "{value}, not {expected}"
    );
}

/// `values` spread evenly over plus or minus `bound`.
#[track_caller]
fn assert_uniform(values: &[f32], bound: f64) {
    assert!(
        values
            .iter()
            .all(|&v| f64::from(v).abs() <= bound * (1.0 + 1e-6))
    );
    assert_near(deviation(values), bound / 3.0_f64.sqrt());
}

#[test]
fn weights_follow_the_seed_and_the_stated_distributions() {
    let resnet = drawn(ModelKind::ResNet20, 7, 1);
    // Drawn by `init` itself: what is drawn later changes nothing.
    let again = drawn(ModelKind::ResNet20, 7, 1000);
    assert_eq!(resnet, again);
    assert_ne!(resnet, drawn(ModelKind::ResNet20, 8, 1));

    // He, normal, fan-out: 2 / (outputs x 3 x 3).
    let conv = &resnet["CifarResNet.layer3.0.conv1.weight"];
    assert_near(deviation(conv), (2.0 / (64.0 * 9.0_f64)).sqrt());
    assert_uniform(&resnet["CifarResNet.fc.weight"], 1.0 / 8.0);
    assert!(resnet["CifarResNet.bn1.gamma"].iter().all(|&v| v == 1.0));
    assert!(resnet["CifarResNet.bn1.beta"].iter().all(|&v| v == 0.0));

    let vgg = drawn(ModelKind::Vgg11, 7, 1);
    let conv = &vgg["Vgg.features.1.conv.weight"];
    assert_near(deviation(conv), (2.0 / (128.0 * 9.0_f64)).sqrt());
    assert!(vgg["Vgg.features.1.conv.bias"].iter().all(|&v| v == 0.0));
    assert_uniform(&vgg["Vgg.fc1.weight"], 1.0 / 512.0_f64.sqrt());

    let cnn7 = drawn(ModelKind::Cnn7, 7, 1);
    assert_uniform(&cnn7["Cnn7.conv2.weight"], 1.0 / (64.0 * 25.0_f64).sqrt());
    assert_uniform(&cnn7["Cnn7.fc1.weight"], 1.0 / (64.0 * 9.0_f64).sqrt());

    // The first outputs repeat the inputs.
    let cifarnet = drawn(ModelKind::CifarNet, 7, 1);
    assert_eq!(cifarnet, drawn(ModelKind::CifarNet, 7, 1000));
    for (layer, inputs) in [("block2.conv1", 64), ("block2.conv2", 256)] {
        let weight = &cifarnet[&format!("CifarNet.{layer}.weight")];
        let (repeating, others) = weight.split_at(inputs * inputs * 9);
        for (index, &value) in repeating.iter().enumerate() {
            let (output, place) = (index / (9 * inputs), index % (9 * inputs));
            let expected = f32::from(u8::from(place == 9 * output + 4));
            assert_eq!(value, expected, "{layer}, output {output}");
        }
        if !others.is_empty() {
            assert_uniform(others, 1.0 / (inputs as f64 * 9.0).sqrt());
        }
    }
}
