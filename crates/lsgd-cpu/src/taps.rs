//! The two inner loops of convolution, in registers.
//!
//! Both read *planes*: one slice in which the values that a tap (a place in the kernel, of one
//! input channel) needs for a vector of outputs are side by side. Tap `k` of a vector reads the
//! lanes that begin at `taps[k] + vector.base`. [`Layout`](crate::layout::Layout) decides which
//! values are side by side; the loops are the same for all of its arrangements.
//!
//! Everything here is inlined into one function that is compiled for the processor in use: a
//! function that is not inlined would be compiled for the oldest one.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::arch::Vectors;

/// A vector of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vector {
    /// Its index.
    pub index: u32,
    /// The position in the planes of the value that the first tap reads for its first lane.
    pub base: u32,
}

/// Vectors for which the same taps read within the image; the others would read zeros.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    /// The taps.
    pub runs: Vec<Range<usize>>,
    /// The vectors.
    pub vectors: Vec<Vector>,
}

/// The heights of the tiles in which so many rows (output channels) are multiplied, with as few
/// rows to spare as possible.
///
/// With 16 registers, tiles of six rows are the fastest: with two vectors each they make twelve
/// sums, which keep both arithmetic units of a core busy and leave registers for the operands. With
/// 32 registers there is room for eight rows of three vectors, which load less for each product.
/// Tiles of four take the remaining rows.
pub(crate) fn heights(rows: usize) -> Vec<usize> {
    let tall = if Vectors::of_this_processor().registers < 32 {
        6
    } else {
        8
    };
    let talls = |fours: usize| rows.saturating_sub(4 * fours).div_ceil(tall);
    let fours = (0..=2).min_by_key(|&fours| 4 * fours + tall * talls(fours));
    let fours = fours.unwrap_or(0);
    let mut heights = vec![tall; talls(fours)];
    heights.resize(heights.len() + fours, 4);
    heights
}

/// Sets `sums`, `[rows][vectors][lanes]`, to the sum over the taps of weight times value, added to
/// their initial values.
pub(crate) struct Multiply<'a> {
    /// Of the tiles of rows, from [`heights`].
    pub heights: &'a [usize],
    /// The weights of each tap, for each tile: `[tiles][taps][rows of the tile]`.
    pub weights: &'a [f32],
    pub planes: &'a [f32],
    pub taps: &'a [u32],
    pub cells: &'a [Cell],
    /// Initial values, one a row; `None` to add to the current contents.
    pub begin: Option<&'a [f32]>,
    pub sums: &'a mut [f32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        if self.taps.is_empty() {
            return;
        }
        let mut first = 0;
        for &height in self.heights {
            let rows = first..first + height;
            first = rows.end;
            match height {
                8 => self.tile::<S, 8, 3>(simd, rows),
                6 => self.tile::<S, 6, 2>(simd, rows),
                4 if S::REGISTER_COUNT < 32 => self.tile::<S, 4, 2>(simd, rows),
                4 => self.tile::<S, 4, 3>(simd, rows),
                _ => unreachable!("tiles have 4, 6 or 8 rows, not {height}"),
            }
        }
    }
}

impl Multiply<'_> {
    /// Computes a tile of `R` rows, `V` vectors at a time.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, rows: Range<usize>) {
        let (taps, planes) = (self.taps, self.planes);
        let length = self.sums.len() / self.heights.iter().sum::<usize>();
        let weights = &self.weights[rows.start * taps.len()..rows.end * taps.len()];
        let weights = weights.as_chunks::<R>().0;
        let sums = &mut self.sums[rows.start * length..rows.end * length];
        let begin = self
            .begin
            .map(|begin| begin[rows].as_array::<R>().expect("a value each row"));
        for cell in self.cells {
            let (whole, rest) = split::<_, V>(&cell.vectors);
            for vectors in whole {
                tile_of::<S, R, V>(
                    simd, weights, planes, taps, &cell.runs, vectors, begin, sums,
                );
            }
            let (pairs, single) = rest.as_chunks::<2>();
            for vectors in pairs {
                tile_of::<S, R, 2>(
                    simd, weights, planes, taps, &cell.runs, vectors, begin, sums,
                );
            }
            for vectors in single.as_chunks::<1>().0 {
                tile_of::<S, R, 1>(
                    simd, weights, planes, taps, &cell.runs, vectors, begin, sums,
                );
            }
        }
    }
}

/// Arrays of `N`, and the rest: after triples two pairs rather than a single one, which would keep the
/// units waiting.
#[inline(always)]
fn split<T, const N: usize>(all: &[T]) -> (&[[T; N]], &[T]) {
    let whole = match all.len() % N {
        1 if N == 3 => (all.len() / N).saturating_sub(1),
        _ => all.len() / N,
    };
    let (whole, rest) = all.split_at(N * whole);
    (whole.as_chunks::<N>().0, rest)
}

