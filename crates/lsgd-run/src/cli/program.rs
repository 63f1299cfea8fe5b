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

#[cfg(feature = "bench")]
use super::arguments::Bench;
#[cfg(unix)]
use super::arguments::Chaos;
use super::arguments::{FindBatch, FindRate, OnUserSignal, Resume, RunCommand, Train};
#[cfg(unix)]
use super::chaos;
use super::outcome::outcome_line;
use super::say::say;
use super::serve;
#[cfg(feature = "report")]
use super::signals::end_asked;
use super::signals::{on_signals, requests};
use super::train_options::TrainOptions;
use super::{arguments, launch, launcher, pages, runs, watch};
#[cfg(feature = "report")]
use super::{landscape, report};
#[cfg(feature = "bench")]
use crate::bench::{self, Changes, Plan};
use crate::cli::FindError;
use crate::config::{Config, TaskTable, TaskTables};
use crate::device::{self, DeviceError};
use crate::error::RunError;
use crate::exit::{EXIT_FAILED, EXIT_INTERRUPTED, EXIT_RESUME, EXIT_SUCCESS};
use crate::make::MakeTask;
use crate::open_files;
use crate::output::Output;
use crate::progress::Progress;
use crate::storage::{CheckpointName, End, MetricInfo, RunFolder};
use crate::train::{Outcome, Paces, Replay, SignalRequest};

/// Zenoh's variable for the number of its threads.
const ZENOH_THREADS: &str = "ZENOH_RUNTIME";

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
        (None, Some(arguments)) => self::train::<TaskTable<C>>(&arguments),
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
        RunCommand::Resume(arguments) => resume::<C>(&arguments),
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
        RunCommand::Simulate(arguments) => {
            let config = Config::<C>::load(&arguments.config, &arguments.set)?;
            let _page = arguments.serving.start(&config.settings.run.path())?;
            let observer = Box::new(progress(arguments.quiet));
            let outcome = crate::simulate(config, observer, requests(OnUserSignal::Save))?;
            tell(&outcome, arguments.quiet)
        }
        RunCommand::FindRate(arguments) => find_rate::<C>(&arguments),
        RunCommand::FindBatch(arguments) => find_batch::<C>(&arguments),
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
        RunCommand::Devices { check } => devices(check),
        #[cfg(feature = "bench")]
        RunCommand::Bench(arguments) => bench::<C>(arguments),
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

#[cfg(feature = "bench")]
fn bench<C: MakeTask + TaskTables>(arguments: Bench) -> Result<u8, RunError> {
    let Bench {
        file,
        name,
        set,
        serving,
    } = arguments;
    let changes = Changes { name, set };
    let runs = Plan::load::<C>(&file, changes.clone())?.path();
    let _page = serving.start(&runs)?;
    // If standard output is closed, the runs' folders have the record.
    let told = |line: &str| drop(writeln!(io::stderr(), "{line}"));
    let report = bench::run::<C>(&file, changes, &requests(OnUserSignal::Save), told)?;
    say(format_args!("{}", report.display()))?;
    Ok(EXIT_SUCCESS)
}

/// Trains. Returns the exit code.
///
/// # Errors
///
/// [`RunError`] of the run.
pub fn train<C: MakeTask + TaskTables>(arguments: &Train) -> Result<u8, RunError> {
    let config = Config::<C>::load(&arguments.config, &arguments.set)?;
    let _page = arguments.serving.start(&config.settings.run.path())?;
    let from = arguments.resume.then_some(CheckpointName::Newest);
    train_from(config, from, arguments.on_user_signal, arguments.quiet)
}

