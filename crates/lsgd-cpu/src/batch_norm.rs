//! Batch normalisation in training, with the residual sum and the ReLU that follow it.

use pulp::Arch;
use rayon::prelude::*;

use crate::sums::{Each, squared_distances, sum};

/// The shapes of a batch of images, `[batch][channels][pixels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Images {
    /// Images.
    pub batch: usize,
    /// Channels of each.
    pub channels: usize,
    /// Values of each channel.
    pub pixels: usize,
}

/// Mean and variance of each channel over a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Means.
    pub mean: Vec<f32>,
    /// Variances: mean squared distances from the mean (biased).
    pub variance: Vec<f32>,
}

/// The gradients of a batch normalisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// By the input.
    pub input: Vec<f32>,
    /// With respect to the scale of each channel.
    pub scale: Vec<f32>,
    /// With respect to the shift of each channel.
    pub shift: Vec<f32>,
    /// With respect to the residual, if there was one.
    pub residual: Option<Vec<f32>>,
}

impl Images {
    fn len(&self) -> usize {
        self.batch * self.channels * self.pixels
    }

    /// Statistics of a batch: those of each channel of each image, then combined in order (Chan et
    /// al., 1983), so that no sum loses small terms to rounding.
    ///
    /// # Panics
    ///
    /// When a slice does not have the length that the shape gives; so do the other functions here.
    pub fn statistics(&self, input: &[f32]) -> Statistics {
        assert_eq!(input.len(), self.len());
        let (pixels, channels) = (self.pixels, self.channels);
        let of_channel = |channel: usize| {
            let (mut count, mut mean, mut squares) = (0.0f64, 0.0f64, 0.0f64);
            if pixels == 0 {
                return (0.0, 0.0);
            }
            for values in input.chunks_exact(pixels).skip(channel).step_by(channels) {
                let more = pixels as f64;
                let its_mean = sum(values) / pixels as f32;
                let its_squares = squared_distances(values, its_mean);
                let apart = f64::from(its_mean) - mean;
                let all = count + more;
                mean += apart * more / all;
                squares += f64::from(its_squares) + apart * apart * count * more / all;
                count = all;
            }
            (mean as f32, (squares / count.max(1.0)) as f32)
        };
        let all: Vec<(f32, f32)> = (0..channels).into_par_iter().map(of_channel).collect();
        let (mean, variance) = all.into_iter().unzip();
        Statistics { mean, variance }
    }

    /// `scale (input - mean) / sqrt(variance + epsilon) + shift`, with `residual` added and
    /// negative values set to zero on request.
    pub fn normalise(
        &self,
        input: &[f32],
        statistics: &Statistics,
        affine: Affine,
        residual: Option<&[f32]>,
        relu: bool,
    ) -> Vec<f32> {
        assert_eq!(input.len(), self.len());
        let lines: Vec<[f32; 2]> = (0..self.channels)
            .map(|channel| {
                let slope = affine.scale[channel] * affine.inverse(statistics, channel);
                [
                    slope,
                    affine.shift[channel] - slope * statistics.mean[channel],
                ]
            })
            .collect();
        let mut output = vec![0.0; input.len()];
        let image = self.channels * self.pixels;
        if image == 0 {
            return output;
        }
        let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
        if let Some(residual) = residual {
            assert_eq!(residual.len(), self.len());
        }
        let pixels = self.pixels;
        let images = output.par_chunks_mut(image).zip(input.par_chunks(image));
        images.enumerate().for_each(|(index, (output, input))| {
            let residual = residual.map(|all| &all[index * image..][..image]);
            let channels = output
                .chunks_exact_mut(pixels)
                .zip(input.chunks_exact(pixels));
            for (channel, (output, input)) in channels.enumerate() {
                let [slope, offset] = lines[channel];
                let residual = residual.map(|image| &image[channel * pixels..][..pixels]);
                Arch::new().dispatch(Each(
                    #[inline(always)]
                    || match residual {
                        None => {
                            for (y, x) in output.iter_mut().zip(input) {
                                *y = at_least(x * slope + offset, floor);
                            }
                        }
                        Some(residual) => {
                            for ((y, x), r) in output.iter_mut().zip(input).zip(residual) {
                                *y = at_least(x * slope + offset + r, floor);
                            }
                        }
                    },
                ));
            }
        });
        output
    }

