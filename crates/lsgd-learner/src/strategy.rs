//! The strategy that burn-train calls.

#[cfg(feature = "nodes")]
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use burn::data::dataloader::split::split_dataloader;
use burn::tensor::Device;
use burn_train::metric::{Adaptor, LossInput};
use burn_train::{
    Learner, LearnerModel, SupervisedLearningStrategy, SupervisedTrainingEventProcessor,
    TrainLoader, TrainStep, TrainingComponents, TrainingError, TrainingStrategy, ValidLoader,
};
use lsgd_core::{Event, Method, Mode, Scope};
#[cfg(feature = "nodes")]
use lsgd_core::{Layout, Source, WorkerId, read};

use crate::SetupError;
use crate::cluster::Cluster;
#[cfg(feature = "nodes")]
use crate::cluster::Shared;
#[cfg(feature = "nodes")]
use crate::cluster_config::ClusterConfig;
use crate::events::Events;
use crate::run::{Data, Run, Schedule};
use crate::setup::{NodeSetup, Record};
#[cfg(feature = "nodes")]
use crate::worker::failure;
use crate::worker::unusable;

/// Trains a [`Learner`] with one worker per device, coordinated by a [`Method`].
///
/// Each worker has a copy of the learner, module and optimizer, and its share of the training data:
/// it takes its own steps, at the learner's learning rate. After an epoch the worker with the
/// lowest training loss is validated and checkpointed, and the training returns the last of these.
#[derive(Clone)]
pub struct LeaderSgdStrategy {
    method: Method,
    mode: Mode,
    devices: Vec<Device>,
    record: Record,
    #[cfg(feature = "nodes")]
    cluster: Option<ClusterConfig>,
}

impl LeaderSgdStrategy {
    /// One worker for each of `devices`, which may contain a device more than once. In
    /// [`Mode::Sync`] the same seed gives the same bits.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when there are no devices, or the method cannot run in the mode or with a
    /// learner.
    pub fn new(method: Method, mode: Mode, devices: Vec<Device>) -> Result<Self, SetupError> {
        if devices.is_empty() {
            return Err(SetupError::NoDevices);
        }
        if method.probes() {
            let method = method.name();
            return Err(SetupError::Probe { method });
        }
        method.check_mode(mode)?;
        let autodiff = |device: Device| match device.is_autodiff() {
            true => device,
            false => device.autodiff(),
        };
        Ok(Self {
            method,
            mode,
            devices: devices.into_iter().map(autodiff).collect(),
            record: Arc::new(log_event),
            #[cfg(feature = "nodes")]
            cluster: None,
        })
    }

    /// Calls `record` with elections, exchanges and pulls as they happen, under a lock that all
    /// workers need, so it must be fast. By default elections go to the log.
    pub fn on_event(mut self, record: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.record = Arc::new(record);
        self
    }

    /// Trains on several nodes, each of which runs this program with the same number of devices:
    /// `cluster` says which of them this is. With one node it has no effect.
    #[cfg(feature = "nodes")]
    pub fn with_cluster(mut self, cluster: ClusterConfig) -> Self {
        self.cluster = Some(cluster);
        self
    }

    /// This node, from 0, and how many there are.
    fn node_of_nodes(&self) -> (u32, u32) {
        #[cfg(feature = "nodes")]
        if let Some(cluster) = &self.cluster {
            return (cluster.node, cluster.nodes.max(1));
        }
        (0, 1)
    }

    fn setup(&self) -> NodeSetup {
        NodeSetup {
            node: self.node_of_nodes().0,
            method: self.method.clone(),
            mode: self.mode,
            devices: self.devices.clone(),
            record: self.record.clone(),
        }
    }

    /// The share of the training data of each of this node's workers, on its device.
    ///
    /// On several nodes all shares have the same number of items, so that all workers take the same
    /// number of steps per epoch; a few items at the end of the dataset are not used.
    fn shares<M: LearnerModel>(
        &self,
        batches: TrainLoader<M>,
    ) -> Result<Vec<TrainLoader<M>>, SetupError> {
        let (node, nodes) = self.node_of_nodes();
        let own = self.devices.len();
        let workers = own.saturating_mul(nodes as usize);
        let items = batches.num_items();
        if items < workers {
            return Err(SetupError::TooFewItems { items, workers });
        }
        if let ([device], 1) = (self.devices.as_slice(), nodes) {
            // Burn leaves a loader that is not split on its current device.
            return Ok(vec![batches.to_device(device)]);
        }
        let batches = match items % workers {
            rest @ 1.. if nodes > 1 => batches.slice(0, items - rest),
            _ => batches,
        };
        let devices = self.devices.iter().cycle().take(workers).cloned();
        let devices: Vec<Device> = devices.collect();
        let shares = split_dataloader(batches, &devices).into_iter();
        Ok(shares.skip(node as usize * own).take(own).collect())
    }

