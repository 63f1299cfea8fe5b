//! What the wire makes of values, written down once more.

use lsgd_core::{Snapshot, SnapshotDigest, WireFormat};

/// Values as nodes see them: unchanged; or rounded to the nearest bf16, ties to even, a weight first, and
/// the values scaled by as much as that changed it; or in blocks of eight-bit numbers, at random. Changes
/// have a format of [their own](largest).
pub fn on_the_wire(
    wire: WireFormat,
    vector: &Snapshot,
    drawn_from: SnapshotDigest,
) -> (Vec<f32>, Vec<f32>) {
    let (values, weights) = (vector.parameters().to_vec(), vector.weights().to_vec());
    match wire {
        WireFormat::F32 | WireFormat::Topk => return (values, weights),
        WireFormat::Int8 => return (int8(&values, drawn_from), weights),
        WireFormat::Bf16 => {}
    }
    let rounded: Vec<f32> = weights.iter().copied().map(bf16).collect();
    let scale = match (weights.first(), rounded.first()) {
        (Some(before), Some(after)) => after / before,
        _ => 1.0,
    };
    let values = values.into_iter().map(|value| bf16(value * scale));
    (values.collect(), rounded)
}

/// In each block of 32 values multiples of the smallest power of two of which its largest value has at most
/// 127; up with the probability of what is over, drawn by SplitMix64 from the first eight bytes of `digest`.
fn int8(values: &[f32], digest: SnapshotDigest) -> Vec<f32> {
    if !values.iter().all(|value| value.is_finite()) {
        return values.to_vec();
    }
    let seed = digest.0[..8].iter().rev();
    let mut state = seed.fold(0, |seed: u64, byte| (seed << 8) | u64::from(*byte));
    let mut draw = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 * 2.0_f64.powi(-53)
    };
    let block = |block: &[f32]| {
        let most = block
            .iter()
            .fold(0.0, |most: f32, value| value.abs().max(most));
        let mut steps = (-132..).map(|exponent| 2.0_f64.powi(exponent));
        let step = steps.find(|step| 127.0 * step >= f64::from(most));
        let step = step.unwrap_or(1.0);
        let rounded = block.iter().map(|value| {
            let count = f64::from(*value) / step;
            let up = draw() < count - count.floor();
            ((count.floor() + f64::from(u8::from(up))) * step) as f32 + 0.0
        });
        rounded.collect::<Vec<f32>>()
    };
    values.chunks(32).flat_map(block).collect()
}

/// In each block of 4,096 values the 64th part, rounded up, that is largest, of equal ones the first: as
/// multiples, to the nearest, of the smallest power of two of which the largest has at most 127. Others are 0.
pub fn largest(values: &[f32]) -> Vec<f32> {
    let block = |block: &[f32]| {
        let mut order: Vec<usize> = (0..block.len()).collect();
        order.sort_by(|&a, &b| block[b].abs().total_cmp(&block[a].abs()).then(a.cmp(&b)));
        let most = f64::from(order.first().map_or(0.0, |&first| block[first].abs()));
        let mut steps = (-132..).map(|exponent| 2.0_f64.powi(exponent));
        let step = steps.find(|step| 127.0 * step >= most).unwrap_or(1.0);
        let mut kept = vec![0.0; block.len()];
        for &position in &order[..block.len().div_ceil(64)] {
            let steps = (f64::from(block[position]) / step).round_ties_even();
            kept[position] = (steps * step) as f32 + 0.0;
        }
        kept
    };
    values.chunks(4096).flat_map(block).collect()
}

/// The upper half of the bits, rounded.
fn bf16(value: f32) -> f32 {
    if !value.is_finite() {
        return value;
    }
    let bits = u64::from(value.to_bits());
    let half = 0x7fff + ((bits >> 16) & 1);
    f32::from_bits((((bits + half) >> 16) << 16) as u32)
}
