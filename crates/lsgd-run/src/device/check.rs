//! One training step of a small network on a device, compared with PyTorch's numbers.
//!
//! A device can be there and compute nonsense: a driver's fault, a number type that it only claims to
//! have, a kernel that was fused or tuned wrongly. The step has what CNNs have: convolutions, batch
//! normalisation, a maximum pool, a product of matrices and a cross-entropy.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Int, Shape, Tensor, TensorData, Transaction};

use crate::error::panic_message;
use crate::words::first_line;

// `check.py` prints these.
/// The loss before the step.
const BEFORE: f64 = 1.47377514;
/// Of each parameter's gradient, the product with a fixed vector and the norm.
const GRADIENTS: [(f64, f64); 6] = [
    (0.0552760003, 0.0933691853),
    (0.0131402156, 0.0438110858),
    (0.012530957, 0.035400752),
    (-0.407465064, 0.567889016),
    (-0.375856334, 0.925577543),
    (-0.251104683, 0.202922564),
];
/// The loss after the step.
const AFTER: f64 = 1.39511487;

/// Largest relative error that passes. Single precision comes to 1e-6 here, products in TF32 to some 1e-3.
const TOLERANCE: f64 = 1e-2;

/// Why a device is not to be trained on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CheckError {
    /// A number differs from PyTorch's.
    #[error("{what} is {found}, not {expected}")]
    Wrong {
        /// Which.
        what: String,
        /// As computed.
        found: f64,
        /// As it should be.
        expected: f64,
    },
    /// The device or its driver failed.
    #[error("it failed: {0}")]
    Failed(String),
}

/// Takes a training step on `device`, and returns the largest relative error of what it computes.
///
/// The first step on a GPU also compiles its kernels, which can take some seconds.
///
/// # Errors
///
/// [`CheckError`] if the error is above 1 %, or the device fails.
pub fn check(device: &Device) -> Result<f64, CheckError> {
    let device = device.clone().autodiff();
    let numbers = catch_unwind(AssertUnwindSafe(|| Net::new(&device).train()))
        // A backtrace may follow the first line.
        .map_err(|panic| CheckError::Failed(first_line(&panic_message(panic.as_ref()))))?;
    numbers.compare()
}

/// What a step computes.
#[derive(Debug, Clone, PartialEq)]
struct Numbers {
    before: f64,
    /// As [`GRADIENTS`].
    gradients: Vec<(f64, f64)>,
    after: f64,
}

impl Numbers {
    fn compare(&self) -> Result<f64, CheckError> {
        let mut worst: f64 = 0.0;
        let mut compare = |what: &str, found: f64, expected: f64, scale: f64| {
            let error = (found - expected).abs() / scale;
            worst = worst.max(error);
            match error <= TOLERANCE {
                true => Ok(()),
                // NaN comes here too.
                false => Err(CheckError::Wrong {
                    what: String::from(what),
                    found,
                    expected,
                }),
            }
        };
        compare("a loss", self.before, BEFORE, BEFORE)?;
        for (found, expected) in self.gradients.iter().zip(GRADIENTS) {
            let norm = expected.1;
            compare("a gradient's norm", found.1, norm, norm)?;
            compare("a gradient's projection", found.0, expected.0, norm)?;
        }
        compare("the loss after a step", self.after, AFTER, AFTER)?;
        Ok(worst)
    }
}

/// The network and its batch.
struct Net {
    first: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    second: Tensor<4>,
    matrix: Tensor<2>,
    bias: Tensor<1>,
    images: Tensor<4>,
    labels: Tensor<2, Int>,
}

impl Net {
    fn new(device: &Device) -> Self {
        let labels: Vec<i32> = (0..8).map(|image| image % 4).collect();
        Self {
            first: parameter(0.0, [8, 3, 3, 3], device),
            scale: parameter(1.0, [8], device),
            shift: parameter(2.0, [8], device),
            second: parameter(3.0, [8, 8, 3, 3], device),
            matrix: parameter(4.0, [8, 4], device),
            bias: parameter(5.0, [4], device),
            images: values(0.0, 1.0, [8, 3, 16, 16], device),
            labels: Tensor::from_data(TensorData::new(labels, [8, 1]), device),
        }
    }

