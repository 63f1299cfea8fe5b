//! Images drawn from the seed, for tests and benchmarks without any files.
//!
//! Each class has a prototype, a coarse grid of 4 x 4 random levels per channel. An image is its
//! class's prototype with a random contrast between a half and one, moved by up to a quarter of its
//! size in both directions (wrapping around), plus near-normal noise somewhat stronger than the
//! prototype. Labels cycle through the classes, so any run of examples is balanced. Everything is
//! drawn with integers: the same seed gives the same bytes everywhere.

use lsgd_models::MAX_CLASSES;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::DataError;
use super::error::word;
use super::memory::{MEMORY_LIMIT, Raw, Split, table};
use crate::image_config::{DataConfig, DataName};

/// Cells of a prototype's grid in each direction.
const GRID: usize = 4;

/// Largest distance of a prototype's level from mid-grey, in byte values.
const AMPLITUDE: i32 = 40;

/// A fifth as many test images as training images are made.
const TEST_SHARE: usize = 5;

/// Draws the data set of `data.examples`, `data.classes` and `data.shape` from `seed`.
pub(crate) fn open(config: &DataConfig, seed: u64) -> Result<Raw, DataError> {
    let [channels, height, width] = config.shape;
    let refuse = |key, value: String, need| Err(DataError::Generated { key, value, need });
    if config.examples == 0 {
        return refuse("examples", "0".to_owned(), "at least 1");
    }
    if !(1..=MAX_CLASSES).contains(&config.classes) {
        return refuse("classes", config.classes.to_string(), "from 1 to 65536");
    }
    if config.shape.contains(&0) {
        let value = format!("{:?}", config.shape);
        return refuse("shape", value, "channels, height and width of at least 1");
    }
    // The prototypes take four bytes per pixel; the examples, and a fifth as many test examples,
    // take one.
    let images = config.examples as u128 * 6 / 5 + 1 + 4 * config.classes as u128;
    let pixels = [channels, height, width].map(|side| side as u128);
    let size = pixels.into_iter().fold(images, u128::saturating_mul);
    if size > u128::from(MEMORY_LIMIT) {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let what = "generated data (data.examples x data.shape)".to_owned();
        return Err(DataError::TooLarge {
            what,
            size,
            limit: MEMORY_LIMIT,
        });
    }
    let key = blake3::derive_key("lsgd-train v1 generated data", &seed.to_le_bytes());
    let drawer = |stream| {
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        rng
    };
    let prototypes = prototypes(config, &mut drawer(0));
    let train = draw(config, &prototypes, config.examples, &mut drawer(1));
    let test_examples = (config.examples / TEST_SHARE).max(1);
    let test = draw(config, &prototypes, test_examples, &mut drawer(2));

    let mut identity = blake3::Hasher::new();
    identity.update(word(DataName::Generated).as_bytes());
    for number in [config.classes, channels, height, width, train.labels.len()] {
        identity.update(&(number as u64).to_le_bytes());
    }
    identity.update(&train.pixels).update(&test.pixels);
    // Mid-grey becomes zero, and the noise about one half.
    let tables = vec![table(255.0, 0.5, 0.25); channels];
    Ok(Raw {
        train,
        test,
        shape: config.shape,
        class_names: (0..config.classes).map(|class| class.to_string()).collect(),
        tables,
        identity,
    })
}

/// Each class's levels around mid-grey, channels x height x width.
fn prototypes(config: &DataConfig, rng: &mut ChaCha8Rng) -> Vec<Vec<i32>> {
    let [channels, height, width] = config.shape;
    let mut one = || {
        let grid: Vec<i32> = (0..channels * GRID * GRID)
            .map(|_| rng.random_range(-AMPLITUDE..=AMPLITUDE))
            .collect();
        let mut levels = Vec::with_capacity(channels * height * width);
        for c in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    let (row, column) = (y * GRID / height, x * GRID / width);
                    levels.push(grid[(c * GRID + row) * GRID + column]);
                }
            }
        }
        levels
    };
    (0..config.classes).map(|_| one()).collect()
}

fn draw(
    config: &DataConfig,
    prototypes: &[Vec<i32>],
    examples: usize,
    rng: &mut ChaCha8Rng,
) -> Split {
    let [channels, height, width] = config.shape;
    let mut split = Split {
        pixels: Vec::with_capacity(examples * channels * height * width),
        labels: Vec::with_capacity(examples),
    };
    for example in 0..examples {
        let label = example % config.classes;
        let prototype = &prototypes[label];
        let contrast = rng.random_range(128..=256);
        let down = rng.random_range(0..=(height / 4) as u32) as usize;
        let right = rng.random_range(0..=(width / 4) as u32) as usize;
        for c in 0..channels {
            for y in 0..height {
                let row = (c * height + (y + down) % height) * width;
                for x in 0..width {
                    let signal = prototype[row + (x + right) % width] * contrast / 256;
                    split
                        .pixels
                        .push((128 + signal + noise(rng)).clamp(0, 255) as u8);
                }
            }
        }
        split.labels.push(label as i32);
    }
    split
}

/// Near-normal with mean zero and standard deviation 37: the sum of four uniform bytes, divided by
/// four.
fn noise(rng: &mut ChaCha8Rng) -> i32 {
    let sum: i32 = rng
        .next_u32()
        .to_le_bytes()
        .into_iter()
        .map(i32::from)
        .sum();
    (sum - 510) / 4
}
