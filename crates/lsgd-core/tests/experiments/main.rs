//! What the examples that repeat the paper's experiments compute, and where they end.

mod landscape;
#[path = "../../examples/simulated/memory.rs"]
mod memory;
#[path = "../../examples/landscape/methods.rs"]
mod methods;
#[path = "../../examples/landscape/surface.rs"]
mod surface;
