//! Two-dimensional convolution and its gradients.
//!
//! All three run the inner loops of [`taps`](crate::taps) over images as [`Layout`] puts them, a group of
//! images at a time: what is laid out stays in the cache, and nothing is unfolded whole. A group's
//! results depend on it alone, and gradients of weights are summed in the order of groups: the bits are
//! the same for every number of threads.

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::layout::{Grid, Layout, Window};
use crate::taps::{Cell, Correlate, Multiply, TILE, Vector};

/// Taps whose weights are multiplied at a time: with the rows of a tile they stay in a core's first
/// cache.
const TAPS: usize = 576;
/// Channels whose taps follow each other place by place.
const CHANNELS: usize = 8;
/// Values of planes that are correlated at a time, for the same reason.
const PLANES: usize = 4096;

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

thread_local! {
    /// Planes, vectors and packed weights, kept from call to call: clearing new memory for each takes
    /// longer than most of what is done in it.
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Two slices of these lengths, of any content.
fn with_scratch<R>(lengths: [usize; 2], act: impl FnOnce(&mut [f32], &mut [f32]) -> R) -> R {
    // Taken out while it is used, so that a thread which comes here again meanwhile gets its own.
    let [mut first, mut second] = SCRATCH.take();
    for (buffer, length) in [&mut first, &mut second].into_iter().zip(lengths) {
        if buffer.len() < length {
            buffer.resize(length, 0.0);
        }
    }
    let result = act(&mut first[..lengths[0]], &mut second[..lengths[1]]);
    SCRATCH.replace([first, second]);
    result
}

/// Lanes of a vector of this processor.
pub(crate) fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    Arch::new().dispatch(Lanes)
}

impl Convolution {
    /// Height and width of the output; `None` when the kernel is larger than the padded input, or a
    /// kernel or stride is nought.
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
    fn sizes(&self, output: [usize; 2]) -> [usize; 2] {
        [
            self.channels[0] * self.image[0] * self.image[1],
            self.channels[1] * output[0] * output[1],
        ]
    }

    fn window(&self, output: [usize; 2]) -> Window {
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
    fn places(&self) -> impl Iterator<Item = [usize; 2]> + Clone {
        let [height, width] = self.kernel;
        (0..height).flat_map(move |row| (0..width).map(move |column| [row, column]))
    }

    /// `output[n][o][r][c] = bias[o] + sum over i, k, l of weight[o][i][k][l]
    /// input[n][i][r stride + k - padding][c stride + l - padding]`.
    ///
    /// # Panics
    ///
    /// When a slice is not as long as the shapes say, or there is no [`output`](Self::output).
    pub fn forward(&self, input: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let output = self.output().expect("the kernel fits the padded input");
        let [inputs, outputs] = self.sizes(output);
        let layout = Layout::new(self.window(output), self.batch, lanes());
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

    /// The gradient by the input, of the gradient by the output.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn input_gradient(&self, weight: &[f32], gradient: &[f32]) -> Vec<f32> {
        let output = self.output().expect("the kernel fits the padded input");
        let [inputs, outputs] = self.sizes(output);
        assert_eq!(gradient.len(), self.batch * outputs);
        let mut result = vec![0.0; self.batch * inputs];
        let phases = Phases::new(self, output);
        if inputs * outputs == 0 {
            return result;
        }
        for (layout, weights, grid) in phases.each(self, weight) {
            let groups = result.par_chunks_mut(layout.group * inputs);
            let groups = groups.zip(gradient.par_chunks(layout.group * outputs));
            groups.for_each(|(result, gradient)| {
                weights.apply(&layout, gradient, result, self.channels[0], &grid);
            });
        }
        result
    }

    /// The gradient by the weights, of the gradient by the output.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn weight_gradient(&self, input: &[f32], gradient: &[f32]) -> Vec<f32> {
        let output = self.output().expect("the kernel fits the padded input");
        let [inputs, outputs] = self.sizes(output);
        assert_eq!(input.len(), self.batch * inputs);
        assert_eq!(gradient.len(), self.batch * outputs);
        let layout = Layout::new(self.window(output), self.batch, lanes());
        let kernel = self.kernel[0] * self.kernel[1];
        let row = self.channels[0] * kernel;
        let mut result = vec![0.0; self.channels[1] * row];
        if inputs * outputs == 0 {
            return result;
        }
        let correlation = Correlation::new(self, &layout);
        let tile = TILE * layout.outputs();
        let tiles = self.channels[1].div_ceil(TILE);
        let groups = input.chunks(layout.group * inputs);
        let groups = groups.zip(gradient.chunks(layout.group * outputs));
        for (input, gradient) in groups {
            with_scratch([layout.length, tiles * tile], |planes, vectors| {
                layout.arrange(input, planes);
                layout.arrange_outputs(self.channels[1], gradient, vectors);
                let rows = result.par_chunks_mut(TILE * row);
                rows.zip(vectors.par_chunks(tile))
                    .for_each(|(rows, gradients)| correlation.add(planes, gradients, rows));
            });
        }
        result
    }

