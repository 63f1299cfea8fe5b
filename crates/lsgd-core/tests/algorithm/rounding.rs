//! What the wire formats make of a vector: rounded to bf16, or to blocks of eight-bit numbers.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use lsgd_core::{Layout, Snapshot, SnapshotError, WireFormat, int8, read};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::setting::{bits, device, snapshot};
use crate::snapshots::weighted;

/// A module with a running statistic.
#[derive(Module, Debug)]
struct Normed {
    x: Param<Tensor<1>>,
    running_mean: Param<Tensor<1>>,
}

/// Three parameters and one running statistic.
fn normed(x: [f32; 3], running_mean: f32) -> Snapshot {
    let module = Normed {
        x: Param::from_data(x, &device()),
        running_mean: Param::from_data([running_mean], &device()),
    };
    let source = snapshot(0, 1, &[0.0]).source();
    read(&module, &Layout::of(&module), source).expect("of its own layout")
}

/// From 1 to 2 numbers of bf16 are 1/128 apart: what lies half way goes to the even one.
#[test]
fn values_are_rounded_to_the_nearest_bf16() {
    let steps = |steps: f32| 1.0 + steps / 128.0;
    let given = normed([steps(0.5), steps(1.5), -steps(0.75)], steps(0.25));
    let (rounded, _) = given.rounded(WireFormat::Bf16).expect("small");
    assert_eq!(rounded.parameters(), [steps(0.0), steps(2.0), -steps(1.0)]);
    assert_eq!(rounded.buffers(), [steps(0.0)]);
    assert_eq!(rounded.source(), given.source());
    let (again, moved) = rounded.rounded(WireFormat::Bf16).expect("small");
    assert_eq!((again.digest(), moved), (rounded.digest(), Some(0.0)));
}

/// The norm of the rounding error, which is (3, 4, 0), divided by the norm of all values.
#[test]
fn by_how_much_values_were_rounded_is_relative() {
    // From 1024 to 2048 they are 8 apart, from 8 to 16 a sixteenth.
    let given = normed([1027.0, 1028.0, 0.0], 8.0);
    let (rounded, moved) = given.rounded(WireFormat::Bf16).expect("small");
    assert_eq!(rounded.parameters(), [1024.0, 1024.0, 0.0]);
    let squares = 1027.0 * 1027.0 + 1028.0 * 1028.0 + 64.0;
    assert_eq!(moved, Some(f64::sqrt(25.0 / squares)));
    // Nothing is as long as nothing.
    let (_, moved) = normed([0.0; 3], 0.0)
        .rounded(WireFormat::Bf16)
        .expect("small");
    assert_eq!(moved, Some(0.0));
}

#[test]
fn what_no_bf16_can_hold_is_refused() {
    for (given, index) in [
        (normed([1.0, f32::MAX, 1.0], 1.0), 1),
        (normed([1.0; 3], f32::MIN), 3),
    ] {
        assert_eq!(given.check(given.layout()), Ok(()));
        let refused = given
            .rounded(WireFormat::Bf16)
            .map(|(rounded, _)| rounded.digest());
        assert_eq!(refused, Err(SnapshotError::NotFinite { index }));
    }
}

/// The weight is rounded, and its parameters with it; their quotient is rounded only once more.
#[test]
fn a_weighted_sum_is_rounded_with_its_weight() {
    // A weight of 257 becomes 256: 3 * 257 becomes 3 * 256.
    let sum = weighted([3.0; 4], &[257.0]);
    let (rounded, moved) = sum.rounded(WireFormat::Bf16).expect("small");
    assert_eq!(rounded.weights(), [256.0]);
    assert_eq!((rounded.parameters(), moved), (&[768.0; 4][..], Some(0.0)));
}

/// A block whose largest value is 1 counts in 1/64, as MXINT8 with a scale of 1.
#[test]
fn a_block_has_the_step_of_its_largest_value() {
    let step = 1.0 / 64.0;
    let mut values = vec![0.0; 40];
    values[..4].copy_from_slice(&[1.0, -0.5, 3.3 * step, -0.0]);
    // In a block of its own.
    values[32] = 0.3 * step;
    let (rounded, _) = snapshot(0, 1, &values)
        .rounded(WireFormat::Int8)
        .expect("small");
    let rounded = rounded.parameters();
    assert_eq!(rounded[..2], [1.0, -0.5]);
    assert!(
        [3.0 * step, 4.0 * step].contains(&rounded[2]),
        "{rounded:?}"
    );
    assert_eq!(rounded[3].to_bits(), 0.0_f32.to_bits());
    // 0.3 / 64 is 76.8 of these.
    let finer = step / 256.0;
    assert!(
        [76.0 * finer, 77.0 * finer].contains(&rounded[32]),
        "{rounded:?}"
    );

    let mut bytes = Vec::new();
    int8::encode(rounded, &mut bytes);
    assert_eq!(bytes.len(), int8::bytes(40));
    assert_eq!(bytes.len(), 2 + 40);
    let third = (rounded[2] / step) as u8;
    assert_eq!(bytes[..5], [127, 64, (-32_i8) as u8, third, 0]);
    assert_eq!(bytes[33..35], [127 - 8, (rounded[32] / finer) as u8]);
}

