//! Data sets as a whole: from files and config to batches and error texts.

mod advice;
mod cifar;
mod folder;
mod images;
mod small;

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Dataset, Loader, Stream};
use crate::config::{Augment, DataConfig, DataName};

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

/// The text of the error that opening gives.
fn refusal(config: &DataConfig) -> String {
    Dataset::open(config, 0).unwrap_err().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A batch has the same bits whatever was asked before it, from another thread, and through a
    /// loader that starts anywhere.
    #[test]
    fn a_batch_is_the_same_however_it_is_made(
        seed: u64, number in 0u64..40, asked in prop::collection::vec(0u64..40, 0..4),
        workers in 1usize..4, ahead in 0usize..3,
    ) {
        let config = generated(30, 3, [2, 6, 5], Augment::PadCrop);
        let dataset = Arc::new(Dataset::open(&config, 1).unwrap());
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

        let worker = (number % workers as u64) as usize;
        let step = number / workers as u64;
        let from = step.saturating_sub(2);
        let mut loader =
            Loader::start(Arc::clone(&dataset), again, worker, workers, from, ahead).unwrap();
        for _ in from..step {
            loader.next().unwrap();
        }
        prop_assert_eq!(&direct, &loader.next().unwrap());
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

#[test]
fn augmentation_changes_with_the_batch_and_the_seed() {
    // One example, so that two batches differ by augmentation alone.
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
    let dataset = Arc::new(Dataset::open(&generated(20, 4, [1, 3, 3], Augment::None), 5).unwrap());
    let other = Stream::new(21, 2, 0).unwrap();
    let mismatch = "the stream orders 21 examples, but the data set has 20";
    assert_eq!(
        dataset.train_batch(&other, 0).unwrap_err().to_string(),
        mismatch
    );
    let start = |stream, worker| Loader::start(Arc::clone(&dataset), stream, worker, 2, 0, 1);
    assert_eq!(start(other, 0).unwrap_err().to_string(), mismatch);
    assert_eq!(
        start(Stream::new(20, 2, 0).unwrap(), 2)
            .unwrap_err()
            .to_string(),
        "worker 2 of 2 was given batches; workers count from 0"
    );
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

/// A decoder's error reaches the consumer through the thread, and then the loader has ended.
#[test]
fn a_loader_passes_errors_on() {
    let folder = tempfile::tempdir().unwrap();
    for split in ["train", "val"] {
        let class = folder.path().join(split).join("a");
        std::fs::create_dir_all(&class).unwrap();
        std::fs::write(class.join("x.png"), b"not an image").unwrap();
    }
    let config = config(DataName::Folder, folder.path(), Augment::None);
    let dataset = Arc::new(Dataset::open(&config, 0).unwrap());
    let mut loader = Loader::start(dataset, Stream::new(1, 1, 0).unwrap(), 0, 1, 0, 2).unwrap();
    let error = loader.next().unwrap_err().to_string();
    let file = folder.path().join("train/a/x.png");
    assert!(
        error.starts_with(&format!(
            "{} cannot be decoded as an image: ",
            file.display()
        )),
        "{error}"
    );
    assert!(loader.next().is_err());
}
