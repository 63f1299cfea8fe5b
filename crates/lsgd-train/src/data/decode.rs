//! Decodes an image file into pixels, or says in one line why it cannot.
//!
//! The pixels are those that Pillow's `Image.open(file).convert("RGB")` gives, the default loader of
//! torchvision's `ImageFolder`, but for the rounding of two decoders: no colour profile and no EXIF
//! orientation is applied, transparency is dropped, CMYK becomes RGB. As there, a file that was cut
//! off is refused; so is one whose image data are damaged, where a lenient decoder would make up the
//! rest in grey.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::{ImageFormat, ImageReader, RgbImage};
use lsgd_run::open_files::when_free;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::DataError;
use super::error::io;

/// Most bytes of an image file.
const FILE_LIMIT: u64 = 256 << 20;

/// Most pixels of an image, Pillow's limit: half a gibibyte of red, green and blue.
const PIXEL_LIMIT: u64 = 178_956_970;

/// Most pixels for each byte of a JPEG: a block of 8 x 8 has a first coefficient, whose code has at least
/// one bit, and the components' sampling factors leave at most half of the blocks out.
const JPEG_PIXELS: u64 = 64 * 8 * 2;

/// Most pixels for each byte of a PNG: `deflate` makes at most 1032 bytes of one, of eight pixels each.
const PNG_PIXELS: u64 = 1032 * 8;

/// The pixels of a file.
pub(super) fn decode(file: &Path) -> Result<RgbImage, DataError> {
    pixels(&read(file)?).map_err(|reason| DataError::Undecodable {
        file: file.to_owned(),
        // Some decoder messages end with a newline.
        reason: reason.split_whitespace().collect::<Vec<_>>().join(" "),
    })
}

/// Decodes by content, not by name: ImageNet has a PNG called `.JPEG`.
pub(super) fn pixels(bytes: &[u8]) -> Result<RgbImage, String> {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg(bytes),
        Ok(ImageFormat::Png) => png(bytes),
        Ok(other) => Err(format!(
            "by its contents it is {}, and JPEG and PNG are read; convert it",
            other.to_mime_type()
        )),
        Err(_) => Err(String::from("by its contents it is neither JPEG nor PNG")),
    }
}

/// The file's bytes, within the limit.
fn read(file: &Path) -> Result<Vec<u8>, DataError> {
    let opened = when_free(|| File::open(file)).map_err(io(file))?;
    let size = opened.metadata().map_err(io(file))?.len();
    let too_large = |size| DataError::TooLarge {
        what: file.display().to_string(),
        size,
        limit: FILE_LIMIT,
    };
    if size > FILE_LIMIT {
        return Err(too_large(size));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    // The file may be growing.
    let read = opened.take(FILE_LIMIT + 1).read_to_end(&mut bytes);
    match read.map_err(io(file))? as u64 {
        read if read > FILE_LIMIT => Err(too_large(read)),
        _ => Ok(bytes),
    }
}

fn jpeg(bytes: &[u8]) -> Result<RgbImage, String> {
    let side = usize::from(u16::MAX);
    // Errors between the headers cost no pixels; the image data are decoded strictly.
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(side)
        .set_max_height(side);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let headers = decoder.decode_headers();
    headers.map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions().ok_or("it says no size")?;
    let (width, height) = (width as u32, height as u32);
    check_size(width, height)?;
    check_file(width, height, JPEG_PIXELS, bytes)?;
    // Strict or not, the decoder accepts a file whose last bytes are missing or zero.
    if !comes_to_its_end(bytes) {
        return Err(String::from(
            "it ends before its end-of-image marker, so it was cut off; get it again",
        ));
    }
    decoder.set_options(options.set_strict_mode(true));
    let pixels = decoder.decode().map_err(|error| error.to_string())?;
    RgbImage::from_raw(width, height, pixels).ok_or_else(|| String::from("pixels are missing"))
}

/// Whether a JPEG has an end-of-image marker. Segments are skipped by their lengths, as the
/// thumbnail in one has a marker of its own. Whatever follows the end does not matter.
fn comes_to_its_end(jpeg: &[u8]) -> bool {
    let mut rest = jpeg;
    // Neither fill bytes nor a stuffed 0xff of the image data is a marker.
    let marker = |pair: &[u8]| matches!(pair, [0xff, code] if !matches!(code, 0x00 | 0xff));
    while let Some(place) = rest.windows(2).position(marker) {
        let (code, after) = (rest[place + 1], &rest[place + 2..]);
        rest = match (code, after) {
            (0xd9, _) => return true,
            // Markers without a segment: restarts, the start of the image, and a temporary one.
            (0xd0..=0xd8 | 0x01, _) => after,
            (_, &[high, low, ..]) => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                after.get(length..).unwrap_or_default()
            }
            _ => return false,
        };
    }
    false
}

fn png(bytes: &[u8]) -> Result<RgbImage, String> {
    let reader = || ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    let size = reader().into_dimensions();
    let (width, height) = size.map_err(|error| error.to_string())?;
    check_size(width, height)?;
    check_file(width, height, PNG_PIXELS, bytes)?;
    // The decoder's limits cover the memory for pixels of more than three bytes, and for everything
    // else.
    let image = reader().decode().map_err(|error| error.to_string())?;
    Ok(image.into_rgb8())
}

/// Checked before memory is allocated for them.
fn check_size(width: u32, height: u32) -> Result<(), String> {
    match u64::from(width) * u64::from(height) {
        pixels if pixels > PIXEL_LIMIT => Err(format!(
            "its {width} x {height} pixels are more than the {PIXEL_LIMIT} accepted"
        )),
        _ => Ok(()),
    }
}

/// Checked too, as few bytes must not take the memory of a large image: that they can hold so many pixels,
/// of which a byte has at most `densest`.
fn check_file(width: u32, height: u32, densest: u64, bytes: &[u8]) -> Result<(), String> {
    let most = densest.saturating_mul(bytes.len() as u64);
    match u64::from(width) * u64::from(height) {
        pixels if pixels > most => Err(format!(
            "its {} bytes cannot hold {width} x {height} pixels, so it was cut off; get it again",
            bytes.len()
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start of the image, a segment with a thumbnail whose end is inside it, a scan with a stuffed
    /// byte and a restart, the end.
    const WHOLE: [u8; 20] = [
        0xff, 0xd8, // start
        0xff, 0xe1, 0x00, 0x04, 0xff, 0xd9, // a segment of two bytes
        0xff, 0xda, 0x00, 0x02, // start of scan
        0xff, 0x00, 0x12, 0xff, 0xd0, // data
        0xff, 0xff, 0xd9, // a fill byte, the end
    ];

    #[test]
    fn only_the_last_marker_ends_an_image() {
        assert!(comes_to_its_end(&WHOLE));
        for length in 0..WHOLE.len() {
            assert!(!comes_to_its_end(&WHOLE[..length]), "{length}");
        }
        let garbage = [&WHOLE[..], &[0xff, 0x12, 0x00]].concat();
        assert!(comes_to_its_end(&garbage));
    }
}
