//! The format for changes: of each block of 4,096 values the 64 largest.

use lsgd_core::{Snapshot, SnapshotError, Source, WireFormat, topk};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::setting::{bits, snapshot};

/// The change of one worker.
fn change(values: &[f32]) -> Snapshot {
    let since = snapshot(0, 1, &[0.0]).digest().into();
    Snapshot::clone(&snapshot(0, 1, values)).with_source(Source::Change { workers: 1, since })
}

fn rounded(values: &[f32]) -> Vec<f32> {
    let (rounded, _) = change(values).rounded(WireFormat::Topk).expect("small");
    rounded.parameters().to_vec()
}

fn encoded(values: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    topk::encode(values, &mut bytes);
    bytes
}

/// Of 130 values three: 1 is 64 steps of 1/64, and 0.3 is 19.2 of them.
#[test]
fn a_block_is_a_step_numbers_and_positions() {
    let mut values = vec![0.01; 130];
    (values[3], values[70], values[129]) = (-0.3, 1.0, 0.5);
    let kept = rounded(&values);
    let mut expected = vec![0.0; 130];
    (expected[3], expected[70], expected[129]) = (-19.0 / 64.0, 1.0, 0.5);
    assert_eq!(kept, expected);
    // 3 and 70 as 0x003 and 0x046, then 129 as 0x081.
    let bytes = [127, (-19_i8) as u8, 64, 32, 0x03, 0x60, 0x04, 0x81, 0x00];
    assert_eq!(encoded(&kept), bytes);
    assert_eq!(topk::bytes(130), bytes.len());
}

/// Of values of one magnitude the first are kept; a negative zero is none.
#[test]
fn ties_go_to_the_first() {
    let mut values = [-1.0, 1.0].repeat(64);
    let mut expected = vec![0.0; 128];
    (expected[0], expected[1]) = (-1.0, 1.0);
    assert_eq!(rounded(&values), expected);
    values.fill(-0.0);
    assert_eq!(bits(&rounded(&values)), vec![0; 128]);
}

/// A hundredth of f32, and as many of a block that is not full.
#[test]
fn it_takes_a_hundredth_of_the_bytes() {
    assert_eq!(topk::bytes(4096), 161);
    assert_eq!(4 * 4096 / topk::bytes(4096), 101);
    assert_eq!(topk::bytes(0), 0);
    assert_eq!(topk::bytes(1), 4);
    assert_eq!(topk::bytes(2 * 4096 + 65), 2 * 161 + 6);
}

/// Only a change may lose most of its values.
#[test]
fn other_vectors_cross_as_they_are() {
    let values = [0.3, 1.0, 1e-20];
    let change = change(&values);
    for source in [
        snapshot(0, 1, &values).source(),
        Source::Mean { workers: 2 },
        Source::Sum { workers: 2 },
        Source::Final { workers: 2 },
    ] {
        let vector = change.clone().with_source(source);
        let (rounded, error) = vector.rounded(WireFormat::Topk).expect("finite");
        assert_eq!((rounded.parameters(), error), (&values[..], None));
        assert_eq!(WireFormat::Topk.bytes_of(&vector), 12);
        assert_eq!(WireFormat::Topk.of(source), WireFormat::F32);
    }
    assert_eq!(WireFormat::Topk.bytes_of(&change), 4);
}

#[test]
fn what_no_block_can_hold_is_refused() {
    for beyond in [f32::MAX, f32::NAN, f32::NEG_INFINITY] {
        let mut values = vec![1.0; 5000];
        values[4999] = beyond;
        let refused = change(&values).rounded(WireFormat::Topk);
        let refused = refused.map(|(rounded, _)| rounded.digest());
        let index = 4999;
        assert_eq!(refused, Err(SnapshotError::NotFinite { index }), "{beyond}");
    }
}

#[test]
fn bytes_that_nobody_writes_are_refused_or_give_other_values() {
    let mut values = [1.0; 3];
    topk::decode(&mut values, &[127, 64, 2, 0][..]).expect("a block");
    assert_eq!(values, [0.0, 0.0, 1.0]);
    for bytes in [&[127, 64, 2][..], &[127, 64, 3, 0], &[127, 64, 0, 0x08]] {
        assert!(topk::decode(&mut values, bytes).is_err(), "{bytes:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is kept is at least as large as what is not, and off by half a step at most; it crosses, and is
    /// rounded again, without a change.
    #[test]
    fn the_largest_values_cross(
        values in vec(any::<i32>().prop_map(|bits| f32::from_bits(bits as u32)), 1..9000),
    ) {
        let largest = 127.0 * 2.0_f32.powi(121);
        let values: Vec<f32> = values
            .into_iter()
            .map(|value| if value.abs() <= largest { value } else { 1e-3 })
            .collect();
        let after = rounded(&values);
        for (before, after) in values.chunks(4096).zip(after.chunks(4096)) {
            let most = before.len().div_ceil(64);
            let mut sorted: Vec<f32> = before.iter().map(|value| value.abs()).collect();
            sorted.sort_by(f32::total_cmp);
            let least = sorted[sorted.len() - most];
            let half = (f64::from(sorted[sorted.len() - 1]) / 127.0).max(2.0_f64.powi(-133));
            prop_assert!(after.iter().filter(|value| **value != 0.0).count() <= most);
            for (before, after) in before.iter().zip(after) {
                let off = (f64::from(*before) - f64::from(*after)).abs();
                if *after != 0.0 {
                    prop_assert!(before.abs() >= least && off <= half, "{} {}", before, after);
                } else if before.abs() > least {
                    prop_assert!(off <= half, "{} is left out", before);
                }
            }
        }
        let bytes = encoded(&after);
        prop_assert_eq!(bytes.len(), topk::bytes(values.len()));
        let mut arrived = vec![7.0; values.len()];
        topk::decode(&mut arrived, &bytes[..]).expect("all");
        prop_assert_eq!(bits(&arrived), bits(&after));
        prop_assert_eq!(bits(&rounded(&after)), bits(&after));
    }

    #[test]
    fn no_bytes_make_decoding_fail_otherwise(
        length in 0..200_usize,
        bytes in vec(any::<u8>(), 0..300),
    ) {
        let mut values = vec![0.0; length];
        let read = topk::decode(&mut values, &bytes[..]);
        prop_assert!(read.is_err() || bytes.len() >= topk::bytes(length));
    }
}
