//! The other nodes, as the thread that called burn-train sees them.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use burn::data::dataset::DatasetError;
use burn_train::{Interrupter, TrainingError};
use lsgd_core::{Group, Layout, Method, Mode, Snapshot};
use lsgd_link::{ClusterError, ClusterEvent, ClusterHandle, LinkConfig, Training};

use crate::cluster_config::ClusterConfig;
use crate::setup::Record;
use crate::start::Start;

/// How soon a request to stop the training is noticed.
const TIMEOUT: Duration = Duration::from_millis(200);

/// What must be the same on all nodes.
pub struct Shared<'a> {
    pub method: &'a Method,
    pub mode: Mode,
    pub workers: u32,
    /// The initial weights.
    pub initial: &'a Snapshot,
    /// Whatever else must not differ, described for users.
    pub agreement: BTreeMap<String, String>,
}

/// The other nodes. Dropping it disconnects from them immediately.
pub struct Cluster {
    handle: ClusterHandle,
    messages: Receiver<FromCluster>,
    workers: Arc<Mutex<Workers>>,
    /// How many of the requests to begin have been acted on.
    begins: u64,
    limit: Duration,
}

/// The workers in training, as the driver's thread knows them.
#[derive(Default)]
struct Workers {
    /// The number of requests to begin or to end.
    told: u64,
    /// The current group of workers.
    group: Option<Group>,
}

impl Workers {
    /// Ends the current group, because there is a new request.
    fn end(&mut self) {
        self.told += 1;
        if let Some(group) = self.group.take() {
            group.close();
        }
    }
}

/// Actions of this node that the other nodes require.
enum FromCluster {
    Begin(Start),
    Concluded,
    Failed(ClusterError),
}

impl Cluster {
    /// Connects to them. Events go to `record`, and messages for users to the log.
    pub fn open(
        config: &ClusterConfig,
        shared: Shared<'_>,
        record: Record,
    ) -> Result<Self, TrainingError> {
        let training = Training {
            checkpoints: Vec::new(),
            method: shared.method.clone(),
            mode: shared.mode,
            workers: shared.workers,
            wait: config.wait,
            limit: config.round_limit,
        };
        let (sender, messages) = channel();
        let workers: Arc<Mutex<Workers>> = Arc::default();
        let handle = {
            let workers = workers.clone();
            let tell = move |event| match event {
                // Its nodes have no checkpoints to continue from.
                ClusterEvent::Begin {
                    step, parameters, ..
                } => {
                    lock(&workers).end();
                    send(&sender, FromCluster::Begin(Start { step, parameters }));
                }
                ClusterEvent::Failed(why) => {
                    lock(&workers).end();
                    send(&sender, FromCluster::Failed(why));
                }
                ClusterEvent::Concluded(_) => send(&sender, FromCluster::Concluded),
                ClusterEvent::Event(event) => record(event),
                ClusterEvent::Notice(line) => log::info!("{line}"),
                // It keeps no record of them.
                ClusterEvent::Traffic(_) => {}
            };
            ClusterHandle::open(link_config(config, &shared), training, tell).map_err(refused)?
        };
        Ok(Self {
            handle,
            messages,
            workers,
            begins: 0,
            limit: config.round_limit,
        })
    }

    /// Waits until this node may begin; `None` if the training is stopped first.
    pub fn wait_to_begin(
        &mut self,
        interrupter: &Interrupter,
    ) -> Result<Option<Start>, TrainingError> {
        while !interrupter.should_stop() {
            match self.messages.recv_timeout(TIMEOUT) {
                Ok(FromCluster::Begin(start)) => {
                    self.begins += 1;
                    return Ok(Some(start));
                }
                Ok(FromCluster::Failed(why)) => return Err(refused(why)),
                Ok(FromCluster::Concluded) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Workers have begun where they were told to. The group is closed by the next request.
    pub fn begun(&mut self, group: &Group) {
        let mut workers = lock(&self.workers);
        match workers.told == self.begins {
            true => workers.group = Some(group.clone()),
            false => group.close(),
        }
        drop(workers);
        // Nothing in a learner depends on how long the run has been training.
        self.handle.begun(group, || Duration::ZERO);
    }

    /// Where the workers are to begin instead, if the others have moved on without them.
    pub fn left_behind(&mut self) -> Result<Option<Start>, TrainingError> {
        // One at a time: workers begin once for every request.
        match self.messages.try_recv() {
            Ok(FromCluster::Begin(start)) => {
                self.begins += 1;
                Ok(Some(start))
            }
            Ok(FromCluster::Failed(why)) => Err(refused(why)),
            Ok(FromCluster::Concluded) | Err(_) => Ok(None),
        }
    }

    /// The callback for every finished batch.
    pub fn progress(&self) -> Box<dyn Fn()> {
        Box::new(self.handle.progress())
    }

    /// The training is over. Waits until all other nodes are done too, unless they make no progress
    /// or `interrupter` asks to stop: they may still need what this one has published.
    pub fn finish(self, interrupter: &Interrupter) {
        self.handle.finish(None);
        while !interrupter.should_stop() {
            match self.messages.recv_timeout(TIMEOUT) {
                Ok(FromCluster::Concluded) => {
                    self.handle.close(Some(self.limit));
                    return;
                }
                Ok(FromCluster::Begin(_)) | Err(RecvTimeoutError::Timeout) => {}
                Ok(FromCluster::Failed(_)) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

fn send(sender: &Sender<FromCluster>, message: FromCluster) {
    // If the receiver is gone, the training is over.
    let _ = sender.send(message);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn link_config(config: &ClusterConfig, shared: &Shared<'_>) -> LinkConfig {
    let layout: &Arc<Layout> = shared.initial.layout();
    let mut description = shared.agreement.clone();
    for (key, value) in [
        ("workers", shared.workers.to_string()),
        ("the mode", format!("{:?}", shared.mode)),
        ("the method", format!("{:?}", shared.method)),
        ("the model's layout", layout.digest().to_string()),
        ("the initial weights", shared.initial.digest().to_string()),
        ("the lease", format!("{:?}", config.lease)),
        ("the version", String::from(env!("CARGO_PKG_VERSION"))),
    ] {
        description.insert(String::from(key), value);
    }
    LinkConfig {
        run: config.run.clone(),
        node: config.node,
        nodes: config.nodes,
        incarnation: lsgd_link::new_incarnation(),
        listen: config.listen.clone(),
        connect: config.connect.clone(),
        known_as: match config.connect.len() == config.nodes as usize {
            true => config.connect.get(config.node as usize).cloned(),
            false => None,
        },
        tls: config.tls.clone(),
        lease: config.lease,
        wire: config.wire,
        description,
        layout: layout.clone(),
    }
}

/// burn-train's error for nodes that cannot train together: the only kind that keeps the cause.
fn refused(why: ClusterError) -> TrainingError {
    TrainingError::Dataset(DatasetError::new(why))
}
