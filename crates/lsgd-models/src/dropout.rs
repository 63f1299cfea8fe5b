//! Dropout whose mask comes from the caller's generator.

use burn::tensor::{Tensor, TensorData};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::forward_mode::ForwardMode;

/// Inverted dropout: in training each element is zeroed with probability `rate` and the
/// others are divided by `1 - rate`; in evaluation nothing happens.
///
/// The mask is drawn on the host, one 32-bit word per element in row-major order, so it depends on
/// the generator alone and not on the device or on Burn's process-wide seed. A rate of zero draws
/// nothing.
pub(crate) fn dropout(x: Tensor<2>, rate: f64, phase: &mut ForwardMode<'_>) -> Tensor<2> {
    match phase {
        ForwardMode::Train(generator) if rate > 0.0 => {
            let [batch, units] = x.dims();
            let mask = mask(batch * units, rate, generator);
            let data = TensorData::new(mask, [batch, units]);
            let mask = Tensor::<2>::from_data(data, (&x.device(), x.dtype()));
            x * mask
        }
        _ => x,
    }
}

/// `count` factors, each 0 with probability `rate`, else `1 / (1 - rate)`.
fn mask(count: usize, rate: f64, generator: &mut ChaCha8Rng) -> Vec<f32> {
    // A word below the threshold drops its element; `rate` < 1 keeps the threshold within 32 bits.
    let threshold = (rate * 4_294_967_296.0) as u32;
    let kept = (1.0 / (1.0 - rate)) as f32;
    (0..count)
        .map(|_| {
            if generator.next_u32() < threshold {
                0.0
            } else {
                kept
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use rand::SeedableRng;

    fn drop(rate: f64, seed: u64) -> Vec<f32> {
        let x = Tensor::<2>::ones([64, 256], &Device::flex());
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        values(dropout(x, rate, &mut ForwardMode::Train(&mut generator)))
    }

    fn values(x: Tensor<2>) -> Vec<f32> {
        x.into_data().iter::<f32>().collect()
    }

    #[test]
    fn one_seed_gives_one_mask_and_another_seed_another() {
        assert_eq!(drop(0.5, 1), drop(0.5, 1));
        assert_ne!(drop(0.5, 1), drop(0.5, 2));
    }

    #[test]
    fn rate_is_the_share_dropped_and_the_mean_stays() {
        for rate in [0.1, 0.5, 0.9] {
            let values = drop(rate, 3);
            let n = values.len() as f64;
            let kept = (1.0 / (1.0 - rate)) as f32;
            assert!(values.iter().all(|&v| v == 0.0 || v == kept));
            let dropped = values.iter().filter(|&&v| v == 0.0).count() as f64 / n;
            // Five standard deviations of a binomial share.
            let allowed = 5.0 * (rate * (1.0 - rate) / n).sqrt();
            assert!(
                (dropped - rate).abs() < allowed,
                "rate {rate}: {dropped} dropped"
            );
        }
    }

    #[test]
    fn evaluation_and_rate_zero_leave_the_tensor_and_the_generator_alone() {
        let x = Tensor::<2>::from_floats([[1.0, -2.0], [3.0, 0.5]], &Device::flex());
        assert_eq!(
            values(dropout(x.clone(), 0.5, &mut ForwardMode::Evaluate)),
            [1.0, -2.0, 3.0, 0.5]
        );
        let mut generator = ChaCha8Rng::seed_from_u64(4);
        let untouched = generator.clone();
        let kept = dropout(x, 0.0, &mut ForwardMode::Train(&mut generator));
        assert_eq!(values(kept), [1.0, -2.0, 3.0, 0.5]);
        assert_eq!(generator, untouched);
    }

    #[test]
    fn a_dropped_unit_passes_no_gradient() {
        let device = Device::flex().autodiff();
        let x = Tensor::<2>::ones([8, 8], &device).require_grad();
        let mut generator = ChaCha8Rng::seed_from_u64(5);
        let y = dropout(x.clone(), 0.25, &mut ForwardMode::Train(&mut generator));
        let gradients = y.clone().sum().backward();
        let gradient = x
            .grad(&gradients)
            .map(|g| g.into_data().iter::<f32>().collect());
        assert_eq!(gradient, Some(values(y)));
    }
}