#[inline(always)]
#[allow(
    clippy::too_many_arguments,
    reason = "inlined; a struct is not kept in registers"
)]
fn tile_of<S: Simd, const R: usize, const V: usize>(
    simd: S,
    weights: &[[f32; R]],
    planes: &[f32],
    taps: &[u32],
    runs: &[Range<usize>],
    vectors: &[Vector; V],
    begin: Option<&[f32; R]>,
    sums: &mut [f32],
) {
    let length = sums.len() / R;
    let mut acc = [[simd.splat_f32s(0.0); V]; R];
    for row in 0..R {
        for v in 0..V {
            acc[row][v] = match begin {
                Some(begin) => simd.splat_f32s(begin[row]),
                None => load::<S>(
                    sums,
                    row * length + vectors[v].index as usize * S::F32_LANES,
                ),
            };
        }
    }
    for run in runs {
        for (weights, &tap) in weights[run.clone()].iter().zip(&taps[run.clone()]) {
            let mut values = [simd.splat_f32s(0.0); V];
            for v in 0..V {
                values[v] = load::<S>(planes, tap as usize + vectors[v].base as usize);
            }
            for row in 0..R {
                let weight = simd.splat_f32s(weights[row]);
                for v in 0..V {
                    acc[row][v] = simd.mul_add_f32s(weight, values[v], acc[row][v]);
                }
            }
        }
    }
    for (row, acc) in acc.iter().enumerate() {
        for (vector, acc) in vectors.iter().zip(acc) {
            let at = row * length + vector.index as usize * S::F32_LANES;
            S::as_mut_simd_f32s(&mut sums[at..at + S::F32_LANES]).0[0] = *acc;
        }
    }
}

/// Rows of gradients that are correlated at a time: with three taps each, they make as many sums as
/// the registers hold beside the operands.
pub(crate) fn correlated_rows() -> usize {
    if Vectors::of_this_processor().registers < 32 {
        4
    } else {
        8
    }
}

/// Adds to the gradients of weights, of a tile of rows and of one place in the kernel, the sum over
/// the vectors of gradient times value.
pub(crate) struct Correlate<'a> {
    /// Rows of the tile, from [`correlated_rows`].
    pub height: usize,
    /// Of the outputs: `[vectors][rows of the tile][lanes]`.
    pub gradients: &'a [f32],
    pub planes: &'a [f32],
    /// One a channel.
    pub taps: &'a [u32],
    /// Those for which the taps read within the image.
    pub vectors: &'a [Vector],
    /// Gradients of weights: the first is that of the first row and tap.
    pub weights: &'a mut [f32],
    /// The distances in `weights` from one row to the next, and from one tap to the next.
    pub steps: [usize; 2],
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.height {
            4 => self.rows::<S, 4>(simd),
            8 => self.rows::<S, 8>(simd),
            height => unreachable!("tiles have 4 or 8 rows, not {height}"),
        }
    }
}

impl Correlate<'_> {
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(mut self, simd: S) {
        let (triples, rest) = split::<_, 3>(self.taps);
        let (pairs, single) = rest.as_chunks::<2>();
        let mut first = 0;
        for taps in triples {
            self.tile::<S, R, 3>(simd, taps, first);
            first += 3;
        }
        for taps in pairs {
            self.tile::<S, R, 2>(simd, taps, first);
            first += 2;
        }
        for taps in single.as_chunks::<1>().0 {
            self.tile::<S, R, 1>(simd, taps, first);
        }
    }

    /// A tile of `R` rows and of `K` taps from the `first` one on.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const K: usize>(
        &mut self,
        simd: S,
        taps: &[u32; K],
        first: usize,
    ) {
        let gradients = S::as_simd_f32s(self.gradients).0.as_chunks::<R>().0;
        let planes = self.planes;
        let mut acc = [[simd.splat_f32s(0.0); K]; R];
        for vector in self.vectors {
            let gradient = &gradients[vector.index as usize];
            let mut values = [simd.splat_f32s(0.0); K];
            for k in 0..K {
                values[k] = load::<S>(planes, taps[k] as usize + vector.base as usize);
            }
            for row in 0..R {
                for k in 0..K {
                    acc[row][k] = simd.mul_add_f32s(gradient[row], values[k], acc[row][k]);
                }
            }
        }
        let [of_row, of_tap] = self.steps;
        for (row, acc) in acc.iter().enumerate() {
            for (k, acc) in acc.iter().enumerate() {
                // The last tile may have fewer rows.
                let at = row * of_row + (first + k) * of_tap;
                if let Some(weight) = self.weights.get_mut(at) {
                    *weight += simd.reduce_sum_f32s(*acc);
                }
            }
        }
    }
}

/// The lanes that begin at `at`.
#[inline(always)]
fn load<S: Simd>(values: &[f32], at: usize) -> S::f32s {
    S::as_simd_f32s(&values[at..at + S::F32_LANES]).0[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_hold_all_rows_and_few_more() {
        for rows in 0..100 {
            let held: usize = heights(rows).iter().sum();
            assert!((rows..rows + 4).contains(&held), "{rows}: {held}");
        }
    }
}