    /// The gradient by the bias, of the gradient by the output.
    pub fn bias_gradient(&self, gradient: &[f32]) -> Vec<f32> {
        let [_, channels] = self.channels;
        let pixels = self.output().map_or(0, |[rows, columns]| rows * columns);
        let mut sums = vec![0.0f64; channels];
        if channels * pixels > 0 {
            for image in gradient.chunks_exact(channels * pixels) {
                for (sum, values) in sums.iter_mut().zip(image.chunks_exact(pixels)) {
                    *sum += f64::from(crate::sums::sum(values));
                }
            }
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }
}

/// Weights in the order in which the inner loop reads them.
struct Weights {
    /// Blocks of taps.
    blocks: Vec<Block>,
    /// What the sums begin with.
    begin: Tiles,
}

struct Block {
    taps: Vec<u32>,
    /// For each tile of rows, its weights of each tap.
    weights: Tiles,
    cells: Vec<Cell>,
}

/// Something for every row, by tiles of six rows and then of four.
#[derive(Default)]
struct Tiles {
    six: Vec<[f32; 6]>,
    four: Vec<[f32; 4]>,
}

impl Tiles {
    /// How many tiles of six and of four hold so many rows, and few more.
    fn count(rows: usize) -> [usize; 2] {
        let even = rows.next_multiple_of(2);
        match (even / 6, even % 6) {
            (sixes, 0) => [sixes, 0],
            (sixes, 4) => [sixes, 1],
            (0, _) => [0, 1],
            (sixes, _) => [sixes - 1, 2],
        }
    }

    /// `value(row, tap)` for each tile and tap, nought for rows that are none.
    fn new(rows: usize, taps: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        let [sixes, fours] = Self::count(rows);
        let at = |row: usize, tap: usize| if row < rows { value(row, tap) } else { 0.0 };
        let six = (0..sixes * taps).map(|index| {
            let (first, tap) = (index / taps * 6, index % taps);
            std::array::from_fn(|row| at(first + row, tap))
        });
        let four = (0..fours * taps).map(|index| {
            let (first, tap) = (6 * sixes + index / taps * 4, index % taps);
            std::array::from_fn(|row| at(first + row, tap))
        });
        Self {
            six: six.collect(),
            four: four.collect(),
        }
    }
}

impl Weights {
    /// `weight(row, channel, place)` for `rows` rows, all channels of the layout and all places.
    fn pack(
        layout: &Layout,
        places: &[[usize; 2]],
        rows: usize,
        bias: Option<&[f32]>,
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
        // Places of a channel read the same cache lines, so few channels come between them.
        let channels: Vec<usize> = (0..layout.channels()).collect();
        let taps: Vec<(usize, usize)> = channels
            .chunks(CHANNELS)
            .flat_map(|some| (0..places.len()).flat_map(move |p| some.iter().map(move |&c| (p, c))))
            .collect();
        let cells = layout.cells(places);
        let blocks = taps.chunks(TAPS).map(|some| {
            let cell = |(inside, vectors): &(Vec<bool>, Vec<Vector>)| Cell {
                runs: runs(some.iter().map(|(place, _)| inside[*place])),
                vectors: vectors.clone(),
            };
            let at = |&(place, channel): &(usize, usize)| layout.tap(channel, places[place]);
            Block {
                taps: some.iter().map(at).collect(),
                weights: Tiles::new(rows, some.len(), |row, tap| {
                    let (place, channel) = some[tap];
                    weight(row, channel, place)
                }),
                cells: cells.iter().map(cell).collect(),
            }
        });
        let blocks = blocks.collect();
        if let Some(bias) = bias {
            assert_eq!(bias.len(), rows);
        }
        Self {
            blocks,
            begin: Tiles::new(rows, 1, |row, _| bias.map_or(0.0, |bias| bias[row])),
        }
    }

    /// Rows of sums, with those that fill the last tile.
    fn rows(&self) -> usize {
        6 * self.begin.six.len() + 4 * self.begin.four.len()
    }

