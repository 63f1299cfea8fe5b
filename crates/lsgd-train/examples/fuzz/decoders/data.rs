//! Files of data sets, and published archives.

use std::fs;
use std::path::{Path, PathBuf};

use lsgd_train::data::fetch::{Archive, unpack_from};
use lsgd_train::data::{DataError, Dataset, Stream};
use lsgd_train::image_config::{Augment, DataConfig, DataName};
use sha2::{Digest, Sha256};

use super::kib;
use crate::changes::{Form, gzipped, tar_of};
use crate::harness::{Bound, Decoder};

/// Bytes of a record: labels and pixels.
const CIFAR10: usize = 3073;
const CIFAR100: usize = 3074;

const CIFAR10_FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

pub fn decoders(folder: &Path) -> Vec<Decoder> {
    let (cifar10, cifar100) = (folder.join("cifar10"), folder.join("cifar100"));
    let record = |length: usize| -> Vec<u8> { (0..length).map(|byte| (byte % 7) as u8).collect() };
    for name in CIFAR10_FILES {
        write(&cifar10.join(name), &record(CIFAR10));
    }
    for name in ["train.bin", "test.bin"] {
        write(&cifar100.join(name), &record(CIFAR100));
    }
    let names = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
    let line = |label: usize| {
        let pixels: Vec<String> = (0..64).map(|pixel| (pixel % 17).to_string()).collect();
        format!("{},{label}\n", pixels.join(","))
    };
    let digits: String = (0..10).map(line).collect();
    // The class names and the reader's buffer, of an input of any length.
    let fixed = kib(1 << 10, 16);
    vec![
        of_file(
            "data cifar10",
            Form::Bytes,
            record(2 * CIFAR10),
            fixed,
            &cifar10,
            "data_batch_3.bin",
        ),
        of_file(
            "data cifar100",
            Form::Bytes,
            record(2 * CIFAR100),
            fixed,
            &cifar100,
            "test.bin",
        ),
        of_file(
            "data class names",
            Form::Text,
            names.into(),
            fixed,
            &cifar10,
            "batches.meta.txt",
        ),
        // Sixteen MiB are decompressed at most, into a buffer that doubles.
        of_file(
            "data digits",
            Form::Gzip,
            gzipped(digits.as_bytes()),
            kib(96 << 10, 16),
            &folder.join("digits"),
            "digits.csv.gz",
        ),
        archive(folder),
    ]
}

fn write(path: &Path, content: &[u8]) {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).expect("the folder can be made");
    }
    fs::write(path, content).expect("the file can be written");
}

/// A data set with another file: it is opened, and a batch made.
fn of_file(
    name: &'static str,
    form: Form,
    valid: Vec<u8>,
    bound: Bound,
    folder: &Path,
    file: &'static str,
) -> Decoder {
    let config = DataConfig {
        name: match name {
            "data digits" => DataName::Digits,
            "data cifar100" => DataName::Cifar100,
            _ => DataName::Cifar10,
        },
        folder: Some(folder.to_owned()),
        augment: Augment::None,
        ..DataConfig::default()
    };
    let path = folder.join(file);
    let was = fs::read(&path).ok();
    Decoder {
        name,
        form,
        valid: vec![valid],
        bound,
        share: 20,
        read: Box::new(move |bytes| {
            write(&path, bytes);
            let outcome = batch(&config);
            match &was {
                Some(was) => write(&path, was),
                None => fs::remove_file(&path).expect("it has been written"),
            }
            is_accepted(outcome)
        }),
    }
}

/// Whether the outcome is no error; an error is one line.
pub fn is_accepted(outcome: Result<(), DataError>) -> bool {
    if let Err(error) = &outcome {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    outcome.is_ok()
}

fn batch(config: &DataConfig) -> Result<(), DataError> {
    let dataset = Dataset::open(config, 0)?;
    let stream = Stream::new(dataset.train_len(), 1, 0)?;
    dataset.train_batch(&stream, 0)?;
    dataset.test_batch(0..1).map(drop)
}

/// An archive whose length and checksum are as they should be: that it is unpacked without trusting it is
/// the second line of defence.
fn archive(folder: &Path) -> Decoder {
    const FILES: [(&str, u64); 2] = [("train.bin", 700), ("test.bin", 100)];
    let files = [
        ("cifar/readme.html", vec![b'x'; 1000]),
        ("cifar/train.bin", vec![1; 700]),
        ("cifar/test.bin", vec![2; 100]),
    ];
    let (packed, unpacked) = (folder.join("a.tar.gz"), folder.join("unpacked"));
    Decoder {
        name: "data archive",
        form: Form::Gzip,
        valid: vec![gzipped(&tar_of(&files))],
        // A long name may be as long as all that is unpacked: sixteen MiB beside the files.
        bound: kib(64 << 10, 16),
        share: 10,
        read: Box::new(move |bytes| {
            write(&packed, bytes);
            let sum: String = Sha256::digest(bytes)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let archive = Archive {
                url: "https://localhost/a.tar.gz",
                name: "a.tar.gz",
                bytes: bytes.len() as u64,
                sha256: &sum,
                files: &FILES,
            };
            let outcome = unpack_from(&packed, &archive, &unpacked, &mut |_| {});
            let found = files_in(&unpacked);
            match outcome.is_ok() {
                true => assert_eq!(found.len(), FILES.len(), "{found:?}"),
                false => assert!(found.is_empty(), "{found:?}"),
            }
            fs::remove_dir_all(&unpacked).expect("the folder was made");
            is_accepted(outcome)
        }),
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}
