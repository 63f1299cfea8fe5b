//! Signals as requests to a run.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::exit::{EXIT_INTERRUPTED, EXIT_RESUME};
use crate::train::{Requests, SignalRequest};

/// Signals this soon after the first are the same request: schedulers and `timeout` signal a
/// process and then its group.
const SAME_REQUEST: Duration = Duration::from_secs(1);

/// What SIGUSR1 and SIGUSR2 ask of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUserSignal {
    /// A checkpoint; the run continues.
    #[default]
    Save,
    /// A checkpoint, and to end there with [`EXIT_RESUME`](crate::exit::EXIT_RESUME).
    SaveAndEnd,
}

impl OnUserSignal {
    pub(super) fn of(signal_resume: bool) -> Self {
        match signal_resume {
            true => Self::SaveAndEnd,
            false => Self::Save,
        }
    }
}

/// Requests to a running run, by signals. The first request to end it ends it after the current
/// step, saved and evaluated; the second as soon as it is saved; the third at once. SIGUSR1 and SIGUSR2
/// ask for what `on_user_signal` says.
pub fn requests(on_user_signal: OnUserSignal) -> Arc<Requests> {
    let requests = Arc::new(Requests::default());
    let asked_of = requests.clone();
    let mut last: Option<Instant> = None;
    on_signals(move |asked| match asked {
        SignalRequest::Checkpoint => match on_user_signal {
            OnUserSignal::Save => asked_of.checkpoint(),
            OnUserSignal::SaveAndEnd => asked_of.end_to_resume(),
        },
        SignalRequest::End if last.is_some_and(|last| last.elapsed() < SAME_REQUEST) => {}
        SignalRequest::End => {
            last = Some(Instant::now());
            let told = match asked_of.ends() {
                false => {
                    asked_of.end();
                    "stopping after this step; Ctrl-C again to stop without an evaluation"
                }
                true if !asked_of.ends_soon() && asked_of.end_soon() => {
                    "stopping once this step is saved; Ctrl-C again to stop at once"
                }
                true => std::process::exit(i32::from(match asked_of.ends_to_resume() {
                    true => EXIT_RESUME,
                    false => EXIT_INTERRUPTED,
                })),
            };
            let _ = writeln!(io::stderr(), "{told}");
        }
    });
    requests
}

/// Whether a signal has asked for the end, from now on. A second one ends the program, wherever it is.
pub fn end_asked() -> Arc<AtomicBool> {
    let is_ended = Arc::new(AtomicBool::new(false));
    let asked_of = is_ended.clone();
    on_signals(move |asked| {
        if asked == SignalRequest::End && asked_of.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        }
    });
    is_ended
}

/// Calls `act` at every signal that is a request, from now on.
pub fn on_signals(mut act: impl FnMut(SignalRequest) + Send + 'static) {
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
    // Without this thread a signal ends the program as usual.
    let thread = std::thread::Builder::new().name(String::from("signals"));
    if thread.spawn(wait).is_ok() {
        // Fails if signals cannot be received.
        let _ = is_ready.recv();
    }
}

/// The signals of users (Ctrl-C) and schedulers: SIGINT, SIGTERM and SIGHUP end a run, SIGUSR1 and
/// SIGUSR2 save a checkpoint.
#[cfg(unix)]
struct Signals {
    end: [tokio::signal::unix::Signal; 2],
    /// `None` if it is ignored, as under `nohup`.
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

    async fn next(&mut self) -> Option<SignalRequest> {
        let [interrupt, terminate] = &mut self.end;
        let [first, second] = &mut self.checkpoint;
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let (asked, signal) = tokio::select! {
            signal = interrupt.recv() => (SignalRequest::End, signal),
            signal = terminate.recv() => (SignalRequest::End, signal),
            signal = hangup => (SignalRequest::End, signal),
            signal = first.recv() => (SignalRequest::Checkpoint, signal),
            signal = second.recv() => (SignalRequest::Checkpoint, signal),
        };
        signal.map(|()| asked)
    }
}

/// Whether the program was started with a signal ignored, if the system tells (Linux).
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

    async fn next(&mut self) -> Option<SignalRequest> {
        tokio::signal::ctrl_c()
            .await
            .ok()
            .map(|()| SignalRequest::End)
    }
}
