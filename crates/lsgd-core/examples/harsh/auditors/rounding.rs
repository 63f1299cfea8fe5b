//! What the wire makes of values, written down once more.

use lsgd_core::{Snapshot, WireFormat};

/// Values as nodes see them: unchanged, or rounded to the nearest bf16, ties to even. A weight is
/// rounded first, and the values scaled by as much as that changed it.
pub fn on_the_wire(wire: WireFormat, vector: &Snapshot) -> (Vec<f32>, Vec<f32>) {
    let (values, weights) = (vector.parameters().to_vec(), vector.weights().to_vec());
    if wire == WireFormat::F32 {
        return (values, weights);
    }
    let rounded: Vec<f32> = weights.iter().copied().map(bf16).collect();
    let scale = match (weights.first(), rounded.first()) {
        (Some(before), Some(after)) => after / before,
        _ => 1.0,
    };
    let values = values.into_iter().map(|value| bf16(value * scale));
    (values.collect(), rounded)
}

/// The upper half of the bits, rounded.
pub fn bf16(value: f32) -> f32 {
    if !value.is_finite() {
        return value;
    }
    let bits = u64::from(value.to_bits());
    let half = 0x7fff + ((bits >> 16) & 1);
    f32::from_bits((((bits + half) >> 16) << 16) as u32)
}
