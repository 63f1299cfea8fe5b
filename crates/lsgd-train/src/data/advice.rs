//! Whether a data set is where it is expected, and advice if not, based on what is there instead.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::{DataError, word};
use super::fetch::published;
use super::splits::{TEST, TRAIN};
use crate::image_config::DataName;

/// Depth of the folders searched, and the most entries looked at.
const DEPTH: usize = 3;
const ENTRIES: usize = 20_000;

/// Other names of a test split.
const OTHER_TESTS: [&str; 4] = ["test", "valid", "validation", "eval"];

/// The folder of a data set that reads files: set, and existing.
pub(crate) fn existing_folder(name: DataName, folder: Option<&Path>) -> Result<&Path, DataError> {
    let Some(folder) = folder else {
        return Err(DataError::FolderNotSet {
            name: word(name),
            remedy: general(name, None),
        });
    };
    if folder.is_file() {
        return Err(DataError::FolderIsFile {
            folder: folder.to_owned(),
            remedy: advice(name, folder),
        });
    }
    if !folder.is_dir() {
        let from = match folder.is_relative() {
            true => std::env::current_dir().map_or_else(
                |_| String::new(),
                |from| format!(" (looked for in {})", from.display()),
            ),
            false => String::new(),
        };
        return Err(DataError::FolderMissing {
            folder: folder.to_owned(),
            from,
            remedy: advice(name, folder),
        });
    }
    Ok(folder)
}

/// Advice for `name`, whose files are not in `folder`.
pub(super) fn advice(name: DataName, folder: &Path) -> String {
    let found = match name {
        DataName::Digits | DataName::Generated => None,
        DataName::Cifar10 | DataName::Cifar100 => elsewhere(name, folder)
            .or_else(|| packed_cifar(name, folder))
            .or_else(|| other_cifar(name, folder)),
        DataName::Folder => elsewhere(name, folder).or_else(|| other_images(folder)),
    };
    found.unwrap_or_else(|| general(name, Some(folder)))
}

/// Advice where nothing else is known.
pub(super) fn general(name: DataName, folder: Option<&Path>) -> String {
    let folder = folder.map_or_else(|| "FOLDER".to_owned(), |f| f.display().to_string());
    match name {
        DataName::Cifar10 | DataName::Cifar100 => {
            let name = word(name);
            format!("get the data with `lsgd-train data fetch {name} --folder {folder}`")
        }
        DataName::Folder => {
            format!("it holds train/CLASS/*.jpg and val/CLASS/*.jpg (or .png) below {folder}")
        }
        DataName::Digits => {
            "leave data.folder out to use the digits built into the program".to_owned()
        }
        DataName::Generated => "generated data needs no folder".to_owned(),
    }
}

/// Whether `folder` has what `name` needs.
fn fits(name: DataName, folder: &Path) -> bool {
    match published(name) {
        Ok(archive) => has_all(folder, archive.files.iter().map(|(file, _)| *file)),
        Err(_) => folder.join(TRAIN).is_dir() && folder.join(TEST).is_dir(),
    }
}

fn has_all<'a>(folder: &Path, mut files: impl Iterator<Item = &'a str>) -> bool {
    files.all(|file| folder.join(file).is_file())
}

/// Where the data are, if nearby: below the folder, beside it, or at the same path from one of the
/// parents of the working directory.
fn elsewhere(name: DataName, folder: &Path) -> Option<String> {
    if folder.is_relative() {
        let started_in = std::env::current_dir().unwrap_or_default();
        let around = started_in.ancestors().skip(1);
        if let Some(found) = around.map(|a| a.join(folder)).find(|f| fits(name, f)) {
            return Some(format!("there is {}: give that path", found.display()));
        }
    }
    let parent = parent(folder);
    let base = match folder.is_dir() {
        true => folder,
        false => parent,
    };
    let above = fits(name, parent).then(|| parent.to_owned());
    let found = above.or_else(|| below(base, |f| f != folder && fits(name, f)))?;
    let found = found.strip_prefix(".").unwrap_or(&found).display();
    Some(match name {
        // Any data set of the user's own looks like this.
        DataName::Folder => {
            format!("{found} has train and val: if that is meant, set data.folder={found}")
        }
        _ => format!("its files are in {found}: set data.folder={found}"),
    })
}

/// The parent folder; of a bare name, the working directory.
fn parent(folder: &Path) -> &Path {
    match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => folder,
    }
}

