//! Weights in the inner loop's order, and their application to a group of images.

use std::ops::Range;

use pulp::Arch;

use crate::layout::{Grid, Layout};
use crate::scratch::with_scratch;
use crate::taps::{Cell, Multiply, Vector};

/// Taps whose weights are multiplied at a time: with the rows of a tile they stay in a core's
/// first-level cache.
const TAPS: usize = 576;
/// Channels whose taps follow each other place by place.
const CHANNELS: usize = 8;

/// Weights in the order in which the inner loop reads them.
pub(crate) struct Weights {
    /// Blocks of taps.
    blocks: Vec<Block>,
    /// The initial values of the sums.
    begin: Tiles,
}

struct Block {
    taps: Vec<u32>,
    /// The weights of each tap, for each tile of rows.
    weights: Tiles,
    cells: Vec<Cell>,
}

/// A value for every row, by tiles of six rows and then of four.
struct Tiles {
    six: Vec<[f32; 6]>,
    four: Vec<[f32; 4]>,
}

impl Tiles {
    /// How many tiles of six and of four hold this many rows with little to spare.
    fn count(rows: usize) -> [usize; 2] {
        let even = rows.next_multiple_of(2);
        match (even / 6, even % 6) {
            (sixes, 0) => [sixes, 0],
            (sixes, 4) => [sixes, 1],
            (0, _) => [0, 1],
            (sixes, _) => [sixes - 1, 2],
        }
    }

    /// `value(row, tap)` for each tile and tap, zero for padding rows.
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
    pub fn pack(
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

    /// Rows of sums, including those that fill the last tile.
    fn rows(&self) -> usize {
        6 * self.begin.six.len() + 4 * self.begin.four.len()
    }

    /// Computes the result for a group of images, and writes it to `result` at the places of the
    /// grid.
    pub fn apply(
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
            let begin = (index == 0).then_some(&self.begin);
            let weights = &block.weights;
            block.multiply(
                &weights.six,
                begin.map(|begin| &begin.six[..]),
                planes,
                of_six,
            );
            block.multiply(
                &weights.four,
                begin.map(|begin| &begin.four[..]),
                planes,
                of_four,
            );
        }
    }
}

impl Block {
    fn multiply<const R: usize>(
        &self,
        weights: &[[f32; R]],
        begin: Option<&[[f32; R]]>,
        planes: &[f32],
        sums: &mut [f32],
    ) {
        Arch::new().dispatch(Multiply {
            weights,
            planes,
            taps: &self.taps,
            cells: &self.cells,
            begin,
            sums,
        });
    }
}

/// The range in which `inside` holds.
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
