//! What can be wrong with data.

use std::io;
use std::path::{Path, PathBuf};

use lsgd_run::words::count;

use crate::image_config::DataName;

/// Everything that can go wrong with a data set, its batches and its download. Each text says
/// where, what was found, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A data set that reads files was chosen without saying where they are.
    #[error("data.folder is not set, and data.name \"{name}\" reads its files from it; {remedy}")]
    FolderNotSet {
        /// The value of `data.name`.
        name: &'static str,
        /// What to do.
        remedy: String,
    },
    /// Fewer training examples than workers that are to have some of their own.
    #[error(
        "data.split {{dirichlet = {concentration}}} of {} among {}; each needs one",
        count(examples, "training example"),
        count(workers, "worker")
    )]
    Split {
        /// The concentration.
        concentration: f64,
        /// Examples that are trained on.
        examples: usize,
        /// Workers over all nodes.
        workers: usize,
    },
    /// A worker that `data.vary` names does not exist.
    #[error(
        "data.vary[{index}].worker {worker} is not among the {}, counted from 0",
        count(workers, "worker")
    )]
    NoSuchWorker {
        /// The index of the entry.
        index: usize,
        /// The worker's number.
        worker: u64,
        /// Number of workers.
        workers: u64,
    },
    /// `data.folder` does not exist.
    #[error("data.folder {} does not exist{from}; {remedy}", folder.display())]
    FolderMissing {
        /// The folder looked for.
        folder: PathBuf,
        /// For a relative path: what it is relative to, in words.
        from: String,
        /// What to do.
        remedy: String,
    },
    /// `data.folder` is not a folder.
    #[error("data.folder {} is a file, not a folder; {remedy}", folder.display())]
    FolderIsFile {
        /// The file.
        folder: PathBuf,
        /// What to do.
        remedy: String,
    },
    /// `data.folder` exists, but one of the files does not.
    #[error("{} is missing; {remedy}", file.display())]
    FileMissing {
        /// The file (or folder of a split) looked for.
        file: PathBuf,
        /// What to do.
        remedy: String,
    },
    /// A file does not hold a whole number of records.
    #[error(
        "{} is {length} bytes long, not one or more whole records of {record} bytes; \
         it is truncated or of another layout, so fetch it again", file.display()
    )]
    RecordLength {
        /// The file.
        file: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// The length of a record in bytes.
        record: u64,
    },
    /// A label that the data set does not have.
    #[error(
        "{}: record {record} has label {label}, but labels go from 0 to {}; \
         the file is damaged or of another layout", file.display(), classes - 1
    )]
    Label {
        /// The file.
        file: PathBuf,
        /// The record's number, from 0.
        record: u64,
        /// The label found.
        label: u32,
        /// The number of classes, at least one.
        classes: usize,
    },
    /// A file of class names that has more or fewer than there are classes.
    #[error("{} names {found} classes, and there are {wanted}; mend or remove it", file.display())]
    ClassNames {
        /// The file.
        file: PathBuf,
        /// Names in it.
        found: usize,
        /// Classes of the data set.
        wanted: usize,
    },
    /// A line of a CSV file that is not an example.
    #[error("{}: line {line}: {reason}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder that should hold images holds none.
    #[error("no .jpg, .jpeg or .png images found in {}{found}", folder.display())]
    NoImages {
        /// The folder.
        folder: PathBuf,
        /// What it holds instead, in words.
        found: String,
    },
    /// An image folder in the layout of Tiny ImageNet.
    #[error(
        "{0} is Tiny ImageNet as it was published; move train/CLASS/images/* to train/CLASS, and each \
         file of val/images to val/CLASS, with the CLASS that val/val_annotations.txt has for it",
        folder.display()
    )]
    TinyImageNet {
        /// `data.folder`.
        folder: PathBuf,
    },
    /// More classes than a model can have.
    #[error("{} has {count} class folders; models have at most {limit} classes", folder.display())]
    TooManyClasses {
        /// The folder of a split.
        folder: PathBuf,
        /// Class folders found.
        count: usize,
        /// Most classes.
        limit: usize,
    },
    /// The class folders of an image folder's two splits are not the same.
    #[error(
        "{}: class \"{class}\" is in {present} but not in {absent}; both need the same class folders",
        folder.display()
    )]
    ClassesDiffer {
        /// `data.folder`.
        folder: PathBuf,
        /// The class that only one split has.
        class: String,
        /// The split that has it.
        present: &'static str,
        /// The split that does not.
        absent: &'static str,
    },
    /// More than is read into memory or written to disk.
    #[error("{what} is {size} bytes, more than the {limit} bytes accepted")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size in bytes.
        size: u64,
        /// The most that is accepted, in bytes.
        limit: u64,
    },
    /// A file that is not an image that can be decoded.
    #[error("{} cannot be decoded as an image: {reason}", file.display())]
    Undecodable {
        /// The file.
        file: PathBuf,
        /// The decoder's message.
        reason: String,
    },
    /// More images that cannot be decoded than are skipped.
    #[error(
        "{error}; {bad} of {images} {split} images are bad, more than data.bad_images_limit {limit} \
         allows; mend or remove them, or raise the limit"
    )]
    TooManyBad {
        /// Why the last of them cannot be decoded.
        error: Box<DataError>,
        /// The bad images met so far, this one included.
        bad: usize,
        /// Images of the split.
        images: usize,
        /// The split, in words.
        split: &'static str,
        /// `data.bad_images_limit`.
        limit: f64,
    },
    /// Skipping leaves nothing of a split.
    #[error("{error}; no {split} image can be decoded; check data.folder")]
    AllBad {
        /// Why the last of them cannot be decoded.
        error: Box<DataError>,
        /// The split, in words.
        split: &'static str,
    },
    /// Skipping leaves no example of those that rank workers, or are scored.
    #[error(
        "none of the {examples} training images of {key} can be decoded; mend them, or hold out more"
    )]
    BadReserve {
        /// Examples held out.
        examples: usize,
        /// What for.
        key: &'static str,
    },
    /// Skipping leaves only images that are held out of training.
    #[error(
        "no training image that is not held out can be decoded; mend them, or make \
         method.probe_examples or data.holdout smaller"
    )]
    NoneToTrain,
    /// `data.augment = "paper"` on images smaller than its crop.
    #[error(
        "data.augment \"paper\" crops 28 x 28 pixels, but the images are {height} x {width}; \
         use \"pad_crop\" or \"none\""
    )]
    CropTooLarge {
        /// Height of the images in pixels.
        height: usize,
        /// Width of the images in pixels.
        width: usize,
    },
    /// `data.cutout` on smaller images.
    #[error(
        "data.cutout {side} is more than the side of the images, which are {height} x {width}; \
         give at most {most}", most = height.min(width)
    )]
    CutoutTooLarge {
        /// `data.cutout`.
        side: usize,
        /// Height of the images in pixels.
        height: usize,
        /// Width of the images in pixels.
        width: usize,
    },
    /// `data.trivial_augment` or `data.jitter` on images without colours.
    #[error(
        "data.trivial_augment and data.jitter need images of 1 or 3 channels, and these have {channels}; \
         leave them out"
    )]
    NoColours {
        /// Channels of the images.
        channels: usize,
    },
    /// A shape of `data.mixup` or `data.cutmix` from whose distribution nothing can be drawn.
    #[error(
        "{key} {shape} has no beta distribution that can be drawn from; give a number such as 1.0"
    )]
    MixingShape {
        /// The key.
        key: &'static str,
        /// Its value.
        shape: f64,
    },
    /// `data.augment = "pad_crop"` on images that differ in size.
    #[error(
        "data.augment \"pad_crop\" needs images of one size, and those of data.name \"folder\" differ; \
         use \"paper\" (random resized crop and flip) or \"none\" (centre crop)"
    )]
    PadCropOfFolder,
    /// A key of `[data]` that the generated data set cannot be made with.
    #[error("data.{key} is {value}, but generated data needs {need}")]
    Generated {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it needs to be.
        need: &'static str,
    },
    /// A stream without examples, or with empty batches.
    #[error(
        "no batches can be made of {batch_size} examples each from {examples} examples; both must be \
         at least 1, and the examples fewer than 2^32"
    )]
    EmptyStream {
        /// Number of training examples.
        examples: usize,
        /// Examples per batch.
        batch_size: usize,
    },
    /// No example would be left to train on.
    #[error(
        "{count} examples to hold out of {examples} leave none to train on; make {key} smaller"
    )]
    HeldOut {
        /// Examples to hold out.
        count: usize,
        /// Training examples, without those held out already.
        examples: usize,
        /// The key that holds them out.
        key: &'static str,
    },
    /// A stream made for a data set of another size.
    #[error("the stream orders {stream} examples, but the data set has {dataset}")]
    StreamMismatch {
        /// Examples the stream orders.
        stream: usize,
        /// Training examples of the data set.
        dataset: usize,
    },
    /// Test examples that do not exist.
    #[error("test examples {start}..{end} were asked for, but there are {len}")]
    TestRange {
        /// First example asked for.
        start: usize,
        /// One past the last.
        end: usize,
        /// Number of test examples.
        len: usize,
    },
    /// A file or folder that could not be read or written.
    #[error("{}: {}", path.display(), lsgd_run::open_files::explain(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's message.
        source: io::Error,
    },
    /// `data fetch` of a data set that needs no download.
    #[error("nothing is to be fetched for \"{name}\": {reason}")]
    NothingToFetch {
        /// The value of `data.name`.
        name: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// The download failed or broke off.
    #[error(
        "{url}: {got} of {total} bytes received: {reason}; run the same command again to resume, or \
         get the archive from elsewhere with --mirror or --archive"
    )]
    Download {
        /// What was being downloaded.
        url: String,
        /// Bytes on disk so far.
        got: u64,
        /// Bytes of the whole file.
        total: u64,
        /// The transport's message.
        reason: String,
    },
    /// The server offers a file of another length than the published one.
    #[error("{url}: the server offers {found} bytes, but the published file has {expected}")]
    DownloadSize {
        /// What was to be downloaded.
        url: String,
        /// Bytes of the published file.
        expected: u64,
        /// Bytes the server offers or sent.
        found: u64,
    },
    /// The download is complete, but not the published file.
    #[error(
        "{} has SHA-256 {found}, not the published {expected}; it was removed, so run the same \
         command again to download it anew", file.display()
    )]
    Checksum {
        /// The downloaded file.
        file: PathBuf,
        /// Published SHA-256 in hex.
        expected: String,
        /// SHA-256 found, in hex.
        found: String,
    },
    /// A local archive that is not the published one.
    #[error("{} is not the published {name}: {found}", file.display())]
    OtherArchive {
        /// The file.
        file: PathBuf,
        /// Name of the published archive.
        name: String,
        /// What differs.
        found: String,
    },
    /// Certificates to trust in a download, in a file that cannot be read.
    #[error("{}: {reason}; give the authority's certificate in PEM", file.display())]
    Authority {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry of the archive that is not as published.
    #[error("{}: entry \"{entry}\": {reason}; nothing was unpacked", archive.display())]
    ArchiveEntry {
        /// The archive.
        archive: PathBuf,
        /// The entry's path as the archive spells it.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The word for a data set in `data.name`.
pub(crate) fn word(name: DataName) -> &'static str {
    match name {
        DataName::Cifar10 => "cifar10",
        DataName::Cifar100 => "cifar100",
        DataName::Folder => "folder",
        DataName::Digits => "digits",
        DataName::Generated => "generated",
    }
}

/// Adds the path to an error of the file system.
pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> DataError {
    let path = path.to_owned();
    move |source| DataError::Io { path, source }
}
