//! Nodes for the tests: links whose incoming things can be waited for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::Device;
use lsgd_core::{
    Layout, NodePhase, Snapshot, SnapshotDigest, Source, Status, WireFormat, WorkerId,
};
use lsgd_link::{FetchError, FetchRequest, Incoming, LEASE, Link, LinkConfig, LinkError};
use zenoh::Wait;

use crate::ports::free_port;

/// Far longer than anything here takes, also on a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A link, and what it has told.
pub struct Node {
    pub link: Link,
    inbox: Receiver<Incoming>,
    passed: RefCell<Vec<Incoming>>,
}

impl Node {
    pub fn open(config: LinkConfig) -> Result<Self, LinkError> {
        let (sink, inbox) = mpsc::channel();
        let link = Link::open(config, move |incoming| {
            // How far a fetch has come is nothing that these tests wait for.
            if !matches!(incoming, Incoming::Arrived) {
                let _ = sink.send(incoming);
            }
        })?;
        Ok(Self {
            link,
            inbox,
            passed: RefCell::default(),
        })
    }

    /// The first message for which `pick` returns something. Others stay for later calls.
    pub fn wait<T>(&self, mut pick: impl FnMut(&Incoming) -> Option<T>) -> T {
        let mut passed = self.passed.borrow_mut();
        for index in 0..passed.len() {
            if let Some(found) = pick(&passed[index]) {
                passed.remove(index);
                return found;
            }
        }
        let end = Instant::now() + TIMEOUT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(incoming) = self.inbox.recv_timeout(left) else {
                panic!("waited in vain; there was {passed:?}");
            };
            match pick(&incoming) {
                Some(found) => return found,
                None => passed.push(incoming),
            }
        }
    }

    /// All messages so far that no call has waited for.
    pub fn told(&self) -> Vec<Incoming> {
        self.passed
            .borrow_mut()
            .drain(..)
            .chain(self.inbox.try_iter())
            .collect()
    }

    pub fn wait_appeared(&self, expected: u32) -> u64 {
        self.wait(|incoming| match incoming {
            Incoming::Connected { node, incarnation } if *node == expected => Some(*incarnation),
            _ => None,
        })
    }

    /// Until all of `missing` have connected, in any order.
    pub fn wait_appeared_all(&self, missing: &[u32]) {
        let mut missing = missing.to_vec();
        while !missing.is_empty() {
            let seen = self.wait(|incoming| match incoming {
                Incoming::Connected { node, .. } => Some(*node),
                _ => None,
            });
            missing.retain(|&node| node != seen);
        }
    }

    pub fn wait_vanished(&self, expected: u32) -> u64 {
        self.wait(|incoming| match incoming {
            Incoming::Disconnected { node, incarnation } if *node == expected => Some(*incarnation),
            _ => None,
        })
    }

    /// The next status that `pick` takes. That it came as the heartbeat which repeats it, as it may on a busy
    /// machine, is not told.
    pub fn wait_status(&self, pick: impl Fn(&Status) -> bool) -> Status {
        self.wait(|incoming| match incoming {
            Incoming::Status(status) if pick(status) => Some(Status {
                heartbeat: false,
                ..status.clone()
            }),
            _ => None,
        })
    }

    /// Whether a status comes within a tenth of a second of which `pick` says that it is the one; others
    /// that come meanwhile are dropped.
    pub fn hears_soon(&self, pick: impl Fn(&Status) -> bool) -> bool {
        let end = Instant::now() + Duration::from_millis(100);
        let next = || {
            let left = end.saturating_duration_since(Instant::now());
            self.inbox.recv_timeout(left).ok()
        };
        std::iter::from_fn(next)
            .any(|incoming| matches!(incoming, Incoming::Status(status) if pick(&status)))
    }

    pub fn wait_stranger(&self) -> String {
        self.wait(|incoming| match incoming {
            Incoming::Rejected(line) => Some(line.clone()),
            _ => None,
        })
    }

    pub fn wait_fetched(&self, wanted: SnapshotDigest) -> Result<(Arc<Snapshot>, u32), FetchError> {
        self.wait(|incoming| match incoming {
            Incoming::Fetched { digest, outcome } if *digest == wanted => Some(outcome.clone()),
            _ => None,
        })
    }

    pub fn fetch(&self, digest: SnapshotDigest, holders: &[u32]) {
        self.start_fetch((digest, source(0)), holders, false);
    }

    /// With all other holders, who fetch it too.
    pub fn fetch_together(&self, digest: SnapshotDigest, holders: &[u32]) {
        self.start_fetch((digest, source(0)), holders, true);
    }

    /// A vector of another origin.
    pub fn fetch_of(&self, source: Source, digest: SnapshotDigest, holders: &[u32]) {
        self.start_fetch((digest, source), holders, false);
    }

    fn start_fetch(
        &self,
        (digest, source): (SnapshotDigest, Source),
        holders: &[u32],
        together: bool,
    ) {
        let holders = holders.to_vec();
        self.link.fetch(FetchRequest {
            digest,
            source,
            weights: 0,
            holders,
            together,
        });
    }
}

