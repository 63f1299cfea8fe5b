//! Every model family against PyTorch: `tests/torch/make.py` wrote the numbers.

use std::collections::BTreeMap;

use crate::reference::{Seen, at_start, tensors, transpose, values};
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{DType, Device, Gradients, Int, Tensor, TensorData};
use lsgd_models::{ForwardMode, Model, ModelConfig, ModelKind, is_running_statistic};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    kind: ModelKind,
    classes: usize,
    shape: [usize; 4],
    labels: Vec<i32>,
    evaluate: Vec<f64>,
    train: Vec<f64>,
    loss: f64,
    gradients: BTreeMap<String, Gradient>,
    running: BTreeMap<String, Running>,
}

#[derive(Deserialize)]
struct Gradient {
    norm: f64,
    first: Vec<f64>,
}

/// PyTorch's running statistics after one training forward: the first four channels.
#[derive(Deserialize)]
struct Running {
    /// Elements a channel that the batch statistics average over.
    count: f64,
    mean: Vec<f64>,
    variance: Vec<f64>,
}

#[derive(Deserialize)]
struct Entry {
    classes: usize,
    shape: [usize; 3],
    trainable: usize,
    tensors: BTreeMap<String, Vec<usize>>,
}

/// Asserts that `ours` is within `tolerance` of `theirs`, relative to the larger of their
/// largest magnitude and `floor`.
#[track_caller]
fn assert_close(what: &str, ours: &[f64], theirs: &[f64], tolerance: f64, floor: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(floor, |m, v| m.max(v.abs()));
    for (a, b) in ours.iter().zip(theirs) {
        let error = (a - b).abs() / scale;
        assert!(
            error <= tolerance,
            "{what}: {a} here, {b} in PyTorch, off by {error:.1e}"
        );
    }
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Tensors by their PyTorch name, each flat in PyTorch's layout.
type Numbers = BTreeMap<String, Vec<f64>>;

/// Collects a model's values, or its gradients, by PyTorch's names.
struct ByName<'a> {
    kind: ModelKind,
    gradients: Option<&'a Gradients>,
    path: Vec<String>,
    found: Numbers,
}

impl<'a> ByName<'a> {
    fn of(model: &Model, kind: ModelKind, gradients: Option<&'a Gradients>) -> Numbers {
        let mut visitor = Self {
            kind,
            gradients,
            path: Vec::new(),
            found: BTreeMap::new(),
        };
        model.visit(&mut visitor);
        visitor.found
    }
}

impl ModuleVisitor for ByName<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let torch = self
            .kind
            .torch_name(&self.path.join("."))
            .expect("a torch name");
        let data = match self.gradients {
            Some(gradients) => match param.val().grad(gradients) {
                Some(gradient) => gradient.into_data(),
                None => return,
            },
            None => param.val().into_data(),
        };
        let mut values: Vec<f64> = data.iter::<f64>().collect();
        if torch.transpose {
            let shape = param.lazy_shape();
            values = transpose(&values, [shape[0], shape[1]]);
        }
        assert!(self.found.insert(torch.name, values).is_none());
    }
}

fn images(shape: [usize; 4], device: &Device, dtype: DType) -> Tensor<4> {
    let values: Vec<f32> = values("images", shape.iter().product())
        .map(|v| v as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), (device, dtype))
}

/// Runs the case with tensors of `dtype` and asserts all stored numbers to `tolerance`.
fn check(json: &str, dtype: DType, tolerance: f64) {
    let case: Case = serde_json::from_str(json).expect("make.py's JSON");
    let plain = Device::flex();
    let [batch, channels, height, width] = case.shape;
    let mut config = ModelConfig::new(case.kind, case.classes, [channels, height, width]);
    config.dropout = 0.0;
    let model = at_start(config.init(&plain).expect("a model"), case.kind, dtype);

    let logits = model.forward(images(case.shape, &plain, dtype), ForwardMode::Evaluate);
    assert_eq!(logits.dims(), [batch, case.classes]);
    let logits = numbers(logits);
    assert_close("evaluation logits", &logits, &case.evaluate, tolerance, 0.0);

    let before = ByName::of(&model, case.kind, None);
    let model = model.train();
    let device = plain.autodiff();
    let mut generator = ChaCha8Rng::seed_from_u64(0);
    let images = images(case.shape, &device, dtype);
    let logits = model.forward(images, ForwardMode::Train(&mut generator));
    let theirs = &case.train;
    assert_close(
        "training logits",
        &numbers(logits.clone()),
        theirs,
        tolerance,
        0.0,
    );

    let labels = Tensor::<1, Int>::from_ints(case.labels.as_slice(), &device);
    let loss = CrossEntropyLossConfig::new()
        .init(&device)
        .forward(logits, labels);
    assert_close("loss", &numbers(loss.clone()), &[case.loss], tolerance, 0.0);

    let gradients = ByName::of(&model, case.kind, Some(&loss.backward()));
    assert_gradients(&gradients, &case.gradients, tolerance);
    // Burn keeps new statistics pending until `valid` takes them in.
    let after = ByName::of(&model.valid(), case.kind, None);
    assert_running(&before, &after, &case.running, tolerance);
}