    fn loss(&self) -> Tensor<1> {
        let options = |stride| ConvOptions::new([stride, stride], [1, 1], [1, 1], 1);
        let x = conv2d(self.images.clone(), self.first.clone(), None, options(1));
        let x = self.normalise(x);
        let pool = MaxPoolOptions::new([2, 2]).with_stride([2, 2]);
        let x = max_pool2d(relu(x), pool);
        let x = relu(conv2d(x, self.second.clone(), None, options(2)));
        let x = x.flatten::<3>(2, 3).mean_dim(2).flatten::<2>(1, 2);
        let logits = x.matmul(self.matrix.clone()) + self.bias.clone().unsqueeze();
        log_softmax(logits, 1)
            .gather(1, self.labels.clone())
            .mean()
            .neg()
    }

    /// Batch normalisation, as Burn's module computes it.
    fn normalise(&self, x: Tensor<4>) -> Tensor<4> {
        let channels = |x: Tensor<1>| x.reshape([1, 8, 1, 1]);
        let over_batch = |x: Tensor<4>| x.mean_dim(0).mean_dim(2).mean_dim(3);
        let centred = x.clone() - over_batch(x);
        let variance = over_batch(centred.clone() * centred.clone());
        let scale = channels(self.scale.clone()) + 1.0;
        centred / (variance + 1e-5).sqrt() * scale + channels(self.shift.clone())
    }

    /// A gradient step, its numbers read together.
    fn train(mut self) -> Numbers {
        let before = self.loss();
        let gradients = before.backward();
        let mut sums = Vec::new();
        macro_rules! step {
            ($($parameter:ident),*) => {$(
                if let Some(gradient) = self.$parameter.grad(&gradients) {
                    let phase = 10.0 + (sums.len() / 2) as f64;
                    let probe = values(phase, 1.0, gradient.dims(), &gradient.device());
                    sums.push((gradient.clone() * probe).sum());
                    sums.push((gradient.clone() * gradient.clone()).sum());
                    let moved = self.$parameter.inner() - gradient * 0.1;
                    self.$parameter = Tensor::from_inner(moved).require_grad();
                }
            )*};
        }
        step!(first, scale, shift, second, matrix, bias);
        let after = self.loss();
        let mut read = Transaction::default()
            .register(before.inner())
            .register(after.inner());
        for sum in sums {
            read = read.register(sum);
        }
        let numbers: Vec<f64> = read
            .execute()
            .into_iter()
            .flat_map(|data| data.iter::<f64>().collect::<Vec<_>>())
            .collect();
        let of = |at: usize| numbers.get(at).copied().unwrap_or(f64::NAN);
        let gradients = (0..GRADIENTS.len()).map(|n| (of(2 + 2 * n), of(3 + 2 * n).sqrt()));
        Numbers {
            before: of(0),
            gradients: gradients.collect(),
            after: of(1),
        }
    }
}

fn parameter<const D: usize>(number: f64, shape: [usize; D], device: &Device) -> Tensor<D> {
    values(1.0 + number, 0.3, shape, device).require_grad()
}

/// A wave, which any language computes alike.
fn values<const D: usize>(
    phase: f64,
    height: f64,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    let count = Shape::from(shape).num_elements();
    let wave =
        (0..count).map(|n| (height * f64::from((0.7 * n as f64 + phase).sin() as f32)) as f32);
    let wave: Vec<f32> = wave.collect();
    Tensor::from_data(TensorData::new(wave, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> Numbers {
        Numbers {
            before: BEFORE,
            gradients: GRADIENTS.to_vec(),
            after: AFTER,
        }
    }

    #[test]
    fn a_cpu_computes_what_pytorch_does() {
        let worst = check(&Device::flex()).expect("right numbers");
        assert!(worst < 1e-5, "{worst}");
    }

    #[test]
    fn every_number_counts() {
        assert_eq!(right().compare(), Ok(0.0));
        for (number, what) in [
            (0, "a loss"),
            (1, "the loss after a step"),
            (2, "a gradient's projection"),
            (3, "a gradient's norm"),
        ] {
            for wrong in [0.02, f64::NAN] {
                let mut numbers = right();
                let changed = match number {
                    0 => &mut numbers.before,
                    1 => &mut numbers.after,
                    2 => &mut numbers.gradients[5].0,
                    _ => &mut numbers.gradients[5].1,
                };
                *changed += wrong;
                let refused = numbers.compare().expect_err("wrong");
                assert!(
                    refused.to_string().starts_with(&format!("{what} is ")),
                    "{refused}"
                );
            }
        }
    }
}
