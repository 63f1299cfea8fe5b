//! From a checked config to all that a run needs, before any thread starts.

use std::sync::Arc;

use burn::module::Module;
use lsgd_core::{
    FinalPull, Layout, LeaderConfig, MeetingConfig, Method, MethodError, Mode, OuterStep, Periods,
    Rank, Snapshot, Source, WeightPer,
};
use lsgd_models::ModelConfig;

use super::batches;
use super::divergence::Divergence;
use super::evaluation::test_batches;
use super::examination::scoring_batch;
use super::pace::{Every, Plan};
use crate::config::{self, Augment, BatchNormPolicy, Config, DataName, MethodName};
use crate::data::{Batch, Dataset, Stream};
use crate::device::{self, WorkerDevice};
use crate::epoch::Epoch;
use crate::error::TrainError;
use crate::learning_rate::LearningRate;
use crate::run::Member;

/// All that the workers of a run share.
#[derive(Debug)]
pub struct Setup {
    /// The config.
    pub config: Config,
    /// The examples.
    pub dataset: Arc<Dataset>,
    /// The order of training batches.
    pub stream: Stream,
    /// The held-out examples that rank workers, in batches; none where their training loss does.
    pub probe: Arc<[Batch]>,
    /// The network.
    pub model: ModelConfig,
    /// How workers learn from each other.
    pub method: Method,
    /// This node, from 0.
    pub node: u32,
    /// Nodes of the run; each has as many workers as this one.
    pub nodes: u32,
    /// A device for each worker.
    pub devices: Vec<WorkerDevice>,
    /// When workers pause, and when the run ends.
    pub plan: Plan,
    /// The learning rate over the run.
    pub rate: LearningRate,
    /// The order of the model's values.
    pub layout: Arc<Layout>,
    /// The weights every worker starts from.
    pub initial: Arc<Snapshot>,
}

impl Setup {
    /// Opens the data, draws the initial weights, finds the devices.
    ///
    /// # Errors
    ///
    /// [`TrainError`] for whatever of these cannot be had.
    pub fn new(config: Config) -> Result<Self, TrainError> {
        Self::of(config, 1, true)
    }

    /// The same for a simulated run, whose workers are those of `nodes` nodes, alike many on each.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn simulated(config: Config, nodes: usize) -> Result<Self, TrainError> {
        let trains = config.simulate.training;
        Self::of(config, nodes, trains)
    }

    fn of(config: Config, simulated_nodes: usize, trains: bool) -> Result<Self, TrainError> {
        let devices = device::assign(&config.workers)?;
        if config.data.name == DataName::Generated && config.data.augment != Augment::Paper {
            // Nothing needs to be made to know that the model does not suit it.
            model(&config, config.data.classes, config.data.shape).check()?;
        }
        let dataset = Arc::new(Dataset::open(&config.data, config.run.seed)?);
        let stream = Stream::new(dataset.train_len(), config.data.batch_size, config.run.seed)?;
        let stream = match config.method.score {
            config::Score::TrainingLoss => stream,
            config::Score::ProbeLoss => {
                stream.holding_out(config.method.probe_examples, config.run.seed)?
            }
        };
        let held_out = test_batches(stream.held_out().len(), scoring_batch(&config));
        let probe = held_out
            .into_iter()
            .map(|(_, range)| dataset.held_out(&stream, range))
            .collect::<Result<_, _>>()?;
        let model = model(&config, dataset.classes(), dataset.shape());
        let Member { node, nodes } = place_among_nodes(&config);
        let workers = devices.len();
        let epoch = Epoch {
            examples: stream.epoch() as u64,
            examples_per_step: (config.data.batch_size * workers) as u64 * u64::from(nodes),
        };
        if trains {
            for warning in batches::check(&model, config.data.batch_size, epoch)? {
                tracing::warn!("{warning}");
            }
        }
        let first = devices
            .first()
            .ok_or(device::DeviceError::NoBackend)?
            .device
            .clone();
        let (layout, initial) = initial_weights(&model, &first, config.run.seed)?;
        let plan = plan(&config, workers, epoch);
        let method = method(&config, &plan, workers / simulated_nodes.max(1))?;
        method.check_mode(plan.mode)?;
        let rate = LearningRate::new(&config.schedule, epoch, plan.steps);
        Ok(Self {
            dataset,
            stream,
            probe,
            model,
            method,
            node,
            nodes,
            devices,
            plan,
            rate,
            layout,
            initial,
            config,
        })
    }

    /// Number of this node's workers.
    pub fn workers(&self) -> usize {
        self.devices.len()
    }

    /// Number of all nodes' workers.
    pub fn all_workers(&self) -> usize {
        self.workers() * self.nodes as usize
    }

    /// The losses of this node's workers, before the first.
    pub(super) fn divergence(&self) -> Divergence {
        let method = &self.config.method;
        let period = match self.config.cluster.nodes.max(self.config.simulate.nodes) {
            0 | 1 => method.local_period,
            _ => method.global_period,
        };
        Divergence::new(self.workers(), method.loss_window, period)
    }

    /// The place of this node's worker `worker` among all workers, in rank order.
    pub fn place(&self, worker: usize) -> usize {
        self.node as usize * self.workers() + worker
    }

    /// Epochs of the whole data that all nodes have seen when this one's workers have taken `steps`
    /// steps together.
    pub fn epochs(&self, steps: u64) -> f64 {
        let samples = (steps * u64::from(self.nodes)) as f64 * self.config.data.batch_size as f64;
        samples / self.stream.epoch() as f64
    }
}

