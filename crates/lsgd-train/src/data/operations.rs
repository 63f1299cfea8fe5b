//! Operations on images of bytes, as torchvision's on `uint8` tensors, with nearest neighbours and black
//! outside.
//!
//! An image is one plane, or three for red, green and blue, of height x width bytes.

/// Weights of red, green and blue in grey.
const GREY: [f32; 3] = [0.2989, 0.587, 0.114];

/// An operation with its magnitude.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Operation {
    /// Nothing.
    Identity,
    /// Every row is moved to the left by this times its distance from the top.
    ShearX(f64),
    /// Every column is moved up by this times its distance from the left.
    ShearY(f64),
    /// To the right, by whole pixels.
    TranslateX(f64),
    /// Down, by whole pixels.
    TranslateY(f64),
    /// Counter-clockwise about the centre, in degrees.
    Rotate(f64),
    /// Factor of every value; 1 changes nothing.
    Brightness(f64),
    /// Factor of the distance to grey, pixel by pixel.
    Saturation(f64),
    /// Factor of the distance to the mean grey.
    Contrast(f64),
    /// Factor of the distance to the blurred image.
    Sharpness(f64),
    /// Turns the hue by this share of the whole circle, in [-0.5, 0.5].
    Hue(f64),
    /// Keeps so many of the eight bits, from 1.
    Posterize(u32),
    /// Inverts values from this one on.
    Solarize(f64),
    /// Stretches the values of each plane to the whole range.
    AutoContrast,
    /// Makes the values of each plane about equally frequent.
    Equalize,
}

/// The height and width of an image whose planes they are.
pub(crate) type Size = [usize; 2];

impl Operation {
    /// The image after the operation.
    pub fn apply(self, image: &mut [u8], size: Size) {
        let [height, width] = size;
        match self {
            Self::Identity => {}
            Self::ShearX(by) => moved(image, size, |y, x| [y, x + by * (y + 0.5)]),
            Self::ShearY(by) => moved(image, size, |y, x| [y + by * (x + 0.5), x]),
            Self::TranslateX(by) => moved(image, size, |y, x| [y, x - by.trunc()]),
            Self::TranslateY(by) => moved(image, size, |y, x| [y - by.trunc(), x]),
            Self::Rotate(degrees) => {
                let (sin, cos) = degrees.to_radians().sin_cos();
                let centre = [height, width].map(|side| (side as f64 - 1.0) / 2.0);
                moved(image, size, |y, x| {
                    let (y, x) = (y - centre[0], x - centre[1]);
                    [sin * x + cos * y + centre[0], cos * x - sin * y + centre[1]]
                });
            }
            Self::Brightness(factor) => blend(image, factor, |_| 0.0),
            Self::Saturation(factor) => {
                let pixels = height * width;
                if image.len() == 3 * pixels {
                    let grey = grey(image, pixels);
                    blend(image, factor, |index| f32::from(grey[index % pixels]));
                }
            }
            Self::Contrast(factor) => {
                let grey = grey(image, height * width);
                let sum: u64 = grey.iter().map(|value| u64::from(*value)).sum();
                let mean = (sum as f64 / grey.len() as f64) as f32;
                blend(image, factor, |_| mean);
            }
            Self::Sharpness(factor) => {
                if height > 2 && width > 2 {
                    let blurred = blurred(image, size);
                    blend(image, factor, |index| f32::from(blurred[index]));
                }
            }
            Self::Hue(by) => turn(image, height * width, by as f32),
            Self::Posterize(bits) => {
                let mask = u8::MAX << 8u32.saturating_sub(bits).min(7);
                image.iter_mut().for_each(|value| *value &= mask);
            }
            Self::Solarize(threshold) => {
                let bright = image
                    .iter_mut()
                    .filter(|value| f64::from(**value) >= threshold);
                bright.for_each(|value| *value = 255 - *value);
            }
            Self::AutoContrast => image.chunks_exact_mut(height * width).for_each(stretch),
            Self::Equalize => image.chunks_exact_mut(height * width).for_each(equalize),
        }
    }
}

/// Takes each pixel (row, column) from `source` of it, rounded to the nearest pixel; black outside.
fn moved(image: &mut [u8], [height, width]: Size, source: impl Fn(f64, f64) -> [f64; 2]) {
    let before = image.to_vec();
    let inside = |at: f64, side: usize| {
        let nearest = at.round_ties_even();
        (0.0..side as f64)
            .contains(&nearest)
            .then_some(nearest as usize)
    };
    let pixels = height * width;
    for y in 0..height {
        for x in 0..width {
            let [row, column] = source(y as f64, x as f64);
            let from = inside(row, height).zip(inside(column, width));
            let from = from.map(|(row, column)| row * width + column);
            let planes = image
                .chunks_exact_mut(pixels)
                .zip(before.chunks_exact(pixels));
            for (plane, before) in planes {
                plane[y * width + x] = from.map_or(0, |from| before[from]);
            }
        }
    }
}

/// `other + factor (image - other)`, cut to bytes.
fn blend(image: &mut [u8], factor: f64, other: impl Fn(usize) -> f32) {
    let (own, rest) = (factor as f32, (1.0 - factor) as f32);
    for (index, value) in image.iter_mut().enumerate() {
        // A float becomes the nearest byte toward zero.
        *value = (own * f32::from(*value) + rest * other(index)) as u8;
    }
}

