//! One type for all models.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

use crate::cifar_net::CifarNet;
use crate::cnn7::Cnn7;
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::forward_mode::ForwardMode;
use crate::kind::Family;
use crate::resnet::ResNet;
use crate::resnet_cifar::CifarResNet;
use crate::vgg::Vgg;
use crate::whitening::Whitening;

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
    /// The network of the CIFAR-10 speed runs.
    CifarNet(CifarNet),
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
    /// Burn panics if the images are on another device than the model or have an unexpected shape.
    pub fn forward(&self, images: Tensor<4>, phase: ForwardMode<'_>) -> Tensor<2> {
        match self {
            Self::Cnn7(model) => model.forward(images, phase),
            Self::CifarResNet(model) => model.forward(images),
            Self::ResNet(model) => model.forward(images),
            Self::Vgg(model) => model.forward(images, phase),
            Self::CifarNet(model) => model.forward(images),
        }
    }

    /// The same with a first layer that begins with these filters, if it is one that whitens
    /// ([`ModelKind::whitens`](crate::ModelKind::whitens)); otherwise as it is.
    ///
    /// # Panics
    ///
    /// If they are for images of another number of channels.
    #[must_use]
    pub fn whitened(self, whitening: &Whitening) -> Self {
        match self {
            Self::CifarNet(model) => Self::CifarNet(model.whitened(whitening)),
            _ => self,
        }
    }

    /// Number of trainable parameters. Burn's `num_params` also counts BatchNorm's running
    /// statistics.
    pub fn num_trainable(&self) -> usize {
        let mut count = Count::default();
        self.visit(&mut count);
        count.trainable
    }
}

impl ModelConfig {
    /// Builds the model on `device` and draws its initial weights immediately.
    ///
    /// The weights come from the device's own generator: call `device.seed(seed)` just before for
    /// reproducible weights. That generator is shared by the whole process, so draw before other
    /// threads use it. For training give an autodiff device.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check); nothing is allocated then.
    pub fn init(&self, device: &Device) -> Result<Model, ModelError> {
        self.check()?;
        let model = match self.kind.family() {
            Family::Cnn7 => Model::Cnn7(Cnn7::new(self, device)),
            Family::CifarResNet { blocks } => {
                Model::CifarResNet(CifarResNet::new(self, blocks, device))
            }
            Family::ResNet { blocks, bottleneck } => {
                Model::ResNet(ResNet::new(self, blocks, bottleneck, device))
            }
            Family::Vgg { convolutions } => Model::Vgg(Vgg::new(self, convolutions, device)),
            Family::CifarNet => Model::CifarNet(CifarNet::new(self, device)),
        };
        // Burn draws a weight when it is first used; in another order, or on another thread, the
        // same seed would give other weights. (CifarNet has drawn some while it was built.)
        model.visit(&mut Draw);
        Ok(model)
    }
}

/// Draws every weight in the order of the module tree.
struct Draw;

impl ModuleVisitor for Draw {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let _ = param.val();
    }
}

/// Whether the tensor at a module path is one of BatchNorm's running statistics, which are no
/// parameters. Only the path tells: outside training nothing else distinguishes them.
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
