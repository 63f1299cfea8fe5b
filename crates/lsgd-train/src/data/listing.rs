//! The contents of an image folder: its classes, its images, and what is left out.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use lsgd_models::MAX_CLASSES;

use super::DataError;
use super::advice::advice;
use super::error::{io, word};
use super::splits::{TEST, TRAIN};
use crate::image_config::DataName;

/// Extensions of images that are read, and of those that are not.
const READ: [&str; 3] = ["jpg", "jpeg", "png"];
const UNREAD: [&str; 11] = [
    "avif", "bmp", "gif", "heic", "jfif", "jp2", "pgm", "ppm", "tif", "tiff", "webp",
];

/// An image and its class.
pub(super) struct Entry {
    pub file: PathBuf,
    pub class: i32,
}

/// The images of both splits.
pub(super) struct Listing {
    /// Names of the classes, in the order of their numbers.
    pub classes: Vec<String>,
    pub train: Vec<Entry>,
    pub test: Vec<Entry>,
    /// Has been fed every file's path and size.
    pub identity: blake3::Hasher,
}

/// Lists `folder`. One warning covers all images that are left out.
pub(super) fn list(folder: &Path) -> Result<Listing, DataError> {
    if is_tiny_imagenet(folder) {
        let folder = folder.to_owned();
        return Err(DataError::TinyImageNet { folder });
    }
    let mut left_out = LeftOut::default();
    let classes = class_folders(folder, TRAIN, &mut left_out)?;
    let test_classes = class_folders(folder, TEST, &mut left_out)?;
    same_classes(folder, &classes, &test_classes)?;
    let mut identity = blake3::Hasher::new();
    identity.update(word(DataName::Folder).as_bytes());
    let train = images(folder, TRAIN, &classes, &mut identity, &mut left_out)?;
    let test = images(folder, TEST, &classes, &mut identity, &mut left_out)?;
    if let Some(first) = &left_out.first {
        tracing::warn!(
            "{}: left out {}, the first {}; .jpg, .jpeg and .png directly in train/CLASS and \
             val/CLASS are read",
            folder.display(),
            left_out.counts(),
            first.display(),
        );
    }
    Ok(Listing {
        classes,
        train,
        test,
        identity,
    })
}

/// Images that are not used, and why not.
#[derive(Default)]
struct LeftOut {
    reasons: BTreeMap<String, usize>,
    /// The first of them by path.
    first: Option<PathBuf>,
}

impl LeftOut {
    fn add(&mut self, file: PathBuf, reason: impl Into<String>) {
        *self.reasons.entry(reason.into()).or_default() += 1;
        self.first = Some(self.first.take().map_or(file.clone(), |f| f.min(file)));
    }

