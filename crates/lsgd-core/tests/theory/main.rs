//! What can be proved of Leader SGD, each statement with its proof, held against the crate's own
//! steps. Where a statement is that of arXiv 1905.10395, it says so; constants are derived here.
//!
//! Gradients are full ones, in closed form. Parameters are `f32` and so are the steps; values of f
//! are computed in `f64`, and bounds hold but for the rounding of `f32`.

mod direction;
#[path = "../../examples/simulated/memory.rs"]
mod memory;
mod one_step;
mod quadratic;
#[allow(dead_code, reason = "shared with the tests of the algorithm")]
#[path = "../algorithm/setting.rs"]
mod setting;
mod stale;
mod stationary;
