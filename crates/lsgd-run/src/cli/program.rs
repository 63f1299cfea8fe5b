//! The common part of all programs that train a task: commands, logging, the outcome.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, channel};

use clap::error::ErrorKind as UsageError;
use clap::{CommandFactory, FromArgMatches, Parser};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[cfg(unix)]
use super::arguments::Chaos;
use super::arguments::RunCommand;
#[cfg(feature = "bench")]
use super::bench;
#[cfg(unix)]
use super::chaos;
use super::say::say;
use super::serve;
#[cfg(feature = "report")]
use super::signals::end_asked;
use super::signals::on_signals;
use super::train_options::TrainOptions;
use super::{arguments, devices, find, launch, pages, runs, training, watch};
#[cfg(feature = "report")]
use super::{landscape, report};
use crate::config::{Config, TaskTable, TaskTables};
use crate::error::RunError;
use crate::exit::{EXIT_FAILED, EXIT_INTERRUPTED, EXIT_SUCCESS};
use crate::make::MakeTask;
use crate::open_files;
use crate::output::Output;
use crate::train::{Replay, SignalRequest};

/// Warnings and errors, except Zenoh's: the link reports in its own words what concerns a run.
/// `RUST_LOG`, such as `zenoh=debug`, asks for others.
pub fn log_to_stderr() {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        // If standard error cannot be written, it would report that there, and panic.
        .log_internal_errors(false);
    let asked_for = std::env::var("RUST_LOG").ok();
    let asked_for = asked_for.and_then(|targets| Targets::from_str(&targets).ok());
    let wanted = asked_for.unwrap_or_else(|| {
        Targets::new()
            .with_default(LevelFilter::WARN)
            .with_target("zenoh", LevelFilter::OFF)
    });
    tracing_subscriber::registry()
        .with(lines.with_filter(wanted))
        .init();
}

/// The whole program of a task whose settings `C` are the table `[task]` of its configs: parses the
/// command line, runs the command, reports the outcome.
pub fn main<C>() -> ExitCode
where
    C: MakeTask,
    TaskTable<C>: TaskTables,
{
    let (Program { train, command }, mut usage) = Program::read(std::env::args_os());
    log_to_stderr();
    open_files::raise_limit();
    let done = match (command, train.train()) {
        (Some(command), _) => self::command::<TaskTable<C>>(command, Program::usage(&name())),
        (None, Some(arguments)) => training::train::<TaskTable<C>>(&arguments),
        (None, None) => {
            let name = name();
            let why = format!(
                "no config was given\n\n  {name} init                  writes one, with every key \
                 explained, to lsgd.toml\n  {name} --config lsgd.toml    trains as it says"
            );
            usage.error(UsageError::MissingRequiredArgument, why).exit()
        }
    };
    let code = done.unwrap_or_else(|error| {
        let kind = match error {
            RunError::Interrupted => "",
            _ => "error: ",
        };
        // If the message cannot be written, the exit code still tells.
        let _ = writeln!(io::stderr(), "{kind}{error}");
        error.exit_code()
    });
    ExitCode::from(code)
}

/// Trains a task on several devices and nodes, with Leader SGD or another method
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Program {
    #[command(flatten)]
    train: TrainOptions,

    #[command(subcommand)]
    command: Option<RunCommand>,
}

impl Program {
    /// Parses the command line. Also returns the usage, for errors found later. Exits on wrong usage, and
    /// for `--help` and `--version`.
    fn read(arguments: impl IntoIterator<Item = OsString>) -> (Self, clap::Command) {
        let mut usage = Self::usage(&name());
        let matches = usage.try_get_matches_from_mut(arguments);
        let matches = matches.unwrap_or_else(|error| error.exit());
        let program = Self::from_arg_matches(&matches);
        let program = program.unwrap_or_else(|error| error.format(&mut usage).exit());
        (program, usage)
    }

    /// The usage of the program `name`. Its own version is not known here, so `--version` prints the
    /// engine's.
    fn usage(name: &str) -> clap::Command {
        Self::command()
            .display_name(name)
            .bin_name(name)
            .version(concat!("(lsgd-run ", env!("CARGO_PKG_VERSION"), ")"))
    }
}