/// Continues a run, with its own config but for the overrides.
fn resume<C: MakeTask + TaskTables>(arguments: &Resume) -> Result<u8, RunError> {
    let folder = RunFolder::open(&arguments.run)?;
    let mut config = Config::<C>::load(&folder.join("config.toml"), &arguments.set)?;
    let place = folder.place(config.settings.cluster.nodes > 1)?;
    (config.settings.run.folder, config.settings.run.name) = place;
    let _page = arguments.serving.start(&config.settings.run.path())?;
    let from = Some(arguments.checkpoint);
    train_from(config, from, arguments.on_user_signal(), arguments.quiet)
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

/// Tries learning rates.
fn find_rate<C: MakeTask + TaskTables>(arguments: &FindRate) -> Result<u8, RunError> {
    let config = Config::<C>::load(&arguments.config, &arguments.set)?;
    let curve = crate::find_rate(config, arguments.test()?)?;
    say(format_args!("{curve}"))?;
    Ok(EXIT_SUCCESS)
}

/// Measures batch sizes, and says each as it comes.
fn find_batch<C: MakeTask + TaskTables>(arguments: &FindBatch) -> Result<u8, RunError> {
    let key = C::BATCH_SIZE.ok_or(FindError::NoBatchKey)?;
    let mut paces = Paces::default();
    for size in arguments.sizes()? {
        let set = arguments.set.iter().cloned();
        let set: Vec<String> = set.chain([format!("{key}={size}")]).collect();
        let config = Config::<C>::load(&arguments.config, &set);
        match config
            .map_err(RunError::from)
            .and_then(|config| crate::pace(config, arguments.steps))
        {
            Ok(pace) => {
                if paces.suggestion().is_none() {
                    say(format_args!("{}", Paces::HEAD))?;
                }
                say(format_args!("{pace}"))?;
                paces.push(pace);
            }
            // The first size that the device, the data or the config does not allow ends the list.
            Err(why) if paces.suggestion().is_some() => {
                say(format_args!("{size:>10}  {why}"))?;
                break;
            }
            Err(why) => return Err(why),
        }
    }
    if let Some(enough) = paces.suggestion() {
        say(format_args!("enough: {key}={}", enough.batch_size))?;
    }
    Ok(EXIT_SUCCESS)
}

fn train_from<C: MakeTask + TaskTables>(
    config: Config<C>,
    from: Option<CheckpointName>,
    on_user_signal: OnUserSignal,
    quiet: bool,
) -> Result<u8, RunError> {
    if config.settings.cluster.tls.is_some() {
        use_one_network_thread();
    }
    let requests = requests(on_user_signal);
    launcher::heed(requests.clone()).map_err(|why| RunError::NoThread {
        thread: String::from("the thread that listens to the launcher"),
        why: why.to_string(),
    })?;
    let observer = Box::new(progress(quiet));
    let outcome = match from {
        Some(from) => crate::resume(config, from, observer, requests.clone()),
        None => crate::train(config, observer, requests.clone()),
    };
    let code = match outcome {
        // It was waiting for other nodes, or was signalled again: the message says so.
        Err(error @ RunError::Interrupted) if requests.ends_to_resume() => {
            let _ = writeln!(io::stderr(), "{error}");
            EXIT_INTERRUPTED
        }
        outcome => tell(&outcome?, quiet)?,
    };
    Ok(match code {
        EXIT_INTERRUPTED if requests.ends_to_resume() => EXIT_RESUME,
        code => code,
    })
}

fn progress(quiet: bool) -> Progress {
    match quiet {
        true => Progress::quiet(),
        false => Progress::on_stderr(),
    }
}

/// Reports the outcome of a run, and then leaves a page about it.
fn tell(outcome: &Outcome, quiet: bool) -> Result<u8, RunError> {
    let code = tell_outcome(outcome, quiet);
    #[cfg(feature = "report")]
    report::leave(outcome);
    code
}

fn tell_outcome(outcome: &Outcome, quiet: bool) -> Result<u8, RunError> {
    if let Some(error) = outcome.diverged() {
        return Err(error);
    }
    let Outcome {
        folder,
        summary,
        metrics,
        unit,
    } = outcome;
    if !quiet {
        let metric = metrics.first().map(MetricInfo::from);
        let line = outcome_line(folder.path(), summary, metric.as_ref(), unit);
        say(format_args!("{line}"))?;
    }
    Ok(match summary.end {
        End::Budget => EXIT_SUCCESS,
        End::Interrupted => EXIT_INTERRUPTED,
        End::Diverged => EXIT_FAILED,
    })
}

/// Makes Zenoh read and write on one thread, unless the user has set its threads. Its TLS link
/// (zenoh-link-tls 1.10.2, `UnicastLinkTls`) shares one `rustls` stream between its reading and its
/// writing thread; a write during an unfinished read ends the connection with "handshake not
/// complete".
///
/// Call it before any other thread is started.
#[allow(
    unsafe_code,
    reason = "Zenoh reads the number of its threads from the environment and nowhere else"
)]
fn use_one_network_thread() {
    if std::env::var_os(ZENOH_THREADS).is_none() {
        // SAFETY: there is no other thread yet that could read or write the environment.
        unsafe {
            std::env::set_var(
                ZENOH_THREADS,
                "(rx: (worker_threads: 1), tx: (handover: rx))",
            )
        };
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

/// Lists the devices; checks each if that is asked for.
fn devices(checks: bool) -> Result<u8, RunError> {
    let available = device::available();
    if available.is_empty() {
        return Err(DeviceError::NoBackend.into());
    }
    let mut code = EXIT_SUCCESS;
    for (index, device) in available.iter().enumerate() {
        let mut line = format!("{}  {}", device.name, device.description());
        if index == 0 {
            line.push_str(", first choice of \"auto\"");
        }
        if checks {
            match device::check(&device.device) {
                Ok(error) => line.push_str(&format!("; right to {error:.0e}")),
                Err(why) => {
                    code = EXIT_FAILED;
                    line.push_str(&format!("; WRONG: {why}"));
                }
            }
        }
        say(format_args!("{line}"))?;
    }
    for backend in device::absent() {
        say(format_args!(
            "{backend}  is in this build, but has no device here: no such GPU, or no driver of it was found"
        ))?;
    }
    Ok(code)
}
