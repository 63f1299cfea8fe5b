//! The exchange with the other nodes: a thread that drives a [`GlobalLeader`] with events of the
//! link, the workers and the clock, and carries out its actions.

mod driver;
mod error;

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lsgd_core::{
    CheckpointRef, Event, GlobalLeader, GlobalLeaderState, Group, Method, Mode, NodeConfig,
    NodeUpdate, Snapshot,
};

use crate::config::LinkConfig;
use crate::error::LinkError;
use crate::incoming::Incoming;
use crate::link::Link;
use crate::traffic::Traffic;
use driver::{ClusterDriver, Own};
pub use error::ClusterError;

/// What a node trains, as far as the exchange with the others depends on it.
#[derive(Debug, Clone)]
pub struct Training {
    /// The method.
    pub method: Method,
    /// Whether workers wait for each other.
    pub mode: Mode,
    /// Workers of this node; each node has as many.
    pub workers: u32,
    /// How long the node waits for the others at the start.
    pub wait: Duration,
    /// `sync`: how long it waits for a node that makes no progress.
    pub limit: Duration,
    /// The checkpoints that it can continue from; empty if it begins anew.
    pub checkpoints: Vec<CheckpointRef>,
}

/// What the training thread is told about the other nodes.
#[derive(Debug)]
pub enum ClusterEvent {
    /// Workers are to begin; stop those already in training first, since the others have moved on
    /// without them.
    Begin {
        /// The step that they begin at.
        step: u64,
        /// Their parameters; the initial weights if there are none.
        parameters: Option<Arc<Snapshot>>,
        /// How long the run has been trained before, as far as is known.
        trained: Duration,
        /// Whether they continue from this node's own checkpoint of that step; call
        /// [`ClusterHandle::resume`] before they begin.
        resumes: bool,
    },
    /// Something for the record.
    Event(Event),
    /// A line for the user.
    Notice(String),
    /// The bytes so far, told every few seconds while workers make progress.
    Traffic(Traffic),
    /// All nodes have finished: the mean of all their workers, for this node to evaluate, or `None`
    /// if another node evaluates it or there is none.
    Concluded(Option<Arc<Snapshot>>),
    /// This node cannot train with the others.
    Failed(ClusterError),
}

/// The exchange with the other nodes of a run. Dropping it leaves the run at once.
#[derive(Debug)]
pub struct ClusterHandle {
    inputs: Sender<Input>,
    thread: Option<JoinHandle<Traffic>>,
    /// How many worker pools have started; fewer than requested while one is late.
    groups: u64,
}

/// Inputs of the driver's thread.
#[allow(clippy::large_enum_variant, reason = "few at a time, and soon done")]
enum Input {
    /// From the other nodes.
    Link(Incoming),
    /// From the pool with this number.
    Update(u64, NodeUpdate),
    /// A worker made progress.
    Progress,
    /// The workers of a pool have started, by this clock.
    Begun(u64, Group, Clock),
    /// What the node remembered of the exchange.
    Resume(GlobalLeaderState),
    /// What does it remember of the exchange?
    State(Sender<GlobalLeaderState>),
    /// The workers have finished, with this sum of their values.
    Finish(Option<Snapshot>),
    /// The node needs nothing more; the thread ends once no other node needs it, at the latest
    /// after this time. Without a time it leaves at once, without telling the others.
    Close(Option<Duration>),
}

/// Tells how long the run has been trained.
type Clock = Box<dyn Fn() -> Duration + Send>;

/// The number of an incarnation that starts now: a later one has a higher number.
pub fn new_incarnation() -> u64 {
    incarnation_at(SystemTime::now())
}

/// The number of an incarnation that starts at this time.
pub fn incarnation_at(start: SystemTime) -> u64 {
    let since = start.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

impl ClusterHandle {
    /// Connects to the other nodes. `tell` is called from the driver's thread with what they bring,
    /// [`ClusterEvent::Begin`] first; it should only hand that on.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] if the link cannot be opened, the method cannot run in the mode, or the system
    /// gives no thread.
    pub fn open(
        link: LinkConfig,
        training: Training,
        tell: impl FnMut(ClusterEvent) + Send + 'static,
    ) -> Result<Self, ClusterError> {
        let (inputs, received) = channel();
        let node = NodeConfig {
            node: link.node,
            nodes: link.nodes,
            workers: training.workers,
            incarnation: link.incarnation,
            wire: link.wire,
            wait: training.wait,
            limit: training.limit,
        };
        let method = training.method.clone();
        let leader = GlobalLeader::new(node, method, training.mode, Duration::ZERO)?;
        let leader = leader.continuing(training.checkpoints.clone(), Duration::ZERO);
        let own = Own {
            node: link.node,
            incarnation: link.incarnation,
            layout: link.layout.clone(),
        };
        let link = Link::open(link, {
            let inputs = inputs.clone();
            move |incoming| {
                let _ = inputs.send(Input::Link(incoming));
            }
        })?;
        let driver = ClusterDriver::new(leader, link, own, training, Box::new(tell));
        let thread = Builder::new()
            .name(String::from("nodes"))
            .spawn(move || driver.run(&received))
            .map_err(|why| LinkError::NoThread {
                why: why.to_string(),
            })?;
        Ok(Self {
            inputs,
            thread: Some(thread),
            groups: 0,
        })
    }

    /// The node's workers have begun, as [`ClusterEvent::Begin`] said; `trained` tells how long the
    /// run has been trained. Anything that earlier workers still send is ignored. Their local
    /// leader is one [among nodes](lsgd_core::LocalLeader::among_nodes).
    pub fn begun(&mut self, group: &Group, trained: impl Fn() -> Duration + Send + 'static) {
        self.groups += 1;
        let number = self.groups;
        let inputs = self.inputs.clone();
        group.on_update(move |update| {
            let _ = inputs.send(Input::Update(number, update));
        });
        self.send(Input::Begun(number, group.clone(), Box::new(trained)));
    }

    /// Continues with what the node remembered of the exchange at its checkpoint.
    pub fn resume(&self, state: GlobalLeaderState) {
        self.send(Input::Resume(state));
    }

    /// What the node remembers of the exchange, for a checkpoint; `None` if the exchange has ended.
    pub fn state(&self) -> Option<GlobalLeaderState> {
        let (sender, state) = channel();
        self.send(Input::State(sender));
        state.recv().ok()
    }

    /// What to call whenever a worker made progress: in `sync` the others wait no longer than the limit
    /// for a node that makes none.
    pub fn progress(&self) -> impl Fn() + Send + 'static {
        let inputs = self.inputs.clone();
        move || {
            let _ = inputs.send(Input::Progress);
        }
    }

    /// The node's workers have finished, with this sum of their values if they are finite and the
    /// mean of all nodes' workers is needed. [`ClusterEvent::Concluded`] follows.
    pub fn finish(&self, sum: Option<Snapshot>) {
        self.send(Input::Finish(sum));
    }

    /// Ends the exchange and returns the traffic. With a timeout, tells the others that the mean
    /// over all workers has been evaluated, and waits at most so long until they know. Without one,
    /// the node leaves at once, and leaves an unfinished evaluation to the others.
    pub fn close(mut self, timeout: Option<Duration>) -> Traffic {
        self.send(Input::Close(timeout));
        let thread = self.thread.take();
        thread.and_then(|t| t.join().ok()).unwrap_or_default()
    }

    fn send(&self, input: Input) {
        // If the thread is gone, it has reported why.
        let _ = self.inputs.send(input);
    }
}

impl Drop for ClusterHandle {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.send(Input::Close(None));
            let _ = thread.join();
        }
    }
}