/// The first folder below `base`, nearest first, that satisfies `wanted`.
fn below(base: &Path, wanted: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let mut folders = VecDeque::from([(base.to_owned(), 0)]);
    let mut entries_left = ENTRIES;
    while let Some((folder, depth)) = folders.pop_front() {
        let inside: Vec<_> = fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .take(entries_left)
            .collect();
        entries_left -= inside.len();
        let mut inside: Vec<PathBuf> = inside
            .into_iter()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        inside.sort_unstable();
        if let Some(found) = inside.iter().find(|folder| wanted(folder)) {
            return Some(found.clone());
        }
        if depth + 1 < DEPTH {
            folders.extend(inside.into_iter().map(|folder| (folder, depth + 1)));
        }
    }
    None
}

/// The archive is there as downloaded.
fn packed_cifar(name: DataName, folder: &Path) -> Option<String> {
    let archive = published(name).ok()?;
    let places = [folder, parent(folder)].map(|place| place.join(archive.name));
    let packed = places.into_iter().find(|place| place.is_file())?;
    // The archive itself was given: its contents go beside it.
    let (to, then) = match folder.is_file() {
        true => (parent(folder), ", and leave its name out of data.folder"),
        false => (folder, ""),
    };
    Some(format!(
        "{} is still packed: unpack it with `lsgd-train data fetch {} --folder {} --archive {}`{then}",
        archive.name,
        word(name),
        to.display(),
        packed.display(),
    ))
}

/// Another version, or the other of the two data sets, is there.
fn other_cifar(name: DataName, folder: &Path) -> Option<String> {
    let (other, title) = match name {
        DataName::Cifar10 => (DataName::Cifar100, "CIFAR-100"),
        _ => (DataName::Cifar10, "CIFAR-10"),
    };
    if fits(other, folder) {
        let other = word(other);
        return Some(format!("it holds {title}: set data.name={other}"));
    }
    // Pickles for Python, matrices for Matlab, and the archives of both.
    let pickles: &[&str] = match name {
        DataName::Cifar10 => &[
            "data_batch_1",
            "cifar-10-batches-py",
            "cifar-10-python.tar.gz",
        ],
        _ => &["meta", "cifar-100-python", "cifar-100-python.tar.gz"],
    };
    let matrices: &[&str] = match name {
        DataName::Cifar10 => &[
            "data_batch_1.mat",
            "cifar-10-batches-mat",
            "cifar-10-matlab.tar.gz",
        ],
        _ => &["train.mat", "cifar-100-matlab", "cifar-100-matlab.tar.gz"],
    };
    let holds = |files: &[&str]| files.iter().any(|file| folder.join(file).exists());
    let version = match (holds(pickles), holds(matrices)) {
        (true, _) => "Python",
        (_, true) => "Matlab",
        _ => return None,
    };
    Some(format!(
        "it holds the {version} version, and the binary one is read: {}",
        general(name, Some(folder))
    ))
}

/// The images are in another layout, or in an archive.
fn other_images(folder: &Path) -> Option<String> {
    for name in [DataName::Cifar10, DataName::Cifar100] {
        if fits(name, folder) {
            let name = word(name);
            return Some(format!(
                "it holds the files of {name}: set data.name={name}"
            ));
        }
    }
    let inside = fs::read_dir(folder).ok()?.flatten().take(ENTRIES);
    let mut inside: Vec<PathBuf> = inside.map(|entry| entry.path()).collect();
    inside.sort_unstable();
    let named = |path: &&PathBuf, name: &str| path.ends_with(name) && path.is_dir();
    let train = inside.iter().any(|path| named(&path, TRAIN));
    let mut others = OTHER_TESTS.iter();
    let test = others.find_map(|name| inside.iter().find(|path| named(path, name)));
    if let (true, Some(test)) = (train, test) {
        return Some(format!(
            "if {0} holds the test images, call it val: ln -s {1} {2}",
            test.display(),
            test.file_name()?.display(),
            folder.join(TEST).display(),
        ));
    }
    let packed = |path: &&PathBuf| {
        let name = path.to_string_lossy();
        [".tar", ".tar.gz", ".tgz", ".zip"]
            .iter()
            .any(|ending| name.ends_with(ending))
    };
    if let Some(packed) = inside.iter().find(packed) {
        return Some(format!(
            "{} is still packed: unpack it, to {}",
            packed.display(),
            general(DataName::Folder, Some(folder)).trim_start_matches("it holds "),
        ));
    }
    let folders = inside.iter().filter(|path| path.is_dir());
    match folders.count() {
        classes if classes > 1 && !train => Some(format!(
            "it holds {classes} folders itself: if they are the classes, they belong in \
             {0}/train, and some images of each in {0}/val",
            folder.display()
        )),
        _ => None,
    }
}
