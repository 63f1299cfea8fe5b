//! Compares with Burn's own operations on the same numbers, forward and every gradient.

use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, activation, module};
use lsgd_cpu::{Convolution, Then};
use proptest::prelude::*;

use super::{assert_close, data, numbers, values};

/// Random shapes, like those of the models and others; small, so that many can be tried.
fn convolutions() -> impl Strategy<Value = Convolution> {
    let sizes = (1..20usize, 1..14usize, 1..14usize);
    let image = [1..19usize, 1..19usize];
    let kernel = [1..6usize, 1..6usize];
    let (stride, padding) = ([1..4usize, 1..4usize], [0..3usize, 0..3usize]);
    let all = (sizes, image, kernel, stride, padding);
    let all = all.prop_map(
        |((batch, inputs, outputs), image, kernel, stride, padding)| Convolution {
            batch,
            channels: [inputs, outputs],
            image,
            kernel,
            stride,
            padding,
        },
    );
    all.prop_filter("the kernel fits", |c| c.output().is_some())
}

/// The output, and the gradients with respect to input, weights and bias of the sum of output times
/// `by`.
fn convolve(shapes: &Convolution, biased: bool, own: bool) -> [Vec<f32>; 4] {
    let device = Device::flex().autodiff();
    let Convolution {
        batch,
        channels: [inputs, outputs],
        image,
        kernel,
        ..
    } = *shapes;
    let x_shape = [batch, inputs, image[0], image[1]];
    let w_shape = [outputs, inputs, kernel[0], kernel[1]];
    let filled = |shape: [usize; 4], seed| {
        let values = values(shape.iter().product(), seed);
        Tensor::<4>::from_data(data(values, shape), &device)
    };
    let (x, w) = (
        filled(x_shape, 1).require_grad(),
        filled(w_shape, 2).require_grad(),
    );
    let b = Tensor::<1>::from_data(data(values(outputs, 3), [outputs]), &device).require_grad();
    let bias = biased.then(|| b.clone());
    let y = if own {
        lsgd_cpu::conv2d(x.clone(), w.clone(), bias, shapes.stride, shapes.padding)
    } else {
        let options = ConvOptions::new(shapes.stride, shapes.padding, [1, 1], 1);
        module::conv2d(x.clone(), w.clone(), bias, options)
    };
    let by = filled(y.dims(), 4);
    let gradients = (y.clone() * by).sum().backward();
    let of_bias = b.grad(&gradients).map(numbers).unwrap_or_default();
    let of_x = x.grad(&gradients).map(numbers).expect("a gradient");
    let of_w = w.grad(&gradients).map(numbers).expect("a gradient");
    [numbers(y), of_x, of_w, of_bias]
}

/// The output, mean and variance, and the gradients with respect to input, scale, shift and
/// residual.
fn normalise(shape: [usize; 4], then: usize, own: bool) -> [Vec<f32>; 7] {
    let device = Device::flex().autodiff();
    let channels = shape[1];
    let filled = |seed| {
        let values = values(shape.iter().product(), seed);
        Tensor::<4>::from_data(data(values, shape), &device)
    };
    let of_channel = |seed| {
        let values = values(channels, seed).into_iter().map(|value| value + 1.5);
        Tensor::<1>::from_data(data(values.collect(), [channels]), &device).require_grad()
    };
    let x = (filled(1) * 3.0 + 0.7).require_grad();
    let residual = filled(2).require_grad();
    let (scale, shift) = (of_channel(3), of_channel(4) - 1.5);
    let shift = shift.detach().require_grad();
    let arguments = (x.clone(), scale.clone(), shift.clone(), 1e-5);
    let result = if own {
        let then = match then {
            0 => Then::Nothing,
            1 => Then::Relu,
            _ => Then::AddRelu(residual.clone()),
        };
        let (x, scale, shift, epsilon) = arguments;
        let result = lsgd_cpu::batch_norm_train(x, scale, shift, epsilon, then);
        (result.output, result.mean, result.variance)
    } else {
        let (x, scale, shift, epsilon) = arguments;
        let result = module::batch_norm_train(x, scale, shift, epsilon);
        let output = match then {
            0 => result.output,
            1 => activation::relu(result.output),
            _ => activation::relu(result.output + residual.clone()),
        };
        (output, result.mean, result.variance)
    };
    let (output, mean, variance) = result;
    let gradients = (output.clone() * filled(5)).sum().backward();
    [
        numbers(output),
        numbers(mean),
        numbers(variance),
        x.grad(&gradients).map(numbers).expect("a gradient"),
        scale.grad(&gradients).map(numbers).expect("a gradient"),
        shift.grad(&gradients).map(numbers).expect("a gradient"),
        residual.grad(&gradients).map(numbers).unwrap_or_default(),
    ]
}

