//! A node's process, as `launch` sees it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread::{Builder, JoinHandle};

use super::launcher::STOP_WAITING;
use crate::error::RunError;
use crate::train::SignalRequest;

/// An event while nodes run.
pub(super) enum LaunchEvent {
    /// A signal was received.
    Signal(SignalRequest),
    /// A node has closed one of its two outputs.
    Silent(usize),
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
    /// [`RunError::NoNode`] if the system starts no process or thread.
    pub fn start(
        number: u32,
        mut command: Command,
        events: &Sender<LaunchEvent>,
    ) -> Result<Self, RunError> {
        let failed = |why: io::Error| RunError::NoNode {
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
                return Err(failed(why));
            }
        }
        Ok(node)
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

    /// Tells it that a node it may be waiting for has ended.
    pub fn tell_to_stop_waiting(&mut self) {
        if let Some(stdin) = &mut self.stdin {
            // It may have ended already.
            let _ = stdin.write_all(&[STOP_WAITING]);
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
