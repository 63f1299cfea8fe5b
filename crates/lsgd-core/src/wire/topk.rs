//! Vectors of which only the largest values are kept: of each block of 4,096 the 64 of the greatest
//! magnitude, as numbers of eight bits that share a power of two as in [`int8`](super::int8).
//!
//! A block of `n` values, of which `k = n / 64`, rounded up, are kept, is a byte `e`, a byte `q` for each
//! that is kept, and their positions, 12 bits each. The others are 0. It is for changes whose sender keeps
//! what is left out and adds it to the next one (error feedback; arXiv 1809.07599, 1906.02367).

use std::io::{self, Read};

use super::int8::{BIAS, HIGHEST, exponent_of, first_beyond, power_of_two};

/// Values of a block.
pub const BLOCK: usize = 1 << 12;

/// Of this many values one is kept.
const ONE_IN: usize = 64;

/// Bytes of this many values.
pub const fn bytes(values: usize) -> usize {
    values / BLOCK * bytes_of_block(BLOCK) + bytes_of_block(values % BLOCK)
}

const fn bytes_of_block(values: usize) -> usize {
    let kept = values.div_ceil(ONE_IN);
    if kept == 0 {
        return 0;
    }
    1 + kept + (3 * kept).div_ceil(2)
}

/// Keeps the largest values of each block, rounded to the nearest number of the format, and sets all others
/// to 0. Values that have been rounded stay.
///
/// # Errors
///
/// The position of the first value that is not finite or too large for the format; the blocks before its
/// own have been rounded.
pub(super) fn round(values: &mut [f32]) -> Result<(), usize> {
    for (number, block) in values.chunks_mut(BLOCK).enumerate() {
        let exponent = exponent_of(block).ok_or_else(|| number * BLOCK + first_beyond(block))?;
        let (step, per_step) = (power_of_two(exponent), power_of_two(-exponent));
        let kept: Vec<(usize, f32)> = (kept(block).into_iter())
            .map(|position| (position, block[position]))
            .collect();
        block.fill(0.0);
        for (position, value) in kept {
            let steps = (f64::from(value) * per_step).round_ties_even();
            // Not -0, which the format does not have.
            block[position] = (steps * step) as f32 + 0.0;
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
        let kept = kept(block);
        bytes.push((exponent + BIAS) as u8);
        // The conversion saturates.
        let numbers = kept
            .iter()
            .map(|&position| (f64::from(block[position]) * per_step) as i8);
        bytes.extend(numbers.map(|number| number as u8));
        for pair in kept.chunks(2) {
            let second = pair.get(1).copied().unwrap_or(0);
            let both = (pair[0] | second << 12) as u32;
            let used = (3 * pair.len()).div_ceil(2);
            bytes.extend(&both.to_le_bytes()[..used]);
        }
    }
}

/// Reads values from the [bytes] that they have.
///
/// # Errors
///
/// If the bytes end before, or name a position that a block does not have. Other bytes that no sender
/// writes give some other values.
pub fn decode(values: &mut [f32], mut bytes: impl Read) -> io::Result<()> {
    let mut buffer = [0; bytes_of_block(BLOCK)];
    for block in values.chunks_mut(BLOCK) {
        let buffer = &mut buffer[..bytes_of_block(block.len())];
        bytes.read_exact(buffer)?;
        let (exponent, rest) = buffer.split_at(1);
        let (numbers, positions) = rest.split_at(block.len().div_ceil(ONE_IN));
        let step = power_of_two(i32::from(exponent[0]) - BIAS);
        block.fill(0.0);
        for (numbers, pair) in numbers.chunks(2).zip(positions.chunks(3)) {
            let mut both = [0; 4];
            both[..pair.len()].copy_from_slice(pair);
            let both = u32::from_le_bytes(both);
            for (&number, position) in numbers.iter().zip([both & 0xfff, both >> 12]) {
                let value = block.get_mut(position as usize).ok_or_else(beyond)?;
                *value = (f64::from(number as i8) * step) as f32;
            }
        }
    }
    Ok(())
}

fn beyond() -> io::Error {
    let beyond = "a position beyond the block";
    io::Error::new(io::ErrorKind::InvalidData, beyond)
}

/// The positions of the values that are kept, in order: of values of one magnitude the first.
fn kept(block: &[f32]) -> Vec<usize> {
    let most = block.len().div_ceil(ONE_IN);
    let mut positions: Vec<usize> = (0..block.len()).collect();
    let magnitude = |position: usize| block[position].to_bits() & !(1 << 31);
    if most < positions.len() {
        positions.select_nth_unstable_by_key(most, |&position| {
            (std::cmp::Reverse(magnitude(position)), position)
        });
        positions.truncate(most);
    }
    positions.sort_unstable();
    positions
}
