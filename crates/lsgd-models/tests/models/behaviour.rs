//! What every model does, whatever its numbers: shapes, refusals, names, seeds, statistics.

use crate::reference::values;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use lsgd_models::{ForwardMode, ModelConfig, ModelError, ModelKind};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn refusal(change: impl FnOnce(&mut ModelConfig)) -> String {
    let mut config = ModelConfig::new(ModelKind::ResNet20, 10, [3, 32, 32]);
    change(&mut config);
    match config.init(&Device::flex()) {
        Ok(_) => "built".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn images(shape: [usize; 4], device: &Device) -> Tensor<4> {
    let values: Vec<f32> = values("images", shape.iter().product())
        .map(|v| v as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let error = "resnet21".parse::<ModelKind>().expect_err("no such model");
    assert_eq!(
        error.to_string(),
        "unknown model \"resnet21\": use one of cnn7, resnet8, resnet14, resnet20, resnet32, \
         resnet44, resnet56, resnet110, resnet18, resnet34, resnet50, vgg11, vgg13, vgg16, vgg19, \
         cifarnet"
    );
}

#[test]
fn names_survive_text_and_serde() {
    for kind in ModelKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
        let json = serde_json::to_string(&kind).expect("a name");
        assert_eq!(json, format!("\"{kind}\""));
        assert_eq!(serde_json::from_str::<ModelKind>(&json).ok(), Some(kind));
    }
}

#[test]
fn a_config_fills_defaults_and_refuses_unknown_fields() {
    let short = r#"{"kind": "resnet20", "classes": 10, "channels": 3, "height": 32, "width": 32}"#;
    let config: ModelConfig = serde_json::from_str(short).expect("a config");
    assert_eq!(
        config,
        ModelConfig::new(ModelKind::ResNet20, 10, [3, 32, 32])
    );
    assert_eq!(
        (
            config.base_width,
            config.dropout,
            config.batch_norm_momentum
        ),
        (16, 0.5, 0.1)
    );
    let unknown = short.replace("\"classes\"", "\"depth\": 3, \"classes\"");
    let error = serde_json::from_str::<ModelConfig>(&unknown).expect_err("unknown field");
    assert!(
        error.to_string().starts_with("unknown field `depth`"),
        "{error}"
    );
}

#[test]
fn every_refusal_says_where_what_and_what_to_do() {
    assert_eq!(refusal(|_| ()), "built");
    assert_eq!(
        refusal(|c| c.classes = 0),
        "resnet20: classes 0 is not in 1..=65536"
    );
    assert_eq!(
        refusal(|c| c.channels = 257),
        "resnet20: channels 257 is not in 1..=256"
    );
    assert_eq!(
        refusal(|c| c.height = 513),
        "resnet20: height 513 is not in 1..=512"
    );
    assert_eq!(
        refusal(|c| c.width = 0),
        "resnet20: width 0 is not in 1..=512"
    );
    let width = usize::MAX;
    assert_eq!(
        refusal(|c| c.base_width = width),
        format!("resnet20: base_width {width} is not in 1..=256")
    );
    assert_eq!(
        refusal(|c| c.dropout = 1.0),
        "resnet20: dropout 1 is not in [0, 1)"
    );
    assert_eq!(
        refusal(|c| c.dropout = f64::NAN),
        "resnet20: dropout NaN is not in [0, 1)"
    );
    assert_eq!(
        refusal(|c| c.batch_norm_momentum = -0.5),
        "resnet20: batch_norm_momentum -0.5 is not in [0, 1]"
    );
    assert_eq!(
        refusal(|c| c.width = 3),
        "resnet20: images of 32 x 3 are too small, use at least 4 x 4"
    );
    assert_eq!(
        refusal(|c| (c.kind, c.height) = (ModelKind::Cnn7, 23)),
        "cnn7: images of 23 x 32 are too small, use at least 24 x 24"
    );
    assert_eq!(
        refusal(|c| (c.kind, c.height) = (ModelKind::ResNet18, 31)),
        "resnet18: images of 31 x 32 are too small, use at least 32 x 32"
    );
    assert_eq!(
        refusal(|c| (c.kind, c.width) = (ModelKind::CifarNet, 8)),
        "cifarnet: images of 32 x 8 are too small, use at least 9 x 9"
    );
    assert_eq!(
        refusal(|c| (c.kind, c.channels) = (ModelKind::CifarNet, 17)),
        "cifarnet: channels 17 is not in 1..=16"
    );
    assert_eq!(
        refusal(|c| (c.kind, c.height, c.width) = (ModelKind::Vgg16, 28, 28)),
        "vgg16: images of 28 x 28 do not divide by its five 2 x 2 pools, use 32 x 32 or \
         multiples of 32"
    );
    let path = ModelKind::Vgg11.torch_name("Vgg.features.8.conv.weight");
    let error = path.expect_err("vgg11 has eight convolutions");
    assert_eq!(
        error.to_string(),
        "vgg11: no tensor at path \"Vgg.features.8.conv.weight\""
    );
}

/// The smallest image of each family, sizes that are not square, and other channel counts.
#[test]
fn the_least_images_give_logits() {
    use ModelKind::{CifarNet, Cnn7, ResNet8, ResNet18, ResNet20, ResNet50, Vgg11};
    for (kind, shape) in [
        (Cnn7, [1, 24, 24]),
        (Cnn7, [3, 31, 24]),
        (ResNet20, [1, 8, 8]),
        (ResNet20, [3, 28, 28]),
        (ResNet8, [2, 4, 7]),
        (ResNet18, [1, 32, 45]),
        (ResNet50, [3, 32, 32]),
        (Vgg11, [1, 32, 64]),
        (CifarNet, [1, 9, 9]),
        (CifarNet, [16, 24, 17]),
    ] {
        let device = Device::flex().autodiff();
        let model = ModelConfig::new(kind, 7, shape)
            .init(&device)
            .expect("a model");
        let [channels, height, width] = shape;
        let mut generator = ChaCha8Rng::seed_from_u64(0);
        let x = images([2, channels, height, width], &device);
        let logits = model.forward(x, ForwardMode::Train(&mut generator));
        assert_eq!(logits.dims(), [2, 7], "{kind} {shape:?}");
        assert!(
            numbers(logits).iter().all(|v| v.is_finite()),
            "{kind} {shape:?}"
        );
    }
}

/// Option A with an odd width: the zero channels cannot be shared out evenly.
#[test]
fn a_width_need_not_be_even() {
    let mut config = ModelConfig::new(ModelKind::ResNet8, 10, [3, 8, 8]);
    config.base_width = 5;
    let device = Device::flex();
    let model = config.init(&device).expect("a model");
    assert_eq!(
        model
            .forward(images([2, 3, 8, 8], &device), ForwardMode::Evaluate)
            .dims(),
        [2, 10]
    );
}

/// A path of another model, or one a little off, is refused rather than given a made-up name.
#[test]
fn a_path_of_another_model_is_refused() {
    for (kind, path) in [
        (ModelKind::ResNet8, "CifarResNet.layer1.1.conv1.weight"),
        (ModelKind::ResNet20, "CifarResNet.layer4.0.conv1.weight"),
        (ModelKind::ResNet20, "CifarResNet.layer0.0.conv1.weight"),
        (ModelKind::ResNet20, "CifarResNet.layer1.00.conv1.weight"),
        (ModelKind::ResNet20, "CifarResNet.layer1.0.conv3.weight"),
        (ModelKind::ResNet20, "CifarResNet.layer1.0.conv1.bias"),
        (ModelKind::ResNet20, "ResNet.conv1.weight"),
        (ModelKind::ResNet20, "fc.weight"),
        (ModelKind::ResNet20, ""),
        (
            ModelKind::ResNet18,
            "ResNet.layer1.0.Basic.downsample.conv.weight",
        ),
        (
            ModelKind::ResNet18,
            "ResNet.layer2.0.Bottleneck.conv1.weight",
        ),
        (
            ModelKind::ResNet50,
            "ResNet.layer2.1.Bottleneck.downsample.bn.gamma",
        ),
        (ModelKind::Cnn7, "Cnn7.fc3.weight"),
        (ModelKind::Vgg16, "Vgg.fc1.gamma"),
        (ModelKind::CifarNet, "CifarNet.block4.conv1.weight"),
        (ModelKind::CifarNet, "CifarNet.fc.bias"),
    ] {
        let unknown = ModelError::UnknownPath {
            kind,
            path: path.to_owned(),
        };
        assert_eq!(kind.torch_name(path), Err(unknown));
    }
}

proptest! {
    /// Whatever the text, naming it either fails or answers; it never panics.
    #[test]
    fn any_text_is_a_safe_path(path in "[A-Za-z0-9.]{0,40}", kind in 0..ModelKind::ALL.len()) {
        let kind = ModelKind::ALL[kind];
        if let Err(error) = kind.torch_name(&path) {
            prop_assert_eq!(error, ModelError::UnknownPath { kind, path });
        }
    }

    /// Any sizes are accepted or refused before anything is allocated.
    #[test]
    fn any_sizes_are_safe_to_check(
        kind in 0..ModelKind::ALL.len(),
        sizes in any::<[usize; 5]>(),
        rates in any::<[f64; 2]>(),
    ) {
        let [classes, channels, height, width, base_width] = sizes.map(|s| s % 600);
        let mut config = ModelConfig::new(ModelKind::ALL[kind], classes, [channels, height, width]);
        config.base_width = base_width;
        [config.dropout, config.batch_norm_momentum] = rates;
        let fine = config.check().is_ok();
        let rated = (0.0..1.0).contains(&rates[0]) && (0.0..=1.0).contains(&rates[1]);
        let small = classes > 0 && (1..=256).contains(&channels) && (1..=256).contains(&base_width);
        prop_assert!(!fine || (rated && small && height.max(width) <= 512));
    }
}

/// Logits of a model with dropout depend on the generator in training, and on nothing in
/// evaluation.
#[test]
fn dropout_follows_the_callers_generator() {
    for (kind, side) in [(ModelKind::Cnn7, 28), (ModelKind::Vgg11, 32)] {
        // Without autodiff BatchNorm stays as it is, and dropout alone makes a difference.
        let device = Device::flex();
        let model = ModelConfig::new(kind, 10, [3, side, side])
            .init(&device)
            .expect("a model");
        let logits = |seed| {
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            let x = images([2, 3, side, side], &device);
            numbers(model.forward(x, ForwardMode::Train(&mut generator)))
        };
        assert_eq!(logits(1), logits(1), "{kind}");
        assert_ne!(logits(1), logits(2), "{kind}");
        let evaluate =
            || numbers(model.forward(images([2, 3, side, side], &device), ForwardMode::Evaluate));
        assert_eq!(evaluate(), evaluate(), "{kind}");
        assert_ne!(evaluate(), logits(1), "{kind}");
    }
}

/// With a momentum of one, running statistics are the last training batch's: evaluation then
/// gives that batch the logits that training gave it, whatever came before.
#[test]
fn momentum_one_keeps_the_last_batch_alone() {
    let device = Device::flex().autodiff();
    let mut config = ModelConfig::new(ModelKind::ResNet8, 10, [3, 16, 16]);
    config.batch_norm_momentum = 1.0;
    let model = config.init(&device).expect("a model");
    let batch = images([8, 3, 16, 16], &device);
    let mut generator = ChaCha8Rng::seed_from_u64(0);
    let other = batch.clone() * 3.0 + 1.0;
    let _ = model.forward(other.clone(), ForwardMode::Train(&mut generator));
    let trained = numbers(model.forward(batch.clone(), ForwardMode::Train(&mut generator)));
    let plain = images([8, 3, 16, 16], &Device::flex());
    let evaluated = numbers(model.valid().forward(plain.clone(), ForwardMode::Evaluate));
    for (t, e) in trained.iter().zip(&evaluated) {
        assert!((t - e).abs() < 1e-4, "{t} in training, {e} in evaluation");
    }
    // At the default momentum the earlier batch is still felt.
    config.batch_norm_momentum = 0.1;
    let slow = config
        .init(&device)
        .expect("a model")
        .load_record(model.into_record());
    let _ = slow.forward(other, ForwardMode::Train(&mut generator));
    let trained = numbers(slow.forward(batch, ForwardMode::Train(&mut generator)));
    let evaluated = numbers(slow.valid().forward(plain, ForwardMode::Evaluate));
    let largest = trained
        .iter()
        .zip(&evaluated)
        .map(|(t, e)| (t - e).abs())
        .fold(0.0, f32::max);
    assert!(largest > 1e-2, "largest difference {largest}");
}
