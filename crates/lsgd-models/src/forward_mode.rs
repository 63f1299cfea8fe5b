//! Training or evaluation.

use rand_chacha::ChaCha8Rng;

/// Whether a forward pass is part of training.
///
/// It affects dropout only. BatchNorm depends on the device, as everywhere in Burn: on an autodiff
/// device it uses and records the batch's statistics, on a plain one it uses the running
/// statistics. So train with `Train` on an autodiff device, and evaluate `model.valid()` with
/// `Evaluate`.
#[derive(Debug)]
pub enum ForwardMode<'a> {
    /// Training; dropout draws its masks from this generator.
    Train(&'a mut ChaCha8Rng),
    /// Evaluation: no dropout.
    Evaluate,
}
