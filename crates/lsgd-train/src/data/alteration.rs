//! Training images whose geometry and colours are altered at random: TrivialAugment (Müller and Hutter,
//! arXiv 2103.10158) in torchvision's wide space, and torchvision's `ColorJitter`.
//!
//! Both work on the bytes of an image that has been cropped and flipped; colours come first.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::DataError;
use super::operations::{Operation, Size};
use crate::image_config::{DataConfig, Jitter};

/// Magnitudes of an operation of TrivialAugment, counted from none.
const MAGNITUDES: u32 = 31;
/// Its operations.
const OPERATIONS: u32 = 14;

/// What is done to training images of one size.
#[derive(Debug)]
pub(crate) struct Alteration {
    jitter: Option<Jitter>,
    trivial: bool,
    size: Size,
    /// For each channel, the value of each byte.
    tables: Vec<[f32; 256]>,
}

impl Alteration {
    /// What `config` does to images of `shape` (channels, height, width) whose bytes have the values of
    /// `tables`; `None` if that is nothing.
    ///
    /// # Errors
    ///
    /// [`DataError::NoColours`] if the images have neither one channel nor three.
    pub fn new(
        config: &DataConfig,
        [channels, height, width]: [usize; 3],
        tables: &[[f32; 256]],
    ) -> Result<Option<Self>, DataError> {
        let alters = config.trivial_augment || config.jitter.is_some();
        if alters && ![1, 3].contains(&channels) {
            return Err(DataError::NoColours { channels });
        }
        Ok(alters.then(|| Self {
            jitter: config.jitter,
            trivial: config.trivial_augment,
            size: [height, width],
            tables: tables.to_vec(),
        }))
    }

    /// Alters `image`, which is of the shape, and normalised by the tables.
    pub fn apply(&self, image: &mut [f32], rng: &mut ChaCha8Rng) {
        let pixels = self.size.iter().product();
        let mut bytes = Vec::with_capacity(image.len());
        for (plane, table) in image.chunks_exact(pixels).zip(&self.tables) {
            let (zero, step) = (table[0], (table[255] - table[0]) / 255.0);
            bytes.extend(
                plane
                    .iter()
                    .map(|value| ((value - zero) / step).round() as u8),
            );
        }
        if let Some(jitter) = self.jitter {
            for operation in drawn_jitter(jitter, rng) {
                operation.apply(&mut bytes, self.size);
            }
        }
        if self.trivial {
            drawn_operation(rng).apply(&mut bytes, self.size);
        }
        let planes = image
            .chunks_exact_mut(pixels)
            .zip(bytes.chunks_exact(pixels));
        for ((plane, bytes), table) in planes.zip(&self.tables) {
            for (value, byte) in plane.iter_mut().zip(bytes) {
                *value = table[usize::from(*byte)];
            }
        }
    }
}

/// The operations of `jitter`, each with a strength drawn uniformly, in a random order.
fn drawn_jitter(jitter: Jitter, rng: &mut ChaCha8Rng) -> Vec<Operation> {
    let mut factor = |spread: f64, of: fn(f64) -> Operation| {
        let least = (1.0 - spread).max(0.0);
        (spread > 0.0).then(|| of(rng.random_range(least..=1.0 + spread)))
    };
    let mut operations = vec![
        factor(jitter.brightness, Operation::Brightness),
        factor(jitter.contrast, Operation::Contrast),
        factor(jitter.saturation, Operation::Saturation),
    ];
    let hue = jitter.hue;
    operations.push((hue > 0.0).then(|| Operation::Hue(rng.random_range(-hue..=hue))));
    let mut operations: Vec<Operation> = operations.into_iter().flatten().collect();
    operations.shuffle(rng);
    operations
}

