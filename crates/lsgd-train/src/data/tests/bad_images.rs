//! Image folders with images that cannot be decoded.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};

use super::config;
use crate::data::{Dataset, Reserve, Stream};
use crate::image_config::{Augment, BadImages, DataConfig, DataName};

/// Training images, and as many test images.
const IMAGES: usize = 8;

/// The red of image `index`.
fn red(index: usize) -> u8 {
    20 * index as u8
}

/// Images of a class, each of its own red, of which `bad` are none, in either split.
fn write(folder: &Path, bad: &[usize]) {
    for split in ["train", "val"] {
        let place = folder.join(split).join("class");
        fs::create_dir_all(&place).unwrap();
        for index in 0..IMAGES {
            let file = place.join(format!("{index}.png"));
            if bad.contains(&index) {
                fs::write(file, "not an image").unwrap();
            } else {
                let colour = Rgb([red(index), 0, 0]);
                RgbImage::from_pixel(8, 8, colour).save(file).unwrap();
            }
        }
    }
}

fn open(folder: &Path, augment: Augment, bad_images: BadImages) -> Dataset {
    let config = DataConfig {
        bad_images,
        bad_images_limit: 0.5,
        ..config(DataName::Folder, folder, augment)
    };
    Dataset::open(&config, 0).unwrap()
}

/// Which images are in a batch, by their red.
fn which(batch: &crate::data::Batch) -> Vec<usize> {
    let [count, ..] = batch.shape;
    assert_eq!(batch.labels.len(), count);
    let length = batch.images.len().checked_div(count).unwrap_or_default();
    let images = (0..count).map(|place| {
        let value = (batch.images[place * length] * 0.229 + 0.485) * 255.0;
        (value / f32::from(red(1))).round() as usize
    });
    images.collect()
}

/// The image that is trained on in place of `index`.
fn replaced(index: usize, is_left_out: impl Fn(usize) -> bool) -> usize {
    let mut order = (0..IMAGES).cycle().skip(index);
    order.find(|next| !is_left_out(*next)).unwrap()
}

/// After the last comes the first; what was met before, and by how many threads, makes no
/// difference.
#[test]
fn the_next_good_image_is_trained_on_instead() {
    let folder = tempfile::tempdir().unwrap();
    let bad = [2, 3, 7];
    write(folder.path(), &bad);
    let stream = Stream::new(IMAGES, 3, 5).unwrap();
    for augment in [Augment::None, Augment::Paper] {
        let in_order = open(folder.path(), augment, BadImages::Skip);
        let backwards = open(folder.path(), augment, BadImages::Skip);
        let there = (0..12).map(|number| in_order.train_batch(&stream, number).unwrap());
        let back = (0..12).rev();
        let back = back.map(|number| backwards.train_batch(&stream, number).unwrap());
        let (there, mut back): (Vec<_>, Vec<_>) = (there.collect(), back.collect());
        back.reverse();
        assert_eq!(there, back);
        for (number, batch) in there.iter().enumerate() {
            let indices = stream.indices(number as u64).into_iter();
            let wanted = indices.map(|index| replaced(index as usize, |next| bad.contains(&next)));
            assert_eq!(
                which(batch),
                wanted.collect::<Vec<_>>(),
                "{augment:?} {number}"
            );
        }
    }
}

/// An image is augmented as the one would have been that it stands for.
#[test]
fn a_replacement_is_augmented_by_its_place() {
    let [folder, mended] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    write(folder.path(), &[4]);
    write(mended.path(), &[]);
    let place = mended.path().join("train/class");
    fs::copy(place.join("5.png"), place.join("4.png")).unwrap();
    let stream = Stream::new(IMAGES, IMAGES, 1).unwrap();
    let skipping = open(folder.path(), Augment::Paper, BadImages::Skip);
    let whole = open(mended.path(), Augment::Paper, BadImages::Stop);
    for number in 0..3 {
        assert_eq!(
            skipping.train_batch(&stream, number).unwrap(),
            whole.train_batch(&stream, number).unwrap()
        );
    }
}

#[test]
fn held_out_images_replace_none_and_are_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let stream = Stream::new(IMAGES, 2, 3).unwrap();
    let stream = stream.holding_out(Reserve::Probe, 3, 3).unwrap();
    let held_out: Vec<usize> = stream
        .held_out(Reserve::Probe)
        .iter()
        .map(|i| *i as usize)
        .collect();
    let is_trained_on = |index: &usize| !held_out.contains(index);
    // One that a held-out image follows, and one that is held out.
    let before = |index: &usize| held_out.contains(&((index + 1) % IMAGES));
    let trained_on = (0..IMAGES).filter(is_trained_on).find(before).unwrap();
    let bad = [trained_on, held_out[1]];
    write(folder.path(), &bad);
    let dataset = open(folder.path(), Augment::None, BadImages::Skip);
    for number in 0..10 {
        let batch = dataset.train_batch(&stream, number).unwrap();
        let left_out = |next| bad.contains(&next) || held_out.contains(&next);
        let indices = stream.indices(number).into_iter();
        let wanted = indices.map(|index| replaced(index as usize, left_out));
        assert_eq!(which(&batch), wanted.collect::<Vec<_>>());
    }
    let probe = dataset.held_out(&stream, Reserve::Probe, 0..3).unwrap();
    assert_eq!(which(&probe), [held_out[0], held_out[2]]);
    let only_the_bad = dataset.held_out(&stream, Reserve::Probe, 1..2).unwrap();
    assert_eq!(only_the_bad.shape, [0, 3, 224, 224]);
}

#[test]
fn test_images_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let bad = [0, 5, 6];
    write(folder.path(), &bad);
    let dataset = open(folder.path(), Augment::None, BadImages::Skip);
    let halves = [0..IMAGES / 2, IMAGES / 2..IMAGES];
    for _ in 0..2 {
        let halves = halves.clone().map(|half| dataset.test_batch(half).unwrap());
        let mut seen = halves.each_ref().map(which).concat();
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3, 4, 7]);
    }
}

/// The limit is for each split.
#[test]
fn more_than_the_share_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[0, 1, 2, 3, 4]);
    fs::remove_file(folder.path().join("train/class/0.png")).unwrap();
    let dataset = open(folder.path(), Augment::None, BadImages::Skip);
    let stream = Stream::new(IMAGES - 1, IMAGES - 1, 0).unwrap();
    for (split, refused) in [
        ("training", dataset.train_batch(&stream, 0)),
        ("test", dataset.test_batch(0..IMAGES)),
    ] {
        let error = refused.unwrap_err().to_string();
        let of = match split {
            "training" => "4 of 7 training images",
            _ => "5 of 8 test images",
        };
        assert!(
            error.contains(" cannot be decoded as an image: "),
            "{error}"
        );
        let told = format!("; {of} are bad, more than data.bad_images_limit 0.5 allows; ");
        assert!(error.contains(&told), "{error}");
    }
}

#[test]
fn none_is_skipped_by_default() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[3]);
    assert_eq!(DataConfig::default().bad_images, BadImages::Stop);
    let dataset = open(folder.path(), Augment::None, BadImages::Stop);
    let stream = Stream::new(IMAGES, IMAGES, 0).unwrap();
    for split in [
        dataset.train_batch(&stream, 0),
        dataset.test_batch(0..IMAGES),
    ] {
        let error = split.unwrap_err().to_string();
        let told =
            "3.png cannot be decoded as an image: by its contents it is neither JPEG nor PNG";
        assert!(error.ends_with(told), "{error}");
    }
}
