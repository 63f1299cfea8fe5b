//! The command line of a program that trains a task.

mod arguments;
#[cfg(unix)]
mod chaos;
#[cfg(feature = "report")]
mod find_error;
mod landscape;
mod launch;
mod launch_error;
mod launcher;
mod node_process;
mod outcome;
mod pages;
mod path;
mod printable;
mod program;
#[cfg(feature = "report")]
mod report;
mod restarts;
mod runs;
mod say;
mod serve;
mod signals;
mod table;
mod train_options;
mod watch;
mod wiring;

#[cfg(feature = "bench")]
pub use arguments::Bench;
#[cfg(unix)]
pub use arguments::Chaos;
pub use arguments::{FindBatch, FindRate, Launch, OnUserSignal, Replay, Resume, RunCommand, Train};
#[cfg(feature = "report")]
pub use find_error::FindError;
pub use landscape::Landscape;
pub use launch_error::LaunchError;
pub use pages::Man;
pub use path::path;
pub use program::{command, log_to_stderr, main, train};
#[cfg(feature = "report")]
pub use report::Report;
pub use runs::Runs;
pub use say::say;
pub use serve::{Serve, Serving};
pub use signals::{on_signals, requests};
pub use train_options::TrainOptions;
pub use watch::Watch;