    fn merge(&mut self, other: Self) {
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.first = match (self.first.take(), other.first) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// Such as `3 .webp, 1 outside of class folders`.
    fn counts(&self) -> String {
        let counts = self.reasons.iter();
        let counts: Vec<String> = counts
            .map(|(why, count)| format!("{count} {why}"))
            .collect();
        counts.join(", ")
    }

    /// To append to an error.
    fn found(&self) -> String {
        match self.reasons.is_empty() {
            true => String::new(),
            false => format!("; left out: {}", self.counts()),
        }
    }
}

/// What a file is, judged by its name.
enum Kind {
    Read,
    Unread(&'static str),
}

/// `None` if it is hidden, or not an image.
fn kind(file: &Path) -> Option<Kind> {
    let ending = file.extension()?.to_str()?.to_ascii_lowercase();
    if is_hidden(file) {
        return None;
    }
    match UNREAD.into_iter().find(|unread| *unread == ending) {
        Some(unread) => Some(Kind::Unread(unread)),
        None => READ.contains(&ending.as_str()).then_some(Kind::Read),
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Whether an entry is a folder, or a link to one.
fn is_folder(entry: &DirEntry) -> bool {
    match entry.file_type() {
        Ok(kind) if kind.is_symlink() => entry.path().is_dir(),
        Ok(kind) => kind.is_dir(),
        Err(_) => false,
    }
}

/// Names of the folders in `folder/split`, sorted.
fn class_folders(
    folder: &Path,
    split: &str,
    left_out: &mut LeftOut,
) -> Result<Vec<String>, DataError> {
    let path = folder.join(split);
    if !path.is_dir() {
        return Err(DataError::FileMissing {
            file: path,
            remedy: advice(DataName::Folder, folder),
        });
    }
    let mut names = Vec::new();
    let mut outside = LeftOut::default();
    for entry in fs::read_dir(&path).map_err(io(&path))? {
        let entry = entry.map_err(io(&path))?;
        if !is_folder(&entry) {
            if kind(&entry.path()).is_some() {
                outside.add(entry.path(), "outside of class folders");
            }
        } else if !is_hidden(&entry.path()) {
            let name = entry.file_name().into_string();
            names.push(name.map_err(|_| DataError::Io {
                path: entry.path(),
                source: Error::new(ErrorKind::InvalidData, "the name is not UTF-8"),
            })?);
        }
    }
    if names.is_empty() {
        let found = match outside.reasons.is_empty() {
            true => String::new(),
            false => format!(
                "{}; move each to {split}/CLASS (ImageNet's validation images: with valprep.sh of \
                 github.com/soumith/imagenetloader.torch)",
                outside.found()
            ),
        };
        return Err(DataError::NoImages {
            folder: path,
            found,
        });
    }
    if names.len() > MAX_CLASSES {
        return Err(DataError::TooManyClasses {
            folder: path,
            count: names.len(),
            limit: MAX_CLASSES,
        });
    }
    left_out.merge(outside);
    names.sort_unstable();
    Ok(names)
}

fn same_classes(folder: &Path, train: &[String], test: &[String]) -> Result<(), DataError> {
    let differ = |class: &String, present, absent| DataError::ClassesDiffer {
        folder: folder.to_owned(),
        class: class.clone(),
        present,
        absent,
    };
    if let Some(class) = train.iter().find(|c| test.binary_search(c).is_err()) {
        return Err(differ(class, TRAIN, TEST));
    }
    if let Some(class) = test.iter().find(|c| train.binary_search(c).is_err()) {
        return Err(differ(class, TEST, TRAIN));
    }
    Ok(())
}

/// The images of a split, class by class, each class sorted by file name.
fn images(
    folder: &Path,
    split: &str,
    classes: &[String],
    identity: &mut blake3::Hasher,
    left_out: &mut LeftOut,
) -> Result<Vec<Entry>, DataError> {
    let mut entries = Vec::new();
    for (class, name) in classes.iter().enumerate() {
        for file in class_images(&folder.join(split).join(name), left_out)? {
            let size = fs::metadata(&file).map_err(io(&file))?.len();
            let base = file.file_name().unwrap_or_default().as_encoded_bytes();
            for part in [split.as_bytes(), name.as_bytes(), base] {
                identity.update(part).update(b"/");
            }
            identity.update(&size.to_le_bytes());
            entries.push(Entry {
                file,
                class: class as i32,
            });
        }
    }
    Ok(entries)
}

/// The images of one class, sorted: at least one.
fn class_images(folder: &Path, left_out: &mut LeftOut) -> Result<Vec<PathBuf>, DataError> {
    let (mut files, mut here) = (Vec::new(), LeftOut::default());
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let entry = entry.map_err(io(folder))?;
        let file = entry.path();
        if is_folder(&entry) {
            if !is_hidden(&file) {
                below(file, &mut here);
            }
            continue;
        }
        match kind(&file) {
            Some(Kind::Read) if file.is_file() => files.push(file),
            Some(Kind::Read) => here.add(file, "that are no files or broken links"),
            Some(Kind::Unread(ending)) => here.add(file, format!(".{ending}")),
            None => {}
        }
    }
    if files.is_empty() {
        return Err(DataError::NoImages {
            folder: folder.to_owned(),
            found: here.found(),
        });
    }
    left_out.merge(here);
    files.sort_unstable();
    Ok(files)
}

/// Counts the images below a class folder. Links are not followed, which could be cyclic, and
/// unreadable folders are skipped: nothing in them would be used.
fn below(folder: PathBuf, left_out: &mut LeftOut) {
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten();
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(found) if found.is_dir() && !is_hidden(&path) => folders.push(path),
                Ok(_) if kind(&path).is_some() => left_out.add(path, "in folders below a class"),
                _ => {}
            }
        }
    }
}

/// Tiny ImageNet as it is published: `train/CLASS/images`, and test labels in a text file.
fn is_tiny_imagenet(folder: &Path) -> bool {
    let test = folder.join(TEST);
    test.join("images").is_dir() && test.join("val_annotations.txt").is_file()
}
