//! The program: reads the command line, does what it asks for, prints the outcome once.

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use lsgd_train::cli::{
    Command, DataCommand, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_SUCCESS, Eval, Export, Invocation,
    Train,
};
use lsgd_train::config::{Config, TEMPLATE};
use lsgd_train::error::TrainError;
use lsgd_train::inspect::Evaluated;
use lsgd_train::output::Output;
use lsgd_train::progress::Progress;
use lsgd_train::train::{Asked, End, Outcome, Requests};
use lsgd_train::words::count;
use lsgd_train::{bench, device, download, export, inspect, launch, launcher, open_files, train};
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
    open_files::raise_limit();
    let code = match run(invocation) {
        Ok(code) => code,
        Err(error) => {
            let kind = match error {
                TrainError::Interrupted => "",
                _ => "error: ",
            };
            // If nobody reads it, the exit code still tells.
            let _ = writeln!(io::stderr(), "{kind}{error}");
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
        .without_time()
        // It would say on standard error that it cannot write there, and panic over that.
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

fn run(invocation: Invocation) -> Result<u8, TrainError> {
    match invocation {
        Invocation::Train(arguments) => train(&arguments),
        Invocation::Command(Command::Launch(arguments)) => {
            let (sender, signals) = channel();
            on_signals(move |asked| {
                // Once all nodes have ended there is nobody to tell.
                let _ = sender.send(asked);
            });
            launch::launch(&arguments, signals)
        }
        Invocation::Command(Command::Simulate(arguments)) => simulate(&arguments),
        Invocation::Command(Command::Bench { file, name, set }) => {
            let told = |line: &str| drop(writeln!(io::stderr(), "{line}"));
            let changes = bench::Changes { name, set };
            let report = bench::bench(&file, changes, &requests(), told)?;
            say(format_args!("{}", report.display()))?;
            Ok(EXIT_SUCCESS)
        }
        Invocation::Command(Command::Init { path, force }) => init(&path, force),
        Invocation::Command(Command::Devices) => devices(),
        Invocation::Command(Command::Data(DataCommand::Fetch(arguments))) => {
            download::download(&arguments)?;
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
    let requests = requests();
    launcher::heed(requests.clone()).map_err(|why| TrainError::NoThread {
        thread: String::from("the thread that listens to the launcher"),
        why: why.to_string(),
    })?;
    let outcome = train::train(config, progress(arguments.quiet), requests)?;
    tell(&outcome, arguments.quiet, "images/s")
}

fn simulate(arguments: &Train) -> Result<u8, TrainError> {
    let config = Config::load(&arguments.config, &arguments.set)?;
    let outcome = train::simulate(config, progress(arguments.quiet), requests())?;
    tell(&outcome, arguments.quiet, "images a virtual second")
}

fn progress(quiet: bool) -> Progress {
    match quiet {
        true => Progress::quiet(),
        false => Progress::on_stderr(),
    }
}

/// What people ask of a run while it goes on, by signals. The first request to end it ends it after the
/// step under way, saved and evaluated; the second as soon as it is saved; the third at once.
fn requests() -> Arc<Requests> {
    let requests = Arc::new(Requests::default());
    let asked_of = requests.clone();
    let mut last: Option<Instant> = None;
    on_signals(move |asked| match asked {
        Asked::Checkpoint => asked_of.checkpoint(),
        Asked::End if last.is_some_and(|last| last.elapsed() < SAME_REQUEST) => {}
        Asked::End => {
            last = Some(Instant::now());
            let told = match asked_of.ends() {
                false => {
                    asked_of.end();
                    "stopping after this step; Ctrl-C again to stop without an evaluation"
                }
                true if !asked_of.ends_soon() && asked_of.end_soon() => {
                    "stopping once this step is saved; Ctrl-C again to stop at once"
                }
                true => std::process::exit(i32::from(EXIT_INTERRUPTED)),
            };
            let _ = writeln!(io::stderr(), "{told}");
        }
    });
    requests
}

/// Says what came of a run.
fn tell(outcome: &Outcome, quiet: bool, pace: &str) -> Result<u8, TrainError> {
    if let Some(error) = outcome.diverged() {
        return Err(error);
    }
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
            "{}: {} of {}, {:.0} {pace}; {came}",
            folder.path().display(),
            count(summary.steps, "step"),
            count(summary.workers, "worker"),
            summary.samples_per_second,
        ))?;
    }
    Ok(match summary.end {
        End::Budget => EXIT_SUCCESS,
        End::Interrupted => EXIT_INTERRUPTED,
        End::Diverged => EXIT_FAILED,
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

/// Calls `act` at every signal that asks for something, from this moment on.
fn on_signals(mut act: impl FnMut(Asked) + Send + 'static) {
    let (ready, is_ready) = channel();
    let wait = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let Ok(runtime) = runtime else {
            return;
        };
        runtime.block_on(async {
            let Ok(mut signals) = Signals::open() else {
                return;
            };
            let _ = ready.send(());
            while let Some(asked) = signals.next().await {
                act(asked);
            }
        });
    };
    // Without this thread a signal ends the program as it ends any other.
    let thread = std::thread::Builder::new().name(String::from("signals"));
    if thread.spawn(wait).is_ok() {
        // Fails if there will be no signals.
        let _ = is_ready.recv();
    }
}

/// The signals of people (Ctrl-C) and schedulers: SIGINT, SIGTERM and SIGHUP end a run, SIGUSR1 and
/// SIGUSR2 have it saved.
#[cfg(unix)]
struct Signals {
    end: [tokio::signal::unix::Signal; 2],
    /// Nothing where it is ignored, as `nohup` has it.
    hangup: Option<tokio::signal::unix::Signal>,
    checkpoint: [tokio::signal::unix::Signal; 2],
}

#[cfg(unix)]
impl Signals {
    fn open() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hangup = match is_ignored(SignalKind::hangup()) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            end: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ],
            hangup,
            checkpoint: [
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
            ],
        })
    }

    async fn next(&mut self) -> Option<Asked> {
        let [interrupt, terminate] = &mut self.end;
        let [first, second] = &mut self.checkpoint;
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let (asked, signal) = tokio::select! {
            signal = interrupt.recv() => (Asked::End, signal),
            signal = terminate.recv() => (Asked::End, signal),
            signal = hangup => (Asked::End, signal),
            signal = first.recv() => (Asked::Checkpoint, signal),
            signal = second.recv() => (Asked::Checkpoint, signal),
        };
        signal.map(|()| asked)
    }
}