    /// The gradients, from `gradient` with respect to the output of [`normalise`](Self::normalise).
    /// `output` says where the ReLU let it through; without one there was no ReLU.
    pub fn gradients(
        &self,
        input: &[f32],
        statistics: &Statistics,
        affine: Affine,
        output: Option<&[f32]>,
        residual: bool,
        gradient: &[f32],
    ) -> Gradients {
        assert_eq!(input.len(), self.len());
        assert_eq!(gradient.len(), self.len());
        let (pixels, channels) = (self.pixels, self.channels);
        let image = channels * pixels;
        let passed = output.map(|output| {
            assert_eq!(output.len(), self.len());
            let mut passed = vec![0.0; gradient.len()];
            let blocks = passed.par_chunks_mut(image.max(1));
            let blocks = blocks.zip(gradient.par_chunks(image.max(1)));
            let blocks = blocks.zip(output.par_chunks(image.max(1)));
            blocks.for_each(|((passed, gradient), output)| {
                Arch::new().dispatch(Each(
                    #[inline(always)]
                    || {
                        for ((p, g), y) in passed.iter_mut().zip(gradient).zip(output) {
                            *p = if *y > 0.0 { *g } else { 0.0 };
                        }
                    },
                ));
            });
            passed
        });
        let through = passed.as_deref().unwrap_or(gradient);

        let sums = |channel: usize| {
            let (mut sum_of, mut products) = (0.0f64, 0.0f64);
            let mean = statistics.mean[channel];
            if pixels == 0 {
                return (0.0, 0.0);
            }
            let inputs = input.chunks_exact(pixels).skip(channel).step_by(channels);
            let gradients = through.chunks_exact(pixels).skip(channel).step_by(channels);
            for (x, g) in inputs.zip(gradients) {
                let mut both = [0.0; 2];
                let result = &mut both;
                Arch::new().dispatch(Each(
                    #[inline(always)]
                    || *result = sum_and_product(x, g, mean),
                ));
                sum_of += f64::from(both[0]);
                products += f64::from(both[1]);
            }
            let inverse = f64::from(affine.inverse(statistics, channel));
            (sum_of as f32, (products * inverse) as f32)
        };
        let all: Vec<(f32, f32)> = (0..channels).into_par_iter().map(sums).collect();
        let (shift, scale): (Vec<f32>, Vec<f32>) = all.into_iter().unzip();

        let count = (self.batch * pixels).max(1) as f32;
        let lines: Vec<[f32; 3]> = (0..channels)
            .map(|channel| {
                let inverse = affine.inverse(statistics, channel);
                let of_gradient = affine.scale[channel] * inverse;
                let of_input = -of_gradient * inverse * scale[channel] / count;
                let mean = statistics.mean[channel];
                let constant = -of_gradient * shift[channel] / count - of_input * mean;
                [of_gradient, of_input, constant]
            })
            .collect();
        let mut by_input = vec![0.0; input.len()];
        if image > 0 {
            let images = by_input.par_chunks_mut(image).zip(input.par_chunks(image));
            let images = images.zip(through.par_chunks(image));
            images.for_each(|((by_input, input), gradient)| {
                let channels = by_input.chunks_exact_mut(pixels);
                let channels = channels.zip(input.chunks_exact(pixels));
                let channels = channels.zip(gradient.chunks_exact(pixels));
                for (((by_input, input), gradient), &[a, b, c]) in channels.zip(&lines) {
                    Arch::new().dispatch(Each(
                        #[inline(always)]
                        || {
                            for ((d, x), g) in by_input.iter_mut().zip(input).zip(gradient) {
                                *d = a * g + b * x + c;
                            }
                        },
                    ));
                }
            });
        }
        let residual = residual.then(|| passed.unwrap_or_else(|| gradient.to_vec()));
        Gradients {
            input: by_input,
            scale,
            shift,
            residual,
        }
    }
}

/// Scale and shift of each channel.
#[derive(Debug, Clone, Copy)]
pub struct Affine<'a> {
    /// Scales.
    pub scale: &'a [f32],
    /// Shifts.
    pub shift: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

impl Affine<'_> {
    fn inverse(&self, statistics: &Statistics, channel: usize) -> f32 {
        1.0 / (statistics.variance[channel] + self.epsilon).sqrt()
    }
}

/// The larger of two; NaN stays NaN.
#[inline(always)]
fn at_least(value: f32, floor: f32) -> f32 {
    if value < floor { floor } else { value }
}

/// The sums of `g` and of `g (x - mean)`, in a fixed number of lanes.
#[inline(always)]
fn sum_and_product(x: &[f32], g: &[f32], mean: f32) -> [f32; 2] {
    const LANES: usize = 32;
    let mut sums = [0.0; LANES];
    let mut products = [0.0; LANES];
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (gs, g_rest) = g.as_chunks::<LANES>();
    for (x, g) in xs.iter().zip(gs) {
        for lane in 0..LANES {
            sums[lane] += g[lane];
            products[lane] += g[lane] * (x[lane] - mean);
        }
    }
    for ((x, g), lane) in x_rest.iter().zip(g_rest).zip(0..LANES) {
        sums[lane] += g;
        products[lane] += g * (x - mean);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
            products[lane] += products[lane + width];
        }
        width /= 2;
    }
    [sums[0], products[0]]
}
