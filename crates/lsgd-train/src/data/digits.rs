//! The bundled digits: 1,797 handwritten digits of 8 x 8 pixels with values 0 to 16, the test part
//! of "Optical Recognition of Handwritten Digits" (`datasets/digits/README.md` has the source).
//!
//! Every fifth image, from the fifth on, is a test image: 1,438 train, 359 test. Pixels are scaled
//! to [-1, 1]: `value / 8 - 1`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use super::DataError;
use super::advice::advice;
use super::advice::existing_folder;
use super::error::{io, word};
use super::memory::{Raw, Split, table};
use crate::image_config::DataName;

const NAME: &str = "digits.csv.gz";
static BUNDLED: &[u8] = include_bytes!("digits.csv.gz");

const SHAPE: [usize; 3] = [1, 8, 8];
const PIXELS: usize = 64;
const BRIGHTEST: u8 = 16;
const CLASSES: usize = 10;
const TEST_EVERY: usize = 5;

/// Most bytes of uncompressed CSV: the bundled file has 264,712.
const LIMIT: u64 = 16 << 20;

/// The digits built into the program, or those of `digits.csv.gz` in `folder` if one is given.
pub(crate) fn open(folder: Option<&Path>) -> Result<Raw, DataError> {
    let Some(folder) = folder else {
        return read(BUNDLED, Path::new(NAME));
    };
    let file: PathBuf = existing_folder(DataName::Digits, Some(folder))?.join(NAME);
    if !file.is_file() {
        let remedy = advice(DataName::Digits, folder);
        return Err(DataError::FileMissing { file, remedy });
    }
    read(File::open(&file).map_err(io(&file))?, &file)
}

/// Reads gzipped lines of 64 pixels and a label; `file` is for errors.
fn read(source: impl Read, file: &Path) -> Result<Raw, DataError> {
    let mut text = String::new();
    GzDecoder::new(source)
        .take(LIMIT + 1)
        .read_to_string(&mut text)
        .map_err(io(file))?;
    if text.len() as u64 > LIMIT {
        let what = file.display().to_string();
        return Err(DataError::TooLarge {
            what,
            size: text.len() as u64,
            limit: LIMIT,
        });
    }
    let (mut train, mut test) = (Split::default(), Split::default());
    for (index, line) in text.lines().enumerate() {
        let split = if (index + 1) % TEST_EVERY == 0 {
            &mut test
        } else {
            &mut train
        };
        read_line(line, split).map_err(|reason| DataError::Line {
            file: file.to_owned(),
            line: index + 1,
            reason,
        })?;
    }
    if test.labels.is_empty() {
        let reason = format!("at least {TEST_EVERY} lines are needed");
        return Err(DataError::Line {
            file: file.to_owned(),
            line: train.labels.len(),
            reason,
        });
    }
    let mut identity = blake3::Hasher::new();
    identity
        .update(word(DataName::Digits).as_bytes())
        .update(text.as_bytes());
    let tables = vec![table(8.0, 1.0, 1.0)];
    Ok(Raw {
        train,
        test,
        shape: SHAPE,
        class_names: (0..CLASSES).map(|digit| digit.to_string()).collect(),
        tables,
        identity,
    })
}

fn read_line(line: &str, split: &mut Split) -> Result<(), String> {
    let fields = line.split(',').count();
    if fields != PIXELS + 1 {
        return Err(format!("{fields} values, not {PIXELS} pixels and a label"));
    }
    for (place, field) in line.split(',').enumerate() {
        let most = if place < PIXELS {
            BRIGHTEST
        } else {
            CLASSES as u8 - 1
        };
        let what = if place < PIXELS { "pixel" } else { "label" };
        match field.trim().parse::<u8>() {
            Ok(value) if value <= most && place < PIXELS => split.pixels.push(value),
            Ok(value) if value <= most => split.labels.push(i32::from(value)),
            _ => {
                // It may be as long as the file.
                let shown: String = field.chars().take(20).collect();
                return Err(format!("{what} {shown:?} is not a number from 0 to {most}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples and readers find the data set where data sets are; it has once been a link that a clone does
    /// not follow.
    #[test]
    fn the_file_among_the_data_sets_is_the_bundled_one() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/digits/digits.csv.gz");
        assert!(std::fs::read(path).unwrap() == BUNDLED);
    }
}
