//! Compares the kernels with Burn's own operations, with PyTorch, and with themselves on other
//! numbers of threads.

mod against_burn;
mod against_torch;
mod threads;

use burn::tensor::{Tensor, TensorData};

/// Values between -1 and 1, the same for the same seed.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn data<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> TensorData {
    TensorData::new(values, shape)
}

/// Checks that no value differs from the expected one by more than 1e-4 of the largest, plus the
/// rounding of a sum of this many terms of about one, which may cancel.
#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], terms: usize, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected
        .iter()
        .fold(1e-3f32, |most, value| most.max(value.abs()));
    let tolerance = 1e-4 * largest + f32::EPSILON * terms as f32;
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= tolerance,
            "{what}: {found} at {index}, expected {expected} within {tolerance}"
        );
    }
}
