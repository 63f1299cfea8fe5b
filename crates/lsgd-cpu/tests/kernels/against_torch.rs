//! Compares with results of PyTorch, made by `torch/make.py`.

use burn::tensor::{Device, Tensor};
use lsgd_cpu::Then;
use serde_json::Value;

use super::{assert_close, data, numbers};

fn cases(text: &str) -> Vec<Value> {
    serde_json::from_str(text).expect("JSON")
}

fn floats(value: &Value) -> Vec<f32> {
    let numbers = value.as_array().expect("an array").iter();
    numbers
        .map(|number| number.as_f64().expect("a number") as f32)
        .collect()
}

fn sizes<const N: usize>(value: &Value) -> [usize; N] {
    let numbers = value.as_array().expect("an array").iter();
    let numbers: Vec<usize> = numbers
        .map(|n| n.as_u64().expect("a size") as usize)
        .collect();
    numbers.try_into().expect("as many sizes")
}

fn tensor<const D: usize>(case: &Value, name: &str, device: &Device) -> Tensor<D> {
    let values = floats(&case[name]["values"]);
    Tensor::from_data(data(values, sizes::<D>(&case[name]["shape"])), device)
}

#[track_caller]
fn check<const D: usize>(found: Option<Tensor<D>>, case: &Value, name: &str) {
    let found = numbers(found.expect("a tensor"));
    assert_close(
        &found,
        &floats(&case[name]["values"]),
        0,
        &format!("{name} of {}", case["name"]),
    );
}

#[test]
fn convolution_is_pytorchs() {
    let device = Device::flex().autodiff();
    let cases = cases(include_str!("torch/convolution.json"));
    assert!(cases.len() >= 4);
    for case in &cases {
        let x = tensor::<4>(case, "x", &device).require_grad();
        let w = tensor::<4>(case, "weight", &device).require_grad();
        let b = tensor::<1>(case, "bias", &device).require_grad();
        let (stride, padding) = (sizes(&case["stride"]), sizes(&case["padding"]));
        let y = lsgd_cpu::conv2d(x.clone(), w.clone(), Some(b.clone()), stride, padding);
        check(Some(y.clone()), case, "y");
        let gradients = (y * tensor::<4>(case, "by", &device)).sum().backward();
        check(x.grad(&gradients), case, "x_gradient");
        check(w.grad(&gradients), case, "weight_gradient");
        check(b.grad(&gradients), case, "bias_gradient");
    }
}

#[test]
fn batch_normalisation_is_pytorchs() {
    let device = Device::flex().autodiff();
    let cases = cases(include_str!("torch/batch_norm.json"));
    assert!(cases.len() >= 3);
    for case in &cases {
        let x = tensor::<4>(case, "x", &device).require_grad();
        let scale = tensor::<1>(case, "scale", &device).require_grad();
        let shift = tensor::<1>(case, "shift", &device).require_grad();
        let residual = tensor::<4>(case, "residual", &device).require_grad();
        let then = match case["then"].as_str() {
            Some("nothing") => Then::Nothing,
            Some("relu") => Then::Relu,
            _ => Then::AddRelu(residual.clone()),
        };
        let adds = matches!(then, Then::AddRelu(_));
        let result =
            lsgd_cpu::batch_norm_train(x.clone(), scale.clone(), shift.clone(), 1e-5, then);
        check(Some(result.output.clone()), case, "y");
        check(Some(result.mean), case, "mean");
        check(Some(result.variance), case, "variance");
        let by = tensor::<4>(case, "by", &device);
        let gradients = (result.output * by).sum().backward();
        check(x.grad(&gradients), case, "x_gradient");
        check(scale.grad(&gradients), case, "scale_gradient");
        check(shift.grad(&gradients), case, "shift_gradient");
        if adds {
            check(residual.grad(&gradients), case, "residual_gradient");
        }
    }
}
