//! A node's process, as `launch` sees it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread::{Builder, JoinHandle};

use super::launcher::STOP_WAITING;
use crate::cli::LaunchError;
use crate::error::RunError;
use crate::train::SignalRequest;

/// An event while nodes run.
pub(super) enum LaunchEvent {
    /// A signal was received.
    Signal(SignalRequest),
    /// A node has closed one of its two outputs.
    Silent(usize),
    /// Something is to be done to a node, from 0, if it runs.
    Do(usize, Action),
    /// From its next process on, the clock of a node, from 0, is so many milliseconds further ahead.
    JumpClock(usize, i64),
}

/// What can be done to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// End it at once: SIGKILL.
    Kill,
    /// Freeze it: SIGSTOP.
    ///
    /// If the launcher ends meanwhile, the node goes on, and stops like the others: a process group
    /// of stopped processes that loses its parent is continued by the system.
    Freeze,
    /// Let it go on: SIGCONT.
    Thaw,
    /// Write this line to its standard input.
    Tell(String),
}

/// A node's process.
pub(super) struct NodeProcess {
    process: Child,
    /// Its standard input, which is closed when this process ends; open until the node has ended.
    stdin: Option<ChildStdin>,
    /// Number of its outputs that are still open.
    open: u32,
}

impl NodeProcess {
    /// Starts node `number`, prints what it prints with its number, and reports the end of each of its
    /// outputs to `events`.
    ///
    /// # Errors
    ///
    /// [`LaunchError::NoNode`] if the system starts no process or thread.
    pub fn start(
        number: u32,
        mut command: Command,
        events: &Sender<LaunchEvent>,
    ) -> Result<Self, RunError> {
        let failed = |why: io::Error| LaunchError::NoNode {
            node: number,
            why: why.to_string(),
        };
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let out = process.stdout.take();
        let err = process.stderr.take();
        let stdin = process.stdin.take();
        let mut node = Self {
            process,
            stdin,
            open: 2,
        };
        let readers = [
            out.map(|out| show(number, out, io::stdout(), events.clone())),
            err.map(|err| show(number, err, io::stderr(), events.clone())),
        ];
        for reader in readers.into_iter().flatten() {
            if let Err(why) = reader {
                node.kill();
                return Err(failed(why).into());
            }
        }
        Ok(node)
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to stop and keep what it has trained, or to save a checkpoint and continue.
    #[cfg(unix)]
    pub fn ask(&self, asked: SignalRequest) {
        use rustix::process::{Pid, Signal, kill_process};
        if self.stdin.is_some() {
            let signal = match asked {
                SignalRequest::End => Signal::TERM,
                SignalRequest::Checkpoint => Signal::USR1,
            };
            // It may have ended already.
            let _ = kill_process(Pid::from_child(&self.process), signal);
        }
    }

    #[cfg(not(unix))]
    pub fn ask(&self, _: SignalRequest) {}

    /// Does `action` to it. It may have ended already: then nothing is done.
    pub fn act(&mut self, action: &Action) {
        let Some(stdin) = &mut self.stdin else {
            return;
        };
        match action {
            Action::Tell(line) => {
                let _ = writeln!(stdin, "{line}");
            }
            #[cfg(unix)]
            signal => {
                use rustix::process::{Pid, Signal, kill_process};
                let signal = match signal {
                    Action::Freeze => Signal::STOP,
                    Action::Thaw => Signal::CONT,
                    Action::Kill | Action::Tell(_) => Signal::KILL,
                };
                let _ = kill_process(Pid::from_child(&self.process), signal);
            }
            #[cfg(not(unix))]
            _ => drop(self.process.kill()),
        }
    }

    /// Tells it that a node it may be waiting for has ended.
    pub fn tell_to_stop_waiting(&mut self) {
        if let Some(stdin) = &mut self.stdin {
            // It may have ended already.
            let _ = writeln!(stdin, "{STOP_WAITING}");
        }
    }

    /// Once both outputs are closed, waits for its end. Returns how it ended, once.
    pub fn closed_an_output(&mut self) -> Option<io::Result<ExitStatus>> {
        self.open = self.open.saturating_sub(1);
        // A process of which only one output could be read was killed; its end is not this one's.
        if self.open > 0 || self.stdin.is_none() {
            return None;
        }
        let status = self.process.wait();
        self.stdin = None;
        Some(status)
    }

    /// Kills it.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Copies lines from a node, prefixed with its number, and reports when there are no more.
fn show(
    node: u32,
    from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    events: Sender<LaunchEvent>,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(format!("node-{node}")).spawn(move || {
        let mut line = Vec::new();
        let mut from = BufReader::new(from);
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line);
            // If the output cannot be written, the run's folder has the record.
            let _ = writeln!(to, "node {node} | {}", text.trim_end());
            line.clear();
        }
        let _ = events.send(LaunchEvent::Silent(node as usize - 1));
    })
}