/// This node among all, if there are others.
pub fn member(config: &Config) -> Option<Member> {
    let member = place_among_nodes(config);
    (member.nodes > 1).then_some(member)
}

fn place_among_nodes(config: &Config) -> Member {
    // A checked config has at most 4096, and this one among them.
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let cluster = &config.cluster;
    Member {
        node: cluster
            .node
            .map_or(0, |node| number(node.saturating_sub(1))),
        nodes: number(cluster.nodes),
    }
}

/// The network for so many classes and images of this shape.
fn model(config: &Config, classes: usize, shape: [usize; 3]) -> ModelConfig {
    ModelConfig {
        base_width: config.model.width,
        dropout: config.model.dropout,
        cpu_kernels: config.compute.cpu_kernels,
        ..ModelConfig::new(config.model.name, classes, shape)
    }
}

/// Draws the weights once, before any thread starts: Burn's generator is the process's.
fn initial_weights(
    model: &ModelConfig,
    device: &burn::tensor::Device,
    seed: u64,
) -> Result<(Arc<Layout>, Arc<Snapshot>), TrainError> {
    device.seed(seed);
    let module = model.init(&device.clone().autodiff())?;
    let layout = Layout::of(&module);
    let source = Source::Worker {
        rank: Rank::default(),
        step: 0,
    };
    let snapshot =
        lsgd_core::read(&module.valid(), &layout, source).map_err(|why| TrainError::Snapshot {
            worker: 0,
            step: 0,
            why,
        })?;
    Ok((layout, Arc::new(snapshot)))
}

/// The method, in a run of that plan, with so many workers on each node.
fn method(config: &Config, plan: &Plan, per_node: usize) -> Result<Method, MethodError> {
    let Plan { mode, steps, .. } = *plan;
    let config = &config.method;
    let batch_norm = match config.batch_norm {
        BatchNormPolicy::Own => lsgd_core::BatchNorm::Own,
        BatchNormPolicy::Leader => lsgd_core::BatchNorm::Leader,
        BatchNormPolicy::Mean => lsgd_core::BatchNorm::Mean,
    };
    let meetings = MeetingConfig {
        periods: Periods {
            local: config.local_period,
            global: config.global_period,
        },
        loss_window: config.loss_window,
        batch_norm,
    };
    let leader = LeaderConfig {
        local_pull: config.local_pull,
        global_pull: config.global_pull,
        // A checked config that has this one has a budget of steps.
        final_pull: config
            .final_pull
            .zip(steps)
            .map(|(strength, steps)| FinalPull { strength, steps }),
        local_period: config.local_period,
        global_period: config.global_period,
        local_prox: config.local_prox,
        global_prox: config.global_prox,
        loss_window: config.loss_window,
        max_staleness: config.max_staleness,
        batch_norm,
    };
    let outer = |nesterov| OuterStep {
        rate: config.outer_rate,
        momentum: config.outer_momentum,
        nesterov,
    };
    let grawa = |per| Method::grawa(meetings, per, config.local_pull, config.global_pull);
    let method = match config.name {
        MethodName::Sgd => Ok(Method::sgd(config.loss_window)),
        MethodName::DataParallel => Method::data_parallel(config.loss_window, batch_norm),
        MethodName::LocalSgd => Method::local_sgd(meetings),
        MethodName::Easgd if mode == Mode::Async => {
            let workers = u32::try_from(per_node).unwrap_or(u32::MAX);
            Method::easgd_async(meetings, config.beta, workers)
        }
        MethodName::Easgd => Method::easgd(meetings, config.beta),
        MethodName::Downpour => Method::downpour(meetings),
        MethodName::Diloco => Method::diloco("diloco", meetings, outer(true)),
        MethodName::Slowmo => Method::diloco("slowmo", meetings, outer(false)),
        MethodName::Lsgd => Method::lsgd(&leader),
        MethodName::LsgdPlus => Method::lsgd_plus(&leader, config.leader_weight),
        MethodName::LeaderMean => Method::leader_mean(meetings, config.leader_weight),
        MethodName::Grawa => grawa(WeightPer::Model),
        MethodName::GrawaLayers => grawa(WeightPer::Layer),
    };
    let method = method?.with_margin(config.margin)?;
    Ok(match config.score {
        config::Score::TrainingLoss => method,
        config::Score::ProbeLoss => method.ranked_by_probe(),
    })
}

/// The config's mode as the library names it.
pub fn mode(mode: config::Mode) -> Mode {
    match mode {
        config::Mode::Sync => Mode::Sync,
        config::Mode::Async => Mode::Async,
    }
}

fn plan(config: &Config, workers: usize, epoch: Epoch) -> Plan {
    let steps = |epochs| epoch.length(epochs);
    let every = |by_steps: Option<u64>, by_epochs: Option<f64>, by_minutes: Option<f64>| {
        let by_steps = by_steps.or(by_epochs.map(steps)).map(Every::Steps);
        let by_clock = by_minutes.map(|minutes| Every::Seconds(60.0 * minutes));
        by_steps.or(by_clock).unwrap_or(Every::Never)
    };
    let (budget, evaluate, checkpoint) = (&config.budget, &config.evaluate, &config.checkpoint);
    Plan {
        mode: mode(config.run.mode),
        workers,
        steps: budget.steps.or(budget.epochs.map(steps)),
        seconds: budget.minutes.map(|minutes| 60.0 * minutes),
        evaluate: every(
            evaluate.every_steps,
            evaluate.every_epochs,
            evaluate.every_minutes,
        ),
        checkpoint: every(
            checkpoint.every_steps,
            checkpoint.every_epochs,
            checkpoint.every_minutes,
        ),
    }
}
