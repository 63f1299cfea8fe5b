//! Nodes of a run as processes, on loopback unless places for them are given, and what they say.

#![allow(dead_code, reason = "shared by two tests, each of which uses a part")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ports::free_port;
use super::program::{PROGRAM, Run, Runs, SLOW, workspace};

/// When a node is taken to hang: far longer than anything it is waited for takes.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A small model on generated images, trained until it is told to stop.
pub const ENDLESS: [&str; 4] = [
    "budget.minutes=30",
    "evaluate.every_steps=200",
    "method.local_period=4",
    "method.global_period=8",
];

/// A machine that stands still for a second or two loses no node.
pub const PATIENT: &str = "cluster.silence_seconds=10";

/// The nodes of one run, from 1.
pub struct Cluster<'a> {
    runs: &'a Runs,
    name: String,
    places: Vec<Place>,
    /// Whether nodes are started with `--resume`.
    resumes: bool,
    /// Whether nodes that are started now are slow.
    pub is_slow: bool,
    /// Overrides before all others.
    usual: &'static [&'static str],
    pub nodes: Vec<Node>,
}

/// Where a node runs.
pub struct Place {
    /// A command that runs another there: the program's own is put behind it.
    pub command: Vec<String>,
    /// Where the node listens.
    pub endpoint: String,
}

impl Place {
    /// This machine.
    pub fn on_loopback(endpoint: &str) -> Self {
        Self {
            command: Vec::new(),
            endpoint: endpoint.to_owned(),
        }
    }

    /// With at most so many open files.
    pub fn with_open_files(self, most: u32) -> Self {
        let limited = format!("ulimit -n {most} && exec \"$@\"");
        Self {
            command: ["sh", "-c", &limited, "sh"].map(String::from).into(),
            ..self
        }
    }
}

impl<'a> Cluster<'a> {
    /// Starts `count` nodes that train the smoke config with these overrides.
    pub fn start(runs: &'a Runs, name: &str, count: usize, set: &[&str]) -> Self {
        Self::none(runs, name, count).started(set)
    }

    /// Room for `count` nodes, none of them started.
    pub fn none(runs: &'a Runs, name: &str, count: usize) -> Self {
        let place = |_| Place::on_loopback(&format!("tcp/127.0.0.1:{}", free_port()));
        Self::at(runs, name, (0..count).map(place).collect()).patient()
    }

    /// With nodes that are far from their end when they are killed.
    pub fn slow(mut self) -> Self {
        self.is_slow = true;
        self
    }

    /// With nodes that are taken for dead when they are, and not when they are only slow.
    pub fn patient(mut self) -> Self {
        self.usual = &[PATIENT];
        self
    }

    /// Room for a node at each place, none of them started.
    pub fn at(runs: &'a Runs, name: &str, places: Vec<Place>) -> Self {
        Self {
            runs,
            name: name.to_owned(),
            places,
            resumes: false,
            is_slow: false,
            usual: &[],
            nodes: Vec::new(),
        }
    }

    /// Starts its nodes with `--resume`.
    pub fn resuming(mut self) -> Self {
        self.resumes = true;
        self
    }

    /// The places of its nodes, for other ones.
    pub fn take_places(self) -> Vec<Place> {
        self.places
    }

    /// Starts all nodes with these overrides.
    pub fn started(mut self, set: &[&str]) -> Self {
        for number in 1..=self.places.len() {
            let node = self.node(number, set);
            self.nodes.push(node);
        }
        self
    }

    /// Starts node `number`, once more if it was started before.
    pub fn node(&self, number: usize, set: &[&str]) -> Node {
        let set = [self.usual, set].concat();
        let mut arguments = self.runs.arguments("configs/smoke.toml", &self.name, &set);
        let which = format!("{number}/{}", self.places.len());
        arguments.extend([String::from("--node"), which]);
        let endpoints: Vec<&str> = self.places.iter().map(|p| p.endpoint.as_str()).collect();
        arguments.extend([String::from("--connect"), endpoints.join(",")]);
        if self.resumes {
            arguments.push(String::from("--resume"));
        }
        let pace: &[&str] = if self.is_slow { &SLOW } else { &[] };
        let place = self.places[number - 1].command.iter().map(String::as_str);
        let words = place.chain(pace.iter().copied()).chain([PROGRAM]);
        let words: Vec<String> = words.map(String::from).chain(arguments).collect();
        Node::start(number, &words)
    }

    /// Kills node `number` and starts it again with the same overrides.
    pub fn restart(&mut self, number: usize, set: &[&str]) {
        let again = self.node(number, set);
        self.nodes[number - 1] = again;
    }

    /// Asks all nodes to stop, and waits for their end.
    pub fn stop(&mut self) {
        for node in &self.nodes {
            node.signal("INT");
        }
        for node in &mut self.nodes {
            assert_eq!(node.end(), Some(130), "{}", node.said());
        }
    }

