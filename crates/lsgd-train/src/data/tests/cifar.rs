//! CIFAR-10 and CIFAR-100 from small files in the published layout.

use std::fs;
use std::path::Path;

use super::{config, refusal};
use crate::data::{Dataset, Stream};
use crate::image_config::{Augment, DataConfig, DataName};

/// A record whose pixels are all `value`, except 255 at `bright` in the red plane.
fn record(labels: &[u8], value: u8, bright: usize) -> Vec<u8> {
    let mut bytes = labels.to_vec();
    bytes.resize(labels.len() + 3072, value);
    bytes[labels.len() + bright] = 255;
    bytes
}

/// Two records in each training file, three in the test file.
fn write_cifar10(folder: &Path) {
    for file in 0..5u8 {
        let bytes = [record(&[2 * file], 10, 0), record(&[2 * file + 1], 20, 0)].concat();
        fs::write(folder.join(format!("data_batch_{}.bin", file + 1)), bytes).unwrap();
    }
    // Row 2, column 3 of the red plane.
    let test: Vec<u8> = [3, 1, 4]
        .into_iter()
        .flat_map(|l| record(&[l], 0, 2 * 32 + 3))
        .collect();
    fs::write(folder.join("test_batch.bin"), test).unwrap();
}

#[test]
fn cifar10_is_read_normalised_and_cropped() {
    let folder = tempfile::tempdir().unwrap();
    write_cifar10(folder.path());
    let open =
        |augment| Dataset::open(&config(DataName::Cifar10, folder.path(), augment), 0).unwrap();
    let dataset = open(Augment::Paper);
    assert_eq!(
        (dataset.train_len(), dataset.test_len(), dataset.classes()),
        (10, 3, 10)
    );
    assert_eq!(dataset.shape(), [3, 28, 28]);

    let test = dataset.test_batch(1..3).unwrap();
    assert_eq!(test.shape, [2, 3, 28, 28]);
    assert_eq!(test.labels, [1, 4]);
    // The centre crop begins at row 2, column 2, so the bright pixel is at row 0, column 1.
    let black: Vec<f32> = [(0.4914, 0.2023), (0.4822, 0.1994), (0.4465, 0.2010)]
        .into_iter()
        .map(|(mean, std)| (0.0 - mean) / std)
        .collect();
    assert_eq!(test.images[1], (1.0 - 0.4914) / 0.2023);
    assert_eq!(test.images[0], black[0]);
    assert_eq!(test.images[28 * 28 + 1], black[1]);
    assert_eq!(test.images[2 * 28 * 28], black[2]);

    let stream = Stream::new(10, 10, 4).unwrap();
    let batch = dataset.train_batch(&stream, 0).unwrap();
    assert_eq!(batch.shape, [10, 3, 28, 28]);
    let labels: Vec<i32> = stream.indices(0).into_iter().map(|i| i as i32).collect();
    assert_eq!(
        batch.labels, labels,
        "labels follow the files and the stream"
    );

    let whole = open(Augment::PadCrop);
    assert_eq!(whole.shape(), [3, 32, 32]);
    assert_eq!(
        whole.test_batch(0..1).unwrap().images[2 * 32 + 3],
        (1.0 - 0.4914) / 0.2023
    );
    assert_eq!(
        dataset.digest(),
        whole.digest(),
        "augmentation is no part of the data"
    );

    fs::write(folder.path().join("test_batch.bin"), record(&[3], 0, 7)).unwrap();
    assert_ne!(open(Augment::Paper).digest(), dataset.digest());
}

