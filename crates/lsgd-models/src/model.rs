//! One type for all models.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;

use crate::{CifarResNet, Cnn7, ResNet, Vgg};

/// Whether a forward pass is part of training.
///
/// It governs dropout alone. BatchNorm goes by the device, as everywhere in Burn: on an
/// autodiff device it uses and remembers the batch's statistics, on a plain one it uses the
/// remembered. So train with `Train` on an autodiff device, and evaluate `model.valid()`
/// with `Evaluate`.
#[derive(Debug)]
pub enum Phase<'a> {
    /// Training; dropout draws its masks from this generator.
    Train(&'a mut ChaCha8Rng),
    /// Evaluation: no dropout.
    Evaluate,
}

/// Any model of this crate; made by [`ModelConfig::init`](crate::ModelConfig::init).
#[derive(Module, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one a worker: its size on the stack is no matter"
)]
pub enum Model {
    /// CNN7.
    Cnn7(Cnn7),
    /// ResNet of depth 6n + 2.
    CifarResNet(CifarResNet),
    /// ResNet-18, 34 or 50.
    ResNet(ResNet),
    /// VGG-11, 13, 16 or 19.
    Vgg(Vgg),
}

impl Model {
    /// Logits of a batch of images.
    ///
    /// # Shapes
    ///
    /// `[batch, channels, height, width]` as configured to `[batch, classes]`.
    ///
    /// # Panics
    ///
    /// Burn panics if the images are on another device or of another shape than the model's.
    pub fn forward(&self, images: Tensor<4>, phase: Phase<'_>) -> Tensor<2> {
        match self {
            Self::Cnn7(model) => model.forward(images, phase),
            Self::CifarResNet(model) => model.forward(images),
            Self::ResNet(model) => model.forward(images),
            Self::Vgg(model) => model.forward(images, phase),
        }
    }

    /// Number of trainable parameters. Burn's `num_params` adds BatchNorm's running
    /// statistics to them.
    pub fn num_trainable(&self) -> usize {
        let mut count = Count::default();
        self.visit(&mut count);
        count.trainable
    }
}

/// Whether the tensor at a module path is one of BatchNorm's running statistics, which are
/// no parameters. Only the path tells: outside training nothing else sets them apart.
pub fn is_running_statistic(path: &str) -> bool {
    matches!(
        path.rsplit('.').next(),
        Some("running_mean" | "running_var")
    )
}

#[derive(Default)]
struct Count {
    fields: Vec<String>,
    trainable: usize,
}

impl ModuleVisitor for Count {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.fields.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.fields.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let buffer = self
            .fields
            .last()
            .is_some_and(|field| is_running_statistic(field));
        if !buffer {
            self.trainable += param.lazy_shape().num_elements();
        }
    }
}
