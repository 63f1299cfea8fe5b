//! All nodes of a run on this machine: one process each, connected over loopback.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Instant, SystemTime};

use super::arguments::Launch;
use super::launcher::LAUNCHED;
use super::node_process::{LaunchEvent, NodeProcess};
use super::restarts::{Decision, Restarts};
use crate::config::{ClusterConfig, Config, TaskTables};
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
    let launched = SystemTime::now();
    let endpoints = free_endpoints(arguments.nodes)?;
    // Reports once what every node would report.
    let config = Config::<C>::load(&arguments.train.config, &overrides(arguments, &endpoints))?;
    check_place(&config.settings.cluster, arguments.nodes, &endpoints)?;
    let (sender, events) = channel();
    let mut processes: Vec<NodeProcess> = Vec::new();
    for node in 1..=arguments.nodes {
        let started = command(arguments, node, &endpoints, false)
            .and_then(|command| NodeProcess::start(node, command, &sender));
        match started {
            Ok(started) => processes.push(started),
            Err(error) => {
                processes.iter_mut().for_each(NodeProcess::kill);
                return Err(error);
            }
        }
    }
    // Without this thread a signal reaches the nodes only if it is sent to each.
    let asked_of = sender.clone();
    let _ = Builder::new().name(String::from("stop")).spawn(move || {
        for asked in signals {
            if asked_of.send(LaunchEvent::Signal(asked)).is_err() {
                return;
            }
        }
    });
    let run = config.settings.run.folder.join(&config.settings.run.name);
    let nodes = Nodes {
        run,
        launched,
        arguments,
        endpoints: &endpoints,
        restarts: Restarts::new(processes.len(), arguments.restarts),
        due: vec![None; processes.len()],
        died: vec![None; processes.len()],
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
    endpoints: &'a [String],
    processes: Vec<NodeProcess>,
    restarts: Restarts,
    /// When a node is to be started again, for those that are.
    due: Vec<Option<Instant>>,
    /// The exit code with which a node that was started again had died.
    died: Vec<Option<u8>>,
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
        let decision = self.restarts.on_exit(index, code);
        let number = index + 1;
        let end = match status {
            Ok(_) if code == Some(EXIT_SUCCESS) => None,
            Ok(_) if code == Some(EXIT_INTERRUPTED) => Some(format!("node {number} was stopped")),
            Ok(status) => Some(format!("node {number} failed: {status}")),
            Err(why) => Some(format!("node {number} cannot be waited for: {why}")),
        };
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
            let again = command(
                self.arguments,
                number,
                self.endpoints,
                self.has_begun(number),
            );
            let again = again.and_then(|again| NodeProcess::start(number, again, &self.sender));
            match again {
                Ok(process) => self.processes[index] = process,
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

/// Checks that nodes are placed here, and not in the config.
fn check_place(cluster: &ClusterConfig, nodes: u32, endpoints: &[String]) -> Result<(), RunError> {
    let places = [
        ("cluster.node", cluster.node == Some(1)),
        ("cluster.nodes", cluster.nodes == u64::from(nodes)),
        ("cluster.connect", cluster.connect == endpoints),
        (
            "cluster.listen",
            nodes == 1 || cluster.listen == endpoints[..1],
        ),
    ];
    match places.into_iter().find(|(_, fits)| !fits) {
        Some((key, _)) => Err(RunError::Placed { key }),
        None => Ok(()),
    }
}

/// Loopback endpoints that are free at this moment.
fn free_endpoints(nodes: u32) -> Result<Vec<String>, RunError> {
    let held: io::Result<Vec<TcpListener>> = (0..nodes)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect();
    let addresses = held.and_then(|held| {
        let addresses = held.iter().map(TcpListener::local_addr);
        addresses.collect::<io::Result<Vec<_>>>()
    });
    let addresses = addresses.map_err(|source| RunError::NoPorts { nodes, source })?;
    Ok(addresses.iter().map(|a| format!("tcp/{a}")).collect())
}

/// The overrides that node 1 gets.
fn overrides(arguments: &Launch, endpoints: &[String]) -> Vec<String> {
    let connect = format!("cluster.connect={endpoints:?}");
    let place = [
        String::from("cluster.node=1"),
        format!("cluster.nodes={}", arguments.nodes),
    ];
    let set = arguments.train.set.iter().cloned();
    place.into_iter().chain([connect]).chain(set).collect()
}

/// The command of node `node`: this program, with the node's number and endpoints. A node that is
/// started `again` continues what it has begun.
fn command(
    arguments: &Launch,
    node: u32,
    endpoints: &[String],
    again: bool,
) -> Result<Command, RunError> {
    let program = std::env::current_exe().map_err(|why| RunError::NoNode {
        node,
        why: why.to_string(),
    })?;
    let mut command = Command::new(program);
    command
        .arg("--config")
        .arg(&arguments.train.config)
        .args(["--node", &format!("{node}/{}", arguments.nodes)])
        .args(["--connect", &endpoints.join(",")]);
    for set in &arguments.train.set {
        command.args(["--set", set]);
    }
    if arguments.train.quiet {
        command.arg("--quiet");
    }
    if arguments.resume || again {
        command.arg("--resume");
    }
    command.env(LAUNCHED, "1");
    // A terminal sends Ctrl-C to a whole process group: in its own group, a node gets each signal
    // once.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    Ok(command)
}