/// Compares the results of a convolution.
#[track_caller]
fn convolution_is_close(shapes: &Convolution, biased: bool) {
    let Convolution {
        batch,
        channels: [inputs, outputs],
        kernel,
        ..
    } = *shapes;
    let image = shapes.output().expect("the kernel fits");
    let (of_window, of_images) = (kernel[0] * kernel[1], batch * image[0] * image[1]);
    let results = [
        ("output", of_window * inputs),
        ("input", of_window * outputs),
        ("weight", of_images),
        ("bias", of_images),
    ];
    let (own, burn) = (
        convolve(shapes, biased, true),
        convolve(shapes, biased, false),
    );
    for ((own, burn), (result, terms)) in own.iter().zip(&burn).zip(results) {
        assert_close(own, burn, terms, &format!("{result} of {shapes:?}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn convolution_is_burns(shapes in convolutions(), biased: bool) {
        convolution_is_close(&shapes, biased);
    }

    #[test]
    fn batch_normalisation_is_burns(
        shape in [2..9usize, 1..7usize, 1..9usize, 2..40usize],
        then in 0..3usize,
    ) {
        let (own, burn) = (normalise(shape, then, true), normalise(shape, then, false));
        let of_channel = shape[0] * shape[2] * shape[3];
        let results = [
            ("output", 1),
            ("mean", of_channel),
            ("variance", of_channel),
            ("input", of_channel),
            ("scale", of_channel),
            ("shift", of_channel),
            ("residual", 1),
        ];
        for ((own, burn), (result, terms)) in own.iter().zip(&burn).zip(results) {
            assert_close(own, burn, terms, &format!("{result} of {shape:?}, then {then}"));
        }
    }
}

/// A max pool's output, and the gradient of the sum of output times weights.
fn pool(shape: [usize; 4], pool: [[usize; 2]; 3], own: bool) -> [Vec<f32>; 2] {
    let device = Device::flex().autodiff();
    let filled = |shape: [usize; 4], seed, levels: f32| {
        let values = values(shape.iter().product(), seed).into_iter();
        let values = values.map(|value| (value * levels).round());
        Tensor::<4>::from_data(data(values.collect(), shape), &device)
    };
    // Few distinct values, so that windows have several maxima.
    let x = filled(shape, 1, 3.0).require_grad();
    let [kernel, stride, padding] = pool;
    let y = if own {
        lsgd_cpu::max_pool2d(x.clone(), kernel, stride, padding)
    } else {
        let options = MaxPoolOptions::new(kernel).with_stride(stride);
        module::max_pool2d(x.clone(), options.with_padding(padding))
    };
    let by = filled(y.dims(), 2, 100.0);
    let gradients = (y.clone() * by).sum().backward();
    let of_x = x.grad(&gradients).map(numbers).expect("a gradient");
    [numbers(y), of_x]
}

proptest! {
    #[test]
    fn max_pool_is_burns(
        shape in [1..4usize, 1..4usize, 3..14usize, 3..14usize],
        kernel in [1..4usize, 1..4usize],
        stride in [1..4usize, 1..4usize],
        padded: bool,
    ) {
        let padding = kernel.map(|side| if padded { side / 2 } else { 0 });
        let of = |own| pool(shape, [kernel, stride, padding], own);
        prop_assert_eq!(of(true), of(false));
    }
}

/// The shapes of the models' layers, which are larger than the random ones.
#[test]
fn layers_of_the_models_are_burns() {
    for (channels, side, kernel, stride, padding) in [
        ([3, 16], 32, 3, 1, 1),
        ([16, 32], 32, 3, 2, 1),
        ([64, 64], 8, 3, 1, 1),
        ([3, 64], 28, 5, 1, 0),
        ([64, 128], 12, 5, 1, 0),
        ([128, 64], 4, 3, 1, 0),
        ([512, 512], 2, 3, 1, 1),
        ([3, 8], 64, 7, 2, 3),
        ([64, 128], 8, 1, 2, 0),
    ] {
        let shapes = Convolution {
            batch: 9,
            channels,
            image: [side, side],
            kernel: [kernel, kernel],
            stride: [stride, stride],
            padding: [padding, padding],
        };
        convolution_is_close(&shapes, true);
    }
}

/// Parameters and inputs that require no gradient get none, and without autodiff there is none.
#[test]
fn gradients_go_where_they_are_asked_for() {
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    let shape = [2, 3, 5, 5];
    let x = Tensor::<4>::from_data(data(values(150, 1), shape), &device);
    let w = Tensor::<4>::from_data(data(values(54, 2), [2, 3, 3, 3]), &device).require_grad();
    let y = lsgd_cpu::conv2d(x.clone(), w.clone(), None, [1, 1], [1, 1]);
    let gradients = y.clone().sum().backward();
    assert!(x.grad(&gradients).is_none());
    assert!(w.grad(&gradients).is_some());

    let (x, w) = (x.inner(), w.inner());
    let again = lsgd_cpu::conv2d(x, w, None, [1, 1], [1, 1]);
    assert_eq!(numbers(again), numbers(y));
}
