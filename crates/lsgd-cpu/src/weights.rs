//! Weights in the inner loop's order, and their application to a group of images.

use std::ops::Range;

use rayon::prelude::*;

use crate::arch::dispatch;
use crate::layout::{Grid, Layout};
use crate::scratch::with_scratch;
use crate::taps::{Cell, Multiply, Vector, heights};

/// Taps whose weights are multiplied at a time: with the rows of a tile they stay in a core's
/// first-level cache.
const TAPS: usize = 576;
/// Channels whose taps follow each other place by place.
const CHANNELS: usize = 8;

/// Weights in the order in which the inner loop reads them.
pub(crate) struct Weights {
    /// Of the tiles of rows.
    heights: Vec<usize>,
    /// Blocks of taps.
    blocks: Vec<Block>,
    /// The initial values of the sums, one a row.
    begin: Vec<f32>,
}

struct Block {
    taps: Vec<u32>,
    /// The weights of each tap, for each tile of rows; zero for rows that fill the last tile.
    weights: Vec<f32>,
    cells: Vec<Cell>,
}

impl Weights {
    /// `weight(row, channel, place)` for `rows` rows, all channels of the layout and all places.
    pub fn pack(
        layout: &Layout,
        places: &[[usize; 2]],
        rows: usize,
        bias: Option<&[f32]>,
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        // Places of a channel read the same cache lines, so few channels come between them.
        let channels: Vec<usize> = (0..layout.channels()).collect();
        let taps: Vec<(usize, usize)> = channels
            .chunks(CHANNELS)
            .flat_map(|some| (0..places.len()).flat_map(move |p| some.iter().map(move |&c| (p, c))))
            .collect();
        let cells = layout.cells(places);
        let heights = heights(rows);
        let blocks = taps.par_chunks(TAPS).map(|some| {
            let cell = |(inside, vectors): &(Vec<bool>, Vec<Vector>)| Cell {
                runs: runs(some.iter().map(|(place, _)| inside[*place])),
                vectors: vectors.clone(),
            };
            let at = |&(place, channel): &(usize, usize)| layout.tap(channel, places[place]);
            let mut weights = vec![0.0; heights.iter().sum::<usize>() * some.len()];
            let mut first = 0;
            for height in &heights {
                let tile = &mut weights[first * some.len()..][..height * some.len()];
                for (values, &(place, channel)) in tile.chunks_exact_mut(*height).zip(some) {
                    for (value, row) in values.iter_mut().zip(first..rows) {
                        *value = weight(row, channel, place);
                    }
                }
                first += height;
            }
            Block {
                taps: some.iter().map(at).collect(),
                weights,
                cells: cells.iter().map(cell).collect(),
            }
        });
        let blocks = blocks.collect();
        let mut begin = match bias {
            Some(bias) => bias.to_vec(),
            None => vec![0.0; rows],
        };
        assert_eq!(begin.len(), rows);
        begin.resize(heights.iter().sum(), 0.0);
        Self {
            heights,
            blocks,
            begin,
        }
    }

    /// Rows of sums, including those that fill the last tile.
    fn rows(&self) -> usize {
        self.begin.len()
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
        for (index, block) in self.blocks.iter().enumerate() {
            dispatch(Multiply {
                heights: &self.heights,
                weights: &block.weights,
                planes,
                taps: &block.taps,
                cells: &block.cells,
                begin: (index == 0).then_some(&self.begin),
                sums,
            });
        }
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
