//! The program: reads the command line, does what it asks for, prints the outcome once.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use lsgd_train::cli::{
    Command, DataCommand, EXIT_INTERRUPTED, EXIT_SUCCESS, Eval, Export, Invocation, Train,
};
use lsgd_train::config::{Config, TEMPLATE};
use lsgd_train::error::TrainError;
use lsgd_train::progress::Progress;
use lsgd_train::train::{End, Outcome};
use lsgd_train::{bench, device, download, export, inspect, launch, train};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Signals that follow the first so soon are the same request: schedulers and `timeout` signal a
/// process and then its group.
const SAME_REQUEST: Duration = Duration::from_secs(1);

/// Where Zenoh looks for the number of its threads.
const ZENOH_THREADS: &str = "ZENOH_RUNTIME";

fn main() -> ExitCode {
    let invocation = match Invocation::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(usage) => usage.exit(),
    };
    log_to_stderr();
    let code = match run(invocation) {
        Ok(code) => code,
        Err(error) => {
            // If nobody reads it, the exit code still tells.
            let _ = writeln!(io::stderr(), "error: {error}");
            error.exit_code()
        }
    };
    ExitCode::from(code)
}

/// Warnings and errors, but for Zenoh's: what of them concerns a run, the link says in its own words.
/// `RUST_LOG`, such as `zenoh=debug`, asks for others.
fn log_to_stderr() {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time();
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

fn run(invocation: Invocation) -> Result<u8, TrainError> {
    match invocation {
        Invocation::Train(arguments) => train(&arguments),
        Invocation::Command(Command::Launch(arguments)) => {
            let (sender, signals) = channel();
            on_signals(move || {
                // Once all nodes have ended there is nobody to tell.
                let _ = sender.send(());
            });
            launch::launch(&arguments, signals)
        }
        Invocation::Command(Command::Simulate(arguments)) => simulate(&arguments),
        Invocation::Command(Command::Bench { file, name, set }) => {
            let told = |line: &str| drop(writeln!(io::stderr(), "{line}"));
            let changes = bench::Changes { name, set };
            let report = bench::bench(&file, changes, &interruption(), told)?;
            say(format_args!("{}", report.display()))?;
            Ok(EXIT_SUCCESS)
        }
        Invocation::Command(Command::Init { path }) => init(&path),
        Invocation::Command(Command::Devices) => devices(),
        Invocation::Command(Command::Data(DataCommand::Fetch { name, folder })) => {
            download::download(name, folder.as_deref())?;
            Ok(EXIT_SUCCESS)
        }
        Invocation::Command(Command::Eval(arguments)) => eval(&arguments),
        Invocation::Command(Command::Export(arguments)) => export(&arguments),
    }
}

fn train(arguments: &Train) -> Result<u8, TrainError> {
    let config = Config::load(&arguments.config, &arguments.set)?;
    if config.cluster.tls.is_some() {
        use_one_network_thread();
    }
    let outcome = train::train(config, progress(arguments.quiet), interruption())?;
    tell(&outcome, arguments.quiet, "images/s")
}

fn simulate(arguments: &Train) -> Result<u8, TrainError> {
    let config = Config::load(&arguments.config, &arguments.set)?;
    let outcome = train::simulate(config, progress(arguments.quiet), interruption())?;
    tell(&outcome, arguments.quiet, "images a virtual second")
}

fn progress(quiet: bool) -> Progress {
    match quiet {
        true => Progress::quiet(),
        false => Progress::on_stderr(),
    }
}

/// What is set when somebody asks the run to stop. The first request ends it after the step under
/// way; another ends the program at once.
fn interruption() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let seen = interrupted.clone();
    let mut first = None;
    on_signals(move || match first {
        None => {
            first = Some(Instant::now());
            seen.store(true, Ordering::Relaxed);
            let _ = writeln!(
                io::stderr(),
                "stopping after this step; Ctrl-C again to stop at once"
            );
        }
        Some(first) if first.elapsed() < SAME_REQUEST => {}
        Some(_) => std::process::exit(i32::from(EXIT_INTERRUPTED)),
    });
    interrupted
}

