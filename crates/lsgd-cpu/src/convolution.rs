//! Two-dimensional convolution and its gradients.
//!
//! All three run the inner loops of [`taps`](crate::taps) over images arranged by [`Layout`], a
//! group of images at a time: the arranged group stays in the cache, and the input is never
//! unfolded whole. A group's results depend on it alone, and gradients of weights are summed in the
//! order of groups: the bits are the same for every number of threads.

use rayon::prelude::*;

use crate::arch::Vectors;
use crate::correlation::Correlation;
use crate::layout::{Grid, Layout};
use crate::phases::phases;
use crate::scratch::with_scratch;
use crate::shapes::Convolution;
use crate::sums::sum;
use crate::taps::correlated_rows;
use crate::weights::Weights;

impl Convolution {
    /// `output[n][o][r][c] = bias[o] + sum over i, k, l of weight[o][i][k][l]
    /// input[n][i][r stride + k - padding][c stride + l - padding]`.
    ///
    /// # Panics
    ///
    /// When a slice does not have the length that the shapes give, or there is no
    /// [`output`](Self::output).
    pub fn forward(&self, input: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let output = self.output().expect("the kernel fits the padded input");
        let [inputs, outputs] = self.sizes(output);
        let layout = Layout::new(
            self.window(output),
            self.batch,
            Vectors::of_this_processor().lanes,
        );
        let places: Vec<[usize; 2]> = self.places().collect();
        let [channels, rows] = self.channels;
        assert_eq!(input.len(), self.batch * inputs);
        assert_eq!(weight.len(), rows * channels * places.len());
        let weights = Weights::pack(&layout, &places, rows, bias, |row, channel, place| {
            weight[(row * channels + channel) * places.len() + place]
        });
        let grid = Grid {
            image: output,
            first: [0, 0],
            step: [1, 1],
        };
        let mut result = vec![0.0; self.batch * outputs];
        if inputs * outputs == 0 {
            return result;
        }
        let groups = result.par_chunks_mut(layout.group * outputs);
        let groups = groups.zip(input.par_chunks(layout.group * inputs));
        groups.for_each(|(result, input)| {
            weights.apply(&layout, input, result, self.channels[1], &grid);
        });
        result
    }

    /// The gradient with respect to the input, given that of the output.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn input_gradient(&self, weight: &[f32], gradient: &[f32]) -> Vec<f32> {
        let output = self.output().expect("the kernel fits the padded input");
        let [inputs, outputs] = self.sizes(output);
        let [height, width] = self.kernel;
        assert_eq!(gradient.len(), self.batch * outputs);
        assert_eq!(
            weight.len(),
            self.channels[0] * self.channels[1] * height * width
        );
        let mut result = vec![0.0; self.batch * inputs];
        if inputs * outputs == 0 {
            return result;
        }
        for (layout, weights, grid) in phases(self, weight, output) {
            let groups = result.par_chunks_mut(layout.group * inputs);
            let groups = groups.zip(gradient.par_chunks(layout.group * outputs));
            groups.for_each(|(result, gradient)| {
                weights.apply(&layout, gradient, result, self.channels[0], &grid);
            });
        }
        result
    }

    /// The gradient with respect to the weights, given that of the output.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn weight_gradient(&self, input: &[f32], gradient: &[f32]) -> Vec<f32> {
        let output = self.output().expect("the kernel fits the padded input");
        let [inputs, outputs] = self.sizes(output);
        assert_eq!(input.len(), self.batch * inputs);
        assert_eq!(gradient.len(), self.batch * outputs);
        let layout = Layout::new(
            self.window(output),
            self.batch,
            Vectors::of_this_processor().lanes,
        );
        let kernel = self.kernel[0] * self.kernel[1];
        let row = self.channels[0] * kernel;
        let mut result = vec![0.0; self.channels[1] * row];
        if inputs * outputs == 0 {
            return result;
        }
        let correlation = Correlation::new(self, &layout);
        let tile = correlated_rows();
        let length = tile * layout.outputs();
        let tiles = self.channels[1].div_ceil(tile);
        let groups = input.chunks(layout.group * inputs);
        let groups = groups.zip(gradient.chunks(layout.group * outputs));
        for (input, gradient) in groups {
            with_scratch([layout.length, tiles * length], |planes, vectors| {
                layout.arrange(input, planes);
                layout.arrange_outputs(self.channels[1], tile, gradient, vectors);
                let rows = result.par_chunks_mut(tile * row);
                rows.zip(vectors.par_chunks(length))
                    .for_each(|(rows, gradients)| correlation.add(tile, planes, gradients, rows));
            });
        }
        result
    }

    /// The gradient with respect to the bias, given that of the output.
    pub fn bias_gradient(&self, gradient: &[f32]) -> Vec<f32> {
        let [_, channels] = self.channels;
        let pixels = self.output().map_or(0, |[rows, columns]| rows * columns);
        let mut sums = vec![0.0f64; channels];
        if channels * pixels > 0 {
            for image in gradient.chunks_exact(channels * pixels) {
                for (total, values) in sums.iter_mut().zip(image.chunks_exact(pixels)) {
                    *total += f64::from(sum(values));
                }
            }
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }
}
