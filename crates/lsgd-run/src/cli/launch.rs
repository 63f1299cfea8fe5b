//! All nodes of a run on this machine: one process each, connected over loopback.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Instant, SystemTime};

use super::arguments::Launch;
use super::node_process::{LaunchEvent, NodeProcess};
use super::restarts::{Decision, Restarts};
use super::wiring::{Wiring, beside_listeners, check_place, command, held_endpoints, overrides};
use crate::config::{Config, TaskTables};
use crate::error::RunError;
use crate::exit::{EXIT_FAILED, EXIT_INTERRUPTED, EXIT_SUCCESS};
use crate::train::SignalRequest;

/// Starts all nodes, prints their output with their numbers, and waits for them. Returns the exit
/// code of the first that failed; that of an interruption if none did and some were stopped.
///
/// A node that dies is started again while it has restarts left, and continues what it has begun. If a
/// node ends early for good, those that still wait for the start end too; those that train continue
/// without it. When this process is gone, however it ended, all stop and keep what they have
/// trained.
///
/// Everything from `signals` is passed on to each node.
///
/// # Errors
///
/// [`RunError`] if the config is wrong, or a node cannot be started; those already started are then
/// ended.
pub fn launch<C: TaskTables>(
    arguments: &Launch,
    signals: Receiver<SignalRequest>,
) -> Result<u8, RunError> {
    let (held, endpoints) = held_endpoints(arguments.nodes)?;
    let _held = beside_listeners(held);
    let (sender, events) = channel();
    // Without this thread a signal reaches the nodes only if it is sent to each.
    let asked_of = sender.clone();
    let _ = Builder::new().name(String::from("stop")).spawn(move || {
        for asked in signals {
            if asked_of.send(LaunchEvent::Signal(asked)).is_err() {
                return;
            }
        }
    });
    let wiring = Wiring {
        connect: vec![endpoints.clone(); endpoints.len()],
        afflicted: vec![None; endpoints.len()],
        endpoints,
    };
    let _page = match arguments.train.serving.serve {
        Some(_) => {
            let set = overrides(arguments, &wiring);
            let config = Config::<C>::load(&arguments.train.config, &set)?;
            arguments.train.serving.start(&config.settings.run.path())?
        }
        None => None,
    };
    run_nodes::<C>(arguments, wiring, (sender, events), &mut |_| {})
}

/// A change of a node's process.
pub(super) enum NodeChange<'a> {
    /// It has been started; `again` if it had died.
    Started {
        node: u32,
        process: u32,
        again: bool,
    },
    /// It has ended, like this.
    Ended { node: u32, end: &'a str },
}

/// Starts all nodes, and waits for them, as [`launch`] does. Handles `events`, and calls `watch` at
/// each start and end of a node.
///
/// # Errors
///
/// As [`launch`].
pub(super) fn run_nodes<C: TaskTables>(
    arguments: &Launch,
    wiring: Wiring,
    (sender, events): (Sender<LaunchEvent>, Receiver<LaunchEvent>),
    watch: &mut dyn FnMut(NodeChange<'_>),
) -> Result<u8, RunError> {
    let launched = SystemTime::now();
    // Reports once what every node would report.
    let config = Config::<C>::load(&arguments.train.config, &overrides(arguments, &wiring))?;
    check_place(&config.settings.cluster, arguments.nodes, &wiring)?;
    let mut processes: Vec<NodeProcess> = Vec::new();
    for node in 1..=arguments.nodes {
        let started = command(arguments, node, &wiring, false)
            .and_then(|command| NodeProcess::start(node, command, &sender));
        match started {
            Ok(started) => {
                watch(NodeChange::Started {
                    node,
                    process: started.id(),
                    again: false,
                });
                processes.push(started);
            }
            Err(error) => {
                processes.iter_mut().for_each(NodeProcess::kill);
                return Err(error);
            }
        }
    }
    let run = config.settings.run.path();
    let nodes = Nodes {
        run,
        launched,
        arguments,
        wiring,
        watch,
        restarts: Restarts::new(processes.len(), arguments.restarts),
        due: vec![None; processes.len()],
        died: vec![None; processes.len()],
        started: vec![Instant::now(); processes.len()],
        processes,
        sender,
        failed: None,
        stopped: false,
    };
    Ok(nodes.wait(&events))
}

/// The nodes of a launch.
struct Nodes<'a> {
    /// The folder of the run.
    run: PathBuf,
    /// When the launch began.
    launched: SystemTime,
    arguments: &'a Launch,
    wiring: Wiring,
    watch: &'a mut dyn FnMut(NodeChange<'_>),
    processes: Vec<NodeProcess>,
    restarts: Restarts,
    /// When a node is to be started again, for those that are.
    due: Vec<Option<Instant>>,
    /// The exit code with which a node that was started again had died.
    died: Vec<Option<u8>>,
    /// When each was last started.
    started: Vec<Instant>,
    /// For the nodes that are started again.
    sender: Sender<LaunchEvent>,
    /// The exit code of the first node that failed for good.
    failed: Option<u8>,
    /// Whether any node was stopped.
    stopped: bool,
}