/// Node `node` of a run, alone so far.
pub fn config(run: &str, node: u32, nodes: u32) -> LinkConfig {
    LinkConfig {
        run: run.into(),
        node,
        nodes,
        incarnation: 100 + u64::from(node),
        listen: vec![format!("tcp/127.0.0.1:{}", free_port())],
        connect: Vec::new(),
        known_as: None,
        tls: None,
        lease: LEASE,
        wire: WireFormat::F32,
        description: BTreeMap::from([("method.local_pull".into(), "0.1".into())]),
        layout: layout(),
    }
}

/// The nodes of a run, each set to connect to all, itself included.
pub fn configs(run: &str, nodes: u32) -> Vec<LinkConfig> {
    let mut configs: Vec<_> = (0..nodes).map(|node| config(run, node, nodes)).collect();
    let all: Vec<_> = configs
        .iter()
        .flat_map(|config| config.listen.clone())
        .collect();
    for config in &mut configs {
        config.connect = all.clone();
    }
    configs
}

/// All of them open, and each sees the others.
pub fn meet(configs: Vec<LinkConfig>) -> Vec<Node> {
    let nodes: Vec<_> = configs
        .into_iter()
        .map(|config| Node::open(config).unwrap())
        .collect();
    for (own, node) in (0..).zip(&nodes) {
        let others: Vec<u32> = (0..nodes.len() as u32)
            .filter(|&other| other != own)
            .collect();
        node.wait_appeared_all(&others);
    }
    nodes
}

#[derive(Module, Debug)]
struct Network {
    linear: Linear,
    norm: BatchNorm,
}

/// Parameters and running statistics, ten chunks of them: enough for two nodes to share.
pub fn layout() -> Arc<Layout> {
    let device = Device::flex().autodiff();
    Layout::of(&Network {
        linear: LinearConfig::new(600, 256).init(&device),
        norm: BatchNormConfig::new(256).init(&device),
    })
}

pub fn source(node: u32) -> Source {
    let id = WorkerId::new(node, 1);
    Source::Worker { id, step: 7 }
}

/// Values that differ from each other and from seed to seed.
pub fn snapshot(seed: u32) -> Arc<Snapshot> {
    let layout = layout();
    let mut state = seed;
    let mut values = |count| {
        let draw = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..count).map(draw).collect::<Vec<f32>>()
    };
    let (parameters, buffers) = (values(layout.parameter_len()), values(layout.buffer_len()));
    Arc::new(Snapshot::new(layout, source(0), parameters, buffers).unwrap())
}

pub fn bytes_of(snapshot: &Snapshot, wire: WireFormat) -> u64 {
    wire.bytes_of(snapshot)
}

pub fn status(node: u32, sequence: u64) -> Status {
    Status {
        node,
        incarnation: 100 + u64::from(node),
        sequence,
        heartbeat: false,
        phase: NodePhase::Training,
        progress: 5,
        rounds: 1,
        exchanged: 0,
        steps: 64,
        trained: 32_000,
        workers: 2,
        proposals: [None, None],
        join_point: None,
        result: None,
        checkpoints: Vec::new(),
    }
}

/// A Zenoh session that knows the protocol and not the rules, connected to `endpoints`.
pub fn foreign_session(endpoints: &[String]) -> zenoh::Session {
    let settings = format!(
        r#"{{ mode: "peer", listen: {{ endpoints: [] }}, connect: {{ endpoints: {endpoints:?} }},
             scouting: {{ multicast: {{ enabled: false }} }} }}"#
    );
    let config = zenoh::Config::from_json5(&settings).unwrap();
    zenoh::open(config).wait().unwrap()
}

/// Where the keys of a run begin.
pub fn prefix(run: &str) -> String {
    format!("lsgd/5/{}", &blake3::hash(run.as_bytes()).to_hex()[..16])
}
