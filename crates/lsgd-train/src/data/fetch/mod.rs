//! `data fetch`: gets a published data set, checks it, and unpacks it into a folder.
//!
//! ```text
//! download   FOLDER/NAME.tar.gz.part, resumed where it broke off, never longer than published
//! check      SHA-256 of the whole file
//! unpack     the files wanted, by their exact names and sizes, beside the folder's others
//! rename     each file into place when all are whole; then the archive is removed
//! ```
//!
//! An archive downloaded by other means is checked and unpacked in the same way, and left in place.
//! Wherever it comes from, its SHA-256 decides whether it is the published one.
//!
//! The network is behind [`Transport`], so that all of this can be tested without one.

mod http;
mod unpack;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use http::Http;

use super::DataError;
use super::error::{io as io_error, word};
use crate::image_config::DataName;

/// How often one call resumes a download that breaks off.
const ATTEMPTS: usize = 10;

/// Bytes read and written at a time.
const CHUNK: usize = 1 << 16;

/// A published archive and the files wanted from it.
#[derive(Debug, Clone, Copy)]
pub struct Archive<'a> {
    /// Where it is published.
    pub url: &'a str,
    /// Its file name; `.part` is appended during the download.
    pub name: &'a str,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hex.
    pub sha256: &'a str,
    /// Name and length in bytes of each file wanted, without the folder it has in the archive.
    pub files: &'a [(&'a str, u64)],
}

// Length and SHA-256 of both archives as in TensorFlow Datasets
// (<https://github.com/tensorflow/datasets>, tensorflow_datasets/url_checksums/cifar10.txt and
// cifar100.txt); the site itself publishes MD5 only. Lengths of the files: records times length,
// <https://www.cs.toronto.edu/~kriz/cifar.html>.
const CIFAR10: Archive = Archive {
    url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    name: "cifar-10-binary.tar.gz",
    bytes: 170_052_171,
    sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    files: &[
        ("data_batch_1.bin", 10_000 * 3073),
        ("data_batch_2.bin", 10_000 * 3073),
        ("data_batch_3.bin", 10_000 * 3073),
        ("data_batch_4.bin", 10_000 * 3073),
        ("data_batch_5.bin", 10_000 * 3073),
        ("test_batch.bin", 10_000 * 3073),
    ],
};

const CIFAR100: Archive = Archive {
    url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    name: "cifar-100-binary.tar.gz",
    bytes: 168_513_733,
    sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    files: &[("train.bin", 50_000 * 3074), ("test.bin", 10_000 * 3074)],
};

/// What a fetch is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// All files are in the folder already; nothing to do.
    Present,
    /// Downloading.
    Download {
        /// Bytes on disk, including those of earlier calls.
        done: u64,
        /// Bytes of the archive.
        total: u64,
    },
    /// Computing the archive's SHA-256.
    Check,
    /// Unpacking a file.
    Unpack {
        /// Its name.
        file: String,
    },
}

/// A server's response: a file from some byte on.
pub struct Response {
    /// The byte of the file that the body begins with: zero if the server does not resume.
    pub start: u64,
    /// Length of the whole file in bytes, if the server says it.
    pub total: Option<u64>,
    /// The bytes.
    pub body: Box<dyn Read>,
}

/// Where bytes come from.
pub trait Transport {
    /// Asks for the file at `url` from its byte `from` on.
    ///
    /// # Errors
    /// If there is no response, or one that is not the file.
    fn open(&mut self, url: &str, from: u64) -> io::Result<Response>;
}

/// Where the archive is taken from; by default, from where it is published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The archive itself, if it is on this machine already.
    pub archive: Option<PathBuf>,
    /// Another URL, `https://` or `http://`: of the archive (it ends in `.tar.gz` or `.tgz`), or of
    /// the folder that holds it under its published name.
    pub mirror: Option<String>,
    /// Certificates of the authorities to trust in place of the public ones, in PEM.
    pub ca: Option<PathBuf>,
}

/// The published archive of `name`.
///
/// # Errors
/// If there is none.
pub(super) fn published(name: DataName) -> Result<Archive<'static>, DataError> {
    let reason = match name {
        DataName::Cifar10 => return Ok(CIFAR10),
        DataName::Cifar100 => return Ok(CIFAR100),
        DataName::Digits => "the digits are built into the program",
        DataName::Generated => "generated data is drawn from the seed",
        DataName::Folder => "an image folder is your own",
    };
    let name = word(name);
    Err(DataError::NothingToFetch { name, reason })
}

