//! Memory that is kept from call to call, and how many lanes a vector has.

use std::cell::RefCell;

use pulp::{Arch, Simd, WithSimd};

thread_local! {
    /// Planes, vectors and packed weights, kept from call to call: clearing new memory for each
    /// takes longer than most of the work done in it.
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Two slices of these lengths, with arbitrary contents.
pub(crate) fn with_scratch<R>(
    lengths: [usize; 2],
    act: impl FnOnce(&mut [f32], &mut [f32]) -> R,
) -> R {
    // Taken out while in use, so that a nested call on the same thread gets its own.
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

/// Lanes of a vector on this processor.
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
