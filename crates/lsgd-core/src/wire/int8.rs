//! Vectors of eight-bit numbers: blocks of 32 values that share a power of two, as the type MXINT8 of the
//! OCP Microscaling Formats Specification, version 1.0, without its -128.
//!
//! A block is a byte `e`, then a byte `q` for each value (the last block of a vector may have fewer), which
//! stands for `q * 2^(e - 133)`. Rounding is random and unbiased: a change much smaller than the distance of
//! two numbers is not lost, but happens seldom, as often as makes up for its size.

use std::io::{self, Read};

/// Values of a block.
pub const BLOCK: usize = 32;

/// The largest `q`.
const MOST: f64 = 127.0;
/// What a block's first byte exceeds its exponent by: 127 as in E8M0, and 6 for MXINT8's unit of 1/64.
pub(super) const BIAS: i32 = 133;
/// The lowest exponent that is used: that of the smallest normal numbers.
const LOWEST: i32 = -132;
/// The highest exponent that the format has. Larger values stay as they are, and cannot be encoded.
pub(super) const HIGHEST: i32 = 254 - BIAS;

/// Bytes of this many values.
pub const fn bytes(values: usize) -> usize {
    values + values.div_ceil(BLOCK)
}

/// Rounds each value to one of the two numbers beside it, to the nearer with the greater probability, so
/// that the mean over many `seed`s is the value. Values that are numbers of the format already stay. `first`
/// is the first value's position in its vector.
///
/// # Errors
///
/// The position of the first value that is not finite or too large for the format; those before its block
/// have been rounded.
pub(super) fn round(values: &mut [f32], seed: u64, first: usize) -> Result<(), usize> {
    for (number, block) in values.chunks_mut(BLOCK).enumerate() {
        let first = first + number * BLOCK;
        let exponent = exponent_of(block).ok_or_else(|| first + first_beyond(block))?;
        let (step, per_step) = (power_of_two(exponent), power_of_two(-exponent));
        for (index, value) in (first..).zip(block) {
            let steps = f64::from(*value) * per_step;
            let below = steps.floor();
            let goes_up = uniform(seed, index as u64) < steps - below;
            let rounded = below + f64::from(u8::from(goes_up));
            // Not -0, which the format does not have.
            *value = (rounded * step) as f32 + 0.0;
        }
    }
    Ok(())
}

/// Appends values that have been [rounded](crate::Snapshot::rounded); others lose what the format cannot
/// hold, so that a receiver finds another digest.
pub fn encode(values: &[f32], bytes: &mut Vec<u8>) {
    for block in values.chunks(BLOCK) {
        let exponent = exponent_of(block).unwrap_or(HIGHEST);
        let per_step = power_of_two(-exponent);
        bytes.push((exponent + BIAS) as u8);
        // The conversion saturates.
        let numbers = block
            .iter()
            .map(|&value| (f64::from(value) * per_step) as i8);
        bytes.extend(numbers.map(|number| number as u8));
    }
}

/// Reads values from the [bytes] that they have.
///
/// # Errors
///
/// If the bytes end before. Bytes that no sender writes give some other values.
pub fn decode(values: &mut [f32], mut bytes: impl Read) -> io::Result<()> {
    let mut buffer = [0; 1 + BLOCK];
    for block in values.chunks_mut(BLOCK) {
        let buffer = &mut buffer[..1 + block.len()];
        bytes.read_exact(buffer)?;
        let step = power_of_two(i32::from(buffer[0]) - BIAS);
        for (value, &number) in block.iter_mut().zip(&buffer[1..]) {
            *value = (f64::from(number as i8) * step) as f32;
        }
    }
    Ok(())
}

/// The exponent of the smallest step in which all values of a block are at most [`MOST`] steps from zero.
/// `None` if a value is not finite, or too large.
pub(super) fn exponent_of(block: &[f32]) -> Option<i32> {
    let bits = block.iter().map(|value| value.to_bits() & !(1 << 31)).max();
    let largest = f32::from_bits(bits.unwrap_or(0));
    if !largest.is_finite() {
        return None;
    }
    // Of subnormal numbers -127.
    let floor = (largest.to_bits() >> 23) as i32 - 127;
    // 127 is 1.98 * 2^6.
    let exponent = (floor - 6).max(LOWEST);
    let exponent = exponent + i32::from(f64::from(largest) > MOST * power_of_two(exponent));
    (exponent <= HIGHEST).then_some(exponent)
}

/// The place in a block of the first value that is not finite, or too large.
pub(super) fn first_beyond(block: &[f32]) -> usize {
    let largest = MOST * power_of_two(HIGHEST);
    let fits = |value: &f32| f64::from(value.abs()) <= largest;
    block.iter().position(|value| !fits(value)).unwrap_or(0)
}

/// An exact `2^exponent`, for exponents of f32 and a little beyond.
pub(super) fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// Number `index` of those drawn from `seed`, in [0, 1): SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
fn uniform(seed: u64, index: u64) -> f64 {
    let step = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut mixed = seed.wrapping_add(step);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}
