//! Limits on a step's gradients.

use burn::Tensor;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::FloatDType;

use crate::{MethodError, sum_of_squares};

/// What PyTorch adds to the norm that it divides by.
const EPSILON: f64 = 1e-6;

/// A limit on the gradients of every step, applied before the inner optimizer. Where workers share
/// gradients, it is their mean that is limited.
///
/// Burn's own `GradientClipping` limits the norm of each tensor by itself; this one limits the norm of
/// all gradients together, which keeps their direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GradientClip {
    /// The largest Euclidean norm of all gradients together, over 0: longer ones are scaled down, as by
    /// PyTorch's `clip_grad_norm_`. The norm is computed in f32 and never leaves the device. If a gradient
    /// is not finite, some stay so. Finite ones whose squares overflow f32 (values over about 1.8e19)
    /// become zeros, as in PyTorch.
    Norm(f64),
    /// The largest absolute value, at least 0: each value is clamped by itself, as by PyTorch's
    /// `clip_grad_value_`.
    Value(f64),
}

impl GradientClip {
    /// Checks the limit's range.
    ///
    /// # Errors
    ///
    /// [`MethodError::Range`] for a norm that is not over 0, and a value that is negative or NaN.
    pub fn check(self) -> Result<(), MethodError> {
        let (key, value, fits, range) = match self {
            Self::Norm(most) => ("clip_norm", most, most > 0.0, "over 0"),
            Self::Value(most) => ("clip_value", most, most >= 0.0, "at least 0"),
        };
        match fits {
            true => Ok(()),
            false => Err(MethodError::Range { key, value, range }),
        }
    }

    /// The limited `gradients`, which are those of `module`. The limit has passed [`check`](Self::check).
    pub fn apply<M: Module>(self, module: &M, gradients: GradientsParams) -> GradientsParams {
        let limit = match self {
            Self::Norm(most) => {
                let mut squares = Squares {
                    gradients: &gradients,
                    sums: Vec::new(),
                };
                module.visit(&mut squares);
                if squares.sums.is_empty() {
                    return gradients;
                }
                let norm = Tensor::cat(squares.sums, 0).sum().sqrt();
                let scale = norm.add_scalar(EPSILON).recip().mul_scalar(most);
                Limit::Scale(scale.clamp_max(1.0))
            }
            Self::Value(most) => Limit::Value(most),
        };
        let mut limiter = Limiter { gradients, limit };
        module.visit(&mut limiter);
        limiter.gradients
    }
}

/// Collects the sum of squares of every gradient.
struct Squares<'a> {
    gradients: &'a GradientsParams,
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            // The squares of an f16 gradient would soon overflow.
            self.sums
                .push(sum_of_squares(&gradient.cast(FloatDType::F32)));
        }
    }
}

enum Limit {
    /// Every gradient times this, of shape `[1]`, in f32.
    Scale(Tensor<1>),
    Value(f64),
}

struct Limiter {
    gradients: GradientsParams,
    limit: Limit,
}

impl ModuleVisitor for Limiter {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return;
        };
        let limited = match &self.limit {
            Limit::Scale(scale) => {
                let scale = scale.clone().cast(gradient.dtype());
                gradient * scale.reshape([1; D])
            }
            Limit::Value(most) => gradient.clamp(-most, *most),
        };
        self.gradients.register(param.id, limited);
    }
}
