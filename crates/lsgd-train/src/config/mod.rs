//! Config.
mod types;
pub use types::*;
