//! Image files as found in practice: truncated, damaged, odd, and larger than memory.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage, Rgba};

use crate::data::decode::{decode, pixels};

const CMYK: &[u8] = include_bytes!("images/cmyk.jpg");
const PROGRESSIVE: &[u8] = include_bytes!("images/progressive.jpg");

/// The pixels of a file with these bytes, or why there are none.
fn decoded(name: &str, bytes: &[u8]) -> Result<RgbImage, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, bytes).unwrap();
    decode(&file).map_err(|error| {
        let start = format!("{} cannot be decoded as an image: ", file.display());
        let error = error.to_string();
        assert!(!error.contains('\n'), "{error}");
        let reason = error.strip_prefix(&start);
        reason.unwrap_or_else(|| panic!("{error}")).to_owned()
    })
}

/// A gradient of 32 x 24 pixels with detail in every block.
fn gradient() -> RgbImage {
    let pixel = |x: u32, y: u32| Rgb([8 * x as u8, 10 * y as u8, (8 * (x * y % 32)) as u8]);
    RgbImage::from_fn(32, 24, pixel)
}

fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Bytes inserted after the start of a JPEG, where its segments are.
fn with_segment(jpeg: &[u8], segment: &[u8]) -> Vec<u8> {
    [&jpeg[..2], segment, &jpeg[2..]].concat()
}

fn assert_near(image: &RgbImage, x: u32, y: u32, want: [u8; 3]) {
    let found = image.get_pixel(x, y).0;
    let near = found.iter().zip(want).all(|(a, b)| a.abs_diff(b) < 8);
    assert!(near, "{found:?} is not {want:?}");
}

const CUT_OFF: &str = "it ends before its end-of-image marker, so it was cut off; get it again";

/// Wherever a file is truncated, and whether or not zeros restore its length.
#[test]
fn a_cut_off_image_is_refused() {
    let baseline = encoded(&gradient(), ImageFormat::Jpeg);
    let cut = decoded("cut.jpg", &baseline[..baseline.len() - 20]);
    assert_eq!(cut.unwrap_err(), CUT_OFF);
    for jpeg in [&baseline[..], PROGRESSIVE, CMYK] {
        pixels(jpeg).unwrap();
        for length in 0..jpeg.len() {
            let refused = pixels(&jpeg[..length]);
            assert!(refused.is_err(), "{length} of {} bytes", jpeg.len());
            // Within the image data, behind all headers.
            if length + 8 > jpeg.len() {
                assert_eq!(refused.unwrap_err(), CUT_OFF);
            }
            let mut zeros = jpeg.to_vec();
            zeros[length..].fill(0);
            let refused = pixels(&zeros);
            assert!(refused.is_err(), "zeros from byte {length}");
        }
    }
    let png = encoded(&gradient(), ImageFormat::Png);
    let whole = pixels(&png).unwrap();
    assert_eq!(whole, gradient());
    for length in 0..png.len() {
        match pixels(&png[..length]) {
            // The last four bytes are the checksum of the end chunk.
            Ok(image) => assert!(length >= png.len() - 4 && image == whole, "{length}"),
            Err(_) => assert!(length < png.len() - 4, "{length}"),
        }
    }
}

/// Sixteen ones are no valid code in any image, so what follows is lost.
#[test]
fn damaged_image_data_are_refused() {
    for jpeg in [&encoded(&gradient(), ImageFormat::Jpeg)[..], PROGRESSIVE] {
        let mut damaged = jpeg.to_vec();
        let middle = jpeg.len() - 60;
        damaged[middle..middle + 6].copy_from_slice(&[0xff, 0, 0xff, 0, 0xff, 0]);
        let reason = decoded("damaged.jpg", &damaged).unwrap_err();
        assert!(reason.contains("Huffman"), "{reason}");
    }
}

/// Files that other programs read without loss are accepted.
#[test]
fn odd_images_are_read() {
    let jpeg = encoded(&gradient(), ImageFormat::Jpeg);
    let plain = decoded("plain.jpg", &jpeg).unwrap();
    let garbage = [&jpeg[..], b"something behind the end \xff\xd8 \xff"].concat();
    assert_eq!(decoded("garbage.jpg", &garbage).unwrap(), plain);
    // After the first segment, of 18 bytes.
    let padded = [&jpeg[..20], &[0; 10], &jpeg[20..]].concat();
    assert_eq!(decoded("padded.jpg", &padded).unwrap(), plain);
    // A comment that contains the end marker of a thumbnail.
    let commented = with_segment(&jpeg, b"\xff\xfe\x00\x04\xff\xd9");
    assert_eq!(decoded("commented.jpg", &commented).unwrap(), plain);

    // As in ImageNet: a PNG with the wrong extension, and CMYK.
    let png = encoded(&gradient(), ImageFormat::Png);
    assert_eq!(decoded("n02105855_2933.JPEG", &png).unwrap(), gradient());
    let cmyk = decoded("n01739381_1309.JPEG", CMYK).unwrap();
    assert_near(&cmyk, 0, 0, [255, 0, 0]);
    assert_near(&cmyk, 15, 7, [0, 0, 255]);

    let grey = image::GrayImage::from_pixel(3, 2, image::Luma([77]));
    let mut bytes = Cursor::new(Vec::new());
    grey.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    let grey = decoded("grey.jpg", &bytes.into_inner()).unwrap();
    assert_near(&grey, 2, 1, [77, 77, 77]);

    let clear = image::RgbaImage::from_pixel(3, 2, Rgba([9, 8, 7, 0]));
    let mut bytes = Cursor::new(Vec::new());
    clear.write_to(&mut bytes, ImageFormat::Png).unwrap();
    let clear = decoded("clear.png", &bytes.into_inner()).unwrap();
    assert_eq!(clear.get_pixel(2, 1).0, [9, 8, 7]);
}