    /// Computes what a group of images comes to, and puts it where the grid says in `result`.
    fn apply(
        &self,
        layout: &Layout,
        images: &[f32],
        result: &mut [f32],
        channels: usize,
        grid: &Grid,
    ) {
        let length = self.rows() * layout.outputs();
        let in_place = self.rows() == channels && layout.puts_in_place(grid, result.len(), length);
        let sums = if in_place { 0 } else { length };
        with_scratch([layout.length, sums], |planes, sums| {
            layout.arrange(images, planes);
            if in_place {
                self.multiply(planes, result);
            } else {
                self.multiply(planes, sums);
                layout.collect(channels, sums, result, grid);
            }
        });
    }

    fn multiply(&self, planes: &[f32], sums: &mut [f32]) {
        let length = sums.len() / self.rows().max(1);
        let (of_six, of_four) = sums.split_at_mut(6 * self.begin.six.len() * length);
        for (index, block) in self.blocks.iter().enumerate() {
            let (taps, cells) = (&block.taps[..], &block.cells[..]);
            let arch = Arch::new();
            arch.dispatch(Multiply {
                weights: &block.weights.six,
                planes,
                taps,
                cells,
                begin: (index == 0).then_some(&self.begin.six),
                sums: &mut *of_six,
            });
            arch.dispatch(Multiply {
                weights: &block.weights.four,
                planes,
                taps,
                cells,
                begin: (index == 0).then_some(&self.begin.four),
                sums: &mut *of_four,
            });
        }
    }
}

/// What the gradient of weights takes of planes.
struct Correlation {
    /// For every place of the kernel: the taps, one a channel, and the vectors that read it within the
    /// image.
    places: Vec<(Vec<u32>, Vec<Vector>)>,
    /// Channels that are correlated at a time: their planes stay in a core's first cache.
    blocks: Vec<Range<usize>>,
}

impl Correlation {
    fn new(convolution: &Convolution, layout: &Layout) -> Self {
        let channels = layout.channels();
        let places = convolution.places().map(|place| {
            let taps = (0..channels).map(|channel| layout.tap(channel, place));
            (taps.collect(), layout.vectors_at(place))
        });
        let block = (PLANES / layout.channel_values().max(1)).max(2);
        Self {
            places: places.collect(),
            blocks: blocks(channels, block),
        }
    }

    /// Adds to a tile's rows of weights, `[rows][channels][places]`, what its gradients come to.
    fn add(&self, planes: &[f32], gradients: &[f32], rows: &mut [f32]) {
        let most = self.blocks.iter().map(ExactSizeIterator::len).max();
        let mut products = vec![[0.0; TILE]; most.unwrap_or(0)];
        let row = self.blocks.last().map_or(0, |last| last.end) * self.places.len();
        for block in &self.blocks {
            for (place, (taps, vectors)) in self.places.iter().enumerate() {
                let products = &mut products[..block.len()];
                products.fill([0.0; TILE]);
                Arch::new().dispatch(Correlate {
                    gradients,
                    planes,
                    taps: &taps[block.clone()],
                    vectors,
                    products,
                });
                for (channel, products) in block.clone().zip(products) {
                    let at = channel * self.places.len() + place;
                    let sums = rows[at..].iter_mut().step_by(row);
                    sums.zip(products).for_each(|(sum, more)| *sum += *more);
                }
            }
        }
    }
}

/// Blocks of so many, the last of one more where it would be alone: single ones are slow.
fn blocks(count: usize, block: usize) -> Vec<Range<usize>> {
    let mut blocks: Vec<Range<usize>> = Vec::new();
    for first in (0..count).step_by(block) {
        match blocks.last_mut() {
            Some(last) if first + 1 == count => last.end = count,
            _ => blocks.push(first..count.min(first + block)),
        }
    }
    blocks
}

/// From where to where `inside` holds.
fn runs(inside: impl Iterator<Item = bool>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (at, _) in inside.enumerate().filter(|(_, inside)| *inside) {
        match runs.last_mut() {
            Some(run) if run.end == at => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

/// The input's gradient, by phases: inputs that lie apart by the stride read the same places of the
/// kernel, so each phase is a convolution of the output's gradient at stride one.
struct Phases {
    /// By axis: how far the furthest output lies before its input.
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

    fn each<'a>(
        self,
        convolution: &'a Convolution,
        weight: &'a [f32],
    ) -> impl Iterator<Item = (Layout, Weights, Grid)> + 'a {
        let [stride_rows, stride_columns] = convolution.stride;
        let phases =
            (0..stride_rows).flat_map(move |row| (0..stride_columns).map(move |c| [row, c]));
        phases.filter_map(move |first| self.one(convolution, weight, first))
    }

    /// The phase that begins at this input; nothing if it has none or none of them is read.
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
        let layout = Layout::new(window, convolution.batch, lanes());
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

/// Of the inputs `phase`, `phase + stride`, ... along an axis, the first one reads these outputs (so
/// many before or behind the first) through these places of the kernel; the others alike.
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
