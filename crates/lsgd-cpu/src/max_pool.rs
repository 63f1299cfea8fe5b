//! Maximum over windows of an image, and where it came from.

use rayon::prelude::*;

use crate::arch::dispatch;
use crate::sums::Each;

/// The shapes of a max pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxPool {
    /// Planes: images times channels.
    pub planes: usize,
    /// Height and width of each.
    pub image: [usize; 2],
    /// Height and width of the window, at least 1.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next, at least 1.
    pub stride: [usize; 2],
    /// Rows above and below, columns left and right of the image that windows may reach into, at
    /// most half the window; they count as less than any value.
    pub padding: [usize; 2],
}

impl MaxPool {
    /// Height and width of the output; `None` when the window is larger than the padded image,
    /// reaches too far into the padding, or the window or stride is zero.
    pub fn output(&self) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            let (kernel, padding) = (self.kernel[axis], self.padding[axis]);
            let room = (self.image[axis] + 2 * padding).checked_sub(kernel)?;
            (kernel > 0 && 2 * padding <= kernel && self.image[axis] > 0).then_some(())?;
            Some(room.checked_div(self.stride[axis])? + 1)
        };
        Some([along(0)?, along(1)?])
    }

    /// The largest value of each window, `[planes][rows][columns]`, and the place in its plane of
    /// the first one. NaN counts as the largest.
    ///
    /// # Panics
    ///
    /// When `input` does not have the length that the shapes give, or there is no
    /// [`output`](Self::output).
    pub fn forward(&self, input: &[f32]) -> (Vec<f32>, Vec<u32>) {
        let [rows, columns] = self.output().expect("the window fits the padded image");
        let [height, width] = self.image;
        assert_eq!(input.len(), self.planes * height * width);
        let outputs = rows * columns;
        let mut values = vec![0.0; self.planes * outputs];
        let mut places = vec![0; values.len()];
        let planes = values.par_chunks_mut(outputs);
        let planes = planes.zip(places.par_chunks_mut(outputs));
        let planes = planes.zip(input.par_chunks(height * width));
        let squares = (self.kernel, self.stride, self.padding) == ([2, 2], [2, 2], [0, 0]);
        planes.for_each(|((values, places), input)| {
            if squares {
                return dispatch(Each(
                    #[inline(always)]
                    || halve(input, width, columns, values, places),
                ));
            }
            let mut outputs = values.iter_mut().zip(places);
            for row in 0..rows {
                let window_rows = self.reads(0, row);
                for column in 0..columns {
                    let window_columns = self.reads(1, column);
                    let mut largest = f32::NEG_INFINITY;
                    let mut place = window_rows.start * width + window_columns.start;
                    for r in window_rows.clone() {
                        let first = r * width + window_columns.start;
                        let values = &input[first..first + window_columns.len()];
                        for (at, &value) in (first..).zip(values) {
                            if value > largest || value.is_nan() {
                                (largest, place) = (value, at);
                            }
                        }
                    }
                    if let Some((to, at)) = outputs.next() {
                        (*to, *at) = (input[place], place as u32);
                    }
                }
            }
        });
        (values, places)
    }

    /// The gradient with respect to the input, given that of the output; `places` are those of
    /// [`forward`](Self::forward).
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward), and when a place lies beyond its plane.
    pub fn input_gradient(&self, places: &[u32], gradient: &[f32]) -> Vec<f32> {
        let [rows, columns] = self.output().expect("the window fits the padded image");
        assert_eq!(gradient.len(), self.planes * rows * columns);
        assert_eq!(places.len(), gradient.len());
        let plane = self.image[0] * self.image[1];
        let mut result = vec![0.0; self.planes * plane];
        let planes = result.par_chunks_mut(plane);
        let planes = planes.zip(gradient.par_chunks(rows * columns));
        let planes = planes.zip(places.par_chunks(rows * columns));
        let overlap = (0..2).any(|axis| self.kernel[axis] > self.stride[axis]);
        planes.for_each(|((result, gradient), places)| {
            let all = places.iter().zip(gradient);
            if overlap {
                all.for_each(|(place, gradient)| result[*place as usize] += gradient);
            } else {
                // Memory that is read before it is written to is mapped twice.
                all.for_each(|(place, gradient)| result[*place as usize] = *gradient);
            }
        });
        result
    }

    /// The part of the image that a window reads along an axis.
    fn reads(&self, axis: usize, output: usize) -> std::ops::Range<usize> {
        let first = output * self.stride[axis];
        let padding = self.padding[axis];
        let end = (first + self.kernel[axis]).saturating_sub(padding);
        first.saturating_sub(padding)..end.min(self.image[axis])
    }
}

/// Squares that are compared at a time, in lanes of a vector.
const SQUARES: usize = 8;

/// The largest of each two by two square: the models' pool, without bounds checks and without branches, of
/// which half would be mispredicted.
#[inline(always)]
fn halve(input: &[f32], width: usize, columns: usize, values: &mut [f32], places: &mut [u32]) {
    let outputs = values.chunks_exact_mut(columns);
    let outputs = outputs.zip(places.chunks_exact_mut(columns));
    for (row, (values, places)) in outputs.enumerate() {
        let first = 2 * row * width;
        let above = input[first..][..2 * columns].as_chunks::<2>().0;
        let below = input[first + width..][..2 * columns].as_chunks::<2>().0;
        let outputs = values.chunks_mut(SQUARES).zip(places.chunks_mut(SQUARES));
        let inputs = above.chunks(SQUARES).zip(below.chunks(SQUARES));
        for (block, ((above, below), (values, places))) in inputs.zip(outputs).enumerate() {
            let (best, offsets) = match (above.as_array(), below.as_array()) {
                (Some(above), Some(below)) => largest(above, below, width as u32),
                _ => {
                    let mut padded = [[[0.0; 2]; SQUARES]; 2];
                    padded[0][..above.len()].copy_from_slice(above);
                    padded[1][..below.len()].copy_from_slice(below);
                    largest(&padded[0], &padded[1], width as u32)
                }
            };
            let first = (first + 2 * SQUARES * block) as u32;
            values.copy_from_slice(&best[..values.len()]);
            for (lane, (place, offset)) in places.iter_mut().zip(offsets).enumerate() {
                *place = first + 2 * lane as u32 + offset;
            }
        }
    }
}

/// The largest value of each square, and how far it is behind the first one. A later value is taken if it is
/// larger or NaN.
#[inline(always)]
fn largest(
    above: &[[f32; 2]; SQUARES],
    below: &[[f32; 2]; SQUARES],
    width: u32,
) -> ([f32; SQUARES], [u32; SQUARES]) {
    let (mut best, mut offsets) = (above.map(|[first, _]| first), [0; SQUARES]);
    for (values, offset) in [
        (above.map(|[_, value]| value), 1),
        (below.map(|[value, _]| value), width),
        (below.map(|[_, value]| value), width + 1),
    ] {
        for lane in 0..SQUARES {
            let takes = (values[lane] > best[lane]) | values[lane].is_nan();
            best[lane] = if takes { values[lane] } else { best[lane] };
            offsets[lane] = if takes { offset } else { offsets[lane] };
        }
    }
    (best, offsets)
}
