//! The gradient of a convolution's input, as convolutions of the gradient of its output.

use crate::arch::Vectors;
use crate::layout::{Grid, Layout};
use crate::shapes::Convolution;
use crate::weights::Weights;
use crate::window::Window;

/// Inputs that are a stride apart read the same places of the kernel: each phase of them is a
/// convolution of the output's gradient at stride one, whose results lie on a grid.
pub(crate) fn phases<'a>(
    convolution: &'a Convolution,
    weight: &'a [f32],
    output: [usize; 2],
) -> impl Iterator<Item = (Layout, Weights, Grid)> + 'a {
    let phases = Phases::new(convolution, output);
    let [rows, columns] = convolution.stride;
    let firsts = (0..rows).flat_map(move |row| (0..columns).map(move |column| [row, column]));
    firsts.filter_map(move |first| phases.one(convolution, weight, first))
}

/// What all phases have in common.
struct Phases {
    /// By axis: how far the furthest output is before its input.
    before: [usize; 2],
    output: [usize; 2],
}

impl Phases {
    fn new(convolution: &Convolution, output: [usize; 2]) -> Self {
        let before = |axis: usize| {
            let phases = 0..convolution.stride[axis];
            let all = phases.flat_map(|phase| reads(convolution, axis, phase));
            all.map(|(shift, _)| shift)
                .min()
                .unwrap_or(0)
                .min(0)
                .unsigned_abs()
        };
        Self {
            before: [before(0), before(1)],
            output,
        }
    }

    /// The phase that begins at this input; `None` if it is empty or none of its inputs is read.
    fn one(
        &self,
        convolution: &Convolution,
        weight: &[f32],
        first: [usize; 2],
    ) -> Option<(Layout, Weights, Grid)> {
        let of_axis = |axis: usize| {
            let along = convolution.image[axis].checked_sub(first[axis])?;
            let reads: Vec<_> = reads(convolution, axis, first[axis]).collect();
            let shift = |(shift, place): (isize, usize)| {
                (
                    shift.saturating_add_unsigned(self.before[axis]) as usize,
                    place,
                )
            };
            let reads: Vec<(usize, usize)> = reads.into_iter().map(shift).collect();
            let extent = reads.iter().map(|(shift, _)| shift + 1).max()?;
            (along > 0).then_some((along.div_ceil(convolution.stride[axis]), reads, extent))
        };
        let (rows, from_rows, height) = of_axis(0)?;
        let (columns, from_columns, width) = of_axis(1)?;
        let [inputs, outputs] = convolution.channels;
        let window = Window {
            channels: outputs,
            image: self.output,
            border: self.before,
            stride: [1, 1],
            extent: [height, width],
            outputs: [rows, columns],
        };
        let layout = Layout::new(
            window,
            convolution.batch,
            Vectors::of_this_processor().lanes,
        );
        let places = from_rows.iter().flat_map(|&(row, k)| {
            let columns = from_columns.iter();
            columns.map(move |&(column, l)| ([row, column], [k, l]))
        });
        let (places, from): (Vec<[usize; 2]>, Vec<[usize; 2]>) = places.unzip();
        let weights = Weights::pack(&layout, &places, inputs, None, |row, channel, place| {
            let [k, l] = from[place];
            let [height, width] = convolution.kernel;
            weight[((channel * inputs + row) * height + k) * width + l]
        });
        let grid = Grid {
            image: convolution.image,
            first,
            step: convolution.stride,
        };
        Some((layout, weights, grid))
    }
}

/// For the inputs `phase`, `phase + stride`, ... along an axis: the outputs that the first one
/// reads (relative to the first output), and the places of the kernel it reads them through; the
/// others are alike.
fn reads(
    convolution: &Convolution,
    axis: usize,
    phase: usize,
) -> impl Iterator<Item = (isize, usize)> {
    let stride = convolution.stride[axis];
    let from = phase + convolution.padding[axis];
    let places = (0..convolution.kernel[axis]).rev();
    let read = move |place: usize| {
        let ahead = from as isize - place as isize;
        (ahead.rem_euclid(stride as isize) == 0).then(|| (ahead.div_euclid(stride as isize), place))
    };
    places.filter_map(read)
}