fn assert_gradients(ours: &Numbers, theirs: &BTreeMap<String, Gradient>, tolerance: f64) {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.values().map(|g| g.norm).fold(0.0, f64::max);
    // A bias before a BatchNorm has no gradient, rounding alone is left of it: judge it
    // beside the others.
    let floor = 1e-3 * largest;
    for (name, theirs) in theirs {
        let ours = &ours[name];
        let norm = ours.iter().map(|v| v * v).sum::<f64>().sqrt();
        let what = format!("{name}, gradient's norm");
        assert_close(&what, &[norm], &[theirs.norm], tolerance, floor);
        // The typical element is the measure for one that is nearly zero by chance.
        let typical = theirs.norm.max(floor) / (ours.len() as f64).sqrt();
        let first = &ours[..theirs.first.len()];
        let what = format!("{name}, gradient");
        assert_close(&what, first, &theirs.first, tolerance, typical);
    }
}

fn assert_running(
    before: &Numbers,
    after: &Numbers,
    theirs: &BTreeMap<String, Running>,
    tolerance: f64,
) {
    for (name, theirs) in theirs {
        let mean = format!("{name}.running_mean");
        assert_close(&mean, &after[&mean][..4], &theirs.mean, tolerance, 0.1);
        // PyTorch's new variance divides by n - 1, Burn's by n.
        let variance = format!("{name}.running_var");
        let shrink = (theirs.count - 1.0) / theirs.count;
        let kept = before[&variance].iter().map(|v| 0.9 * v);
        let expected = kept
            .zip(&theirs.variance)
            .map(|(kept, new)| kept + shrink * (new - kept));
        let expected: Vec<f64> = expected.collect();
        assert_close(&variance, &after[&variance][..4], &expected, tolerance, 0.0);
    }
}

/// In float64 nothing but the nine stored digits limits the agreement.
macro_rules! exact {
    ($($kind:ident),*) => {$(
        #[test]
        fn $kind() {
            let json = include_str!(concat!("../torch/", stringify!($kind), ".json"));
            check(json, DType::F64, 1e-7);
        }
    )*};
}

exact!(
    cnn7, resnet8, resnet20, resnet18, resnet34, resnet50, vgg11, vgg13, vgg16, vgg19, cifarnet
);

/// In float32, what training uses. ResNet-18, ResNet-50 and VGG-16 have few elements a
/// channel here (16 in the last stage), which amplifies rounding: PyTorch's own float32
/// gradients are then off by up to 1.4 %.
macro_rules! single {
    ($($test:ident $kind:literal),*) => {$(
        #[test]
        fn $test() {
            check(include_str!(concat!("../torch/", $kind, ".json")), DType::F32, 1e-4);
        }
    )*};
}

single!(cnn7_float32 "cnn7", resnet8_float32 "resnet8", resnet20_float32 "resnet20", vgg11_float32 "vgg11", cifarnet_float32 "cifarnet");

/// The parameter counts that the literature and this crate's documentation state.
const STATED: [(ModelKind, usize); 7] = [
    (ModelKind::Cnn7, 351_946),
    (ModelKind::ResNet20, 269_722),
    (ModelKind::Vgg16, 15_253_578),
    (ModelKind::ResNet18, 11_689_512),
    (ModelKind::ResNet34, 21_797_672),
    (ModelKind::ResNet50, 25_557_032),
    (ModelKind::CifarNet, 1_972_792),
];

/// Every tensor of every model has a PyTorch name of its own; names, shapes and parameter
/// counts are those of PyTorch's state dicts (without the batch counters; of the deepest
/// CIFAR ResNets the counts alone are stored).
#[test]
fn names_shapes_and_counts_are_pytorchs() {
    let catalogue = include_str!("../torch/catalogue.json");
    let catalogue: BTreeMap<ModelKind, Entry> =
        serde_json::from_str(catalogue).expect("make.py's JSON");
    assert_eq!(catalogue.len(), ModelKind::ALL.len());
    for (kind, count) in STATED {
        assert_eq!(catalogue[&kind].trainable, count, "{kind}");
    }
    for (kind, entry) in catalogue {
        let model = ModelConfig::new(kind, entry.classes, entry.shape)
            .init(&Device::flex())
            .expect("a model");
        assert_eq!(model.num_trainable(), entry.trainable, "{kind}");
        let mut ours = BTreeMap::new();
        for Seen { path, mut shape } in tensors(&model) {
            let torch = kind.torch_name(&path).expect("a torch name");
            assert_eq!(torch.transpose, shape.len() == 2, "{kind}: {path}");
            assert_eq!(
                is_running_statistic(&path),
                is_running_statistic(&torch.name)
            );
            if torch.transpose {
                shape.reverse();
            }
            let twice = ours.insert(torch.name, shape);
            assert!(twice.is_none(), "{kind}: {path} is named twice");
        }
        if !entry.tensors.is_empty() {
            assert_eq!(ours, entry.tensors, "{kind}");
        }
    }
}
