//! The command line of a program that trains a task.

mod arguments;
mod launch;
mod launcher;
mod node_process;
mod program;
mod restarts;
mod signals;

#[cfg(feature = "bench")]
pub use arguments::Bench;
pub use arguments::{Launch, OnUserSignal, Resume, RunCommand, Train, TrainOptions, path};
pub use program::{command, log_to_stderr, main, say, train};
pub use signals::{on_signals, requests};
