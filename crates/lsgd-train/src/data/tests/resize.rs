//! Resizing, against torchvision (resize_reference.py).

use image::{Rgb, RgbImage};
use serde::Deserialize;

use crate::data::resize::{Region, centre, region};

#[derive(Deserialize)]
struct Case {
    /// Left, top, width, height; otherwise the centre of an image of `size`.
    region: Option<[u32; 4]>,
    size: Option<[u32; 2]>,
    shorter: Option<u32>,
    side: u32,
    pixels: Vec<u8>,
}

fn image(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let channel = |c: u32| ((7 * x + 13 * y + 50 * c + x * y * (c + 1) / 5) % 256) as u8;
        Rgb([channel(0), channel(1), channel(2)])
    })
}

#[test]
fn parts_are_resized_as_torchvision_does() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("resize_reference.json")).unwrap();
    assert_eq!(cases.len(), 12);
    for case in cases {
        let found = match (case.region, case.size, case.shorter) {
            (Some([left, top, width, height]), ..) => {
                let part = Region {
                    left,
                    top,
                    width,
                    height,
                };
                region(&image(50, 37), part, case.side)
            }
            (_, Some([width, height]), Some(shorter)) => {
                centre(&image(width, height), shorter, case.side)
            }
            _ => panic!("neither a region nor a centre"),
        };
        assert_eq!(found.dimensions(), (case.side, case.side));
        let pairs = found.as_raw().iter().zip(&case.pixels);
        let off: Vec<u8> = pairs.map(|(a, b)| a.abs_diff(*b)).collect();
        // Pillow rounds each of its two passes to bytes too, but has more bits for its weights.
        let two = off.iter().filter(|off| **off > 1).count();
        let most = off.iter().max();
        let case_is = (case.region, case.size, two, most);
        assert!(most <= Some(&2) && 100 * two <= off.len(), "{case_is:?}");
        assert_eq!(found.as_raw().len(), case.pixels.len());
    }
}

/// A side that a whole image has is a copy, and so is its centre.
#[test]
fn nothing_is_resized_without_need() {
    let square = image(16, 16);
    assert_eq!(centre(&square, 16, 16), square);
    let part = Region {
        left: 2,
        top: 3,
        width: 8,
        height: 8,
    };
    let cut = image::imageops::crop_imm(&square, 2, 3, 8, 8).to_image();
    assert_eq!(region(&square, part, 8), cut);
}

/// Every size that an image may have, down to a pixel: the part to be resized stays within it.
#[test]
fn any_image_has_a_centre() {
    for width in 1..70 {
        for height in [1, 2, 3, 7, 31, 32, 33, 64, 1000] {
            for side in [16, 224] {
                let centre = centre(&image(width, height), side * 8 / 7, side);
                assert_eq!(centre.dimensions(), (side, side));
            }
        }
    }
}
