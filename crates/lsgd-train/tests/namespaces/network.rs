//! A network of namespaces: one for each node, and one with the bridges between them.

use std::ops::RangeInclusive;
use std::process::{self, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::Place;

/// One network at a time: these tests take times, and two would take each other's.
static ALONE: Mutex<()> = Mutex::new(());

/// When what is waited for is taken never to happen.
const LIMIT: Duration = Duration::from_secs(60);

/// Nodes from 1, each on a link of its own to the bridge of its part of the network. Dropping it
/// removes everything.
pub struct Network {
    name: String,
    /// Nodes of each part.
    parts: Vec<usize>,
    _alone: MutexGuard<'static, ()>,
}

impl Network {
    /// A network whose parts, one joined to the next, have so many nodes.
    #[track_caller]
    pub fn of(parts: &[usize]) -> Self {
        Self::laid(parts).unwrap()
    }

    /// Whether this machine lets a network be laid, slowed down and made to lose packets; if not,
    /// which command failed, and how.
    pub fn can_be_laid() -> Result<(), String> {
        let network = Self::laid(&[1])?;
        network.shape("10mbit", "50ms")?;
        network.lose(0.5)
    }

    fn laid(parts: &[usize]) -> Result<Self, String> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let network = Self {
            name: format!("lsgd-{}-{made}", process::id()),
            parts: parts.to_vec(),
            _alone: alone,
        };
        network.lay()?;
        Ok(network)
    }

    fn lay(&self) -> Result<(), String> {
        let hub = self.hub();
        ip(&["netns", "add", &hub])?;
        let mut node = 0;
        for (part, &nodes) in self.parts.iter().enumerate() {
            let bridge = format!("bridge-{part}");
            ip(&["-n", &hub, "link", "add", &bridge, "type", "bridge"])?;
            ip(&["-n", &hub, "link", "set", &bridge, "up"])?;
            if part > 0 {
                let [here, there] = [format!("left-{part}"), format!("right-{part}")];
                let veth = ["type", "veth", "peer", "name", &there];
                ip(&[&["-n", &hub, "link", "add", &here][..], &veth].concat())?;
                let before = format!("bridge-{}", part - 1);
                self.attach(&here, &before)?;
                self.attach(&there, &bridge)?;
            }
            for _ in 0..nodes {
                node += 1;
                self.connect(node, &bridge)?;
            }
        }
        Ok(())
    }

    fn connect(&self, node: usize, bridge: &str) -> Result<(), String> {
        let (hub, space) = (self.hub(), self.space(node));
        ip(&["netns", "add", &space])?;
        let veth = ["type", "veth", "peer", "name", &port(node), "netns", &hub];
        ip(&[&["link", "add", LINK, "netns", &space][..], &veth].concat())?;
        self.attach(&port(node), bridge)?;
        let address = format!("{}/16", address(node));
        ip(&["-n", &space, "addr", "add", &address, "dev", LINK])?;
        ip(&["-n", &space, "link", "set", LINK, "up"])?;
        ip(&["-n", &space, "link", "set", "lo", "up"])
    }

    fn attach(&self, device: &str, bridge: &str) -> Result<(), String> {
        let link = ["-n", &self.hub(), "link", "set", device];
        ip(&[&link[..], &["master", bridge]].concat())?;
        ip(&[&link[..], &["up"]].concat())
    }

    /// Lets every node's link carry so much each way, such as `10mbit`. What cannot leave within
    /// `latency`, such as `50ms`, is lost.
    pub fn shape(&self, rate: &str, latency: &str) -> Result<(), String> {
        let mut nodes = self.nodes();
        nodes.try_for_each(|node| self.shape_node(node, rate, latency))
    }

    /// The same for the link of one node.
    pub fn shape_node(&self, node: usize, rate: &str, latency: &str) -> Result<(), String> {
        // A burst of a few packets: larger ones are sent, and lost, in parts.
        let shaper = ["tbf", "rate", rate, "burst", "5kb", "latency", latency];
        self.tc(node, "qdisc", &[&["root"][..], &shaper].concat())
    }

    /// Loses this share of all packets, each way.
    pub fn lose(&self, share: f64) -> Result<(), String> {
        // A program for the kernel's packet filter, as not every kernel has `netem`:
        //     ld rand; jge #THRESHOLD, drop; ret #TC_ACT_OK; drop: ret #TC_ACT_SHOT
        let random = 0xffff_f038_u32;
        let threshold = ((1.0 - share) * 2f64.powi(32)) as u32;
        let program = format!("4,32 0 0 {random},53 1 0 {threshold},6 0 0 0,6 0 0 2,");
        // Where it arrives: where it leaves, TCP would be told.
        let filter = ["ingress", "bpf", "direct-action", "bytecode", &program];
        self.nodes().try_for_each(|node| {
            self.tc(node, "qdisc", &["clsact"])?;
            self.tc(node, "filter", &filter)
        })
    }

    /// From now on loses everything that belongs to one of a node's TCP connections, each way.
    pub fn cut_connection(&self, node: usize, connection: Connection) {
        let port = connection.port;
        // The ports are the first two fields behind the headers of Ethernet and IP:
        //     ldh [34]; jeq #PORT, drop; ldh [36]; jneq #PORT, keep; drop: ret #TC_ACT_SHOT; keep: ret #TC_ACT_OK
        let program = format!("6,40 0 0 34,21 2 0 {port},40 0 0 36,21 0 1 {port},6 0 0 2,6 0 0 0,");
        let filter = ["ingress", "bpf", "direct-action", "bytecode", &program];
        self.tc(node, "qdisc", &["clsact"]).unwrap();
        self.tc(node, "filter", &filter).unwrap();
    }

    /// The TCP connections of a node's namespace.
    pub fn connections(&self, node: usize) -> Vec<Connection> {
        let cat = ["netns", "exec", &self.space(node), "cat", "/proc/net/tcp"];
        let table = shown("ip", &cat).unwrap();
        table.lines().skip(1).filter_map(Connection::of).collect()
    }

    /// Waits until `found` finds something.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(began.elapsed() < LIMIT, "no {what}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Adds something at both ends of a node's link.
    fn tc(&self, node: usize, what: &str, rest: &[&str]) -> Result<(), String> {
        for (space, device) in [(self.space(node), LINK), (self.hub(), &port(node))] {
            let place = ["-n", &space, what, "add", "dev", device];
            shown("tc", &[&place[..], rest].concat())?;
        }
        Ok(())
    }

    /// Where the nodes run.
    pub fn places(&self) -> Vec<Place> {
        let place = |node| Place {
            command: ["ip", "netns", "exec", &self.space(node)]
                .map(String::from)
                .to_vec(),
            endpoint: format!("tcp/{}:{PORT}", address(node)),
        };
        self.nodes().map(place).collect()
    }

    /// Takes a node's link down, or up again, without notifying any node.
    pub fn set_node(&self, node: usize, state: Link) {
        self.set(&port(node), state);
    }

    /// Cuts a part, from 1, off those before it, or joins them again, without notifying any node.
    pub fn set_part(&self, part: usize, state: Link) {
        self.set(&format!("left-{part}"), state);
    }

    fn set(&self, device: &str, state: Link) {
        let state = match state {
            Link::Up => "up",
            Link::Down => "down",
        };
        ip(&["-n", &self.hub(), "link", "set", device, state]).unwrap();
    }

    /// Bytes that a node has sent.
    pub fn sent(&self, node: usize) -> u64 {
        let show = ["-n", &self.hub(), "-s", "-j", "link", "show", &port(node)];
        let links: Value = serde_json::from_str(&shown("ip", &show).unwrap()).unwrap();
        links[0]["stats64"]["rx"]["bytes"].as_u64().unwrap()
    }

    /// Waits until one of `nodes` has sent `bytes` more than now, and returns which.
    #[track_caller]
    pub fn await_sent(&self, nodes: &[usize], bytes: u64) -> usize {
        let until: Vec<u64> = nodes.iter().map(|&node| self.sent(node) + bytes).collect();
        self.wait_for(&format!("{bytes} bytes from {nodes:?}"), |network| {
            let mut counts = nodes.iter().zip(&until);
            let (&node, _) = counts.find(|&(&node, &until)| network.sent(node) >= until)?;
            Some(node)
        })
    }

    /// Segments that a node's TCP has sent once more.
    pub fn sent_again(&self, node: usize) -> u64 {
        let cat = ["netns", "exec", &self.space(node), "cat", "/proc/net/snmp"];
        let counters = shown("ip", &cat).unwrap();
        let mut lines = counters.lines().filter(|line| line.starts_with("Tcp:"));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let mut both = names.split(' ').zip(values.split(' '));
        let (_, count) = both.find(|(name, _)| *name == "RetransSegs").unwrap();
        count.parse().unwrap()
    }

    fn nodes(&self) -> RangeInclusive<usize> {
        1..=self.parts.iter().sum()
    }

    /// The namespace of the bridges.
    fn hub(&self) -> String {
        format!("{}-hub", self.name)
    }

    /// The namespace of a node.
    fn space(&self, node: usize) -> String {
        format!("{}-{node}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What is in a namespace goes with it. Those that were never made are no loss.
        for space in self.nodes().map(|n| self.space(n)).chain([self.hub()]) {
            let _ = ip(&["netns", "delete", &space]);
        }
    }
}

/// A TCP connection of a node to another.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// The port that no node listens on.
    port: u16,
    /// Bytes sent that have not been acknowledged, or not even sent yet.
    pub unacknowledged: u64,
}

