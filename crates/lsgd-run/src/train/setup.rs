//! Prepares a run from its settings and task, before any thread starts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use lsgd_core::{Frozen, Layout, Method, Snapshot, Source, WorkerId};

use super::divergence::Divergence;
use super::from_settings::{method, plan};
use super::job::{Context, Facts, Job, KeysRead};
use super::pause_schedule::RunPlan;
use super::shared_parameter::shared_parameter;
use super::variation;
use crate::config::Settings;
use crate::device::{self, DeviceError, DeviceFailure, WorkerDevice};
use crate::epoch::Epoch;
use crate::error::{RunError, panic_message};
use crate::learning_rate::LearningRate;
use crate::storage::NodeNumber;
use crate::task::{Metric, Task};
use crate::train::SettingsError;
use crate::words::first_line;

/// Everything that the workers of a run share, except its task.
#[derive(Debug)]
pub struct Setup {
    /// The run's specification.
    pub job: Job,
    /// The task's facts.
    pub facts: Facts,
    /// The training method.
    pub method: Method,
    /// This node, from 0.
    pub node: u32,
    /// Number of nodes in the run; each has as many workers as this one.
    pub nodes: u32,
    /// A device for each worker.
    pub devices: Vec<WorkerDevice>,
    /// When workers pause, and when the run ends.
    pub plan: RunPlan,
    /// The learning rate over the run.
    pub rate: LearningRate,
    /// The layout of the model's values.
    pub layout: Arc<Layout>,
    /// The weights that every worker starts from.
    pub initial: Arc<Snapshot>,
    /// The model's frozen parameters, the same in every module of the run.
    pub frozen: Arc<Frozen>,
}

/// A run that is ready to start: what its workers share, and its task.
pub type Ready<T> = (Arc<Setup>, Arc<T>);

/// Finds the devices, makes the task, draws the initial weights. For a simulated run the workers
/// are those of all `simulated` nodes, equally many on each.
///
/// # Errors
///
/// [`RunError`] if any of these fails.
pub fn set_up<T: Task>(
    mut job: Job,
    simulated: Option<u32>,
    make: impl FnOnce(Context) -> Result<T, RunError>,
) -> Result<Ready<T>, RunError> {
    let settings = &job.settings;
    let devices = device::assign(&settings.workers)?;
    let NodeNumber { node, nodes } = place_among_nodes(settings);
    let workers = devices.len();
    let all_workers = workers as u64 * u64::from(nodes);
    variation::check(&settings.workers, all_workers)?;
    let read = KeysRead::default();
    let run = Context {
        read: &read,
        settings,
        workers: all_workers,
        trains: simulated.is_none() || settings.simulate.training,
        gpus: devices.iter().all(|device| device.gpu),
    };
    let task = at_the_start(|| make(run))?;
    read.check(settings)?;
    let mut facts = at_the_start(|| Ok(Facts::of(&task, settings.workers.accumulate)))?;
    variation::check_decay(&settings.workers, &facts)?;
    if let (Some(patience), true) = (settings.budget.patience, facts.metrics.is_empty()) {
        let (key, value) = ("budget.patience", patience as usize);
        return Err(SettingsError::UnusedKey { key, value }.into());
    }
    let epoch = Epoch {
        examples: facts.epoch,
        examples_per_step: facts.step_size * all_workers,
    };
    let first = devices
        .first()
        .ok_or(DeviceError::NoBackend)?
        .device
        .clone();
    let Weights {
        layout,
        initial,
        frozen,
    } = at_the_start(|| Weights::draw(&task, &first, settings.run.seed))?;
    if layout.buffer_len() > 0 {
        let module = || task.statistics_module(&first).map_err(RunError::task);
        facts.re_estimates = at_the_start(module)?.is_some();
    }
    let plan = plan(settings, workers, epoch);
    let per_node = workers / simulated.unwrap_or(1).max(1) as usize;
    let rate = LearningRate::new(&settings.schedule, epoch, plan.steps);
    let method = method(settings, &plan, &rate, per_node)?;
    method.check_mode(plan.mode)?;
    method.check_wire(settings.cluster.wire)?;
    if let Some(clip) = task.gradient_clip() {
        clip.check()?;
    }
    if let (Some(steps), true) = (method.exchange_steps().given(), nodes > 1) {
        // They depend on the budget, and on how many workers share an epoch. Nodes count by them.
        let key = String::from("the steps of exchanges");
        job.shared.insert(key, digest_of(steps));
    }
    let setup = Setup {
        facts,
        method,
        node,
        nodes,
        devices,
        plan,
        rate,
        layout,
        initial,
        frozen,
        job,
    };
    Ok((Arc::new(setup), Arc::new(task)))
}

/// Makes the task of a run of so many workers over all nodes, to score its values without training. Also
/// returns whether it heeds `evaluate.examples`.
///
/// # Errors
///
/// [`RunError`] as at the start of a run.
pub(super) fn task_alone<T: Task>(
    settings: &Settings,
    workers: u64,
    make: impl FnOnce(Context) -> Result<T, RunError>,
) -> Result<(T, bool), RunError> {
    let read = KeysRead::default();
    let run = Context {
        read: &read,
        settings,
        workers,
        trains: false,
        gpus: false,
    };
    let task = at_the_start(|| make(run))?;
    Ok((task, read.heeds_examples()))
}

