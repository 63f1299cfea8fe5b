//! The training loss against PyTorch's: `torch/loss.py` made the numbers.

use burn::tensor::{Device, Int, Tensor};
use lsgd_train::loss::{SecondTarget, cross_entropy, training_loss};

#[derive(serde::Deserialize)]
struct Reference {
    logits: [[f32; 4]; 3],
    labels: [i32; 3],
    second: [i32; 3],
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    smoothing: f64,
    weight: Option<f64>,
    loss: f32,
    gradient: [[f32; 4]; 3],
}

#[test]
fn soft_targets_have_the_loss_and_gradients_that_pytorch_gives_them() {
    let reference: Reference = serde_json::from_str(include_str!("torch/loss.json")).unwrap();
    let device = Device::flex().autodiff();
    let labels = || Tensor::<1, Int>::from_data(reference.labels, &device);
    assert_eq!(reference.cases.len(), 5);
    for case in &reference.cases {
        let name = format!("smoothing {}, weight {:?}", case.smoothing, case.weight);
        let logits = Tensor::<2>::from_data(reference.logits, &device).require_grad();
        let second = case.weight.map(|weight| SecondTarget {
            labels: Tensor::from_data(reference.second, &device),
            weight,
        });
        let is_plain = case.smoothing == 0.0 && second.is_none();
        let loss = training_loss(logits.clone(), labels(), second, case.smoothing);
        assert_eq!(loss.dims(), [1], "{name}");
        let value = loss.clone().into_scalar::<f32>();
        assert!(
            (value - case.loss).abs() < 1e-6,
            "{name}: {value}, not {}",
            case.loss
        );
        if is_plain {
            let plain = cross_entropy(logits.clone(), labels()).into_scalar::<f32>();
            assert_eq!(value.to_bits(), plain.to_bits());
        }
        let gradient = logits.grad(&loss.backward()).unwrap().into_data();
        let expected = case.gradient.iter().flatten();
        for (found, expected) in gradient.iter::<f32>().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-6,
                "{name}: {found}, not {expected}"
            );
        }
    }
}
