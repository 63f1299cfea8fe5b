//! Images of a folder.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageFormat, Luma, LumaA, Rgb, Rgba};
use lsgd_train::data::{DataError, Dataset};
use lsgd_train::image_config::{Augment, DataConfig, DataName};

use super::data::is_accepted;
use super::kib;
use crate::changes::Form;
use crate::harness::Decoder;

/// Side of the images.
const SIDE: u32 = 20;

pub fn decoders(folder: &Path) -> Vec<Decoder> {
    let shade = |x: u32, y: u32| (x * 11 + y * 7) as u8;
    let colour = image::RgbImage::from_fn(SIDE, SIDE, |x, y| Rgb([shade(x, y), shade(y, x), 9]));
    let grey = image::GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([shade(x, y)]));
    let clear =
        image::RgbaImage::from_fn(SIDE, SIDE, |x, y| Rgba([shade(x, y), 1, 2, shade(y, x)]));
    let deep =
        image::ImageBuffer::from_fn(SIDE, SIDE, |x, y| LumaA([u16::from(shade(x, y)) << 7, 1]));
    let colour = DynamicImage::from(colour);
    let grey = DynamicImage::from(grey);
    let jpegs = vec![
        encoded(&colour, ImageFormat::Jpeg),
        encoded(&grey, ImageFormat::Jpeg),
        include_bytes!("../../../src/data/tests/images/progressive.jpg").to_vec(),
        include_bytes!("../../../src/data/tests/images/cmyk.jpg").to_vec(),
    ];
    let pngs = [
        colour,
        grey,
        DynamicImage::from(clear),
        DynamicImage::ImageLumaA16(deep),
    ];
    let pngs: Vec<Vec<u8>> = pngs
        .iter()
        .map(|image| encoded(image, ImageFormat::Png))
        .collect();
    write(folder, "train/a/x.png", &pngs[0]);
    vec![
        decoder("images jpeg", Form::Bytes, jpegs, folder),
        decoder("images png", Form::Png, pngs, folder),
    ]
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, format)
        .expect("memory can be written");
    bytes.into_inner()
}

fn write(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap_or(folder)).expect("the folder can be made");
    fs::write(path, content).expect("the file can be written");
}

/// The input is the only test image of a folder.
fn decoder(name: &'static str, form: Form, valid: Vec<Vec<u8>>, folder: &Path) -> Decoder {
    let folder = folder.to_owned();
    let config = DataConfig {
        name: DataName::Folder,
        folder: Some(folder.clone()),
        augment: Augment::None,
        ..DataConfig::default()
    };
    Decoder {
        name,
        form,
        valid,
        // The batch of one image of 224 x 224, and the image resized for it; the decoder's tables.
        bound: kib(16 << 10, 1 << 16),
        share: 10,
        read: Box::new(move |bytes| {
            write(&folder, "val/a/x.jpg", bytes);
            is_accepted(test_image(&config))
        }),
    }
}

fn test_image(config: &DataConfig) -> Result<(), DataError> {
    Dataset::open(config, 0)?.test_batch(0..1).map(drop)
}
