//! Image folders, from tiny images written here.

use std::fs;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};

use super::{config, odd_ones_still, refusal};
use crate::data::{Dataset, Stream};
use crate::image_config::{Augment, DataConfig, DataName};

const PLANE: usize = 224 * 224;

/// The normalised value of byte `value` in channel `c`.
fn normalised(value: f32, c: usize) -> f32 {
    (value / 255.0 - [0.485, 0.456, 0.406][c]) / [0.229, 0.224, 0.225][c]
}

fn write(folder: &Path, place: &str, image: &RgbImage) {
    let file = folder.join(place);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let format = if place.to_lowercase().ends_with("png") {
        ImageFormat::Png
    } else {
        ImageFormat::Jpeg
    };
    image.save_with_format(file, format).unwrap();
}

fn plain(width: u32, height: u32, colour: [u8; 3]) -> RgbImage {
    RgbImage::from_pixel(width, height, Rgb(colour))
}

/// Two classes, each of one colour, in several sizes, formats and spellings.
fn two_classes(folder: &Path) {
    write(folder, "train/cat/1.png", &plain(30, 20, [255, 0, 0]));
    write(folder, "train/cat/2.JPEG", &plain(300, 260, [255, 0, 0]));
    write(folder, "train/dog/3.jpg", &plain(1, 1, [0, 0, 255]));
    write(folder, "val/cat/4.PNG", &plain(20, 30, [255, 0, 0]));
    write(folder, "val/dog/5.png", &plain(9, 900, [0, 0, 255]));
    fs::write(folder.join("train/cat/notes.txt"), "no image").unwrap();
    fs::write(folder.join("train/cat/.hidden.png"), "no image").unwrap();
    fs::create_dir(folder.join("train/.cache")).unwrap();
}

fn open(folder: &Path, augment: Augment) -> Dataset {
    Dataset::open(&config(DataName::Folder, folder, augment), 0).unwrap()
}

/// The images of a worker that does not augment are those of a run that does not.
#[test]
fn a_workers_images_can_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    two_classes(folder.path());
    let (augmented, plain) = (
        open(folder.path(), Augment::Paper),
        open(folder.path(), Augment::None),
    );
    let (stream, odd) = (Stream::new(3, 3, 0).unwrap(), odd_ones_still());
    for number in 0..4 {
        let batch = augmented.train_batch_spoilt(&stream, number, Some(&odd));
        let same = match number % 2 {
            0 => &augmented,
            _ => &plain,
        };
        assert_eq!(batch.unwrap(), same.train_batch(&stream, number).unwrap());
    }
}

#[test]
fn images_of_all_sizes_become_labelled_batches() {
    let folder = tempfile::tempdir().unwrap();
    two_classes(folder.path());
    for augment in [Augment::Paper, Augment::None] {
        let dataset = open(folder.path(), augment);
        assert_eq!(
            (dataset.train_len(), dataset.test_len(), dataset.classes()),
            (3, 2, 2)
        );
        assert_eq!(dataset.shape(), [3, 224, 224]);
        let batch = dataset
            .train_batch(&Stream::new(3, 3, 0).unwrap(), 0)
            .unwrap();
        let test = dataset.test_batch(0..2).unwrap();
        assert_eq!(batch.shape, [3, 3, 224, 224]);
        let mut labels = [batch.labels.clone(), test.labels.clone()].concat();
        for (image, label) in batch
            .images
            .chunks(3 * PLANE)
            .chain(test.images.chunks(3 * PLANE))
            .zip(&labels)
        {
            // Cats are red and dogs are blue all over; JPEG may be off by a little.
            let bright = if *label == 0 { 0 } else { 2 };
            for (c, plane) in image.chunks(PLANE).enumerate() {
                let want = normalised(if c == bright { 255.0 } else { 0.0 }, c);
                assert!(
                    plane.iter().all(|v| (v - want).abs() < 0.06),
                    "{augment:?} {label} {c}"
                );
            }
        }
        labels.sort_unstable();
        assert_eq!(labels, [0, 0, 0, 1, 1]);
    }
}

/// A 256 x 256 test image is cropped at the centre without being resized.
#[test]
fn the_test_crop_is_the_centre() {
    let folder = tempfile::tempdir().unwrap();
    let image = RgbImage::from_fn(256, 256, |x, y| Rgb([x as u8, y as u8, 0]));
    for place in ["train/a/1.png", "val/a/1.png"] {
        write(folder.path(), place, &image);
    }
    let dataset = open(folder.path(), Augment::None);
    let test = dataset.test_batch(0..1).unwrap();
    assert_eq!(test.images[0], normalised(16.0, 0));
    assert_eq!(test.images[223], normalised(239.0, 0));
    assert_eq!(test.images[PLANE + 223 * 224], normalised(239.0, 1));
    let train = dataset
        .train_batch(&Stream::new(1, 1, 0).unwrap(), 0)
        .unwrap();
    assert_eq!(
        train.images, test.images,
        "without augmentation training images are the same"
    );
}

