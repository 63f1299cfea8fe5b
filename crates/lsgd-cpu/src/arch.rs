//! Which of a processor's vector instructions the loops use.

use pulp::{Arch, Simd, WithSimd};

/// Runs a loop that is compiled for the widest vectors that this processor has.
#[inline]
pub(crate) fn dispatch<L: WithSimd>(vectorised: L) -> L::Output {
    #[cfg(test)]
    if let Some(narrower) = narrower::chosen() {
        return narrower.dispatch(vectorised);
    }
    Arch::new().dispatch(vectorised)
}

/// Vectors of this processor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vectors {
    /// Values in each.
    pub lanes: usize,
    /// Registers that hold one.
    pub registers: usize,
}

impl Vectors {
    pub fn of_this_processor() -> Self {
        dispatch(Size)
    }
}

struct Size;

impl WithSimd for Size {
    type Output = Vectors;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vectors {
        Vectors {
            lanes: S::F32_LANES,
            registers: S::REGISTER_COUNT,
        }
    }
}

/// Narrower vectors than the processor's, so that its tests also run what older ones do.
#[cfg(test)]
pub(crate) mod narrower {
    use std::cell::Cell;

    use pulp::{Scalar, Simd, WithSimd};

    #[derive(Debug, Clone, Copy)]
    pub(crate) enum Narrower {
        /// Eight lanes and 16 registers, on x86.
        #[cfg(target_arch = "x86_64")]
        Avx2(pulp::x86::V3),
        /// One lane.
        Scalar,
    }

    thread_local! {
        static CHOSEN: Cell<Option<Narrower>> = const { Cell::new(None) };
    }

    pub(crate) fn chosen() -> Option<Narrower> {
        CHOSEN.get()
    }

    impl Narrower {
        /// All that this processor can run.
        pub fn all() -> Vec<Self> {
            vec![
                #[cfg(target_arch = "x86_64")]
                pulp::x86::V3::try_new().map(Self::Avx2),
                Some(Self::Scalar),
            ]
            .into_iter()
            .flatten()
            .collect()
        }

        /// Runs `act`, on one thread, with these.
        pub fn run<R: Send>(self, act: impl FnOnce() -> R + Send) -> R {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            pool.expect("a thread").install(|| {
                CHOSEN.set(Some(self));
                act()
            })
        }

        pub fn dispatch<L: WithSimd>(self, vectorised: L) -> L::Output {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Avx2(simd) => Simd::vectorize(simd, vectorised),
                Self::Scalar => Scalar.vectorize(vectorised),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::narrower::Narrower;
    use crate::{Affine, Convolution, Images, Statistics};

    fn values(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(next).collect()
    }

    /// Results as one vector each.
    type Results = Vec<Vec<f32>>;

    fn convolve(shapes: &Convolution) -> Results {
        let [rows, columns] = shapes.output().expect("an output");
        let [inputs, outputs] = shapes.channels;
        let kernel = shapes.kernel[0] * shapes.kernel[1];
        let x = values(shapes.batch * inputs * shapes.image[0] * shapes.image[1], 1);
        let weight = values(outputs * inputs * kernel, 2);
        let gradient = values(shapes.batch * outputs * rows * columns, 3);
        vec![
            shapes.forward(&x, &weight, Some(&values(outputs, 4))),
            shapes.input_gradient(&weight, &gradient),
            shapes.weight_gradient(&x, &gradient),
        ]
    }

    fn normalise(images: Images) -> Results {
        let count = images.batch * images.channels * images.pixels;
        let (x, gradient) = (values(count, 1), values(count, 2));
        let (scale, shift) = (values(images.channels, 3), values(images.channels, 4));
        let affine = Affine {
            scale: &scale,
            shift: &shift,
            epsilon: 1e-3,
        };
        let statistics = images.statistics(&x);
        let output = images.normalise(&x, &statistics, affine, Some(&gradient), true);
        // A rounding of the output would decide whether a ReLU lets a gradient through.
        let passing = values(count, 5);
        let by = images.gradients(&x, &statistics, affine, Some(&passing), true, &gradient);
        let residual = by.residual.expect("a gradient by the residual");
        let Statistics { mean, variance } = statistics;
        vec![
            mean, variance, output, by.input, by.scale, by.shift, residual,
        ]
    }

    fn assert_alike(wide: &Results, narrow: &Results, what: &str) {
        for (index, (wide, narrow)) in wide.iter().zip(narrow).enumerate() {
            assert_eq!(wide.len(), narrow.len());
            let largest = wide
                .iter()
                .fold(1.0f32, |most, value| most.max(value.abs()));
            for (a, b) in wide.iter().zip(narrow) {
                assert!(
                    (a - b).abs() <= 1e-4 * largest,
                    "{what}, result {index}: {a} and {b}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Older processors compute the same up to rounding, with their own tiles and arrangements.
        #[test]
        fn narrower_vectors_convolve_alike(
            batch in 1usize..20,
            channels in [1usize..20, 1usize..20],
            image in [1usize..20, 1usize..20],
            kernel in [1usize..4, 1usize..4],
            stride in [1usize..3, 1usize..3],
        ) {
            let padding = kernel.map(|side| side / 2);
            let shapes = Convolution { batch, channels, image, kernel, stride, padding };
            prop_assume!(shapes.output().is_some_and(|[rows, columns]| rows * columns > 0));
            let wide = convolve(&shapes);
            for narrower in Narrower::all() {
                let narrow = narrower.run(|| convolve(&shapes));
                assert_alike(&wide, &narrow, &format!("{narrower:?}, {shapes:?}"));
            }
        }

        #[test]
        fn narrower_vectors_normalise_alike(
            batch in 2usize..6,
            channels in 1usize..5,
            pixels in 1usize..200,
        ) {
            let images = Images { batch, channels, pixels };
            let wide = normalise(images);
            for narrower in Narrower::all() {
                assert_alike(&wide, &narrower.run(|| normalise(images)), &format!("{narrower:?}, {images:?}"));
            }
        }
    }
}