/// The image in grey, as one plane.
fn grey(image: &[u8], pixels: usize) -> Vec<u8> {
    if image.len() != 3 * pixels {
        return image[..pixels].to_vec();
    }
    let value = |at: usize| {
        let [red, green, blue] = [0, 1, 2].map(|c| GREY[c] * f32::from(image[c * pixels + at]));
        (red + green + blue) as u8
    };
    (0..pixels).map(value).collect()
}

/// Smoothed by 3 x 3 pixels, of which the middle one counts five times; the edge stays.
fn blurred(image: &[u8], [height, width]: Size) -> Vec<u8> {
    let mut blurred = image.to_vec();
    let planes = image.chunks_exact(height * width);
    for (plane, out) in planes.zip(blurred.chunks_exact_mut(height * width)) {
        for y in 1..height - 1 {
            for x in 1..width - 1 {
                let around =
                    (y - 1..=y + 1).flat_map(|y| &plane[y * width + x - 1..=y * width + x + 1]);
                let around: u32 = around.map(|value| u32::from(*value)).sum();
                let sum = around + 4 * u32::from(plane[y * width + x]);
                // Rounded; there are no ties among thirteenths.
                out[y * width + x] = ((2 * sum + 13) / 26) as u8;
            }
        }
    }
    blurred
}

fn stretch(plane: &mut [u8]) {
    let Some((least, most)) = plane.iter().min().copied().zip(plane.iter().max().copied()) else {
        return;
    };
    if least == most {
        return;
    }
    let scale = 255.0 / (f32::from(most) - f32::from(least));
    for value in plane {
        *value = ((f32::from(*value) - f32::from(least)) * scale) as u8;
    }
}

fn equalize(plane: &mut [u8]) {
    let mut counts = [0usize; 256];
    for value in plane.iter() {
        counts[usize::from(*value)] += 1;
    }
    let last = counts.iter().rev().find(|count| **count > 0);
    let step = (plane.len() - last.copied().unwrap_or(0)) / 255;
    if step == 0 {
        return;
    }
    let mut below = 0;
    let table = counts.map(|count| {
        let value = if below == 0 {
            0
        } else {
            (below + step / 2) / step
        };
        below += count;
        value.min(255) as u8
    });
    for value in plane {
        *value = table[usize::from(*value)];
    }
}

/// Turns the hue of every pixel of a coloured image by `by` of the circle.
fn turn(image: &mut [u8], pixels: usize, by: f32) {
    if image.len() != 3 * pixels {
        return;
    }
    for at in 0..pixels {
        let rgb = [0, 1, 2].map(|c| f32::from(image[c * pixels + at]) / 255.0);
        let [hue, saturation, value] = hsv(rgb);
        let turned = rgb_of([(hue + by).rem_euclid(1.0), saturation, value]);
        for (c, value) in turned.into_iter().enumerate() {
            image[c * pixels + at] = (value * (256.0 - 1e-3)) as u8;
        }
    }
}

/// Hue in [0, 1), saturation and value in [0, 1].
fn hsv([red, green, blue]: [f32; 3]) -> [f32; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    let range = most - least;
    if range == 0.0 {
        return [0.0, 0.0, most];
    }
    let [r, g, b] = [red, green, blue].map(|value| (most - value) / range);
    let sextant = match most {
        most if most == red => b - g,
        most if most == green => 2.0 + r - b,
        _ => 4.0 + g - r,
    };
    [(sextant / 6.0 + 1.0) % 1.0, range / most, most]
}

fn rgb_of([hue, saturation, value]: [f32; 3]) -> [f32; 3] {
    let sextant = (hue * 6.0).floor();
    let part = hue * 6.0 - sextant;
    let of = |share: f32| (value * (1.0 - share)).clamp(0.0, 1.0);
    let (p, q, t) = (
        of(saturation),
        of(saturation * part),
        of(saturation * (1.0 - part)),
    );
    match sextant as u32 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Reference {
        cases: Vec<Case>,
    }

    #[derive(serde::Deserialize)]
    struct Case {
        shape: [usize; 3],
        image: Vec<u8>,
        results: Vec<Expected>,
    }

    #[derive(serde::Deserialize)]
    struct Expected {
        operation: String,
        magnitude: f64,
        image: Vec<u8>,
    }

    impl Expected {
        fn operation(&self) -> Operation {
            let by = self.magnitude;
            match self.operation.as_str() {
                "shear_x" => Operation::ShearX(by),
                "shear_y" => Operation::ShearY(by),
                "translate_x" => Operation::TranslateX(by),
                "translate_y" => Operation::TranslateY(by),
                "rotate" => Operation::Rotate(by),
                "brightness" => Operation::Brightness(by),
                "saturation" => Operation::Saturation(by),
                "contrast" => Operation::Contrast(by),
                "sharpness" => Operation::Sharpness(by),
                "hue" => Operation::Hue(by),
                "posterize" => Operation::Posterize(by as u32),
                "solarize" => Operation::Solarize(by),
                "auto_contrast" => Operation::AutoContrast,
                "equalize" => Operation::Equalize,
                other => panic!("{other}"),
            }
        }
    }

    /// To the byte: `tests/operations_reference.py` made the numbers.
    #[test]
    fn images_come_out_as_torchvisions() {
        let reference = include_str!("tests/operations_reference.json");
        let reference: Reference = serde_json::from_str(reference).unwrap();
        let mut compared = 0;
        for case in reference.cases {
            let [_, height, width] = case.shape;
            for expected in &case.results {
                let mut image = case.image.clone();
                expected.operation().apply(&mut image, [height, width]);
                let name = expected.operation();
                assert_eq!(image, expected.image, "{name:?} of {:?}", case.shape);
                compared += 1;
            }
        }
        assert_eq!(compared, 95);
    }
}
