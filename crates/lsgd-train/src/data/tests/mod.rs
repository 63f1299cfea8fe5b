//! Data sets as a whole: files and config in, batches and error texts out.

mod advice;
mod bad_images;
mod cifar;
mod folder;
mod images;
mod resize;
mod small;

use std::path::Path;

use proptest::prelude::*;

use super::{Dataset, Reserve, Spoiling, Stream};
use crate::image_config::{Augment, DataConfig, DataName, DataVariation};

/// A config of `name` reading `folder`.
fn config(name: DataName, folder: &Path, augment: Augment) -> DataConfig {
    DataConfig {
        name,
        folder: Some(folder.to_owned()),
        augment,
        ..DataConfig::default()
    }
}

/// A config of generated data.
fn generated(examples: usize, classes: usize, shape: [usize; 3], augment: Augment) -> DataConfig {
    let name = DataName::Generated;
    DataConfig {
        name,
        examples,
        classes,
        shape,
        augment,
        ..DataConfig::default()
    }
}

/// The text of the error from opening the data set.
fn refusal(config: &DataConfig) -> String {
    Dataset::open(config, 0).unwrap_err().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A batch has the same bits whatever was requested before, and on another thread.
    #[test]
    fn a_batch_is_the_same_however_it_is_made(
        seed: u64, number in 0u64..40, asked in prop::collection::vec(0u64..40, 0..4),
    ) {
        let config = generated(30, 3, [2, 6, 5], Augment::PadCrop);
        let dataset = Dataset::open(&config, 1).unwrap();
        let stream = Stream::new(30, 7, seed).unwrap();
        let direct = dataset.train_batch(&stream, number).unwrap();
        let again = Stream::new(30, 7, seed).unwrap();
        for other in asked {
            dataset.train_batch(&again, other).unwrap();
        }
        let elsewhere = std::thread::scope(|scope| {
            scope.spawn(|| dataset.train_batch(&again, number).unwrap()).join().unwrap()
        });
        prop_assert_eq!(&direct, &elsewhere);
    }
}

/// Labels and, without augmentation, pixels are those of the stream's examples.
#[test]
fn a_training_batch_holds_the_streams_examples() {
    let dataset = Dataset::open(&generated(20, 4, [1, 3, 3], Augment::None), 5).unwrap();
    let in_order = Stream::new(20, 20, 0).unwrap();
    let whole = dataset.train_batch(&in_order, 0).unwrap();
    let place = |example: u32| {
        in_order
            .indices(0)
            .iter()
            .position(|e| *e == example)
            .unwrap()
    };
    let stream = Stream::new(20, 6, 9).unwrap();
    for number in 0..7 {
        let batch = dataset.train_batch(&stream, number).unwrap();
        assert_eq!(batch.shape, [6, 1, 3, 3]);
        for (i, example) in stream.indices(number).into_iter().enumerate() {
            let at = place(example);
            assert_eq!(batch.labels[i], whole.labels[at]);
            assert_eq!(batch.labels[i], example as i32 % 4);
            assert_eq!(batch.images[i * 9..][..9], whole.images[at * 9..][..9]);
        }
    }
}

/// The odd batches are those of a worker whose images are not augmented.
fn odd_ones_still() -> Spoiling {
    let vary = DataVariation {
        worker: 1,
        augment: false,
        ..DataVariation::default()
    };
    Spoiling::new(&[vary], 2, 4, 1).expect("one differs")
}

/// Whatever is done to the images of others: one worker's are those of a data set without augmentation.
#[test]
fn a_workers_images_can_stay_as_they_are() {
    let shape = [3, 32, 32];
    let plain = Dataset::open(&generated(40, 4, shape, Augment::None), 5).unwrap();
    let stream = Stream::new(40, 8, 0).unwrap();
    let odd = odd_ones_still();
    for augment in [Augment::PadCrop, Augment::Paper] {
        let config = DataConfig {
            trivial_augment: true,
            erasing: 1.0,
            mixup: Some(1.0),
            ..generated(40, 4, shape, augment)
        };
        let augmented = Dataset::open(&config, 5).unwrap();
        // Of the paper's images: the centre.
        let margin = (32 - augmented.shape()[1]) / 2;
        for number in 0..6 {
            let batch = augmented.train_batch_spoilt(&stream, number, Some(&odd));
            let batch = batch.unwrap();
            if number % 2 == 0 {
                assert_eq!(batch, augmented.train_batch(&stream, number).unwrap());
                continue;
            }
            let whole = plain.train_batch(&stream, number).unwrap();
            let rows = whole.images.chunks(32).enumerate();
            let rows = rows.filter(|(row, _)| (margin..32 - margin).contains(&(row % 32)));
            let centre: Vec<f32> = rows
                .flat_map(|(_, row)| row[margin..32 - margin].to_vec())
                .collect();
            assert_eq!(batch.images, centre, "{augment:?}");
            assert_eq!((batch.labels, batch.mixed), (whole.labels, None));
        }
    }
}

