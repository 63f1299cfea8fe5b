//! A node's connection to the program that started it: its standard input is a pipe, which is
//! closed when that program ends, for whatever reason.

use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use crate::injection::Order;
use crate::train::Requests;

/// Set in the environment of a node that `launch` or `chaos` starts.
pub(crate) const LAUNCHED: &str = "LSGD_TRAIN_LAUNCHED";
/// The line that the launcher writes when another node has ended early.
pub(crate) const STOP_WAITING: &str = "stop waiting";
/// The value of [`LAUNCHED`] under `launch`, whose nodes inject no faults.
const PLAIN: &str = "1";
/// How it begins under `chaos`.
const CHAOS: &str = "chaos";
/// Longest line that is read, in bytes.
const MAX_LINE: u64 = 256;

/// What a node that injects faults into itself is told when it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Afflicted {
    /// Shortest time of a worker's step.
    pub pace: Duration,
    /// How far its clock is ahead, in milliseconds.
    pub clock_ahead: i64,
}

/// The value of [`LAUNCHED`] for a node; `None` for one that injects no faults.
pub(crate) fn launched_value(afflicted: Option<Afflicted>) -> String {
    match afflicted {
        Some(Afflicted { pace, clock_ahead }) => {
            format!("{CHAOS} {} {clock_ahead}", pace.as_millis())
        }
        None => String::from(PLAIN),
    }
}

/// What the value of [`LAUNCHED`] says; `None` if the node injects no faults.
fn afflicted(value: &str) -> Option<Afflicted> {
    match value.split(' ').collect::<Vec<_>>()[..] {
        [CHAOS, pace, ahead] => Some(Afflicted {
            pace: Duration::from_millis(pace.parse().ok()?),
            clock_ahead: ahead.parse().ok()?,
        }),
        _ => None,
    }
}

/// In a node that was launched: requests the run's end once the launcher is gone, and passes on to
/// `requests` what the launcher writes. Faults are injected only if `chaos` is the launcher.
///
/// # Errors
///
/// If the system starts no thread to listen with.
pub fn heed(requests: Arc<Requests>) -> io::Result<()> {
    let Some(launched) = std::env::var_os(LAUNCHED) else {
        return Ok(());
    };
    let afflicted = launched.to_str().and_then(afflicted);
    if let Some(Afflicted { pace, clock_ahead }) = afflicted {
        requests.injection().slow_down(pace);
        requests.injection().set_clock_ahead(clock_ahead);
    }
    let listen = move || {
        listen(io::stdin().lock(), &requests, afflicted.is_some());
        // If the output cannot be written, the run's folder has the record.
        let _ = writeln!(
            io::stderr(),
            "the launch that started this node is gone; stopping after this step"
        );
        requests.end();
    };
    Builder::new()
        .name(String::from("launcher"))
        .spawn(listen)
        .map(drop)
}

/// Passes on each line, until there are no more.
fn listen(mut lines: impl BufRead, requests: &Requests, injects: bool) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        match text.trim_end() {
            STOP_WAITING => requests.stop_waiting(),
            order if injects => match order.parse::<Order>() {
                Ok(order) => requests.injection().take(order),
                // If the output cannot be written, the fault is missing from the report.
                Err(why) => drop(writeln!(io::stderr(), "chaos: {why}")),
            },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::injection::WorkerFault;

    #[test]
    fn a_node_is_told_of_faults_by_its_environment_alone() {
        let told = Afflicted {
            pace: Duration::from_millis(40),
            clock_ahead: -5000,
        };
        assert_eq!(afflicted(&launched_value(Some(told))), Some(told));
        for value in [
            &launched_value(None),
            "",
            "chaos",
            "chaos 40",
            "chaos 40 x",
            "chaos 1 2 3",
        ] {
            assert_eq!(afflicted(value), None, "{value}");
        }
    }

    #[test]
    fn orders_reach_only_nodes_of_chaos() {
        for injects in [false, true] {
            let requests = Requests::default();
            let lines = "panic 1\nnonsense\nstop waiting\n";
            listen(lines.as_bytes(), &requests, injects);
            assert!(requests.should_stop_waiting());
            let fault = requests.injection().fault_of(1);
            assert_eq!(fault, injects.then_some(WorkerFault::Panic));
        }
    }
}