/// Whether the program was started with a signal ignored, where the system tells (Linux).
#[cfg(unix)]
fn is_ignored(signal: tokio::signal::unix::SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = signal.as_raw_value() - 1;
    mask.is_some_and(|mask| mask >> bit & 1 == 1)
}

/// Ctrl-C, which ends a run.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn open() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Option<Asked> {
        tokio::signal::ctrl_c().await.ok().map(|()| Asked::End)
    }
}

fn init(path: &Path, force: bool) -> Result<u8, TrainError> {
    let output = Output::new(path, force)?;
    output.write(TEMPLATE.as_bytes())?;
    if !output.is_stream() {
        say(format_args!(
            "wrote {}; train with: lsgd-train --config {0}",
            path.display()
        ))?;
    }
    Ok(EXIT_SUCCESS)
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
    let Evaluated {
        score,
        examples,
        logits,
    } = inspect::eval(arguments)?;
    let line = format!(
        "{} {}: error {:.2} %, loss {:.4}, {}",
        arguments.run.display(),
        arguments.which,
        score.error,
        score.loss,
        count(examples, "test example"),
    );
    match logits {
        // Who reads them from standard output wants nothing behind them.
        Some(output) if output.is_stream() => drop(writeln!(io::stderr(), "{line}")),
        Some(output) => {
            let path = output.path().display();
            say(format_args!("{line}\nwrote {path}"))?;
        }
        None => say(format_args!("{line}"))?,
    }
    Ok(EXIT_SUCCESS)
}

fn export(arguments: &Export) -> Result<u8, TrainError> {
    let output = export::export(arguments)?;
    // Who reads it from standard output wants nothing behind it.
    if !output.is_stream() {
        say(format_args!("wrote {}", output.path().display()))?;
    }
    Ok(EXIT_SUCCESS)
}

/// Writes a line to standard output. That nobody reads it any more, as behind `| head -1`, is no
/// failure; that its disk is full is one.
fn say(line: fmt::Arguments) -> Result<(), TrainError> {
    match writeln!(io::stdout(), "{line}") {
        Err(source) if source.kind() != ErrorKind::BrokenPipe => Err(TrainError::Write {
            path: PathBuf::from("standard output"),
            source,
        }),
        _ => Ok(()),
    }
}
