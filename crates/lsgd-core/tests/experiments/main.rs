//! What the examples that repeat the paper's experiments compute, and where they end.

#[path = "../../examples/matrix_completion/completion.rs"]
mod completion;
#[path = "../../examples/matrix_completion/methods.rs"]
mod completion_methods;
mod landscape;
mod matrix_completion;
#[path = "../../examples/simulated/memory.rs"]
mod memory;
#[path = "../../examples/landscape/methods.rs"]
mod methods;
#[path = "../../examples/landscape/surface.rs"]
mod surface;
