//! The shapes of a convolution, shared by its kernels and their parts.

use crate::window::Window;

/// The shapes of a convolution's operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Images.
    pub batch: usize,
    /// Channels of the input and of the output.
    pub channels: [usize; 2],
    /// Height and width of the input.
    pub image: [usize; 2],
    /// Height and width of the kernel, at least 1.
    pub kernel: [usize; 2],
    /// Rows and columns from one output to the next, at least 1.
    pub stride: [usize; 2],
    /// Rows above and below, columns left and right of the input that are zero.
    pub padding: [usize; 2],
}

impl Convolution {
    /// Height and width of the output; `None` when the kernel is larger than the padded input, or a
    /// kernel or stride is zero.
    pub fn output(&self) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            let padded = self.image[axis] + 2 * self.padding[axis];
            let room = padded.checked_sub(self.kernel[axis])?;
            (self.kernel[axis] > 0).then_some(())?;
            Some(room.checked_div(self.stride[axis])? + 1)
        };
        Some([along(0)?, along(1)?])
    }

    /// Values of an input image and of an output image.
    pub(crate) fn sizes(&self, output: [usize; 2]) -> [usize; 2] {
        [
            self.channels[0] * self.image[0] * self.image[1],
            self.channels[1] * output[0] * output[1],
        ]
    }

    pub(crate) fn window(&self, output: [usize; 2]) -> Window {
        Window {
            channels: self.channels[0],
            image: self.image,
            border: self.padding,
            stride: self.stride,
            extent: self.kernel,
            outputs: output,
        }
    }

    /// All places of the kernel, row by row.
    pub(crate) fn places(&self) -> impl Iterator<Item = [usize; 2]> + Clone {
        let [height, width] = self.kernel;
        (0..height).flat_map(move |row| (0..width).map(move |column| [row, column]))
    }
}
