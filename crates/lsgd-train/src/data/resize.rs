//! Resizes a part of an image.
//!
//! With a triangle filter that grows with the scale, as Pillow's and torchvision's antialiased `BILINEAR`
//! do: the tests compare with them.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ImageView, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

/// A part of an image in whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

/// The pixels of `region`, which is within the image and not empty, as an image of `side` x `side`. No
/// pixel outside of it has an influence, as if it had been cut out first.
pub(super) fn region(image: &RgbImage, region: Region, side: u32) -> RgbImage {
    let whole = view(image);
    let Region {
        left,
        top,
        width,
        height,
    } = region;
    let part = TypedCroppedImage::from_ref(&whole, left, top, width, height);
    resize(
        &part.expect("regions are drawn within the image"),
        None,
        side,
    )
}

/// The central `side` x `side` of the image after its shorter side has been resized to `shorter`, at least
/// `side`. Nothing else is computed, so memory does not grow with the longer side.
pub(super) fn centre(image: &RgbImage, shorter: u32, side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    // Sizes in whole pixels, rounded down, as by torchvision's Resize.
    let scaled = |long: u32, short: u32| u64::from(shorter) * u64::from(long) / u64::from(short);
    let short = u64::from(shorter);
    let (to_width, to_height) = match width <= height {
        true => (short, scaled(height, width)),
        false => (scaled(width, height), short),
    };
    let across = |from: u32, to: u64| {
        // Products of whole numbers first: their quotients never add up to more than the image.
        let scaled = |pixels: u64| (pixels * u64::from(from)) as f64 / to as f64;
        let side = u64::from(side);
        let rest = to - side;
        // Half of the rest; of two whole numbers as near, the even one, as in torchvision's CenterCrop.
        let start = rest / 2 + u64::from(rest % 4 == 3);
        (scaled(start), scaled(side))
    };
    let (left, width) = across(width, to_width);
    let (top, height) = across(height, to_height);
    let options = ResizeOptions::new().crop(left, top, width, height);
    resize(&view(image), Some(options), side)
}

fn view(image: &RgbImage) -> TypedImageRef<'_, U8x3> {
    let view = TypedImageRef::from_buffer(image.width(), image.height(), image.as_raw());
    view.expect("an RgbImage has three bytes for each pixel")
}

fn resize(
    from: &impl ImageView<Pixel = U8x3>,
    options: Option<ResizeOptions>,
    side: u32,
) -> RgbImage {
    let filter = ResizeAlg::Convolution(FilterType::Bilinear);
    let options = options.unwrap_or_default().resize_alg(filter);
    let mut bytes = vec![0; 3 * side as usize * side as usize];
    let to = TypedImage::<U8x3>::from_buffer(side, side, &mut bytes);
    let mut to = to.expect("it has three bytes for each pixel");
    let resized = Resizer::new().resize_typed(from, &mut to, &options);
    resized.expect("the part is within the image");
    drop(to);
    RgbImage::from_raw(side, side, bytes).expect("it has three bytes for each pixel")
}
