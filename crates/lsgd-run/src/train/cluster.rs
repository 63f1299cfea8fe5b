//! The exchange with other nodes: connects a run with a [`ClusterHandle`].

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime};

use lsgd_core::{CheckpointRef, GlobalLeaderState, Snapshot};
use lsgd_link::{ClusterError, ClusterEvent, ClusterHandle, LinkConfig, Traffic, Training};

use super::inbox::Inbox;
use super::messages::{FromCluster, Start, ToMain};
use super::setup::Setup;
use super::worker_pool::WorkerPool;
use crate::error::RunError;
use crate::train::NodesError;

/// The main thread's handle of the exchange with other nodes. Dropping it ends the exchange at
/// once.
#[derive(Debug)]
pub struct Cluster {
    handle: ClusterHandle,
}

impl Cluster {
    /// Connects to the other nodes, and from then on sends their events to `inbox`. The node can
    /// continue from these checkpoints. Its process was started at `start`.
    ///
    /// # Errors
    ///
    /// [`RunError`] if the link cannot be opened or the system starts no thread.
    pub fn open(
        setup: &Arc<Setup>,
        inbox: &mut Inbox,
        checkpoints: Vec<CheckpointRef>,
        start: SystemTime,
    ) -> Result<Self, RunError> {
        let cluster = &setup.settings().cluster;
        let training = Training {
            method: setup.method.clone(),
            mode: setup.plan.mode,
            workers: u32::try_from(setup.workers()).unwrap_or(u32::MAX),
            wait: Duration::from_secs(cluster.wait_seconds),
            limit: Duration::from_secs(cluster.round_limit_seconds),
            checkpoints,
        };
        let to_main = inbox.sender();
        let handle = ClusterHandle::open(link_config(setup, start), training, move |event| {
            tell(&to_main, event);
        })?;
        inbox.on_progress(handle.progress());
        Ok(Self { handle })
    }

    /// Continues with what the node remembered of the exchange.
    pub fn resume(&self, state: GlobalLeaderState) {
        self.handle.resume(state);
    }

    /// What the node remembers of the exchange, while its workers pause.
    pub fn state(&self) -> Option<GlobalLeaderState> {
        self.handle.state()
    }

    /// The node's workers have started. Updates of earlier pools are ignored from now on.
    pub fn begun(&mut self, pool: &WorkerPool) {
        let clock = pool.clock().clone();
        self.handle.begun(pool.group(), move || clock.elapsed());
    }

    /// The node's workers have finished, with this sum of their values if they are finite.
    /// [`FromCluster::Concluded`] follows.
    pub fn finish(&self, sum: Option<Snapshot>) {
        self.handle.finish(sum);
    }

    /// Ends the exchange, and tells what was counted; as [`ClusterHandle::close`].
    pub fn close(self, timeout: Option<Duration>) -> Traffic {
        self.handle.close(timeout)
    }
}

/// Passes an event on to the main thread. If that is gone, the run is over.
fn tell(to_main: &Sender<ToMain>, event: ClusterEvent) {
    let message = match event {
        ClusterEvent::Begin {
            step,
            resumes: true,
            ..
        } => FromCluster::Resume { step },
        ClusterEvent::Begin {
            step,
            parameters,
            trained,
            resumes: false,
        } => FromCluster::Begin(Start {
            step,
            parameters,
            trained,
            resumed: None,
        }),
        ClusterEvent::Event(event) => FromCluster::Event(event),
        ClusterEvent::Notice(line) => FromCluster::Notice(line),
        ClusterEvent::Traffic(traffic) => FromCluster::Traffic(traffic),
        ClusterEvent::Concluded(mean) => FromCluster::Concluded(mean),
        ClusterEvent::Failed(why) => FromCluster::Failed(why.into()),
    };
    let _ = to_main.send(ToMain::Cluster(message));
}

/// In the words of the config, whose keys the messages name.
impl From<ClusterError> for RunError {
    fn from(error: ClusterError) -> Self {
        Self::Nodes(match error {
            ClusterError::Link(why) => return Self::Link(why),
            ClusterError::Method(why) => return Self::Method(why),
            ClusterError::NodeDiffers { node, differences } => {
                NodesError::NodeDiffers { node, differences }
            }
            ClusterError::NodeRuns { node } => NodesError::NodeRuns { node },
            ClusterError::NodesAbsent {
                nodes,
                seconds,
                seen,
            } => NodesError::NodesAbsent {
                nodes,
                seconds,
                seen,
            },
            ClusterError::CannotJoin { method } => NodesError::CannotJoin { method },
        })
    }
}

fn link_config(setup: &Setup, start: SystemTime) -> LinkConfig {
    let cluster = &setup.settings().cluster;
    let mut shared = setup.job.shared.clone();
    shared.extend(setup.facts.agreement.clone());
    for (key, value) in [
        ("workers.count", setup.workers().to_string()),
        ("the model's layout", setup.layout.digest().to_string()),
        ("the initial weights", setup.initial.digest().to_string()),
        ("the frozen parameters", setup.frozen.digest().to_string()),
        ("the version", env!("CARGO_PKG_VERSION").to_owned()),
    ] {
        shared.insert(key.to_owned(), value);
    }
    LinkConfig {
        run: setup.settings().run.name.clone(),
        node: setup.node,
        nodes: setup.nodes,
        incarnation: lsgd_link::incarnation_at(start),
        listen: cluster.listen.clone(),
        // All nodes may have the same list, including their own endpoint.
        connect: cluster
            .connect
            .iter()
            .filter(|endpoint| !cluster.listen.contains(endpoint))
            .cloned()
            .collect(),
        known_as: match cluster.connect.len() == setup.nodes as usize {
            true => cluster.connect.get(setup.node as usize).cloned(),
            false => None,
        },
        tls: cluster.tls.clone().map(|tls| lsgd_link::Tls {
            ca: tls.ca,
            certificate: tls.certificate,
            key: tls.key,
        }),
        lease: Duration::from_secs_f64(cluster.silence_seconds),
        wire: cluster.wire,
        description: shared,
        layout: setup.layout.clone(),
    }
}
