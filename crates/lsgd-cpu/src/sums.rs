//! Passes over a channel of an image, vectorised for the processor in use.

use pulp::{Simd, WithSimd};

use crate::arch::dispatch;

/// Vectors that are summed in parallel, so that no addition waits for the previous one.
const ABREAST: usize = 4;

/// The sum of all values.
pub(crate) fn sum(values: &[f32]) -> f32 {
    dispatch(Sum {
        values,
        shift: 0.0,
        squares: false,
    })
}

/// The sum of squared distances from `mean`.
pub(crate) fn squared_distances(values: &[f32], mean: f32) -> f32 {
    dispatch(Sum {
        values,
        shift: mean,
        squares: true,
    })
}

/// The sums of what a ReLU with this output let through of the gradient, and of its products with
/// the distance of the input from `mean`.
pub(crate) fn sums_of_passed(
    input: &[f32],
    gradient: &[f32],
    output: &[f32],
    mean: f32,
) -> [f32; 2] {
    dispatch(Passed {
        input,
        gradient,
        output,
        mean,
    })
}

struct Sum<'a> {
    values: &'a [f32],
    shift: f32,
    squares: bool,
}

impl WithSimd for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let shift = simd.splat_f32s(self.shift);
        let (vectors, rest) = S::as_simd_f32s(self.values);
        let (blocks, single) = vectors.as_chunks::<ABREAST>();
        let mut acc = [simd.splat_f32s(0.0); ABREAST];
        if self.squares {
            for block in blocks {
                for index in 0..ABREAST {
                    let distance = simd.sub_f32s(block[index], shift);
                    acc[index] = simd.mul_add_f32s(distance, distance, acc[index]);
                }
            }
            for vector in single {
                let distance = simd.sub_f32s(*vector, shift);
                acc[0] = simd.mul_add_f32s(distance, distance, acc[0]);
            }
        } else {
            for block in blocks {
                for index in 0..ABREAST {
                    acc[index] = simd.add_f32s(acc[index], block[index]);
                }
            }
            for vector in single {
                acc[0] = simd.add_f32s(acc[0], *vector);
            }
        }
        let mut sum = total(simd, acc);
        for value in rest {
            let distance = value - self.shift;
            sum += if self.squares {
                distance * distance
            } else {
                distance
            };
        }
        sum
    }
}

struct Passed<'a> {
    input: &'a [f32],
    gradient: &'a [f32],
    output: &'a [f32],
    mean: f32,
}

impl WithSimd for Passed<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f32; 2] {
        let (zero, mean) = (simd.splat_f32s(0.0), simd.splat_f32s(self.mean));
        let mut sums = [zero; ABREAST];
        let mut products = [zero; ABREAST];
        let (xs, x) = S::as_simd_f32s(self.input);
        let (gs, g) = S::as_simd_f32s(self.gradient);
        let (ys, y) = S::as_simd_f32s(self.output);
        let (x_blocks, xs) = xs.as_chunks::<ABREAST>();
        let (g_blocks, gs) = gs.as_chunks::<ABREAST>();
        let (y_blocks, ys) = ys.as_chunks::<ABREAST>();
        for ((x, g), y) in x_blocks.iter().zip(g_blocks).zip(y_blocks) {
            for index in 0..ABREAST {
                let open = simd.greater_than_f32s(y[index], zero);
                let through = simd.select_f32s(open, g[index], zero);
                let distance = simd.sub_f32s(x[index], mean);
                sums[index] = simd.add_f32s(sums[index], through);
                products[index] = simd.mul_add_f32s(through, distance, products[index]);
            }
        }
        for ((x, g), y) in xs.iter().zip(gs).zip(ys) {
            let through = simd.select_f32s(simd.greater_than_f32s(*y, zero), *g, zero);
            sums[0] = simd.add_f32s(sums[0], through);
            products[0] = simd.mul_add_f32s(through, simd.sub_f32s(*x, mean), products[0]);
        }
        let mut both = [total(simd, sums), total(simd, products)];
        for ((x, g), y) in x.iter().zip(g).zip(y) {
            let through = passed(*g, *y);
            both[0] += through;
            both[1] += through * (x - self.mean);
        }
        both
    }
}

/// What a ReLU with this output let through of a gradient: all or nothing, without a branch that
/// would be mispredicted half of the time.
#[inline(always)]
pub(crate) fn passed(gradient: f32, output: f32) -> f32 {
    f32::from_bits(gradient.to_bits() & u32::from(output > 0.0).wrapping_neg())
}

/// The sum of all lanes.
#[inline(always)]
fn total<S: Simd>(simd: S, vectors: [S::f32s; ABREAST]) -> f32 {
    let [a, b, c, d] = vectors;
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)))
}

/// A loop over slices that is compiled for the processor in use.
pub(crate) struct Each<F>(pub F);

impl<F: FnOnce()> WithSimd for Each<F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        (self.0)();
    }
}