/// One operation of TrivialAugment, all equally likely, with one of its magnitudes.
fn drawn_operation(rng: &mut ChaCha8Rng) -> Operation {
    let operation = rng.random_range(0..OPERATIONS);
    let magnitude = rng.random_range(0..MAGNITUDES);
    let share = f64::from(magnitude) / f64::from(MAGNITUDES - 1);
    let up_to = |most: f64, negative: bool| {
        if negative {
            -most * share
        } else {
            most * share
        }
    };
    let signed = |most: f64, rng: &mut ChaCha8Rng| up_to(most, rng.random_bool(0.5));
    match operation {
        0 => Operation::Identity,
        1 => Operation::ShearX(signed(0.99, rng)),
        2 => Operation::ShearY(signed(0.99, rng)),
        3 => Operation::TranslateX(signed(32.0, rng)),
        4 => Operation::TranslateY(signed(32.0, rng)),
        5 => Operation::Rotate(signed(135.0, rng)),
        6 => Operation::Brightness(1.0 + signed(0.99, rng)),
        7 => Operation::Saturation(1.0 + signed(0.99, rng)),
        8 => Operation::Contrast(1.0 + signed(0.99, rng)),
        9 => Operation::Sharpness(1.0 + signed(0.99, rng)),
        // From all eight bits to two.
        10 => Operation::Posterize(8 - (share * 6.0).round() as u32),
        11 => Operation::Solarize(255.0 - up_to(255.0, false)),
        12 => Operation::AutoContrast,
        _ => Operation::Equalize,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng;

    use super::*;
    use crate::data::memory::table;

    fn config(jitter: Option<Jitter>, trivial_augment: bool) -> DataConfig {
        DataConfig {
            jitter,
            trivial_augment,
            ..DataConfig::default()
        }
    }

    const JITTER: Jitter = Jitter {
        brightness: 0.4,
        contrast: 0.3,
        saturation: 1.5,
        hue: 0.1,
    };

    /// The share of the largest magnitude that an operation has, and its name.
    fn share(operation: Operation) -> (String, f64) {
        use Operation::*;
        let share = match operation {
            ShearX(by) | ShearY(by) => by / 0.99,
            TranslateX(by) | TranslateY(by) => by / 32.0,
            Rotate(by) => by / 135.0,
            Brightness(by) | Saturation(by) | Contrast(by) | Sharpness(by) => (by - 1.0) / 0.99,
            Posterize(bits) => (8.0 - f64::from(bits)) / 6.0,
            Solarize(from) => (255.0 - from) / 255.0,
            Identity | AutoContrast | Equalize | Hue(_) => 0.0,
        };
        let name = format!("{operation:?}");
        (name.split('(').next().unwrap_or_default().to_owned(), share)
    }

    /// Of 28,000 draws: every operation about 2,000 times, from its largest magnitude to its smallest.
    #[test]
    fn every_operation_is_as_likely_and_every_magnitude() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut drawn: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for _ in 0..28_000 {
            let (name, share) = share(drawn_operation(&mut rng));
            drawn.entry(name).or_default().push(share);
        }
        assert_eq!(drawn.len(), OPERATIONS as usize);
        for (name, shares) in drawn {
            assert!(
                (1800..2200).contains(&shares.len()),
                "{name}: {}",
                shares.len()
            );
            let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
            let most = shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let ends = match name.as_str() {
                "Identity" | "AutoContrast" | "Equalize" => [0.0, 0.0],
                "Posterize" | "Solarize" => [0.0, 1.0],
                _ => [-1.0, 1.0],
            };
            for (found, end) in [least, most].into_iter().zip(ends) {
                assert!((found - end).abs() < 1e-9, "{name}: {found}, not {end}");
            }
        }
    }

    /// Strengths within their bounds, in every order; a strength of zero is left out.
    #[test]
    fn colours_are_drawn_within_their_bounds() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut first = BTreeMap::<String, usize>::new();
        for _ in 0..4000 {
            let drawn = drawn_jitter(JITTER, &mut rng);
            assert_eq!(drawn.len(), 4);
            *first.entry(share(drawn[0]).0).or_default() += 1;
            for operation in drawn {
                let fits = match operation {
                    Operation::Brightness(by) => (0.6..=1.4).contains(&by),
                    Operation::Contrast(by) => (0.7..=1.3).contains(&by),
                    Operation::Saturation(by) => (0.0..=2.5).contains(&by),
                    Operation::Hue(by) => (-0.1..=0.1).contains(&by),
                    _ => false,
                };
                assert!(fits, "{operation:?}");
            }
        }
        assert!(
            first.values().all(|count| (850..1150).contains(count)),
            "{first:?}"
        );
        let hue = Jitter {
            hue: 0.5,
            ..Jitter::default()
        };
        let drawn = drawn_jitter(hue, &mut rng);
        assert!(matches!(drawn[..], [Operation::Hue(_)]), "{drawn:?}");
    }

    /// Normalised values become the bytes that they were, and those of the result.
    #[test]
    fn values_are_those_of_altered_bytes() {
        let tables = [
            table(255.0, 0.485, 0.229),
            table(255.0, 0.2, 3.0),
            table(16.0, 0.0, 1.0),
        ];
        let bytes: Vec<u8> = (0..3 * 256).map(|i| (i % 256) as u8).collect();
        let normalised = |bytes: &[u8]| -> Vec<f32> {
            let planes = bytes.chunks_exact(256).zip(&tables);
            let values =
                planes.flat_map(|(plane, table)| plane.iter().map(|b| table[usize::from(*b)]));
            values.collect()
        };
        let alteration = Alteration::new(&config(Some(JITTER), true), [3, 16, 16], &tables);
        let alteration = alteration.unwrap().unwrap();
        for seed in 0..40 {
            let rng = || ChaCha8Rng::seed_from_u64(seed);
            let mut image = normalised(&bytes);
            alteration.apply(&mut image, &mut rng());
            let (mut expected, mut rng) = (bytes.clone(), rng());
            for operation in drawn_jitter(JITTER, &mut rng) {
                operation.apply(&mut expected, [16, 16]);
            }
            drawn_operation(&mut rng).apply(&mut expected, [16, 16]);
            assert_eq!(image, normalised(&expected), "seed {seed}");
        }
    }

    #[test]
    fn only_grey_and_coloured_images_are_altered() {
        let of = |config: DataConfig, channels| Alteration::new(&config, [channels, 8, 8], &[]);
        assert!(of(config(None, false), 2).unwrap().is_none());
        assert!(of(config(None, true), 1).unwrap().is_some());
        assert_eq!(
            of(config(None, true), 2).unwrap_err().to_string(),
            "data.trivial_augment and data.jitter need images of 1 or 3 channels, and these have 2; leave \
             them out"
        );
    }
}