/// EXIF orientation is ignored, as by torchvision's loader.
#[test]
fn images_are_not_turned() {
    let jpeg = encoded(&gradient(), ImageFormat::Jpeg);
    // Big-endian TIFF, one entry: tag 0x0112, a short, count 1, value 6 (rotated by 90 degrees).
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\
                 \x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let turned = with_segment(&jpeg, exif);
    use image::ImageDecoder;
    let mut decoder = image::codecs::jpeg::JpegDecoder::new(Cursor::new(&turned)).unwrap();
    let orientation = decoder.orientation().unwrap();
    assert_eq!(orientation, image::metadata::Orientation::Rotate90);
    assert_eq!(
        decoded("turned.jpg", &turned).unwrap(),
        decoded("plain.jpg", &jpeg).unwrap()
    );
}

#[test]
fn other_formats_are_named() {
    let webp = b"RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00";
    assert_eq!(
        decoded("a.jpg", webp).unwrap_err(),
        "by its contents it is image/webp, and JPEG and PNG are read; convert it"
    );
    for bytes in [&b""[..], b"<html>404 not found</html>"] {
        assert_eq!(
            decoded("a.jpg", bytes).unwrap_err(),
            "by its contents it is neither JPEG nor PNG"
        );
    }
}

/// A few bytes that declare more pixels than are accepted are refused before memory is allocated.
#[test]
fn huge_images_are_refused() {
    let jpeg = encoded(&gradient(), ImageFormat::Jpeg);
    for (jpeg, frame) in [(&jpeg[..], 0xc0), (PROGRESSIVE, 0xc2)] {
        let mut huge = jpeg.to_vec();
        // Marker, two bytes of length, one of precision, then height and width.
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, frame]);
        let height = frame.unwrap() + 5;
        let side = 60_000u16.to_be_bytes();
        huge[height..height + 4].copy_from_slice(&[side, side].concat());
        assert_eq!(
            decoded("huge.jpg", &huge).unwrap_err(),
            "its 60000 x 60000 pixels are more than the 178956970 accepted"
        );
    }
    let size = |side: u32| png_of_size(&encoded(&gradient(), ImageFormat::Png), side);
    assert_eq!(
        decoded("huge.png", &size(60_000)).unwrap_err(),
        "its 60000 x 60000 pixels are more than the 178956970 accepted"
    );
    // Few enough pixels, but of eight bytes each.
    let deep = image::ImageBuffer::from_pixel(2, 2, Rgba([1u16, 2, 3, 4]));
    let mut bytes = Cursor::new(Vec::new());
    deep.write_to(&mut bytes, ImageFormat::Png).unwrap();
    let mut deep = png_of_size(&bytes.into_inner(), 13_000);
    // Behind the end, so that there are bytes enough for so many pixels.
    deep.extend([0; 32 << 10]);
    let reason = decoded("deep.png", &deep).unwrap_err();
    assert!(reason.to_lowercase().contains("limit"), "{reason}");
}

/// Memory for the pixels that a file declares is given only if it has bytes for them: a few hundred bytes
/// otherwise take more than a gibibyte.
#[test]
fn few_bytes_are_no_large_image() {
    let jpeg = encoded(&gradient(), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]);
    let mut large = jpeg.clone();
    let side = 13_000u16.to_be_bytes();
    large[frame.unwrap() + 5..][..4].copy_from_slice(&[side, side].concat());
    let png = png_of_size(&encoded(&gradient(), ImageFormat::Png), 13_000);
    for large in [large, png] {
        let length = large.len();
        let why = format!(
            "its {length} bytes cannot hold 13000 x 13000 pixels, so it was cut off; get it again"
        );
        assert_eq!(decoded("large", &large).unwrap_err(), why);
    }
    // The densest that there is: one colour.
    let plain = RgbImage::from_pixel(4000, 3000, Rgb([128, 128, 128]));
    for format in [ImageFormat::Jpeg, ImageFormat::Png] {
        assert_eq!(
            pixels(&encoded(&plain, format)).unwrap().dimensions(),
            (4000, 3000)
        );
    }
}

/// Width and height are at bytes 16 to 24 of a PNG, followed by a CRC.
fn png_of_size(png: &[u8], side: u32) -> Vec<u8> {
    let mut bytes = png.to_vec();
    let side = side.to_be_bytes();
    bytes[16..24].copy_from_slice(&[side, side].concat());
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    bytes
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("long.png");
    let made = fs::File::create(&file).unwrap();
    made.set_len((256 << 20) + 1).unwrap();
    let error = decode(Path::new(&file)).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "{} is 268435457 bytes, more than the 268435456 bytes accepted",
            file.display()
        )
    );
}