    /// The other nodes, if there are any.
    #[cfg(feature = "nodes")]
    fn join<M: LearnerModel>(
        &self,
        learner: &Learner<M>,
        items: usize,
        schedule: &Schedule,
    ) -> Result<Option<Cluster>, TrainingError> {
        let Some(config) = self.cluster.as_ref().filter(|c| c.nodes > 1) else {
            return Ok(None);
        };
        let module = learner.model();
        let id = WorkerId::new(config.node, 0);
        let source = Source::Worker { id, step: 0 };
        let initial = read(&module, &Layout::of(&module), source)
            .map_err(|why| failure(0, format!("cannot begin with the model: {why}")))?;
        let agreement = [
            ("training items", items.to_string()),
            ("the last epoch", schedule.epochs.end().to_string()),
            (
                "batches to a step",
                schedule.accumulation.unwrap_or(1).to_string(),
            ),
        ];
        let agreement = agreement.map(|(key, value)| (String::from(key), value));
        let shared = Shared {
            method: &self.method,
            mode: self.mode,
            workers: u32::try_from(self.devices.len()).unwrap_or(u32::MAX),
            initial: &initial,
            agreement: BTreeMap::from(agreement),
        };
        Cluster::open(config, shared, self.record.clone()).map(Some)
    }

    #[cfg(not(feature = "nodes"))]
    fn join<M: LearnerModel>(
        &self,
        _: &Learner<M>,
        _: usize,
        _: &Schedule,
    ) -> Result<Option<Cluster>, TrainingError> {
        Ok(None)
    }
}

impl<M> SupervisedLearningStrategy<M> for LeaderSgdStrategy
where
    M: LearnerModel,
    <M as TrainStep>::Output: Adaptor<LossInput>,
{
    fn fit(
        &self,
        components: TrainingComponents<M>,
        mut learner: Learner<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        starting_epoch: usize,
    ) -> (M, SupervisedTrainingEventProcessor<M>) {
        let main = &self.devices[0];
        let schedule = Schedule {
            epochs: starting_epoch..=components.num_epochs,
            accumulation: components.grad_accumulation,
        };
        let mut events = Events {
            processor: components.event_processor,
            interrupter: components.interrupter,
            store: components.event_store,
            checkpointer: components.checkpointer,
            early_stopping: components.early_stopping,
            progress: Box::new(|| {}),
        };
        learner.fork(main);
        let untrained = learner.model();
        let main = main.clone().inner();
        let trained = || {
            let items = train.num_items();
            let shares = self.shares::<M>(train).map_err(unusable)?;
            let cluster = self.join(&learner, items, &schedule)?;
            let data = Data {
                items: shares.iter().map(|share| share.num_items()).sum(),
                shares,
                valid: valid.to_device(&main),
            };
            let run = Run {
                setup: self.setup(),
                events: &mut events,
                data,
                schedule,
                cluster,
            };
            run.train(learner)
        };
        let model = match trained() {
            Ok(learner) => learner.model(),
            Err(why) => {
                events.interrupter.fail(why);
                untrained
            }
        };
        (model, events.processor)
    }
}

impl<M> From<LeaderSgdStrategy> for TrainingStrategy<M>
where
    M: LearnerModel,
    <M as TrainStep>::Output: Adaptor<LossInput>,
{
    fn from(strategy: LeaderSgdStrategy) -> Self {
        TrainingStrategy::Custom(Arc::new(strategy))
    }
}

impl fmt::Debug for LeaderSgdStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaderSgdStrategy")
            .field("method", &self.method)
            .field("mode", &self.mode)
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

/// Elections and refusals.
fn log_event(event: Event) {
    match event {
        Event::Election {
            step,
            scope,
            election,
        } => match (election.leader, scope) {
            (Some(leader), Scope::Local) => {
                log::info!("Step {step}: worker {} leads", leader.worker)
            }
            (Some(leader), Scope::Global) => {
                log::info!("Step {step}: worker {leader} leads all nodes");
            }
            (None, _) => log::info!("Step {step}: nobody leads: {:?}", election.excluded),
        },
        Event::Refused { step, worker, why } => {
            log::warn!("Step {step}: worker {} is refused: {why}", worker.worker);
        }
        Event::Joined {
            step,
            source: Some(source),
            ..
        } => log::info!("Begins at step {step} with the parameters of {source}"),
        _ => {}
    }
}
