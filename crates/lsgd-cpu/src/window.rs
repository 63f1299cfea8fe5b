//! The part of an image that a convolution reads.

use std::ops::Range;

/// Places in an image that a convolution reads, for outputs on a grid. The output in row `r` and
/// column `c` reads, for the place `(k, l)` of the kernel, the value at `(r stride + k - border, c
/// stride + l - border)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// Channels of the image.
    pub channels: usize,
    /// Its height and width.
    pub image: [usize; 2],
    /// Rows above it and columns left of it that are read as zeros.
    pub border: [usize; 2],
    /// The number of rows and columns of the image by which the window moves from one output to the
    /// next.
    pub stride: [usize; 2],
    /// Height and width of the window: the part of a channel that one output reads.
    pub extent: [usize; 2],
    /// Rows and columns of outputs.
    pub outputs: [usize; 2],
}

impl Window {
    /// Along an axis: the outputs for which this place is within the image.
    pub fn inside(&self, axis: usize, place: usize) -> Range<usize> {
        let (border, stride) = (self.border[axis], self.stride[axis]);
        let first = border.saturating_sub(place).div_ceil(stride);
        let behind = (self.image[axis] + border).saturating_sub(place);
        first..behind.div_ceil(stride).min(self.outputs[axis]).max(first)
    }

    /// Share of useful lanes when neighbouring columns are side by side.
    pub fn column_share(&self, lanes: usize) -> f64 {
        let [_, columns] = self.outputs;
        let across = columns.div_ceil(lanes) * lanes;
        let places = (0..self.extent[1]).map(|place| self.inside(1, place).len());
        places.sum::<usize>() as f64 / (across * self.extent[1]).max(1) as f64
    }
}