/// Models are scored on images as they are, and only on those that are held out for that.
#[test]
fn a_held_out_batch_is_not_augmented() {
    let of = |augment| Dataset::open(&generated(40, 4, [1, 6, 6], augment), 5).unwrap();
    let (plain, augmented) = (of(Augment::None), of(Augment::PadCrop));
    let all = Stream::new(40, 40, 0).unwrap();
    let whole = plain.train_batch(&all, 0).unwrap();
    let stream = all.clone().holding_out(Reserve::Validation, 8, 0).unwrap();
    let stream = stream.holding_out(Reserve::Probe, 4, 0).unwrap();
    for (part, count) in [(Reserve::Validation, 8), (Reserve::Probe, 4)] {
        let batch = augmented.held_out(&stream, part, 0..count).unwrap();
        for (at, example) in stream.held_out(part).iter().enumerate() {
            let place = all.indices(0).iter().position(|e| e == example).unwrap();
            assert_eq!(batch.labels[at], whole.labels[place]);
            assert_eq!(
                batch.images[at * 36..][..36],
                whole.images[place * 36..][..36]
            );
        }
        assert!(augmented.held_out(&stream, part, 0..count + 1).is_err());
    }
}

/// Nor is a sample, which is of those that are trained on, from the first to the last.
#[test]
fn a_sample_is_trained_on_and_not_augmented() {
    let of = |augment| Dataset::open(&generated(40, 4, [1, 6, 6], augment), 5).unwrap();
    let (plain, augmented) = (of(Augment::None), of(Augment::PadCrop));
    let all = Stream::new(40, 40, 0).unwrap();
    let whole = plain.train_batch(&all, 0).unwrap();
    let stream = all.clone().holding_out(Reserve::Probe, 8, 0).unwrap();
    let trained = (0..40u32).filter(|example| !stream.held_out(Reserve::Probe).contains(example));
    let trained: Vec<u32> = trained.collect();
    for count in [0, 4, 16, 32, 100] {
        let batch = augmented.still_sample(&stream, count).unwrap();
        assert_eq!(batch.labels.len(), count.min(32));
        let apart = (32 / count.max(1)).max(1);
        for (at, example) in trained.iter().step_by(apart).take(count).enumerate() {
            let place = all.indices(0).iter().position(|e| e == example).unwrap();
            assert_eq!(
                batch.images[at * 36..][..36],
                whole.images[place * 36..][..36]
            );
        }
    }
    let other = Stream::new(39, 3, 0).unwrap();
    assert!(augmented.still_sample(&other, 5).is_err());
}

#[test]
fn augmentation_changes_with_the_batch_and_the_seed() {
    // One example, so that two batches differ only by augmentation.
    let dataset = Dataset::open(&generated(1, 1, [1, 8, 8], Augment::PadCrop), 0).unwrap();
    let batch = |seed, number| {
        dataset
            .train_batch(&Stream::new(1, 4, seed).unwrap(), number)
            .unwrap()
            .images
    };
    assert_ne!(batch(0, 0), batch(0, 1));
    assert_ne!(batch(0, 0), batch(1, 0));
    let images = batch(0, 0);
    assert!(
        images.chunks(64).any(|i| i != &images[..64]),
        "places of a batch differ too"
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let dataset = Dataset::open(&generated(20, 4, [1, 3, 3], Augment::None), 5).unwrap();
    let other = Stream::new(21, 2, 0).unwrap();
    let mismatch = "the stream orders 21 examples, but the data set has 20";
    assert_eq!(
        dataset.train_batch(&other, 0).unwrap_err().to_string(),
        mismatch
    );
    assert_eq!(dataset.check(&other).unwrap_err().to_string(), mismatch);
    assert_eq!(
        dataset.test_batch(2..5).unwrap_err().to_string(),
        "test examples 2..5 were asked for, but there are 4"
    );
    let huge = Stream::new(20, 1 << 40, 0).unwrap();
    assert_eq!(
        dataset.train_batch(&huge, 0).unwrap_err().to_string(),
        "a batch of 1099511627776 images (data.batch_size) is 39582418599936 bytes, \
         more than the 4294967296 bytes accepted"
    );
}

#[test]
fn an_image_that_cannot_be_decoded_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for split in ["train", "val"] {
        let class = folder.path().join(split).join("a");
        std::fs::create_dir_all(&class).unwrap();
        std::fs::write(class.join("x.png"), b"not an image").unwrap();
    }
    let config = config(DataName::Folder, folder.path(), Augment::None);
    let dataset = Dataset::open(&config, 0).unwrap();
    let stream = Stream::new(1, 1, 0).unwrap();
    let error = dataset.train_batch(&stream, 0).unwrap_err().to_string();
    let file = folder.path().join("train/a/x.png");
    assert!(
        error.starts_with(&format!(
            "{} cannot be decoded as an image: ",
            file.display()
        )),
        "{error}"
    );
}