impl Connection {
    /// From a line of `/proc/net/tcp`, if the connection is established.
    fn of(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace().skip(1);
        let port = |address: &str| u16::from_str_radix(address.split_once(':')?.1, 16).ok();
        let ports = [port(fields.next()?)?, port(fields.next()?)?];
        let (state, queues) = (fields.next()?, fields.next()?);
        let unacknowledged = u64::from_str_radix(queues.split_once(':')?.0, 16).ok()?;
        (state == "01").then(|| Self {
            port: ports.into_iter().find(|&port| port != PORT).unwrap(),
            unacknowledged,
        })
    }
}

/// What a link is set to.
#[derive(Debug, Clone, Copy)]
pub enum Link {
    Up,
    Down,
}

/// Where each node listens.
const PORT: u16 = 7447;

/// A node's end of its link.
const LINK: &str = "eth0";

/// The other end.
fn port(node: usize) -> String {
    format!("port-{node}")
}

fn address(node: usize) -> String {
    format!("10.77.0.{node}")
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    shown("ip", arguments).map(drop)
}

/// What a command prints; if it fails, what it says of it.
pub fn shown(program: &str, arguments: &[&str]) -> Result<String, String> {
    let ran = Command::new(program).args(arguments).output();
    let ran = ran.map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match ran.status.success() {
        true => Ok(text(&ran.stdout)),
        false => {
            let command = arguments.join(" ");
            Err(format!("{program} {command}: {}", text(&ran.stderr)))
        }
    }
}
