//! Batch normalisation in training, with the residual sum and the ReLU that follow it.

use rayon::prelude::*;

use crate::arch::dispatch;
use crate::sums::{Each, passed, squared_distances, sum, sums_of_passed};

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
                dispatch(Each(
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
        if let Some(output) = output {
            assert_eq!(output.len(), self.len());
        }
        let mut by_input = vec![0.0; input.len()];
        let mut by_residual = residual.then(|| vec![0.0; input.len()]);
        let (pixels, channels) = (self.pixels, self.channels);
        let image = channels * pixels;
        // Without a ReLU everything passed.
        let ones = vec![1.0; pixels];
        let plane = |at: usize| {
            let plane = at * pixels..(at + 1) * pixels;
            let output = output.map_or(&ones[..], |output| &output[plane.clone()]);
            (&input[plane.clone()], &gradient[plane], output)
        };

        let sums = |channel: usize| {
            let mean = statistics.mean[channel];
            let mut sums = [0.0f64; 2];
            for index in 0..self.batch {
                let (x, g, y) = plane(index * channels + channel);
                let of_plane = sums_of_passed(x, g, y, mean);
                sums = [0, 1].map(|index| sums[index] + f64::from(of_plane[index]));
            }
            let inverse = f64::from(affine.inverse(statistics, channel));
            (sums[0] as f32, (sums[1] * inverse) as f32)
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
        if image > 0 {
            let residuals: Vec<Option<&mut [f32]>> = match &mut by_residual {
                Some(all) => all.chunks_exact_mut(image).map(Some).collect(),
                None => (0..self.batch).map(|_| None).collect(),
            };
            let images = by_input.par_chunks_mut(image).zip(residuals).enumerate();
            images.for_each(|(index, (by_input, mut by_residual))| {
                dispatch(Each(
                    #[inline(always)]
                    || {
                        let planes = by_input.chunks_exact_mut(pixels).zip(&lines);
                        for (channel, (by_input, line)) in planes.enumerate() {
                            let by_residual = by_residual.as_deref_mut();
                            let by_residual =
                                by_residual.map(|all| &mut all[channel * pixels..][..pixels]);
                            let operands = plane(index * channels + channel);
                            gradients_of_plane(*line, operands, by_input, by_residual);
                        }
                    },
                ));
            });
        }
        Gradients {
            input: by_input,
            scale,
            shift,
            residual: by_residual,
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

/// The gradients by an input, `a g + b x + c` for what passed of the gradient `g`, and by a
/// residual, where there is one.
#[inline(always)]
fn gradients_of_plane(
    [a, b, c]: [f32; 3],
    (x, g, y): (&[f32], &[f32], &[f32]),
    by_input: &mut [f32],
    by_residual: Option<&mut [f32]>,
) {
    for (((d, x), g), y) in by_input.iter_mut().zip(x).zip(g).zip(y) {
        *d = a * passed(*g, *y) + b * x + c;
    }
    if let Some(by_residual) = by_residual {
        for ((d, g), y) in by_residual.iter_mut().zip(g).zip(y) {
            *d = passed(*g, *y);
        }
    }
}
