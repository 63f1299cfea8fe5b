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

use pulp::{Arch, Simd, WithSimd};

/// Rows of gradients that are correlated at a time: with three taps each, twelve sums.
pub(crate) const TILE: usize = 4;

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
    let tall = if registers() < 32 { 6 } else { 8 };
    let talls = |fours: usize| rows.saturating_sub(4 * fours).div_ceil(tall);
    let fours = (0..=2).min_by_key(|&fours| 4 * fours + tall * talls(fours));
    let fours = fours.unwrap_or(0);
    let mut heights = vec![tall; talls(fours)];
    heights.resize(heights.len() + fours, 4);
    heights
}

/// Vector registers of this processor.
fn registers() -> usize {
    struct Registers;
    impl WithSimd for Registers {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::REGISTER_COUNT
        }
    }
    Arch::new().dispatch(Registers)
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
                _ if S::REGISTER_COUNT < 32 => self.tile::<S, 4, 2>(simd, rows),
                _ => self.tile::<S, 4, 3>(simd, rows),
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
        let begin = self.begin.and_then(|begin| begin[rows].as_array::<R>());
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

/// Arrays of `N`, and the rest: two pairs rather than a single one, which would keep the units
/// waiting.
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

/// Adds to `products`, one row of `TILE` per channel, the sum over the vectors of gradient times
/// value.
pub(crate) struct Correlate<'a> {
    /// Of a tile of rows: `[vectors][rows][lanes]`.
    pub gradients: &'a [f32],
    pub planes: &'a [f32],
    /// One a channel.
    pub taps: &'a [u32],
    /// Those for which the taps read within the image.
    pub vectors: &'a [Vector],
    pub products: &'a mut [[f32; TILE]],
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let gradients = S::as_simd_f32s(self.gradients).0.as_chunks::<TILE>().0;
        let (triples, rest) = split::<_, 3>(self.taps);
        let (of_triples, of_rest) = self.products.split_at_mut(3 * triples.len());
        for (taps, products) in triples.iter().zip(of_triples.as_chunks_mut::<3>().0) {
            correlate_tile(simd, gradients, self.planes, taps, self.vectors, products);
        }
        let (pairs, rest) = rest.as_chunks::<2>();
        let (of_pairs, of_rest) = of_rest.split_at_mut(2 * pairs.len());
        for (taps, products) in pairs.iter().zip(of_pairs.as_chunks_mut::<2>().0) {
            correlate_tile(simd, gradients, self.planes, taps, self.vectors, products);
        }
        let (singles, _) = rest.as_chunks::<1>();
        for (taps, products) in singles.iter().zip(of_rest.as_chunks_mut::<1>().0) {
            correlate_tile(simd, gradients, self.planes, taps, self.vectors, products);
        }
    }
}

#[inline(always)]
fn correlate_tile<S: Simd, const K: usize>(
    simd: S,
    gradients: &[[S::f32s; TILE]],
    planes: &[f32],
    taps: &[u32; K],
    vectors: &[Vector],
    products: &mut [[f32; TILE]; K],
) {
    let mut acc = [[simd.splat_f32s(0.0); K]; TILE];
    for vector in vectors {
        let gradient = &gradients[vector.index as usize];
        let mut values = [simd.splat_f32s(0.0); K];
        for k in 0..K {
            values[k] = load::<S>(planes, taps[k] as usize + vector.base as usize);
        }
        for row in 0..TILE {
            for k in 0..K {
                acc[row][k] = simd.mul_add_f32s(gradient[row], values[k], acc[row][k]);
            }
        }
    }
    for k in 0..K {
        for row in 0..TILE {
            products[k][row] += simd.reduce_sum_f32s(acc[row][k]);
        }
    }
}

/// The lanes that begin at `at`.
#[inline(always)]
fn load<S: Simd>(values: &[f32], at: usize) -> S::f32s {
    S::as_simd_f32s(&values[at..at + S::F32_LANES]).0[0]
}
