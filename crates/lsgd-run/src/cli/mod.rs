//! The command line of a program that trains a task.

mod arguments;
#[cfg(unix)]
mod chaos;
mod launch;
mod launcher;
mod node_process;
mod path;
mod program;
#[cfg(feature = "report")]
mod report;
mod restarts;
mod serve;
mod signals;
mod wiring;

#[cfg(feature = "bench")]
pub use arguments::Bench;
#[cfg(unix)]
pub use arguments::Chaos;
pub use arguments::{
    FindBatch, FindRate, Launch, OnUserSignal, Replay, Resume, RunCommand, Train, TrainOptions,
};
pub use path::path;
pub use program::{command, log_to_stderr, main, say, train};
#[cfg(feature = "report")]
pub use report::Report;
pub use serve::{Serve, Serving};
pub use signals::{on_signals, requests};
