//! What can be wrong with a model's configuration or with a tensor's path.

use thiserror::Error;

use crate::kind::ModelKind;

/// Why a model cannot be built or a tensor cannot be named.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No model has this name.
    #[error("unknown model \"{name}\": use one of {}", ModelKind::names())]
    UnknownKind {
        /// The name as given.
        name: String,
    },
    /// A size is zero or larger than the memory limit of a model allows.
    #[error("{kind}: {field} {value} is not in {least}..={most}")]
    OutOfRange {
        /// The model.
        kind: ModelKind,
        /// Field of [`ModelConfig`](crate::ModelConfig).
        field: &'static str,
        /// The value as given.
        value: usize,
        /// Smallest allowed value.
        least: usize,
        /// Largest allowed value.
        most: usize,
    },
    /// A rate is outside its range or not a number.
    #[error("{kind}: {field} {value} is not in {range}")]
    Rate {
        /// The model.
        kind: ModelKind,
        /// Field of [`ModelConfig`](crate::ModelConfig).
        field: &'static str,
        /// The value as given.
        value: f64,
        /// The range in interval notation, such as `[0, 1)`.
        range: &'static str,
    },
    /// The layers would leave no pixel of such an image.
    #[error("{kind}: images of {height} x {width} are too small, use at least {least} x {least}")]
    ImageTooSmall {
        /// The model.
        kind: ModelKind,
        /// Image height in pixels.
        height: usize,
        /// Image width in pixels.
        width: usize,
        /// Smallest height and width.
        least: usize,
    },
    /// Five 2 x 2 pools do not divide the image.
    #[error(
        "{kind}: images of {height} x {width} do not divide by its five 2 x 2 pools, \
         use 32 x 32 or multiples of 32"
    )]
    ImageNotHalvable {
        /// The model.
        kind: ModelKind,
        /// Image height in pixels.
        height: usize,
        /// Image width in pixels.
        width: usize,
    },
    /// The path names no tensor of this model.
    #[error("{kind}: no tensor at path \"{path}\"")]
    UnknownPath {
        /// The model.
        kind: ModelKind,
        /// The path as given.
        path: String,
    },
}
