//! Between a Burn module and flat vectors: read, write, pull.
//!
//! Burn's pitfalls, all handled here: running statistics are visited like parameters; the update of
//! the last training forward is pending until [`Module::valid`](burn::module::Module::valid) flushes
//! it, and would overwrite values written before; a mapped parameter must return to autodiff in the
//! state it left.

mod average;
mod change;
mod gradients;
mod on_device;
mod values;
mod walk;

pub use average::MovingAverage;
pub use change::write;
pub(crate) use change::{Change, device_of, replace};
pub use gradients::sum_of_squares;
pub(crate) use gradients::{SquaredNorms, read_gradients, replace_gradients};
pub(crate) use on_device::OnDevice;
use values::{Part, in_vectors};
pub use values::{read, read_buffers};
