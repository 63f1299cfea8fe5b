//! The advice for data that were not found fits what is in the folder.

use std::fs;
use std::path::Path;

use super::{config, refusal};
use crate::image_config::{Augment, DataName};

const CIFAR10: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];
const CIFAR100: [&str; 2] = ["train.bin", "test.bin"];

/// Creates empty files and their folders.
fn files(folder: &Path, files: &[&str]) {
    for file in files {
        let file = folder.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }
}

/// The part of the error for `folder` that follows what is missing.
#[track_caller]
fn advised(name: DataName, folder: &Path, advice: &str) {
    let text = refusal(&config(name, folder, Augment::None));
    let missing = ["is missing; ", "does not exist; "];
    let (_, said) = missing
        .iter()
        .find_map(|part| text.split_once(part))
        .unwrap_or_else(|| panic!("{text}"));
    assert_eq!(said, advice);
}

#[test]
fn records_one_level_off() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let inner = folder.path().join("cifar-10-batches-bin");
    files(&inner, &CIFAR10);
    let is_in = format!("its files are in {0}: set data.folder={0}", inner.display());
    advised(DataName::Cifar10, folder.path(), &is_in);
    // A typo; and a folder too far down.
    advised(
        DataName::Cifar10,
        &folder.path().join("cifar-10-bin"),
        &is_in,
    );
    advised(DataName::Cifar10, &inner.join("data"), &is_in);
    // Not accepted as complete when a file is missing.
    fs::remove_file(inner.join("test_batch.bin")).unwrap();
    let fetch = format!("get the data with `lsgd-train data fetch cifar10 --folder {at}`");
    advised(DataName::Cifar10, folder.path(), &fetch);
}

#[test]
fn records_in_another_form() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    files(folder.path(), &["data_batch_1", "test_batch"]);
    let fetch = format!("get the data with `lsgd-train data fetch cifar10 --folder {at}`");
    let python = format!("it holds the Python version, and the binary one is read: {fetch}");
    advised(DataName::Cifar10, folder.path(), &python);
    files(folder.path(), &CIFAR100);
    let other = "it holds CIFAR-100: set data.name=cifar100";
    advised(DataName::Cifar10, folder.path(), other);
    files(folder.path(), &["cifar-10-binary.tar.gz"]);
    let packed = format!(
        "cifar-10-binary.tar.gz is still packed: unpack it with `lsgd-train data fetch cifar10 \
         --folder {at} --archive {at}/cifar-10-binary.tar.gz`"
    );
    advised(DataName::Cifar10, folder.path(), &packed);
    let archive = folder.path().join("cifar-10-binary.tar.gz");
    let refused = refusal(&config(DataName::Cifar10, &archive, Augment::None));
    let expected = format!(
        "data.folder {} is a file, not a folder; {packed}, and leave its name out of data.folder",
        archive.display()
    );
    assert_eq!(refused, expected);
    // Beside a folder that does not exist yet.
    let packed = packed.replace(&format!("--folder {at}"), &format!("--folder {at}/new"));
    advised(DataName::Cifar10, &folder.path().join("new"), &packed);
}

#[test]
fn images_one_level_off() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("ILSVRC/Data/CLS-LOC");
    files(&inner, &["train/a/1.jpg", "val/a/2.jpg"]);
    let is_in = format!(
        "{0} has train and val: if that is meant, set data.folder={0}",
        inner.display()
    );
    advised(DataName::Folder, folder.path(), &is_in);
    advised(DataName::Folder, &inner.join("train"), &is_in);
}

#[test]
fn images_in_another_layout() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    files(folder.path(), &["images.zip"]);
    let packed = format!(
        "{at}/images.zip is still packed: unpack it, to train/CLASS/*.jpg and val/CLASS/*.jpg (or \
         .png) below {at}"
    );
    advised(DataName::Folder, folder.path(), &packed);
    fs::remove_file(folder.path().join("images.zip")).unwrap();

    files(folder.path(), &["cat/1.jpg", "dog/2.jpg"]);
    let unsplit = format!(
        "it holds 2 folders itself: if they are the classes, they belong in {at}/train, and some \
         images of each in {at}/val"
    );
    advised(DataName::Folder, folder.path(), &unsplit);
    files(folder.path(), &["train/cat/1.jpg", "test/cat/2.jpg"]);
    let test = format!("if {at}/test holds the test images, call it val: ln -s test {at}/val");
    advised(DataName::Folder, folder.path(), &test);

    let records = tempfile::tempdir().unwrap();
    files(records.path(), &CIFAR10);
    let other = "it holds the files of cifar10: set data.name=cifar10";
    advised(DataName::Folder, records.path(), other);
}

#[test]
fn test_images_without_class_folders() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let config = config(DataName::Folder, folder.path(), Augment::None);
    files(
        folder.path(),
        &["train/n01440764/1.JPEG", "val/a.JPEG", "val/b.JPEG"],
    );
    assert_eq!(
        refusal(&config),
        format!(
            "no .jpg, .jpeg or .png images found in {at}/val; left out: 2 outside of class folders; \
             move each to val/CLASS (ImageNet's validation images: with valprep.sh of \
             github.com/soumith/imagenetloader.torch)"
        )
    );
}

#[test]
fn tiny_imagenet_as_published() {
    let folder = tempfile::tempdir().unwrap();
    let published = [
        "train/n01443537/images/n01443537_0.JPEG",
        "train/n01443537/n01443537_boxes.txt",
        "val/images/val_0.JPEG",
        "val/val_annotations.txt",
    ];
    files(folder.path(), &published);
    assert_eq!(
        refusal(&config(DataName::Folder, folder.path(), Augment::None)),
        format!(
            "{} is Tiny ImageNet as it was published; move train/CLASS/images/* to train/CLASS, and \
             each file of val/images to val/CLASS, with the CLASS that val/val_annotations.txt has \
             for it",
            folder.path().display()
        )
    );
}
