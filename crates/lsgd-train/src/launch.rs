//! All nodes of a run on this machine: a process each, which speak over loopback.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use crate::cli::{EXIT_FAILED, EXIT_INTERRUPTED, EXIT_SUCCESS, Launch};
use crate::config::{ClusterConfig, Config};
use crate::error::TrainError;
use crate::launcher::{IN_VAIN, LAUNCHED};
use crate::train::Asked;

/// Something that happened while nodes run.
enum Event {
    /// Somebody asks for something.
    Asked(Asked),
    /// A node has closed one of its two outputs.
    Silent(usize),
}

/// Starts all nodes, shows what they say behind their numbers, and waits for them. Returns the exit
/// code of the first that failed; that of an interruption if none did and some were stopped.
///
/// When a node ends before its time, those that still wait for it to begin end too; those that train
/// go on without it. When this process is gone, however it ended, all stop with what they have trained
/// kept.
///
/// Whatever comes from `signals` is passed on to each node.
///
/// # Errors
///
/// [`TrainError`] if the config is wrong, or a node cannot be started; those started are ended then.
pub fn launch(arguments: &Launch, signals: Receiver<Asked>) -> Result<u8, TrainError> {
    let endpoints = free_endpoints(arguments.nodes)?;
    // Says once what every node would say.
    let config = Config::load(&arguments.train.config, &overrides(arguments, &endpoints))?;
    check_place(&config.cluster, arguments.nodes, &endpoints)?;
    let (sender, events) = channel();
    let mut nodes: Vec<Node> = Vec::new();
    for node in 1..=arguments.nodes {
        let started = command(arguments, node, &endpoints)
            .and_then(|command| Node::start(node, command, &sender));
        match started {
            Ok(started) => nodes.push(started),
            Err(error) => {
                nodes.iter_mut().for_each(Node::kill);
                return Err(error);
            }
        }
    }
    // Without this thread a signal reaches the nodes only if it is sent to each.
    let _ = Builder::new().name(String::from("stop")).spawn(move || {
        for asked in signals {
            if sender.send(Event::Asked(asked)).is_err() {
                return;
            }
        }
    });
    Ok(wait(nodes, &events))
}

/// Until all nodes have ended. Returns the exit code of all together.
fn wait(mut nodes: Vec<Node>, events: &Receiver<Event>) -> u8 {
    let mut failed = None;
    let mut stopped = false;
    while nodes.iter().any(|node| node.code.is_none()) {
        match events.recv() {
            Ok(Event::Asked(asked)) => nodes.iter().for_each(|node| node.ask(asked)),
            Ok(Event::Silent(index)) => match nodes[index].closed_an_output() {
                None | Some(EXIT_SUCCESS) => {}
                Some(code) => {
                    match code {
                        EXIT_INTERRUPTED => stopped = true,
                        _ => failed = failed.or(Some(code)),
                    }
                    nodes.iter_mut().for_each(Node::say_that_it_waits_in_vain);
                }
            },
            Err(_) => break,
        }
    }
    let of_the_others = if stopped {
        EXIT_INTERRUPTED
    } else {
        EXIT_SUCCESS
    };
    failed.unwrap_or(of_the_others)
}

/// Whether nodes have the places that they are given here, and not one that the config names.
fn check_place(
    cluster: &ClusterConfig,
    nodes: u32,
    endpoints: &[String],
) -> Result<(), TrainError> {
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
        Some((key, _)) => Err(TrainError::Placed { key }),
        None => Ok(()),
    }
}

/// Loopback endpoints that nobody has at this moment.
fn free_endpoints(nodes: u32) -> Result<Vec<String>, TrainError> {
    let held: io::Result<Vec<TcpListener>> = (0..nodes)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect();
    let addresses = held.and_then(|held| {
        let addresses = held.iter().map(TcpListener::local_addr);
        addresses.collect::<io::Result<Vec<_>>>()
    });
    let addresses = addresses.map_err(|source| TrainError::NoPorts { nodes, source })?;
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

/// The command of node `node`: this program, with the node's place.
fn command(arguments: &Launch, node: u32, endpoints: &[String]) -> Result<Command, TrainError> {
    let program = std::env::current_exe().map_err(|why| TrainError::NoNode {
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
    command.env(LAUNCHED, "1");
    // A terminal sends Ctrl-C to a whole group: in one of its own, a node gets each signal once.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    Ok(command)
}

/// A node's process.
struct Node {
    number: u32,
    process: Child,
    /// Its standard input, which ends with this process; open until it has ended.
    stdin: Option<ChildStdin>,
    /// Outputs that it has not closed.
    open: u32,
    /// Its exit code, once it has ended.
    code: Option<u8>,
}

impl Node {
    fn start(
        number: u32,
        mut command: Command,
        events: &Sender<Event>,
    ) -> Result<Self, TrainError> {
        let failed = |why: io::Error| TrainError::NoNode {
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
            number,
            process,
            stdin,
            open: 2,
            code: None,
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

    /// Asks it to stop, with what it trained kept, or to save it and go on.
    #[cfg(unix)]
    fn ask(&self, asked: Asked) {
        use rustix::process::{Pid, Signal, kill_process};
        if self.code.is_none() {
            let signal = match asked {
                Asked::End => Signal::TERM,
                Asked::Checkpoint => Signal::USR1,
            };
            // It may have ended a moment ago.
            let _ = kill_process(Pid::from_child(&self.process), signal);
        }
    }

    #[cfg(not(unix))]
    fn ask(&self, _: Asked) {}

    /// Tells it that a node it may still be waiting for has ended.
    fn say_that_it_waits_in_vain(&mut self) {
        if let Some(stdin) = &mut self.stdin {
            // It may have ended a moment ago.
            let _ = stdin.write_all(&[IN_VAIN]);
        }
    }

    /// Once both outputs are closed, waits for its end, and says so if it did not come to that of the
    /// run. Returns the exit code.
    fn closed_an_output(&mut self) -> Option<u8> {
        self.open -= 1;
        if self.open > 0 {
            return None;
        }
        let status = self.process.wait();
        let code = status.as_ref().ok().and_then(ExitStatus::code);
        let code = code.and_then(|code| u8::try_from(code).ok());
        let number = self.number;
        // If nobody reads it, the exit code still tells.
        let _ = match (&status, code) {
            (_, Some(EXIT_SUCCESS)) => Ok(()),
            (_, Some(EXIT_INTERRUPTED)) => writeln!(io::stderr(), "node {number} was stopped"),
            (Ok(status), _) => writeln!(io::stderr(), "node {number} failed: {status}"),
            (Err(why), _) => writeln!(io::stderr(), "node {number} cannot be waited for: {why}"),
        };
        self.stdin = None;
        self.code = Some(code.unwrap_or(EXIT_FAILED));
        self.code
    }

    /// Ends it at once.
    fn kill(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Copies lines from a node, its number before each, and says when there are no more.
fn show(
    node: u32,
    from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    events: Sender<Event>,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(format!("node-{node}")).spawn(move || {
        let mut line = Vec::new();
        let mut from = BufReader::new(from);
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line);
            // If nobody reads it, the run's folder has the record.
            let _ = writeln!(to, "node {node} | {}", text.trim_end());
            line.clear();
        }
        let _ = events.send(Event::Silent(node as usize - 1));
    })
}
