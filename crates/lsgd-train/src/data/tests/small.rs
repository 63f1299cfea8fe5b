//! The bundled digits and generated data.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{config, generated, refusal};
use crate::data::{Batch, Dataset, Stream};
use crate::image_config::{Augment, DataConfig, DataName};

fn bundled(augment: Augment) -> DataConfig {
    DataConfig {
        name: DataName::Digits,
        folder: None,
        augment,
        ..DataConfig::default()
    }
}

/// All training examples.
fn training(dataset: &Dataset) -> Batch {
    let stream = Stream::new(dataset.train_len(), dataset.train_len(), 0).unwrap();
    dataset.train_batch(&stream, 0).unwrap()
}

/// Share of test examples whose nearest class mean over the training examples is their own.
fn nearest_mean_accuracy(dataset: &Dataset) -> f64 {
    let (train, test) = (
        training(dataset),
        dataset.test_batch(0..dataset.test_len()).unwrap(),
    );
    let length: usize = dataset.shape().iter().product();
    let mut means = vec![vec![0.0f64; length]; dataset.classes()];
    let mut counts = vec![0.0; dataset.classes()];
    for (image, label) in train.images.chunks(length).zip(&train.labels) {
        counts[*label as usize] += 1.0;
        for (sum, value) in means[*label as usize].iter_mut().zip(image) {
            *sum += f64::from(*value);
        }
    }
    for (mean, count) in means.iter_mut().zip(&counts) {
        mean.iter_mut().for_each(|sum| *sum /= count);
    }
    let distance = |mean: &[f64], image: &[f32]| -> f64 {
        mean.iter()
            .zip(image)
            .map(|(m, v)| (m - f64::from(*v)).powi(2))
            .sum()
    };
    let right = test
        .images
        .chunks(length)
        .zip(&test.labels)
        .filter(|(image, label)| {
            let nearest = (0..means.len())
                .min_by(|a, b| distance(&means[*a], image).total_cmp(&distance(&means[*b], image)));
            nearest == Some(**label as usize)
        });
    right.count() as f64 / test.labels.len() as f64
}

#[test]
fn digits_come_without_a_folder() {
    let dataset = Dataset::open(&bundled(Augment::None), 0).unwrap();
    assert_eq!((dataset.train_len(), dataset.test_len()), (1438, 359));
    assert_eq!((dataset.shape(), dataset.classes()), ([1, 8, 8], 10));
    let test = dataset.test_batch(0..359).unwrap();
    // Line 5 of the file: 0,0,0,1,11,0,0,0, ... ,4
    assert_eq!(test.labels[0], 4);
    assert_eq!(
        test.images[..8],
        [-1.0, -1.0, -1.0, -0.875, 0.375, -1.0, -1.0, -1.0]
    );
    let train = training(&dataset);
    for images in [&test.images, &train.images] {
        assert!(images.iter().all(|v| (-1.0..=1.0).contains(v)));
        assert!(images.contains(&1.0));
    }
    for class in 0..10 {
        assert!(test.labels.iter().filter(|l| **l == class).count() > 20);
        assert!(train.labels.iter().filter(|l| **l == class).count() > 100);
    }
    let accuracy = nearest_mean_accuracy(&dataset);
    assert!(
        (0.85..0.95).contains(&accuracy),
        "labels belong to the images: {accuracy}"
    );
}

#[test]
fn digits_from_a_folder_are_checked_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("digits.csv.gz");
    let write = |text: &str| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        fs::write(&file, gzip.finish().unwrap()).unwrap();
    };
    let config = config(DataName::Digits, folder.path(), Augment::None);
    assert_eq!(
        refusal(&config),
        format!(
            "{} is missing; leave data.folder out to use the digits built into the program",
            file.display()
        )
    );
    let line = |pixel: &str, label: &str| format!("{pixel}{},{label}\n", ",0".repeat(63));
    let good = line("16", "9");
    write(&good.repeat(10));
    let dataset = Dataset::open(&config, 0).unwrap();
    assert_eq!((dataset.train_len(), dataset.test_len()), (8, 2));
    for (bad, reason) in [
        (
            line("17", "9"),
            "line 2: pixel \"17\" is not a number from 0 to 16",
        ),
        (
            line("-1", "9"),
            "line 2: pixel \"-1\" is not a number from 0 to 16",
        ),
        (
            line("0", "10"),
            "line 2: label \"10\" is not a number from 0 to 9",
        ),
        (
            "1,2\n".to_owned(),
            "line 2: 2 values, not 64 pixels and a label",
        ),
    ] {
        write(&format!("{good}{bad}{good}{good}{good}"));
        assert_eq!(refusal(&config), format!("{}: {reason}", file.display()));
    }
    write(&good.repeat(3));
    assert!(refusal(&config).ends_with("line 3: at least 5 lines are needed"));
    // A zip bomb: 17 MB of one letter in a few kB.
    write(&"0".repeat(17 << 20));
    assert!(refusal(&config).contains("more than the 16777216 bytes accepted"));
    fs::write(&file, b"no gzip").unwrap();
    assert!(refusal(&config).starts_with(&format!("{}: ", file.display())));
}

#[test]
fn digits_are_too_small_for_the_papers_crop() {
    assert!(refusal(&bundled(Augment::Paper)).contains("the images are 8 x 8"));
    assert!(Dataset::open(&bundled(Augment::PadCrop), 0).is_ok());
}

#[test]
fn generated_data_is_drawn_from_its_seed() {
    let config = generated(200, 10, [3, 32, 32], Augment::Paper);
    let open = |seed| Dataset::open(&config, seed).unwrap();
    let dataset = open(1);
    assert_eq!((dataset.train_len(), dataset.test_len()), (200, 40));
    assert_eq!((dataset.shape(), dataset.classes()), ([3, 28, 28], 10));
    assert_eq!(dataset.digest(), open(1).digest());
    assert_ne!(dataset.digest(), open(2).digest());
    assert_eq!(
        dataset.test_batch(0..12).unwrap().labels,
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    );
    // The same on every machine: compared with stored values.
    assert_eq!(&dataset.digest()[..16], "f05b68ea0f357749");
}

/// Far better than chance by the simplest method, and far from perfect.
#[test]
fn generated_data_is_learnable_but_not_trivial() {
    let dataset = Dataset::open(&generated(2000, 10, [3, 16, 16], Augment::None), 3).unwrap();
    let accuracy = nearest_mean_accuracy(&dataset);
    assert!((0.5..0.98).contains(&accuracy), "{accuracy}");
}

#[test]
fn generated_data_of_nothing_or_too_much_is_refused() {
    for (config, text) in [
        (
            generated(0, 2, [1, 2, 2], Augment::None),
            "data.examples is 0, but generated data needs at least 1",
        ),
        (
            generated(5, 0, [1, 2, 2], Augment::None),
            "data.classes is 0, but generated data needs from 1 to 65536",
        ),
        (
            generated(5, 2, [1, 0, 2], Augment::None),
            "data.shape is [1, 0, 2], but generated data needs channels, height and width of at least 1",
        ),
    ] {
        assert_eq!(refusal(&config), text);
    }
    let endless = generated(usize::MAX, 2, [usize::MAX, 9, 9], Augment::None);
    assert!(
        refusal(&endless).starts_with(
            "generated data (data.examples x data.shape) is 18446744073709551615 bytes"
        )
    );
}
