//! The commands that train: `--config`, `resume` and `simulate`, and what they say at the end.

use std::io::{self, Write};

use super::arguments::{Resume, Train};
use super::launcher;
use super::outcome::outcome_line;
#[cfg(feature = "report")]
use super::report;
use super::say::say;
use super::signals::{OnUserSignal, requests};
use crate::config::{Config, TaskTables};
use crate::error::RunError;
use crate::exit::{EXIT_FAILED, EXIT_INTERRUPTED, EXIT_RESUME, EXIT_SUCCESS};
use crate::make::MakeTask;
use crate::progress::Progress;
use crate::storage::{CheckpointName, End, MetricInfo, RunFolder};
use crate::train::Outcome;

/// Zenoh's variable for the number of its threads.
const ZENOH_THREADS: &str = "ZENOH_RUNTIME";

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
pub(super) fn resume<C: MakeTask + TaskTables>(arguments: &Resume) -> Result<u8, RunError> {
    let folder = RunFolder::open(&arguments.run)?;
    let mut config = Config::<C>::load(&folder.join("config.toml"), &arguments.set)?;
    let place = folder.place(config.settings.cluster.nodes > 1)?;
    (config.settings.run.folder, config.settings.run.name) = place;
    let _page = arguments.serving.start(&config.settings.run.path())?;
    let from = Some(arguments.checkpoint);
    train_from(config, from, arguments.on_user_signal(), arguments.quiet)
}

/// Simulates a run.
pub(super) fn simulate<C: MakeTask + TaskTables>(arguments: &Train) -> Result<u8, RunError> {
    let config = Config::<C>::load(&arguments.config, &arguments.set)?;
    let _page = arguments.serving.start(&config.settings.run.path())?;
    let observer = Box::new(progress(arguments.quiet));
    let outcome = crate::simulate(config, observer, requests(OnUserSignal::Save))?;
    tell(&outcome, arguments.quiet)
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
