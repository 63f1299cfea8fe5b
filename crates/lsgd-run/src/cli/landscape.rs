//! `landscape`: the loss around the workers of a run, as a table and a picture.

use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::path::path;
use crate::config::{Config, TaskTables};
use crate::error::RunError;
use crate::landscape::{FILES, Progress, Request, SIZES, Three};
use crate::make::{self, MakeTask};
use crate::output::Output;
use crate::storage::{CheckpointName, RunFolder};

/// Arguments of `landscape`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Landscape {
    /// Folder of the run, such as runs/first
    #[arg(value_name = "RUN", value_parser = path())]
    pub run: PathBuf,

    /// The three points of the plane, the origin first, named as `eval --which` has them, or global-leader
    /// [default: the worker with the highest loss, another one and the leader; of several nodes that worker, its
    /// leader and the global one]
    #[arg(long, value_name = "A,B,C")]
    pub points: Option<Three>,

    /// Which checkpoint: newest, best or a step
    #[arg(long, value_name = "CHECKPOINT", default_value_t = CheckpointName::Newest)]
    pub checkpoint: CheckpointName,

    /// Points of the grid along each axis
    #[arg(long, value_name = "POINTS", default_value_t = 21, value_parser = clap::value_parser!(u64).range(SIZES))]
    pub size: u64,

    /// Score at most so many of the held-out examples, the first ones
    #[arg(long, value_name = "EXAMPLES", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub examples: u64,

    /// Which metric the picture shows [default: loss, or the task's main one if none has that name]
    #[arg(long, value_name = "METRIC")]
    pub metric: Option<String>,

    /// Folder for landscape.csv, landscape.json and landscape.svg, made if there is none [default: RUN]
    #[arg(long, short, value_name = "DIR", value_parser = path())]
    pub output: Option<PathBuf>,

    /// Override a key of the run's config, such as data.folder=DIR; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Replace the files if they exist
    #[arg(long)]
    pub force: bool,
}

/// Makes the landscape that is asked for, until `is_ended`, and returns its files.
///
/// # Errors
///
/// [`RunError`] if the run cannot be read, its data is missing, three points span no plane, or a file cannot be
/// written; [`RunError::Interrupted`] if it is ended, and then nothing is written.
pub(super) fn make<C: MakeTask + TaskTables>(
    arguments: &Landscape,
    is_ended: &AtomicBool,
) -> Result<[Output; 3], RunError> {
    let run = RunFolder::open(&arguments.run)?;
    // Before minutes of scoring.
    if let Some(folder) = &arguments.output {
        fs::create_dir_all(folder).map_err(RunError::write(folder))?;
    }
    let folder = arguments.output.as_ref().unwrap_or(&arguments.run);
    let output = |name: &str| Output::new(&folder.join(name), arguments.force);
    let [table, rest, picture] = FILES;
    let outputs = [output(table)?, output(rest)?, output(picture)?];
    let config = Config::<C>::load(&run.join("config.toml"), &arguments.set)?;
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let request = Request {
        run,
        checkpoint: arguments.checkpoint,
        points: arguments.points,
        size: number(arguments.size),
        examples: number(arguments.examples),
        metric: arguments.metric.clone(),
    };
    let bar = bar();
    let mut told = |Progress { done, of }| {
        if done == 1 && bar.is_hidden() {
            // A log that cannot be written does not end it.
            let _ = writeln!(io::stderr(), "scoring {of} points");
        }
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        match is_ended.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let landscape = make::landscape(config, &request, &mut told);
    bar.finish_and_clear();
    let files = landscape?.files(&arguments.run)?;
    for (output, (_, text)) in outputs.iter().zip(files) {
        output.write(text.as_bytes())?;
    }
    Ok(outputs)
}

/// Progress on a terminal; elsewhere a line at the beginning says how much there is to do.
fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    // With an invalid template indicatif would show its default.
    match ProgressStyle::with_template("{bar:30} {pos}/{len} points  {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
