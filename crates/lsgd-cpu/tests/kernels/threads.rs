//! The same bits from run to run and on every number of threads.

use lsgd_cpu::{Affine, Convolution, Images};

use super::values;

fn on<R: Send>(threads: usize, act: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.expect("a pool").install(act)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn convolution_has_the_same_bits() {
    for (channels, side, kernel, stride, padding) in [
        ([16, 16], 32, 3, 1, 1),
        ([6, 10], 9, 3, 2, 1),
        ([20, 12], 2, 3, 1, 1),
        ([5, 7], 12, 5, 1, 0),
    ] {
        let shapes = Convolution {
            batch: 37,
            channels,
            image: [side, side],
            kernel: [kernel, kernel],
            stride: [stride, stride],
            padding: [padding, padding],
        };
        let [inputs, outputs] = channels;
        let [rows, columns] = shapes.output().expect("it fits");
        let x = values(37 * inputs * side * side, 1);
        let w = values(outputs * inputs * kernel * kernel, 2);
        let g = values(37 * outputs * rows * columns, 3);
        let all = |threads| {
            on(threads, || {
                let bias = &g[..outputs];
                [
                    bits(&shapes.forward(&x, &w, Some(bias))),
                    bits(&shapes.input_gradient(&w, &g)),
                    bits(&shapes.weight_gradient(&x, &g)),
                    bits(&shapes.bias_gradient(&g)),
                ]
            })
        };
        let one = all(1);
        for threads in [1, 2, 3, 5] {
            assert_eq!(all(threads), one, "{threads} threads, {shapes:?}");
        }
    }
}

#[test]
fn batch_normalisation_has_the_same_bits() {
    let images = Images {
        batch: 13,
        channels: 5,
        pixels: 77,
    };
    let count = 13 * 5 * 77;
    let (x, g, residual) = (values(count, 1), values(count, 2), values(count, 3));
    let (scale, shift) = (values(5, 4), values(5, 5));
    let affine = Affine {
        scale: &scale,
        shift: &shift,
        epsilon: 1e-5,
    };
    let all = |threads| {
        on(threads, || {
            let statistics = images.statistics(&x);
            let y = images.normalise(&x, &statistics, affine, Some(&residual), true);
            let gradients = images.gradients(&x, &statistics, affine, Some(&y), true, &g);
            [
                bits(&statistics.mean),
                bits(&statistics.variance),
                bits(&y),
                bits(&gradients.input),
                bits(&gradients.scale),
                bits(&gradients.shift),
                bits(&gradients.residual.expect("asked for")),
            ]
        })
    };
    let one = all(1);
    for threads in [1, 2, 3, 5] {
        assert_eq!(all(threads), one, "{threads} threads");
    }
}
