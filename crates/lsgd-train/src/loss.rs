//! Cross-entropy, with the soft targets of training.

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// The second target of every example of a batch that is mixed.
#[derive(Debug, Clone)]
pub struct SecondTarget {
    /// Its class, of shape `[batch]`.
    pub labels: Tensor<1, Int>,
    /// The share of the first target, in [0, 1].
    pub weight: f64,
}

/// The mean cross-entropy in nats, of shape `[1]`, of `logits` `[batch, classes]` and classes
/// `[batch]`.
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let device = logits.device();
    CrossEntropyLossConfig::new()
        .init(&device)
        .forward(logits, labels)
}

/// The same with the targets of training: of C classes, the true one has a share of `1 - smoothing`
/// (split into two classes where `second` is given), and all have `smoothing / C`.
///
/// ```text
/// (1 - smoothing) (weight CE(labels) + (1 - weight) CE(second)) + smoothing mean_c(-log p_c)
/// ```
///
/// This is PyTorch's `CrossEntropyLoss(label_smoothing)`.
pub fn training_loss(
    logits: Tensor<2>,
    labels: Tensor<1, Int>,
    second: Option<SecondTarget>,
    smoothing: f64,
) -> Tensor<1> {
    if smoothing == 0.0 && second.is_none() {
        return cross_entropy(logits, labels);
    }
    let log = log_softmax(logits, 1);
    let of = |labels: Tensor<1, Int>| log.clone().gather(1, labels.unsqueeze_dim(1)).mean().neg();
    let hard = match second {
        None => of(labels),
        Some(SecondTarget {
            labels: other,
            weight,
        }) => of(labels).mul_scalar(weight) + of(other).mul_scalar(1.0 - weight),
    };
    if smoothing == 0.0 {
        return hard;
    }
    let even = log.mean().neg();
    hard.mul_scalar(1.0 - smoothing) + even.mul_scalar(smoothing)
}
