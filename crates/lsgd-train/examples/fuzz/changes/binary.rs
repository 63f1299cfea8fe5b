//! Changes of bytes.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// Longest random input, and most bytes that a change adds.
const LONGEST: usize = 2048;

/// Numbers at which a length or a count goes wrong.
const EXTREMES: [u64; 16] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    1 << 40,
    (1 << 53) - 1,
    (1 << 53) + 1,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 7,
    u64::MAX,
];

/// Random bytes, of which many are the same.
pub fn noise(random: &mut ChaCha8Rng) -> Vec<u8> {
    let length = random.random_range(0..=LONGEST) >> random.random_range(0..12);
    let few = [0, 1, 0xff, b'{', b'[', b'"', random.random()];
    let mixed = random.random_bool(0.5);
    (0..length)
        .map(|_| match mixed && random.random_bool(0.7) {
            true => few[random.random_range(0..few.len())],
            false => random.random(),
        })
        .collect()
}

/// `bytes` with one to four changes; parts of the `valid` inputs may be spliced in.
pub fn changed(mut bytes: Vec<u8>, valid: &[Vec<u8>], random: &mut ChaCha8Rng) -> Vec<u8> {
    for _ in 0..random.random_range(1..=4) {
        change(&mut bytes, valid, random);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, valid: &[Vec<u8>], random: &mut ChaCha8Rng) {
    if bytes.is_empty() {
        bytes.push(random.random());
        return;
    }
    let at = random.random_range(0..bytes.len());
    let most = random.random_range(1..=LONGEST.min(bytes.len()));
    let end = (at + (most >> random.random_range(0..10))).min(bytes.len());
    match random.random_range(0..10) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => bytes[at] = random.random(),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let repeated = bytes[at..end].to_vec();
            let to = random.random_range(0..=bytes.len());
            bytes.splice(to..to, repeated);
        }
        5 => {
            let more = noise(random);
            bytes.splice(at..at, more);
        }
        6 => bytes[at..end].fill(*[0, 0xff, b' '].choose(random).unwrap_or(&0)),
        7 => {
            let Some(other) = valid.choose(random).filter(|other| !other.is_empty()) else {
                return;
            };
            let from = random.random_range(0..other.len());
            let length = (other.len() - from).min(end - at);
            bytes[at..at + length].copy_from_slice(&other[from..from + length]);
        }
        _ => number(bytes, at, random),
    }
}

/// Writes an extreme number, or one near the length, over what is at `at`.
fn number(bytes: &mut [u8], at: usize, random: &mut ChaCha8Rng) {
    let near = (bytes.len() as u64).wrapping_add_signed(random.random_range(-9..=9));
    let number = match random.random_bool(0.2) {
        true => near,
        false => *EXTREMES.choose(random).unwrap_or(&0),
    };
    let width = *[1, 2, 4, 8].choose(random).unwrap_or(&8);
    let little = number.to_le_bytes();
    let mut value = little[..width].to_vec();
    if random.random_bool(0.3) {
        value.reverse();
    }
    for (byte, new) in bytes[at..].iter_mut().zip(value) {
        *byte = new;
    }
}
