//! CIFAR-10 and CIFAR-100 in their published binary layout,
//! <https://www.cs.toronto.edu/~kriz/cifar.html>.
//!
//! A CIFAR-10 record is a label and 3072 bytes of pixels (red, green and blue plane, each 32 rows
//! of 32); a CIFAR-100 record has a coarse label, which is not used, before the fine one. The names
//! of the classes are the published ones, or those of the file of names beside the records, where
//! there is one: data of one's own can be in this layout.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::DataError;
use super::advice::advice;
use super::advice::existing_folder;
use super::error::{io, word};
use super::memory::{MEMORY_LIMIT, Raw, Split, table};
use crate::image_config::DataName;

const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3 * 32 * 32;

/// Most bytes that are read of a file of names.
const NAMES_LIMIT: u64 = 1 << 16;

/// One of the two data sets.
struct Layout {
    name: DataName,
    classes: usize,
    /// Names of the classes in the order of their labels, spaces between them.
    published_names: &'static str,
    /// The file of these names, one a line.
    names: &'static str,
    /// Bytes before the pixels; the last of them is the label.
    labels: usize,
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// Published numbers of training and test images.
    published: [usize; 2],
    /// Mean and standard deviation of red, green, blue in [0, 1].
    mean: [f32; 3],
    std: [f32; 3],
}

const CIFAR10: Layout = Layout {
    name: DataName::Cifar10,
    classes: 10,
    published_names: "airplane automobile bird cat deer dog frog horse ship truck",
    names: "batches.meta.txt",
    labels: 1,
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
    published: [50_000, 10_000],
    // The paper's authors' values (<https://github.com/yunfei-teng/LSGD>, codes/local_tools.py),
    // which they have from <https://github.com/kuangliu/pytorch-cifar>, main.py.
    mean: [0.4914, 0.4822, 0.4465],
    std: [0.2023, 0.1994, 0.2010],
};

const CIFAR100: Layout = Layout {
    name: DataName::Cifar100,
    classes: 100,
    published_names: "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy \
              bridge bus butterfly camel can castle caterpillar cattle chair chimpanzee clock \
              cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish \
              forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion \
              lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange \
              orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine \
              possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper \
              snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone \
              television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf \
              woman worm",
    names: "fine_label_names.txt",
    labels: 2,
    train: &["train.bin"],
    test: &["test.bin"],
    published: [50_000, 10_000],
    // The usual values: mean and standard deviation over all training pixels, as in
    // <https://github.com/weiaicunzai/pytorch-cifar100>, conf/global_settings.py, rounded.
    mean: [0.5071, 0.4867, 0.4408],
    std: [0.2675, 0.2565, 0.2761],
};

/// Reads CIFAR-10 from the six files in `folder`.
pub(crate) fn open_cifar10(folder: Option<&Path>) -> Result<Raw, DataError> {
    open(&CIFAR10, folder)
}

/// Reads CIFAR-100 from the two files in `folder`.
pub(crate) fn open_cifar100(folder: Option<&Path>) -> Result<Raw, DataError> {
    open(&CIFAR100, folder)
}

fn open(layout: &Layout, folder: Option<&Path>) -> Result<Raw, DataError> {
    let folder = existing_folder(layout.name, folder)?;
    let mut identity = blake3::Hasher::new();
    identity.update(word(layout.name).as_bytes());
    let train = read_split(layout, folder, layout.train, &mut identity)?;
    let test = read_split(layout, folder, layout.test, &mut identity)?;
    let found = [train.labels.len(), test.labels.len()];
    if found != layout.published {
        tracing::warn!(
            "{}: {} training and {} test images, where {} and {} were published",
            folder.display(),
            found[0],
            found[1],
            layout.published[0],
            layout.published[1],
        );
    }
    let tables = (0..3)
        .map(|c| table(255.0, layout.mean[c], layout.std[c]))
        .collect();
    Ok(Raw {
        train,
        test,
        shape: SHAPE,
        class_names: class_names(layout, folder)?,
        tables,
        identity,
    })
}

/// The names in the file of names, if there is one; else the published ones.
fn class_names(layout: &Layout, folder: &Path) -> Result<Vec<String>, DataError> {
    let file = folder.join(layout.names);
    if !file.is_file() {
        let names = layout.published_names.split(' ');
        return Ok(names.map(str::to_owned).collect());
    }
    let mut text = String::new();
    let opened = File::open(&file).map_err(io(&file))?;
    let limited = &mut opened.take(NAMES_LIMIT);
    limited.read_to_string(&mut text).map_err(io(&file))?;
    let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<String> = names.map(str::to_owned).collect();
    match names.len() == layout.classes {
        true => Ok(names),
        false => Err(DataError::ClassNames {
            file,
            found: names.len(),
            wanted: layout.classes,
        }),
    }
}

fn read_split(
    layout: &Layout,
    folder: &Path,
    names: &[&str],
    identity: &mut blake3::Hasher,
) -> Result<Split, DataError> {
    let mut split = Split::default();
    for name in names {
        let file = folder.join(name);
        identity.update(name.as_bytes());
        read_file(layout, &file, &mut split, identity)?;
    }
    Ok(split)
}

fn read_file(
    layout: &Layout,
    file: &Path,
    split: &mut Split,
    identity: &mut blake3::Hasher,
) -> Result<(), DataError> {
    if !file.is_file() {
        return Err(DataError::FileMissing {
            file: file.to_owned(),
            remedy: advice(layout.name, file.parent().unwrap_or(file)),
        });
    }
    let opened = File::open(file).map_err(io(file))?;
    let length = opened.metadata().map_err(io(file))?.len();
    let record_length = (layout.labels + PIXELS) as u64;
    if length == 0 || length % record_length != 0 {
        return Err(DataError::RecordLength {
            file: file.to_owned(),
            length,
            record: record_length,
        });
    }
    if length > MEMORY_LIMIT / 8 {
        let what = file.display().to_string();
        return Err(DataError::TooLarge {
            what,
            size: length,
            limit: MEMORY_LIMIT / 8,
        });
    }
    let records = length / record_length;
    split.pixels.reserve_exact(records as usize * PIXELS);
    split.labels.reserve_exact(records as usize);
    let mut reader = BufReader::with_capacity(1 << 18, opened);
    let mut bytes = vec![0; layout.labels + PIXELS];
    for record in 0..records {
        reader.read_exact(&mut bytes).map_err(io(file))?;
        identity.update(&bytes);
        let label = bytes[layout.labels - 1];
        if usize::from(label) >= layout.classes {
            return Err(DataError::Label {
                file: file.to_owned(),
                record,
                label: u32::from(label),
                classes: layout.classes,
            });
        }
        split.labels.push(i32::from(label));
        split.pixels.extend_from_slice(&bytes[layout.labels..]);
    }
    Ok(())
}