/// 0.3 of a step goes up in 0.3 of all cases: of 31,000 that is within 0.013, five standard deviations.
#[test]
fn rounding_to_int8_is_unbiased() {
    let step = 1.0 / 64.0;
    let mut values = vec![0.3 * step; 32_000];
    values.iter_mut().step_by(32).for_each(|value| *value = 1.0);
    let (rounded, error) = snapshot(0, 1, &values)
        .rounded(WireFormat::Int8)
        .expect("small");
    let up = rounded.parameters().iter().filter(|&&value| value == step);
    let share = up.count() as f64 / 31_000.0;
    assert!((share - 0.3).abs() < 0.013, "{share}");
    let squares = |values: &[f32]| -> f64 { values.iter().map(|x| f64::from(*x).powi(2)).sum() };
    let pairs = rounded.parameters().iter().zip(&values);
    let moved: Vec<f32> = pairs.map(|(to, from)| to - from).collect();
    assert_eq!(error, Some((squares(&moved) / squares(&values)).sqrt()));
    // Other values are drawn for anew, and the same ones alike.
    let again = snapshot(1, 2, &values)
        .rounded(WireFormat::Int8)
        .expect("small")
        .0;
    assert_eq!(again.parameters(), rounded.parameters());
    values[0] = 0.99;
    let other = snapshot(0, 1, &values)
        .rounded(WireFormat::Int8)
        .expect("small")
        .0;
    assert_ne!(other.parameters()[32..], rounded.parameters()[32..]);
}

/// Running statistics and weights cross as they are: a variance that becomes zero would be divided by.
#[test]
fn int8_is_for_parameters_alone() {
    let given = normed([1.0, 0.7, 0.001], 1e-9);
    let (rounded, _) = given.rounded(WireFormat::Int8).expect("small");
    assert_eq!(rounded.buffers(), [1e-9]);
    assert_eq!(WireFormat::Int8.bytes_of(&rounded), 1 + 3 + 4);
    let given = weighted([3.0, 1.0, 0.3, 2.0], &[257.0, 1e-6]);
    let (rounded, _) = given.rounded(WireFormat::Int8).expect("small");
    assert_eq!(rounded.weights(), [257.0, 1e-6]);
    assert_eq!(WireFormat::Int8.bytes_of(&rounded), 1 + 4 + 8);
}

/// The largest number is 127 * 2^121.
#[test]
fn what_no_block_can_hold_is_refused() {
    let most = 127.0 * 2.0_f32.powi(121);
    let mut values = vec![1.0; 70];
    values[66] = most;
    let (rounded, _) = snapshot(0, 1, &values)
        .rounded(WireFormat::Int8)
        .expect("fits");
    assert_eq!(rounded.parameters()[66], most);
    for beyond in [most.next_up(), f32::MIN, f32::NAN, f32::INFINITY] {
        values[66] = beyond;
        let refused = snapshot(0, 1, &values).rounded(WireFormat::Int8);
        let refused = refused.map(|(rounded, _)| rounded.digest());
        assert_eq!(
            refused,
            Err(SnapshotError::NotFinite { index: 66 }),
            "{beyond}"
        );
    }
}

/// An exponent of 255 is not a number in the format, and gives none.
#[test]
fn bytes_that_nobody_writes_give_no_numbers_or_other_ones() {
    let mut values = [0.0; 3];
    int8::decode(&mut values, &[255, 127, 1, 0x80][..]).expect("a block");
    assert!(!values[0].is_finite(), "{values:?}");
    assert!(int8::decode(&mut values, &[127, 1, 1][..]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Rounded to bf16, a weighted mean keeps its scale: values off by what rounding them alone
    /// would do, and by how much the weights' rounding moves it between the workers.
    #[test]
    fn a_rounded_weighted_mean_keeps_its_scale(
        x in (-8.0..8.0_f32, -8.0..8.0_f32),
        w in (1e-6..1e6_f32, 1e-6..1e6_f32),
    ) {
        let parts = [weighted([x.0; 4], &[w.0, w.1]), weighted([x.1; 4], &[w.1, w.0])];
        let exact = Snapshot::mean(&parts).expect("finite").expect("two");
        let rounded = parts.map(|part| part.rounded(WireFormat::Bf16).expect("small").0);
        let mean = Snapshot::mean(&rounded).expect("finite").expect("two");
        let largest = x.0.abs().max(x.1.abs());
        for (a, b) in exact.parameters().iter().zip(mean.parameters()) {
            prop_assert!((a - b).abs() <= largest / 64.0, "{} and {}", a, b);
        }
    }

    /// Each value becomes one of the two beside it, in steps of which the largest has 63.5 to 127; and what
    /// is rounded crosses, and is rounded again, without a change.
    #[test]
    fn values_cross_as_int8_as_they_were_rounded(
        values in vec(any::<i32>().prop_map(|bits| f32::from_bits(bits as u32)), 1..100),
    ) {
        let largest = 127.0 * 2.0_f32.powi(121);
        let values: Vec<f32> = values
            .into_iter()
            .map(|value| if value.abs() <= largest { value } else { 1.0 })
            .collect();
        let (rounded, _) = snapshot(0, 1, &values).rounded(WireFormat::Int8).expect("small");
        for (before, after) in values.chunks(32).zip(rounded.parameters().chunks(32)) {
            let largest = before.iter().fold(0.0, |most, value| value.abs().max(most));
            let step = f64::from(largest) / 63.5;
            // Below the smallest normal number steps become no smaller.
            let step = step.max(2.0_f64.powi(-132));
            for (before, after) in before.iter().zip(after) {
                prop_assert!((f64::from(*before) - f64::from(*after)).abs() < step, "{} {}", before, after);
            }
        }
        let mut bytes = Vec::new();
        int8::encode(rounded.parameters(), &mut bytes);
        prop_assert_eq!(bytes.len(), int8::bytes(values.len()));
        let mut arrived = vec![0.0; values.len()];
        int8::decode(&mut arrived, &bytes[..]).expect("all");
        prop_assert_eq!(bits(&arrived), bits(rounded.parameters()));
        let (again, moved) = rounded.rounded(WireFormat::Int8).expect("small");
        prop_assert_eq!((again.digest(), moved), (rounded.digest(), Some(0.0)));
    }
}
