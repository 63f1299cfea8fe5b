//! Workers that train differently on purpose, for experiments: `[[workers.vary]]`.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor, TensorData};
use lsgd_core::{download, upload};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::job::Facts;
use crate::config::{Variation, WorkersConfig};
use crate::error::RunError;
use crate::task::StepKey;
use crate::train::SettingsError;

/// Bits of a gradient's value: it is taken as f32.
const BITS: u32 = 32;

impl Variation {
    /// That of a worker, by its index among those of all nodes; most have none.
    pub(super) fn of(workers: &WorkersConfig, worker: u64) -> Self {
        let mut varied = workers.vary.iter();
        let own = varied.find(|variation| variation.worker == worker);
        own.cloned().unwrap_or_default()
    }

    /// Flips random bits of `gradients`, which are those of `module`. They depend on the step alone.
    pub(super) fn flip_bits<M: Module>(
        &self,
        module: &M,
        gradients: GradientsParams,
        key: StepKey,
    ) -> GradientsParams {
        if self.gradient_flips == 0 {
            return gradients;
        }
        let mut lengths = Lengths {
            gradients: &gradients,
            total: 0,
        };
        module.visit(&mut lengths);
        let total = lengths.total;
        if total == 0 {
            return gradients;
        }
        let mut generator = key.generator("lsgd-run v1 flipped bits");
        let mut flipper = Flipper {
            flips: draw(self.gradient_flips, total, &mut generator),
            gradients,
            start: 0,
        };
        module.visit(&mut flipper);
        flipper.gradients
    }
}

/// Refuses a variation of a worker that is not among `workers`.
///
/// # Errors
///
/// [`SettingsError::NoSuchWorker`].
pub(super) fn check(config: &WorkersConfig, workers: u64) -> Result<(), RunError> {
    let mut varied = config.vary.iter().enumerate();
    match varied.find(|(_, variation)| variation.worker >= workers) {
        Some((index, variation)) => Err(SettingsError::NoSuchWorker {
            key: "workers.vary",
            index,
            worker: variation.worker,
            workers,
        }
        .into()),
        None => Ok(()),
    }
}

/// Refuses a factor for the weight decay of an optimizer that has none.
///
/// # Errors
///
/// [`SettingsError::NoWeightDecay`].
pub(super) fn check_decay(config: &WorkersConfig, facts: &Facts) -> Result<(), RunError> {
    let mut varied = config.vary.iter().enumerate();
    match varied.find(|(_, variation)| variation.weight_decay != 1.0) {
        Some((index, variation)) if !facts.decays => Err(SettingsError::NoWeightDecay {
            index,
            factor: variation.weight_decay,
            title: facts.title.clone(),
        }
        .into()),
        _ => Ok(()),
    }
}

/// Places and bits of so many flips among `total` values, in order of place.
fn draw(flips: u64, total: usize, generator: &mut ChaCha8Rng) -> Vec<(usize, u32)> {
    let flip = |_| {
        let place = generator.random_range(0..total);
        (place, generator.random_range(0..BITS))
    };
    let mut flips: Vec<(usize, u32)> = (0..flips).map(flip).collect();
    flips.sort_unstable();
    flips
}

/// Counts the values of all gradients.
struct Lengths<'a> {
    gradients: &'a GradientsParams,
    total: usize,
}

impl ModuleVisitor for Lengths<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.total += gradient.shape().num_elements();
        }
    }
}

struct Flipper {
    gradients: GradientsParams,
    /// Those to come, with places counted over all gradients.
    flips: Vec<(usize, u32)>,
    /// Where the next gradient begins.
    start: usize,
}

impl ModuleVisitor for Flipper {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return;
        };
        let start = self.start;
        self.start += gradient.shape().num_elements();
        let own = self.flips.partition_point(|(place, _)| *place < self.start);
        let own: Vec<(usize, u32)> = self.flips.drain(..own).collect();
        let flipped = match own.is_empty() {
            true => gradient,
            false => {
                let (device, dtype) = (gradient.device(), gradient.dtype());
                let data = download("gradient to flip", gradient).convert_dtype(DType::F32);
                let shape = data.shape().clone();
                let mut values: Vec<f32> = data.iter::<f32>().collect();
                for (place, bit) in own {
                    if let Some(value) = values.get_mut(place - start) {
                        *value = f32::from_bits(value.to_bits() ^ (1 << bit));
                    }
                }
                let data = TensorData::new(values, shape).convert_dtype(dtype);
                upload("flipped gradient", data, (&device, dtype))
            }
        };
        self.gradients.register(param.id, flipped);
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    use super::*;

    fn key(step: u64) -> StepKey {
        StepKey {
            seed: 1,
            worker: 2,
            step,
        }
    }

    /// As many bits differ as were to be flipped, the same for the same step.
    #[test]
    fn so_many_bits_of_the_gradient_are_flipped() {
        let device = Device::flex().autodiff();
        let module = LinearConfig::new(3, 2).init(&device);
        let input = Tensor::<2>::ones([4, 3], &device);
        let gradients = || {
            let loss = module.forward(input.clone()).square().mean();
            GradientsParams::from_grads(loss.backward(), &module)
        };
        let bits = |gradients: GradientsParams| -> Vec<u32> {
            let weight = gradients.get::<2>(module.weight.id).expect("it has one");
            let bias = module.bias.as_ref().expect("it has one").id;
            let bias = gradients.get::<1>(bias).expect("it has one");
            let (weight, bias) = (weight.into_data(), bias.into_data());
            let values = weight.iter::<f32>().chain(bias.iter::<f32>());
            values.map(f32::to_bits).collect()
        };
        let plain = bits(gradients());
        assert_eq!(plain.len(), 8);
        let flipped = |flips, step| {
            let variation = Variation {
                gradient_flips: flips,
                ..Variation::default()
            };
            bits(variation.flip_bits(&module, gradients(), key(step)))
        };
        let changed = |bits: &[u32]| -> u32 {
            let pairs = bits.iter().zip(&plain);
            pairs.map(|(a, b)| (a ^ b).count_ones()).sum()
        };
        assert_eq!(flipped(0, 1), plain);
        for step in 0..50 {
            assert_eq!(changed(&flipped(1, step)), 1);
            assert_eq!(flipped(5, step), flipped(5, step));
        }
        assert_ne!(flipped(1, 0), flipped(1, 1));
        // Two flips of one bit undo each other, so it may be two fewer.
        assert!([1, 3, 5].contains(&changed(&flipped(5, 0))));
    }

    #[test]
    fn a_worker_that_is_not_there_is_refused() {
        let config = WorkersConfig {
            vary: vec![
                Variation::default(),
                Variation {
                    worker: 4,
                    ..Variation::default()
                },
            ],
            ..WorkersConfig::default()
        };
        assert!(check(&config, 5).is_ok());
        assert_eq!(
            check(&config, 4).unwrap_err().to_string(),
            "workers.vary[1].worker 4 is not among the 4 workers, counted from 0"
        );
    }
}
