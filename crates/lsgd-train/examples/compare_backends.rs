//! Trains a tiny ResNet on every backend of this build and compares losses and gradients with
//! `flex`, and images that the device makes with those of the host. `scripts/check-backends` builds and runs it.

use std::process::ExitCode;
use std::sync::Arc;

use burn::Tensor;
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::Device;
use lsgd_core::{Layout, Snapshot, Source, read, write};
use lsgd_models::{ForwardMode, Model, ModelConfig, ModelKind};
use lsgd_run::RunError;
use lsgd_run::device::{WorkerDevice, available};
use lsgd_train::data::{Dataset, Stream};
use lsgd_train::device_images::DeviceImages;
use lsgd_train::error::TrainError;
use lsgd_train::image_config::{Augment, DataConfig, DataName};
use lsgd_train::tensors::tensors;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const STEPS: u64 = 4;
/// Examples a batch.
const BATCH: usize = 16;
/// Largest difference allowed, relative to the largest value of the same vector: rounding in
/// single precision grows over the steps.
const TOLERANCE: f32 = 2e-3;
/// The same for a sum of two products.
const ROUNDING: f32 = 1e-6;

fn main() -> ExitCode {
    match compare() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<bool, TrainError> {
    let data = DataConfig {
        name: DataName::Generated,
        augment: Augment::None,
        examples: 64,
        classes: 4,
        shape: [3, 8, 8],
        ..DataConfig::default()
    };
    let dataset = Dataset::open(&data, 1)?;
    let stream = Stream::new(dataset.train_len(), BATCH, 1)?;
    let mut config = ModelConfig::new(ModelKind::ResNet8, 4, dataset.shape());
    config.base_width = 8;

    let flex = Device::flex();
    flex.seed(1);
    let model = config.init(&flex.clone().autodiff())?;
    let layout = Layout::of(&model);
    let unread = |why| RunError::Unfit { why };
    let start = read(&model, &layout, START).map_err(unread)?;
    let expected = trace(&config, &start, &layout, &flex, &dataset, &stream)?;

    let mut agree = true;
    for WorkerDevice { name, device, .. } in available() {
        agree &= same_images(&name, &device)?;
        let found = trace(&config, &start, &layout, &device, &dataset, &stream)?;
        for (step, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let loss = (expected.loss - found.loss).abs() / expected.loss.abs();
            let gradient = distance(&expected.gradients, &found.gradients);
            let good = loss <= TOLERANCE && gradient <= TOLERANCE;
            agree &= good;
            println!(
                "{name}: step {step}, loss {:.6}, off by {loss:.1e}, gradients by {gradient:.1e}{}",
                found.loss,
                if good { "" } else { "  TOO FAR" },
            );
        }
    }
    Ok(agree)
}

/// Whether images that `device` makes of bytes have the bits of those that the host makes, in every
/// kind of augmentation; mixup's may be rounded otherwise.
fn same_images(name: &str, device: &Device) -> Result<bool, TrainError> {
    let mut agree = true;
    for (augment, mixup, cutmix) in [
        (Augment::PadCrop, None, None),
        (Augment::Paper, None, Some(1.0)),
        (Augment::PadCrop, Some(0.4), None),
    ] {
        let config = DataConfig {
            name: DataName::Generated,
            augment,
            cutout: Some(8),
            erasing: 0.5,
            mixup,
            cutmix,
            ..DataConfig::default()
        };
        let dataset = Dataset::open(&config, 1)?;
        let stream = Stream::new(dataset.train_len(), BATCH, 1)?;
        let images = DeviceImages::new(dataset.format());
        for number in 0..STEPS {
            let host = dataset.train_batch(&stream, number)?.images;
            let made = images.examples(dataset.byte_batch(&stream, number)?, device);
            let made: Vec<f32> = made.images.into_data().iter::<f32>().collect();
            let off = distance(&host, &made);
            let good = off == 0.0 || (mixup.is_some() && off <= ROUNDING);
            agree &= good;
            println!(
                "{name}: images of batch {number}, {augment:?}, off by {off:.1e}{}",
                if good { "" } else { "  TOO FAR" },
            );
        }
    }
    Ok(agree)
}

const START: Source = Source::Mean { workers: 1 };

/// Loss and gradients of a step.
struct Step {
    loss: f32,
    gradients: Vec<f32>,
}

fn trace(
    config: &ModelConfig,
    start: &Snapshot,
    layout: &Arc<Layout>,
    device: &Device,
    dataset: &Dataset,
    stream: &Stream,
) -> Result<Vec<Step>, TrainError> {
    let device = device.clone().autodiff();
    let model = config.init(&device)?;
    let mut model = write(model, layout, start).map_err(|why| RunError::Unfit { why })?;
    let mut optimizer = SgdConfig::new().init();
    let mut steps = Vec::new();
    for step in 0..STEPS {
        let (images, labels) = tensors(dataset.train_batch(stream, step)?, &device);
        let mut dropout = ChaCha8Rng::seed_from_u64(0);
        let logits = model.forward(images, ForwardMode::Train(&mut dropout));
        let loss = CrossEntropyLossConfig::new()
            .init(&device)
            .forward(logits, labels);
        let value = loss.clone().into_scalar::<f32>();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        steps.push(Step {
            loss: value,
            gradients: flat(&model, &gradients),
        });
        model = optimizer.step(0.1, model, gradients);
    }
    Ok(steps)
}

/// All gradients in the order of the module's fields.
fn flat(model: &Model, gradients: &GradientsParams) -> Vec<f32> {
    struct Flat<'a> {
        gradients: &'a GradientsParams,
        values: Vec<f32>,
    }
    impl ModuleVisitor for Flat<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(param.id) {
                self.values.extend(gradient.into_data().iter::<f32>());
            }
        }
    }
    let mut flat = Flat {
        gradients,
        values: Vec::new(),
    };
    model.visit(&mut flat);
    flat.values
}

fn distance(expected: &[f32], found: &[f32]) -> f32 {
    if expected.len() != found.len() {
        return f32::INFINITY;
    }
    let pairs = expected.iter().zip(found);
    // `max` drops a NaN, which must not pass for agreement.
    let off = pairs.fold(0.0, |off: f32, (a, b)| match (a - b).abs() {
        d if d.is_nan() => f32::INFINITY,
        d => off.max(d),
    });
    off / expected
        .iter()
        .fold(f32::MIN_POSITIVE, |most, a| most.max(a.abs()))
}