#[test]
fn cifar100_takes_the_fine_label() {
    let folder = tempfile::tempdir().unwrap();
    let train = [record(&[19, 99], 5, 0), record(&[1, 42], 5, 0)].concat();
    fs::write(folder.path().join("train.bin"), train).unwrap();
    fs::write(folder.path().join("test.bin"), record(&[7, 63], 255, 0)).unwrap();
    let dataset =
        Dataset::open(&config(DataName::Cifar100, folder.path(), Augment::None), 0).unwrap();
    assert_eq!(
        (dataset.train_len(), dataset.test_len(), dataset.classes()),
        (2, 1, 100)
    );
    let names = dataset.class_names();
    assert_eq!(
        (names.len(), &*names[0], &*names[99]),
        (100, "apple", "worm")
    );
    let test = dataset.test_batch(0..1).unwrap();
    assert_eq!(test.labels, [63]);
    assert_eq!(test.images[3071], (1.0 - 0.4408) / 0.2761);
    let stream = Stream::new(2, 2, 0).unwrap();
    let mut labels = dataset.train_batch(&stream, 0).unwrap().labels;
    labels.sort_unstable();
    assert_eq!(labels, [42, 99]);
}

#[test]
fn missing_folders_and_files_say_what_to_do() {
    let unset = DataConfig {
        name: DataName::Cifar100,
        folder: None,
        ..DataConfig::default()
    };
    assert_eq!(
        refusal(&unset),
        "data.folder is not set, and data.name \"cifar100\" reads its files from it; \
         get the data with `lsgd-train data fetch cifar100 --folder FOLDER`"
    );
    let away = config(
        DataName::Cifar10,
        Path::new("/nowhere/cifar"),
        Augment::Paper,
    );
    assert_eq!(
        refusal(&away),
        "data.folder /nowhere/cifar does not exist; \
         get the data with `lsgd-train data fetch cifar10 --folder /nowhere/cifar`"
    );
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    write_cifar10(folder.path());
    fs::remove_file(folder.path().join("data_batch_4.bin")).unwrap();
    assert_eq!(
        refusal(&config(DataName::Cifar10, folder.path(), Augment::Paper)),
        format!(
            "{at}/data_batch_4.bin is missing; \
             get the data with `lsgd-train data fetch cifar10 --folder {at}`"
        )
    );
}

#[test]
fn truncated_files_and_wrong_records_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(DataName::Cifar10, folder.path(), Augment::Paper);
    let file = folder.path().join("data_batch_2.bin");
    write_cifar10(folder.path());
    let whole = fs::read(&file).unwrap();
    // Truncated, empty, and CIFAR-100's records, which are one byte longer.
    let other = record(&[1, 2], 0, 0);
    for bytes in [&whole[..whole.len() - 1], &[], &other] {
        fs::write(&file, bytes).unwrap();
        assert_eq!(
            refusal(&config),
            format!(
                "{} is {} bytes long, not one or more whole records of 3073 bytes; \
                 it is truncated or of another layout, so fetch it again",
                file.display(),
                bytes.len()
            )
        );
    }
    fs::write(&file, [record(&[9], 0, 0), record(&[10], 0, 0)].concat()).unwrap();
    assert_eq!(
        refusal(&config),
        format!(
            "{}: record 1 has label 10, but labels go from 0 to 9; \
             the file is damaged or of another layout",
            file.display()
        )
    );
}

/// The published names, or those in the file that comes with the records.
#[test]
fn classes_have_names() {
    let folder = tempfile::tempdir().unwrap();
    write_cifar10(folder.path());
    let config = config(DataName::Cifar10, folder.path(), Augment::None);
    let names = || Dataset::open(&config, 0).unwrap().class_names().to_vec();
    let published = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ];
    assert_eq!(names(), published);
    let file = folder.path().join("batches.meta.txt");
    fs::write(&file, published.join("\n") + "\n\n").unwrap();
    assert_eq!(names(), published);
    fs::write(&file, "a\nb\nc\nd\r\ne\nf\ng\nh\ni\n j \n").unwrap();
    assert_eq!(names(), ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
    fs::write(&file, "a\nb\n").unwrap();
    assert_eq!(
        refusal(&config),
        format!(
            "{} names 2 classes, and there are 10; mend or remove it",
            file.display()
        )
    );
}