/// Random crops stay inside the image, vary in size and place, and are mirrored half the time.
#[test]
fn training_crops_are_random_and_repeatable() {
    let folder = tempfile::tempdir().unwrap();
    let image = RgbImage::from_fn(64, 48, |x, y| Rgb([4 * x as u8, 5 * y as u8, 0]));
    for place in ["train/a/1.png", "val/a/1.png"] {
        write(folder.path(), place, &image);
    }
    let dataset = open(folder.path(), Augment::Paper);
    let stream = Stream::new(1, 60, 7).unwrap();
    let batch = dataset.train_batch(&stream, 0).unwrap();
    assert_eq!(batch, dataset.train_batch(&stream, 0).unwrap());
    assert_ne!(
        batch.images,
        dataset.train_batch(&stream, 1).unwrap().images
    );
    let mut mirrored = 0;
    let mut widths = Vec::new();
    for image in batch.images.chunks(3 * PLANE) {
        // Red grows with x and green with y, so corners tell the crop's origin.
        let red = |i: usize| (image[i] * 0.229 + 0.485) * 255.0 / 4.0;
        let (left, right) = (red(0), red(223));
        mirrored += usize::from(left > right);
        widths.push((left - right).abs());
        assert!((-0.1..63.1).contains(&left.min(right)) && left.max(right) < 63.1);
        assert!(image[PLANE] <= image[2 * PLANE - 1], "never upside down");
    }
    assert!((15..45).contains(&mirrored), "{mirrored} of 60");
    let (least, most) = widths
        .iter()
        .fold((f32::MAX, 0.0f32), |(l, m), w| (l.min(*w), m.max(*w)));
    assert!(least < 25.0 && most > 45.0, "{least} .. {most}");
}

#[test]
fn classes_are_named_by_their_folders() {
    let folder = tempfile::tempdir().unwrap();
    two_classes(folder.path());
    let dataset = open(folder.path(), Augment::None);
    assert_eq!(dataset.class_names(), ["cat", "dog"]);
}

#[test]
fn the_digest_is_of_names_and_sizes() {
    let folder = tempfile::tempdir().unwrap();
    two_classes(folder.path());
    let before = open(folder.path(), Augment::None).digest().to_owned();
    assert_eq!(open(folder.path(), Augment::Paper).digest(), before);
    fs::rename(
        folder.path().join("val/cat/4.PNG"),
        folder.path().join("val/cat/6.png"),
    )
    .unwrap();
    assert_ne!(open(folder.path(), Augment::None).digest(), before);
}

#[test]
fn wrong_folders_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    let config = config(DataName::Folder, folder.path(), Augment::None);
    assert_eq!(
        refusal(&config),
        format!(
            "{at}/train is missing; it holds train/CLASS/*.jpg and val/CLASS/*.jpg (or .png) below {at}"
        )
    );
    fs::create_dir(folder.path().join("train")).unwrap();
    assert_eq!(
        refusal(&config),
        format!("no .jpg, .jpeg or .png images found in {at}/train")
    );
    two_classes(folder.path());
    let refused = |change: &dyn Fn()| {
        change();
        refusal(&config)
    };
    assert_eq!(
        refused(&|| fs::create_dir(folder.path().join("val/eel")).unwrap()),
        format!("{at}: class \"eel\" is in val but not in train; both need the same class folders")
    );
    assert_eq!(
        refused(&|| fs::rename(
            folder.path().join("val/eel"),
            folder.path().join("train/eel")
        )
        .unwrap()),
        format!("{at}: class \"eel\" is in train but not in val; both need the same class folders")
    );
    assert_eq!(
        refused(&|| fs::create_dir(folder.path().join("val/eel")).unwrap()),
        format!("no .jpg, .jpeg or .png images found in {at}/train/eel")
    );
    let pad_crop = DataConfig {
        augment: Augment::PadCrop,
        ..config.clone()
    };
    assert_eq!(
        refusal(&pad_crop),
        "data.augment \"pad_crop\" needs images of one size, and those of data.name \"folder\" differ; \
         use \"paper\" (random resized crop and flip) or \"none\" (centre crop)"
    );
    // A folder without readable images, and what it holds instead.
    fs::rename(
        folder.path().join("val/cat/4.PNG"),
        folder.path().join("val/cat/4.webp"),
    )
    .unwrap();
    fs::create_dir(folder.path().join("val/cat/more")).unwrap();
    fs::write(folder.path().join("val/cat/more/6.jpg"), "").unwrap();
    assert_eq!(
        refused(&|| ["train", "val"].iter().for_each(|split| {
            fs::remove_dir(folder.path().join(split).join("eel")).unwrap();
        })),
        format!(
            "no .jpg, .jpeg or .png images found in {at}/val/cat; left out: 1 .webp, \
             1 in folders below a class"
        )
    );
    let unset = DataConfig {
        folder: None,
        ..config
    };
    assert!(refusal(&unset).starts_with("data.folder is not set, and data.name \"folder\" reads"));
}
