//! The command line of a program that trains a task.

mod arguments;
#[cfg(feature = "bench")]
mod bench;
#[cfg(unix)]
mod chaos;
mod devices;
mod find;
mod find_error;
#[cfg(feature = "report")]
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
mod training;
mod watch;
mod wiring;

#[cfg(unix)]
pub use arguments::Chaos;
pub use arguments::{Launch, Replay, Resume, RunCommand, Train};
#[cfg(feature = "bench")]
pub use bench::Bench;
pub use find::{FindBatch, FindRate};
pub use find_error::FindError;
#[cfg(feature = "report")]
pub use landscape::Landscape;
pub use launch_error::LaunchError;
pub use pages::Man;
pub use path::path;
pub use program::{command, log_to_stderr, main};
#[cfg(feature = "report")]
pub use report::Report;
pub use runs::Runs;
pub use say::say;
pub use serve::{Serve, Serving};
pub use signals::{OnUserSignal, on_signals, requests};
pub use train_options::TrainOptions;
pub use training::train;
pub use watch::Watch;