    /// Waits until all have trained to their end.
    pub fn finish(&mut self) {
        for node in &mut self.nodes {
            assert_eq!(node.end(), Some(0), "{}", node.said());
        }
    }

    /// Where node `number` listens.
    pub fn endpoint(&self, number: usize) -> &str {
        &self.places[number - 1].endpoint
    }

    /// The folder of node `number`.
    pub fn run(&self, number: usize) -> Run {
        Run {
            path: self.folder().join(format!("node-{number}")),
        }
    }

    /// All nodes' folders.
    pub fn all_runs(&self) -> Vec<Run> {
        (1..=self.places.len()).map(|n| self.run(n)).collect()
    }

    /// Digests of all workers, in order of worker id.
    pub fn digests(&self) -> Vec<String> {
        self.all_runs().iter().flat_map(Run::digests).collect()
    }

    fn folder(&self) -> PathBuf {
        self.runs.path().join(&self.name)
    }

    /// Lets all nodes train until a hundred vectors more or so have crossed to each.
    pub fn train_on(&mut self) {
        for node in &mut self.nodes {
            for _ in 0..10 {
                node.hear("; replica mean");
            }
        }
    }

    /// Checks that node `number`, started once, received the vectors that its exchanges and
    /// beginnings say, within 2 %: faults, and the end, cut off what was under way.
    #[track_caller]
    pub fn assert_volume(&self, number: usize) {
        let run = self.run(number);
        let summary = run.summary();
        let peers = summary["nodes"]["traffic"]["peers"].as_object().unwrap();
        let received = peers
            .values()
            .filter_map(|peer| peer.get("parameters")?["received"].as_u64());
        let received = received.sum::<u64>() as f64;
        let exchanges = run.events("exchange");
        let of_scope = |scope| {
            exchanges
                .iter()
                .filter(move |event| event["scope"] == scope)
        };
        let bytes = |event: &Value| event["bytes"].as_u64().unwrap() as f64;
        let vector = of_scope("local").map(bytes).next().unwrap();
        let joined = run.events("joined");
        let began = joined.iter().map(bytes).sum::<f64>();
        let told = of_scope("global").map(bytes).sum::<f64>() + began;
        assert!(
            told >= 50.0 * vector && (received - told).abs() <= 0.02 * told,
            "node {number} of {}: {received} bytes received; {told} told, vectors of {vector}",
            self.name,
        );
    }
}

/// Waits for the end of a process that is not this one's child.
#[track_caller]
pub fn wait_for_the_end(process: u32) {
    let waited = Command::new("timeout")
        .arg(LIMIT.as_secs().to_string())
        .args(["tail", "-f", "/dev/null", &format!("--pid={process}")])
        .status();
    assert!(waited.unwrap().success(), "process {process} does not end");
}

/// Kills nodes so that none sees another die: all stand still before the first is killed.
pub fn kill_at_once(pids: &[u32]) {
    for signal in ["-STOP", "-KILL"] {
        let pids = pids.iter().map(u32::to_string);
        let sent = Command::new("kill").arg(signal).args(pids).status();
        assert!(sent.unwrap().success());
    }
}

/// A node's process.
pub struct Node {
    pub number: usize,
    process: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Node {
    /// Starts a command, its words as given.
    pub fn start(number: usize, words: &[String]) -> Self {
        let mut process = Command::new(&words[0])
            .args(&words[1..])
            .current_dir(workspace())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            number,
            process,
            lines,
            said: Vec::new(),
        }
    }

    /// Waits for a line that contains `text` and has not been returned before; not without end if the
    /// node says other things meanwhile.
    #[track_caller]
    pub fn hear(&mut self, text: &str) -> String {
        let began = Instant::now();
        while began.elapsed() < 5 * LIMIT
            && let Ok(line) = self.lines.recv_timeout(LIMIT)
        {
            self.said.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!(
            "node {} did not say {text:?}:\n{}",
            self.number,
            self.said()
        );
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The ids of the processes that it has started.
    pub fn children(&self) -> Vec<u32> {
        let is_child = |id: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // Behind the name, which is in brackets, stand the state and the parent.
            let parent = stat
                .rsplit_once(')')
                .and_then(|(_, rest)| rest.split_whitespace().nth(1));
            parent == Some(&self.process.id().to_string())
        };
        std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
            .filter(is_child)
            .collect()
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end, and returns its exit code.
    pub fn end(&mut self) -> Option<i32> {
        // It ends its lines when it ends.
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            self.said.push(line);
        }
        if self.process.try_wait().unwrap().is_none() {
            let _ = self.process.kill();
        }
        self.process.wait().unwrap().code()
    }

    /// All it has said.
    pub fn said(&self) -> String {
        self.said.join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
