//! The CPU's own kernels in whole models. How much a rounding grows on its way through one depends
//! on the weights, and Burn's generator belongs to the process: this is one test in a program of its
//! own, so that its weights are always the same.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use lsgd_models::{ForwardMode, ModelConfig, ModelKind};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Seed of the weights.
const SEED: u64 = 1;

fn images(shape: [usize; 4], device: &Device) -> Tensor<4> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| random.random_range(-1.0..1.0))
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// A model computes the same with the CPU's own kernels and with Burn's operations: logits, gradients
/// down to the images, and in evaluation what running statistics make of it.
#[test]
fn own_kernels_compute_what_burns_do() {
    for (kind, side) in [
        (ModelKind::Cnn7, 28),
        (ModelKind::ResNet8, 16),
        (ModelKind::ResNet18, 32),
        (ModelKind::ResNet50, 32),
        (ModelKind::Vgg11, 32),
        (ModelKind::CifarNet, 32),
    ] {
        let device = Device::flex().autodiff();
        let model = |cpu_kernels| {
            let config = ModelConfig {
                cpu_kernels,
                ..ModelConfig::new(kind, 10, [3, side, side])
            };
            config.init(&device).expect("a model")
        };
        device.seed(SEED);
        let weights = model(true);
        let run = |cpu_kernels| {
            let model = model(cpu_kernels).load_record(weights.clone().into_record());
            let x = images([6, 3, side, side], &device).require_grad();
            let mut generator = ChaCha8Rng::seed_from_u64(1);
            let logits = model.forward(x.clone(), ForwardMode::Train(&mut generator));
            let gradients = logits.clone().powi_scalar(2).sum().backward();
            let plain = images([6, 3, side, side], &Device::flex());
            let evaluated = model.valid().forward(plain, ForwardMode::Evaluate);
            let of_images = x.grad(&gradients).expect("a gradient");
            [numbers(logits), numbers(of_images), numbers(evaluated)]
        };
        // A rounding can change which value of a window is the largest, or whether one is above
        // zero, and with it where a gradient goes; fifty layers of normalisation over six values
        // enlarge that. The kernels themselves are held to 1e-4 (crates/lsgd-cpu/tests).
        let allowed = [("logits", 1e-3), ("gradients", 5e-2), ("evaluation", 1e-3)];
        for ((own, burn), (what, most)) in run(true).iter().zip(&run(false)).zip(allowed) {
            let norm = |values: &mut dyn Iterator<Item = f32>| -> f32 {
                values.map(|value| value * value).sum::<f32>().sqrt()
            };
            let whole = norm(&mut burn.iter().copied());
            let apart = norm(&mut own.iter().zip(burn).map(|(own, burn)| own - burn));
            assert!(whole > 0.0, "{kind}, {what}");
            assert!(apart < most * whole, "{kind}, {what}: {}", apart / whole);
        }
    }
}