/// Says what came of a run.
fn tell(outcome: &Outcome, quiet: bool, pace: &str) -> Result<u8, TrainError> {
    let Outcome { folder, summary } = outcome;
    if !quiet {
        let percent = |error: Option<f64>| match error {
            Some(error) => format!("{error:.2} %"),
            None => String::from("none"),
        };
        let came = match summary.digests.is_empty() {
            true => String::from("nothing was trained"),
            false => format!(
                "test error of the leader {}, the replica mean {}, workers {}",
                percent(summary.test_error.leader),
                percent(summary.test_error.replica_mean),
                percent(summary.test_error.worker_mean),
            ),
        };
        say(format_args!(
            "{}: {} steps of {} workers, {:.0} {pace}; {came}",
            folder.path().display(),
            summary.steps,
            summary.workers,
            summary.samples_per_second,
        ))?;
    }
    Ok(match summary.end {
        End::Budget => EXIT_SUCCESS,
        End::Interrupted => EXIT_INTERRUPTED,
    })
}

/// Lets Zenoh read and write on one thread, unless the user has set its threads otherwise. Its TLS
/// link (zenoh-link-tls 1.10.2, `UnicastLinkTls`) hands out one `rustls` stream to its reading and its
/// writing thread at once; a write that meets a read half way ends the connection with "handshake not
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

/// Calls `act` at every Ctrl-C, and at every SIGTERM, which schedulers send.
fn on_signals(mut act: impl FnMut() + Send + 'static) {
    let wait = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let Ok(runtime) = runtime else {
            return;
        };
        runtime.block_on(async {
            while signal().await.is_ok() {
                act();
            }
        });
    };
    // Without this thread Ctrl-C ends the program as it ends any other.
    let _ = std::thread::Builder::new()
        .name(String::from("signals"))
        .spawn(wait);
}

/// Waits until somebody asks the program to stop.
#[cfg(unix)]
async fn signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn signal() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

fn init(path: &Path) -> Result<u8, TrainError> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(TEMPLATE.as_bytes()));
    match written {
        Ok(()) => {
            say(format_args!(
                "wrote {}; train with: lsgd-train --config {0}",
                path.display()
            ))?;
            Ok(EXIT_SUCCESS)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(TrainError::FileExists {
            path: path.to_owned(),
        }),
        Err(source) => Err(TrainError::Write {
            path: path.to_owned(),
            source,
        }),
    }
}

fn devices() -> Result<u8, TrainError> {
    let available = device::available();
    if available.is_empty() {
        return Err(device::DeviceError::NoBackend.into());
    }
    for (index, device) in available.iter().enumerate() {
        let kind = if device.gpu { "GPU" } else { "CPU" };
        let preferred = if index == 0 {
            ", first choice of \"auto\""
        } else {
            ""
        };
        say(format_args!("{}  {kind}{preferred}", device.name))?;
    }
    Ok(EXIT_SUCCESS)
}

fn eval(arguments: &Eval) -> Result<u8, TrainError> {
    let (score, examples) = inspect::eval(arguments)?;
    say(format_args!(
        "{} {}: error {:.2} %, loss {:.4}, {examples} test examples",
        arguments.run.display(),
        arguments.which,
        score.error,
        score.loss,
    ))?;
    if let Some(path) = &arguments.logits {
        say(format_args!("wrote {}", path.display()))?;
    }
    Ok(EXIT_SUCCESS)
}

fn export(arguments: &Export) -> Result<u8, TrainError> {
    let path = export::export(arguments)?;
    say(format_args!("wrote {}", path.display()))?;
    Ok(EXIT_SUCCESS)
}

/// Writes a line to standard output, which may be closed or on a full disk.
fn say(line: fmt::Arguments) -> Result<(), TrainError> {
    writeln!(io::stdout(), "{line}").map_err(|source| TrainError::Write {
        path: PathBuf::from("standard output"),
        source,
    })
}