/// Puts the files of the published data set `name` into `folder`, which is created if necessary.
/// Nothing is downloaded if they are there already; an interrupted download is resumed.
///
/// # Errors
/// If nothing is published for `name`, or the download, its checksum, or the disk fails. What was
/// downloaded is kept for the next call unless it is wrong.
pub fn fetch(
    name: DataName,
    folder: &Path,
    origin: &Origin,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DataError> {
    let archive = published(name)?;
    if let Some(file) = &origin.archive {
        return unpack_from(file, &archive, folder, progress);
    }
    let mirrored = origin.mirror.as_deref().map(|url| at(url, archive.name));
    let url = mirrored.as_deref().unwrap_or(archive.url);
    let mut http = Http::new(url, origin.ca.as_deref())?;
    fetch_from(&mut http, &Archive { url, ..archive }, folder, progress)
}

/// The URL of the archive `name` at `mirror`.
fn at(mirror: &str, name: &str) -> String {
    let path = mirror.split(['?', '#']).next().unwrap_or(mirror);
    match path.ends_with(".tar.gz") || path.ends_with(".tgz") {
        true => mirror.to_owned(),
        false => format!("{}/{name}", mirror.trim_end_matches('/')),
    }
}

/// Whether all files of the archive are in `folder`, judged by name and length.
fn is_complete(archive: &Archive, folder: &Path) -> bool {
    let whole = |(name, bytes): &(&str, u64)| {
        fs::metadata(folder.join(name)).is_ok_and(|m| m.is_file() && m.len() == *bytes)
    };
    archive.files.iter().all(whole)
}

/// [`fetch`] from an archive at `file`, which is left in place.
///
/// # Errors
/// As [`fetch`], and if it is not the published archive.
pub fn unpack_from(
    file: &Path,
    archive: &Archive,
    folder: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DataError> {
    if is_complete(archive, folder) {
        progress(Progress::Present);
        return Ok(());
    }
    let size = fs::metadata(file).map_err(io_error(file))?.len();
    let other = |found| DataError::OtherArchive {
        file: file.to_owned(),
        name: archive.name.to_owned(),
        found,
    };
    if size != archive.bytes {
        let bytes = archive.bytes;
        return Err(other(format!("it has {size} bytes, not {bytes}")));
    }
    progress(Progress::Check);
    let found = sha256(file)?;
    if found != archive.sha256 {
        let published = archive.sha256;
        return Err(other(format!("its SHA-256 is {found}, not {published}")));
    }
    fs::create_dir_all(folder).map_err(io_error(folder))?;
    unpack::unpack(file, archive.files, folder, progress)
}

/// [`fetch`] of any archive through any transport.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_from(
    transport: &mut dyn Transport,
    archive: &Archive,
    folder: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DataError> {
    if is_complete(archive, folder) {
        progress(Progress::Present);
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(io_error(folder))?;
    let part = folder.join(format!("{}.part", archive.name));
    download(transport, archive, &part, progress)?;
    progress(Progress::Check);
    let found = sha256(&part)?;
    if found != archive.sha256 {
        fs::remove_file(&part).map_err(io_error(&part))?;
        return Err(DataError::Checksum {
            file: part,
            expected: archive.sha256.to_owned(),
            found,
        });
    }
    unpack::unpack(&part, archive.files, folder, progress)?;
    fs::remove_file(&part).map_err(io_error(&part))
}

/// Downloads the rest of `part`, up to the archive's length.
fn download(
    transport: &mut dyn Transport,
    archive: &Archive,
    part: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DataError> {
    let mut got = fs::metadata(part).map_or(0, |m| m.len());
    if got > archive.bytes {
        // Not the beginning of the published file.
        fs::remove_file(part).map_err(io_error(part))?;
        got = 0;
    }
    let mut attempt = 0;
    while got < archive.bytes {
        attempt += 1;
        let before = got;
        progress(Progress::Download {
            done: got,
            total: archive.bytes,
        });
        let reason = match receive(transport, archive, part, &mut got, progress)? {
            Ok(()) => "the connection closed early".to_owned(),
            Err(error) => error.to_string(),
        };
        // After a response that brought bytes, resume; after one that brought none, an immediate
        // retry would not help.
        if got < archive.bytes && (got <= before || attempt == ATTEMPTS) {
            let (url, total) = (archive.url.to_owned(), archive.bytes);
            return Err(DataError::Download {
                url,
                got,
                total,
                reason,
            });
        }
    }
    Ok(())
}

/// One request, from byte `got` on: appends the response to `part` and counts it in `got`. The
/// outer error is final; the inner one is the transport's, after which another request may succeed.
fn receive(
    transport: &mut dyn Transport,
    archive: &Archive,
    part: &Path,
    got: &mut u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<io::Result<()>, DataError> {
    let mut response = match transport.open(archive.url, *got) {
        Ok(response) => response,
        Err(error) => return Ok(Err(error)),
    };
    if let Some(total) = response.total.filter(|t| *t != archive.bytes) {
        return Err(size_differs(archive, total));
    }
    let mut file = if response.start == *got {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(part)
            .map_err(io_error(part))?
    } else if response.start == 0 {
        // The server sends the whole file, so start over.
        *got = 0;
        File::create(part).map_err(io_error(part))?
    } else {
        let reason = format!(
            "asked from byte {got} on, the server sent from {}",
            response.start
        );
        return Ok(Err(io::Error::new(io::ErrorKind::InvalidData, reason)));
    };
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = match response.body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(Err(error)),
        };
        if *got + read as u64 > archive.bytes {
            drop(file);
            fs::remove_file(part).map_err(io_error(part))?;
            return Err(size_differs(archive, *got + read as u64));
        }
        file.write_all(&buffer[..read]).map_err(io_error(part))?;
        *got += read as u64;
        progress(Progress::Download {
            done: *got,
            total: archive.bytes,
        });
    }
    Ok(Ok(()))
}

fn size_differs(archive: &Archive, found: u64) -> DataError {
    DataError::DownloadSize {
        url: archive.url.to_owned(),
        expected: archive.bytes,
        found,
    }
}

fn sha256(path: &Path) -> Result<String, DataError> {
    let mut file = File::open(path).map_err(io_error(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer).map_err(io_error(path))? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests;