/// Runs a command of the program with this `usage`, which completions and manual pages are made of. Returns
/// the exit code.
///
/// # Errors
///
/// [`RunError`] of the command.
pub fn command<C: MakeTask + TaskTables>(
    command: RunCommand,
    usage: clap::Command,
) -> Result<u8, RunError> {
    match command {
        RunCommand::Launch(arguments) => launch::launch::<C>(&arguments, signals()),
        #[cfg(unix)]
        RunCommand::Chaos(arguments) => chaos::<C>(&arguments),
        RunCommand::Resume(arguments) => training::resume::<C>(&arguments),
        RunCommand::Replay(arguments) => replay::<C>(&arguments),
        #[cfg(feature = "report")]
        RunCommand::Report(arguments) => {
            if let Some(path) = report::make(&arguments)? {
                say(format_args!("wrote {}", path.display()))?;
            }
            Ok(EXIT_SUCCESS)
        }
        #[cfg(feature = "report")]
        RunCommand::Landscape(arguments) => {
            for output in landscape::make::<C>(&arguments, &end_asked())? {
                say(format_args!("wrote {}", output.path().display()))?;
            }
            Ok(EXIT_SUCCESS)
        }
        RunCommand::Serve(arguments) => {
            let _page = serve::serve(&arguments)?;
            // Until it is asked to end; nothing comes if no signal can be heard.
            signals()
                .into_iter()
                .find(|asked| *asked == SignalRequest::End);
            Ok(EXIT_SUCCESS)
        }
        RunCommand::Simulate(arguments) => training::simulate::<C>(&arguments),
        RunCommand::FindRate(arguments) => find::find_rate::<C>(&arguments),
        RunCommand::FindBatch(arguments) => find::find_batch::<C>(&arguments),
        RunCommand::Runs(arguments) => {
            runs::runs(&arguments)?;
            Ok(EXIT_SUCCESS)
        }
        RunCommand::Watch(arguments) => watch::watch(&arguments, &mut io::stdout()),
        RunCommand::Completions { shell } => {
            pages::completions(usage, shell)?;
            Ok(EXIT_SUCCESS)
        }
        RunCommand::Man(arguments) => {
            pages::man(usage, &arguments)?;
            Ok(EXIT_SUCCESS)
        }
        RunCommand::Init { path, force } => init::<C>(&path, force),
        RunCommand::Devices { check } => devices::devices(check),
        #[cfg(feature = "bench")]
        RunCommand::Bench(arguments) => bench::bench::<C>(arguments),
    }
}

#[cfg(unix)]
fn chaos<C: TaskTables>(arguments: &Chaos) -> Result<u8, RunError> {
    let told = |line: &str| drop(writeln!(io::stderr(), "{line}"));
    match chaos::chaos::<C>(arguments, signals(), told)? {
        Some(report) => {
            say(format_args!("{}", report.display()))?;
            Ok(EXIT_SUCCESS)
        }
        None => Ok(EXIT_INTERRUPTED),
    }
}

/// The signals that are requests, from now on.
fn signals() -> Receiver<SignalRequest> {
    let (sender, signals) = channel();
    on_signals(move |asked| {
        // The sender ends once all nodes have.
        let _ = sender.send(asked);
    });
    signals
}

/// Replays a run.
fn replay<C: MakeTask + TaskTables>(arguments: &arguments::Replay) -> Result<u8, RunError> {
    let replay = Replay::of(&arguments.run, arguments.until)?;
    let config = Config::<C>::load(&replay.config(), &arguments.set)?;
    match crate::replay(config, replay)? {
        Ok(replayed) => {
            say(format_args!("{}: {replayed}", arguments.run.display()))?;
            Ok(EXIT_SUCCESS)
        }
        Err(difference) => {
            say(format_args!("{difference}"))?;
            Ok(EXIT_FAILED)
        }
    }
}

/// The program's name, as it was started.
fn name() -> String {
    let started = std::env::args_os().next().unwrap_or_default();
    match Path::new(&started).file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => String::from("lsgd-run"),
    }
}

fn init<C: TaskTables>(path: &Path, force: bool) -> Result<u8, RunError> {
    let output = Output::new(path, force)?;
    output.write(Config::<C>::template()?.as_bytes())?;
    if !output.is_stream() {
        say(format_args!(
            "wrote {}; train with: {} --config {0}",
            path.display(),
            name()
        ))?;
    }
    Ok(EXIT_SUCCESS)
}