impl Nodes<'_> {
    /// Waits until all nodes have ended. Returns their common exit code.
    fn wait(mut self, events: &Receiver<LaunchEvent>) -> u8 {
        while self.restarts.any_left() {
            match self.next(events) {
                Ok(LaunchEvent::Signal(asked)) => {
                    if asked == SignalRequest::End {
                        self.restarts.on_stop();
                    }
                    self.processes.iter().for_each(|node| node.ask(asked));
                }
                Ok(LaunchEvent::Do(index, action)) => {
                    if let Some(node) = self.processes.get_mut(index) {
                        node.act(&action);
                    }
                }
                Ok(LaunchEvent::JumpClock(index, millis)) => {
                    if let Some(Some(afflicted)) = self.wiring.afflicted.get_mut(index) {
                        afflicted.clock_ahead = afflicted.clock_ahead.saturating_add(millis);
                    }
                }
                Ok(LaunchEvent::Silent(index)) => {
                    if let Some(status) = self.processes[index].closed_an_output() {
                        self.ended(index, &status);
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.start_due(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.call_off();
        let of_the_others = if self.stopped {
            EXIT_INTERRUPTED
        } else {
            EXIT_SUCCESS
        };
        self.failed.unwrap_or(of_the_others)
    }

    /// The next event, or a timeout once a node is to be started.
    fn next(&self, events: &Receiver<LaunchEvent>) -> Result<LaunchEvent, RecvTimeoutError> {
        match self.due.iter().flatten().min() {
            Some(due) => events.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => events.recv().map_err(RecvTimeoutError::from),
        }
    }

    /// A node's process has ended: reports an abnormal end, and decides what follows.
    fn ended(&mut self, index: usize, status: &io::Result<ExitStatus>) {
        let code = status.as_ref().ok().and_then(ExitStatus::code);
        let code = code.and_then(|code| u8::try_from(code).ok());
        let lived = self.started[index].elapsed();
        let decision = self.restarts.on_exit(index, code, lived);
        let number = index + 1;
        let end = match status {
            Ok(_) if code == Some(EXIT_SUCCESS) => None,
            Ok(_) if code == Some(EXIT_INTERRUPTED) => Some(format!("node {number} was stopped")),
            Ok(status) => Some(format!("node {number} failed: {status}")),
            Err(why) => Some(format!("node {number} cannot be waited for: {why}")),
        };
        (self.watch)(NodeChange::Ended {
            node: number as u32,
            end: end.as_deref().unwrap_or("finished"),
        });
        let code = code.unwrap_or(EXIT_FAILED);
        match decision {
            Decision::Restart {
                number: restart,
                after,
            } => {
                self.due[index] = Some(Instant::now() + after);
                self.died[index] = Some(code);
                report(format_args!(
                    "{}; starting it again in {} s ({restart} of {})",
                    end.unwrap_or_default(),
                    after.as_secs_f64(),
                    self.arguments.restarts
                ));
            }
            Decision::Stay => {
                if let Some(end) = end {
                    report(format_args!("{end}"));
                }
                self.stays_ended(index, code);
            }
        }
    }

    /// Counts a node's last exit code, and lets no other node wait for it.
    fn stays_ended(&mut self, index: usize, code: u8) {
        match code {
            EXIT_SUCCESS => {}
            // It had died, and found no node to join.
            EXIT_INTERRUPTED if !self.restarts.is_stopping() && self.died[index].is_some() => {
                self.failed = self.failed.or(self.died[index]);
            }
            EXIT_INTERRUPTED => self.stopped = true,
            _ => self.failed = self.failed.or(Some(code)),
        }
        for waiting in self.restarts.wait_in_vain(code) {
            self.processes[waiting].tell_to_stop_waiting();
        }
    }

    /// Starts the nodes that are to be started again by now.
    fn start_due(&mut self) {
        let now = Instant::now();
        for index in 0..self.due.len() {
            if self.due[index].is_none_or(|due| due > now) {
                continue;
            }
            self.due[index] = None;
            if !self.restarts.on_due(index) {
                self.not_started(index);
                continue;
            }
            let number = index as u32 + 1;
            let again = command(self.arguments, number, &self.wiring, self.has_begun(number));
            let again = again.and_then(|again| NodeProcess::start(number, again, &self.sender));
            match again {
                Ok(process) => {
                    (self.watch)(NodeChange::Started {
                        node: number,
                        process: process.id(),
                        again: true,
                    });
                    self.started[index] = Instant::now();
                    self.processes[index] = process;
                }
                Err(error) => {
                    report(format_args!("{error}"));
                    self.restarts.give_up(index);
                    self.stays_ended(index, EXIT_FAILED);
                }
            }
        }
    }

    /// Whether a node has begun its run since the launch: what else is in its folder is of an earlier
    /// one, which its first command would replace or refuse.
    fn has_begun(&self, number: u32) -> bool {
        let folder = match self.arguments.nodes {
            1 => self.run.clone(),
            _ => self.run.join(format!("node-{number}")),
        };
        let record = fs::metadata(folder.join("run.json"));
        let written = record.and_then(|record| record.modified());
        written.is_ok_and(|written| written >= self.launched)
    }

    /// The launch stops: those that were to come back do not.
    fn call_off(&mut self) {
        for index in 0..self.due.len() {
            if self.due[index].take().is_some() {
                self.not_started(index);
            }
        }
    }

    /// A node that has died is not started again after all.
    fn not_started(&mut self, index: usize) {
        report(format_args!(
            "node {} is not started again: the launch stops",
            index + 1
        ));
        self.failed = self.failed.or(self.died[index]);
    }
}

/// Prints a line about a node.
fn report(line: fmt::Arguments) {
    // If it cannot be written, the exit code still tells.
    let _ = writeln!(io::stderr(), "{line}");
}
