//! Passes over a channel of an image, vectorised for the processor in use.

use pulp::{Arch, Simd, WithSimd};

/// Vectors that are summed in parallel, so that no addition waits for the previous one.
const ABREAST: usize = 4;

/// The sum of all values.
pub(crate) fn sum(values: &[f32]) -> f32 {
    Arch::new().dispatch(Sum {
        values,
        shift: 0.0,
        squares: false,
    })
}

/// The sum of squared distances from `mean`.
pub(crate) fn squared_distances(values: &[f32], mean: f32) -> f32 {
    Arch::new().dispatch(Sum {
        values,
        shift: mean,
        squares: true,
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
        let halves = [simd.add_f32s(acc[0], acc[1]), simd.add_f32s(acc[2], acc[3])];
        let mut sum = simd.reduce_sum_f32s(simd.add_f32s(halves[0], halves[1]));
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

/// A loop over slices that is compiled for the processor in use.
pub(crate) struct Each<F>(pub F);

impl<F: FnOnce()> WithSimd for Each<F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        (self.0)();
    }
}
