//! The convolutional networks of the Leader SGD paper (arXiv 1905.10395) and their relatives
//! as Burn modules: CNN7, CIFAR ResNets, ResNet-18/34/50, VGG and CifarNet.
//!
//! A [`ModelConfig`] names the model and its sizes; [`ModelConfig::init`] checks them and gives a
//! [`Model`]. Every family is compared with PyTorch: names, shapes, parameter counts, logits, loss,
//! gradients and running statistics (`tests/models/against_torch.rs`). This crate does not depend
//! on the training method.
//!
//! With the feature `flex` convolutions, normalisations and pools on Burn's `flex` backend are those of
//! [`lsgd_cpu`], unless [`ModelConfig::cpu_kernels`] says otherwise.
//!
//! One difference from PyTorch: Burn's running variance uses the batch's variance over n elements,
//! PyTorch's over n - 1.
//!
//! ```
//! use burn::module::Module;
//! use burn::tensor::{Device, Tensor};
//! use lsgd_models::{ModelConfig, ModelKind, ForwardMode};
//! use rand::SeedableRng;
//! use rand_chacha::ChaCha8Rng;
//!
//! let device = Device::flex().autodiff();
//! device.seed(1); // initial weights
//! let model = ModelConfig::new(ModelKind::ResNet8, 10, [1, 8, 8]).init(&device)?;
//!
//! // Training: dropout masks come from the caller's generator.
//! let mut generator = ChaCha8Rng::seed_from_u64(2);
//! let images = Tensor::<4>::zeros([4, 1, 8, 8], &device);
//! let logits = model.forward(images.clone(), ForwardMode::Train(&mut generator));
//! assert_eq!(logits.dims(), [4, 10]);
//!
//! // Evaluation: without autodiff, BatchNorm uses its running statistics.
//! let images = Tensor::<4>::zeros([4, 1, 8, 8], &Device::flex());
//! let logits = model.valid().forward(images, ForwardMode::Evaluate);
//! assert_eq!(logits.dims(), [4, 10]);
//! # Ok::<(), lsgd_models::ModelError>(())
//! ```

mod cifar_net;
mod cnn7;
mod config;
mod dropout;
mod error;
mod forward_mode;
mod initial;
mod kind;
mod layers;
mod model;
mod resnet;
mod resnet_cifar;
mod torch;
mod vgg;
mod whitening;

pub use cifar_net::{CifarNet, CifarNetBlock};
pub use cnn7::Cnn7;
pub use config::{
    MAX_BASE_WIDTH, MAX_CHANNELS, MAX_CLASSES, MAX_IMAGE_SIDE, MAX_WHITENED_CHANNELS, ModelConfig,
};
pub use error::ModelError;
pub use forward_mode::ForwardMode;
pub use kind::ModelKind;
pub use model::{Model, is_running_statistic};
pub use resnet::{BasicBlock, Block, Bottleneck, Downsample, ResNet};
pub use resnet_cifar::{CifarBlock, CifarResNet};
pub use torch::TorchName;
pub use vgg::{ConvNorm, Vgg};
pub use whitening::Whitening;
