//! The network of a run, and what a checkpoint records about its images.

use lsgd_models::ModelConfig;
use serde::{Deserialize, Serialize};

use crate::image_config::ImageConfig;

/// What a checkpoint records about its model's images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageNotes {
    /// Number of classes.
    pub classes: usize,
    /// Their names, in the order of their numbers; none in a run of an older version.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// Channels, height and width of an image, as the model takes it.
    pub image: [usize; 3],
}

/// The network for this number of classes and shape of images.
pub fn model_config(config: &ImageConfig, classes: usize, shape: [usize; 3]) -> ModelConfig {
    ModelConfig {
        base_width: config.model.width,
        dropout: config.model.dropout,
        cpu_kernels: config.compute.cpu_kernels,
        ..ModelConfig::new(config.model.name, classes, shape)
    }
}