/// A name for these steps.
fn digest_of(steps: &[u64]) -> String {
    let mut hasher = blake3::Hasher::new();
    for step in steps {
        hasher.update(&step.to_le_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// Calls the task during set-up. A failure there is an error of its config; a panic becomes an error, like
/// that of a worker.
fn at_the_start<T>(ask: impl FnOnce() -> Result<T, RunError>) -> Result<T, RunError> {
    match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(Err(RunError::Task(error))) => Err(RunError::TaskConfig(error)),
        Ok(answer) => answer,
        Err(panic) => Err(RunError::TaskPanicked {
            message: panic_message(panic.as_ref()),
        }),
    }
}

impl Setup {
    /// The run's settings.
    pub fn settings(&self) -> &Settings {
        &self.job.settings
    }

    /// A new module of `task` on `device`, with the run's frozen parameters. Its trainable ones are
    /// initialized again.
    ///
    /// # Errors
    ///
    /// [`RunError`] if it cannot be made, or its structure differs from the first one's.
    pub fn module<T: Task>(&self, task: &T, device: &Device) -> Result<T::Module, RunError> {
        let module = task.module(device).map_err(RunError::task)?;
        self.frozen
            .write(module)
            .map_err(|why| RunError::Unfit { why })
    }

    /// The error of a worker that panicked with this message; of a GPU's failure, what it means.
    pub fn panicked(&self, worker: usize, message: String) -> RunError {
        let gpu = self.devices.get(worker).filter(|device| device.gpu);
        match (gpu, DeviceFailure::in_message(&message)) {
            (Some(device), Some(failure)) => RunError::DeviceFailed {
                worker,
                device: device.name.clone(),
                title: self.facts.title.clone(),
                batch_size: self.facts.step_size / self.settings().workers.accumulate.max(1),
                failure,
                // A backtrace follows it.
                message: first_line(&message),
            },
            _ => RunError::WorkerPanicked { worker, message },
        }
    }

    /// Number of this node's workers.
    pub fn workers(&self) -> usize {
        self.devices.len()
    }

    /// Number of all nodes' workers.
    pub fn all_workers(&self) -> usize {
        self.workers() * self.nodes as usize
    }

    /// A divergence detector for this node's workers.
    pub(super) fn divergence(&self) -> Divergence {
        let settings = self.settings();
        let nodes = settings.cluster.nodes.max(settings.simulate.nodes);
        let method = &settings.method;
        let steps = self.method.exchange_steps();
        let period = match (steps.given(), nodes) {
            (Some(_), _) => steps.longest_gap(nodes <= 1),
            (None, 0 | 1) => method.local_period,
            (None, _) => method.global_period,
        };
        Divergence::new(self.workers(), method.loss_window, period)
    }

    /// The index of this node's worker `worker` among all workers, in order of worker id.
    pub fn global_rank(&self, worker: usize) -> usize {
        self.node as usize * self.workers() + worker
    }

    /// The metric that determines the best evaluation.
    pub fn main_metric(&self) -> Option<&'static Metric> {
        self.facts.metrics.first()
    }

    /// After how many evaluations in a row that are not the best the run ends.
    pub fn patience(&self) -> Option<u64> {
        self.settings().budget.patience
    }

    /// Examples in `steps` steps.
    pub fn samples(&self, steps: u64) -> u64 {
        steps * self.facts.step_size
    }

    /// Epochs of the whole data set that all nodes have seen when this node's workers have taken
    /// `steps` steps together.
    pub fn epochs(&self, steps: u64) -> f64 {
        let samples = (steps * u64::from(self.nodes)) as f64 * self.facts.step_size as f64;
        samples / self.facts.epoch as f64
    }
}

/// This node's number, if there are several nodes.
pub fn node_number(settings: &Settings) -> Option<NodeNumber> {
    let node_number = place_among_nodes(settings);
    (node_number.nodes > 1).then_some(node_number)
}

fn place_among_nodes(settings: &Settings) -> NodeNumber {
    // Checked settings have at most 4096.
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let cluster = &settings.cluster;
    NodeNumber {
        node: cluster
            .node
            .map_or(0, |node| number(node.saturating_sub(1))),
        nodes: number(cluster.nodes),
    }
}

/// The values of the run's first module.
struct Weights {
    layout: Arc<Layout>,
    initial: Arc<Snapshot>,
    frozen: Arc<Frozen>,
}

impl Weights {
    /// Draws them once, before any thread starts: Burn's generator is global to the process, so modules
    /// made later get different values whatever the seed.
    fn draw<T: Task>(task: &T, device: &Device, seed: u64) -> Result<Self, RunError> {
        device.seed(seed);
        let module = task
            .module(&device.clone().autodiff())
            .map_err(RunError::task)?;
        if let Some((first, second)) = shared_parameter(&module) {
            return Err(RunError::SharedParameter { first, second });
        }
        let layout = Layout::of(&module);
        let source = Source::Worker {
            id: WorkerId::default(),
            step: 0,
        };
        let initial = lsgd_core::read(&module.valid(), &layout, source);
        let initial = initial.map_err(|why| RunError::Snapshot {
            worker: 0,
            step: 0,
            why,
        })?;
        Ok(Self {
            layout,
            initial: Arc::new(initial),
            frozen: Arc::new(Frozen::of(&module)),
        })
    }
}
