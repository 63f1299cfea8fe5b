//! The command line of a program that trains a task.

mod arguments;
#[cfg(unix)]
mod chaos;
mod launch;
mod launcher;
mod node_process;
mod program;
mod restarts;
mod signals;
mod wiring;

#[cfg(feature = "bench")]
pub use arguments::Bench;
#[cfg(unix)]
pub use arguments::Chaos;
pub use arguments::{
    FindRate, Launch, OnUserSignal, Replay, Resume, RunCommand, Train, TrainOptions, path,
};
pub use program::{command, log_to_stderr, main, say, train};
pub use signals::{on_signals, requests};
