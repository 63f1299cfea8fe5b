//! What a run is before it is set up: its specification, and what the engine and the task ask of each
//! other.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::config::{Config, ConfigError, Devices, MethodConfig, Settings, TaskTables};
use crate::error::RunError;
use crate::storage::CheckpointName;
use crate::task::{Metric, Task};
use crate::train::SettingsError;

/// The specification of a run, apart from its task.
#[derive(Debug, Clone)]
pub struct Job {
    /// The run's settings.
    pub settings: Settings,
    /// The contents of the run's `config.toml`.
    pub text: String,
    /// Values that must be equal on all nodes, by name in the config.
    pub shared: BTreeMap<String, String>,
    /// The same of a config in which nothing is set.
    pub defaults: BTreeMap<String, String>,
    /// Continues the run that is in the folder, if there is one, from this checkpoint.
    pub resume: Option<CheckpointName>,
}

impl Job {
    /// A run with these settings, checked like those of a config file. The run's `config.toml` holds them,
    /// and nothing about the task.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first value that is out of range, unused, or in conflict with another.
    pub fn new(settings: Settings) -> Result<Self, ConfigError> {
        let given = Config { settings, task: () };
        let config = Config::from_toml(&given.to_toml()?, "the settings", &[])?;
        Ok(Self::of::<()>(config)?.0)
    }

    /// Splits `config` into the run and the task's tables.
    pub(crate) fn of<T: TaskTables>(config: Config<T>) -> Result<(Self, T), ConfigError> {
        let job = Self {
            text: config.to_toml()?,
            shared: config.description()?,
            defaults: Config::<T>::default().description()?,
            resume: None,
            settings: config.settings,
        };
        Ok((job, config.task))
    }

    /// The workers of `nodes` nodes, `per_node` each, as those of one: their indices among all are the same.
    pub(super) fn on_one_node(mut self, per_node: usize, nodes: usize) -> Self {
        let settings = &mut self.settings;
        let workers = per_node * nodes;
        if let Devices::List(names) = &mut settings.workers.devices {
            *names = names.iter().cycle().take(workers).cloned().collect();
        }
        settings.workers.count = Some(workers);
        settings.cluster.nodes = 1;
        settings.cluster.node = None;
        self
    }
}

/// What a task may need to know about its run.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The run's settings.
    pub settings: &'a Settings,
    /// Workers of all nodes.
    pub workers: u64,
    /// Whether workers train; false in a cost simulation.
    pub trains: bool,
    /// Whether all workers of this node train on GPUs: then a batch had better be small on the host, and
    /// what can be is done on the device.
    pub gpus: bool,
    pub(super) read: &'a KeysRead,
}

/// Which of the engine's keys that only a task can follow it has read.
#[derive(Debug, Default)]
pub(super) struct KeysRead {
    evaluate_examples: Cell<bool>,
    probe_examples: Cell<bool>,
}

impl Context<'_> {
    /// How many of `available` held-out examples to score: `evaluate.examples` at most. A run that sets
    /// the key is refused unless its task calls this.
    pub fn held_out_examples(&self, available: usize) -> usize {
        self.read.evaluate_examples.set(true);
        let most = self.settings.evaluate.examples;
        most.map_or(available, |most| most.min(available))
    }

    /// How many examples [`Task::probe`] computes the loss on: `method.probe_examples`. A run that sets the
    /// key is refused unless its task calls this.
    pub fn probe_examples(&self) -> usize {
        self.read.probe_examples.set(true);
        self.settings.method.probe_examples
    }
}

impl KeysRead {
    /// Whether `evaluate.examples` was read.
    pub(super) fn heeds_examples(&self) -> bool {
        self.evaluate_examples.get()
    }

    /// Refuses a key that is set and was not read.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), RunError> {
        let unused = |key, value: usize| Err(SettingsError::UnusedKey { key, value }.into());
        let probe = settings.method.probe_examples;
        match settings.evaluate.examples {
            Some(value) if !self.evaluate_examples.get() => unused("evaluate.examples", value),
            _ if probe != MethodConfig::default().probe_examples && !self.probe_examples.get() => {
                unused("method.probe_examples", probe)
            }
            _ => Ok(()),
        }
    }
}

/// What the engine asks a task once.
#[derive(Debug, Clone)]
pub struct Facts {
    /// [`Task::title`].
    pub title: String,
    /// [`Task::unit`].
    pub unit: &'static str,
    /// Examples of a worker's step: [`Task::batch_size`], times `workers.accumulate`.
    pub step_size: u64,
    /// [`Task::epoch`].
    pub epoch: u64,
    /// [`Task::parts`].
    pub parts: usize,
    /// [`Task::metrics`].
    pub metrics: &'static [Metric],
    /// [`Task::agreement`].
    pub agreement: BTreeMap<String, String>,
    /// [`Task::notes`].
    pub notes: Map<String, Value>,
    /// Whether there is a [`Task::optimizer_decaying`].
    pub decays: bool,
    /// Whether there is a [`Task::statistics_module`], and it is needed.
    pub re_estimates: bool,
}

impl Facts {
    /// Of a task whose workers' steps have so many batches.
    pub(super) fn of<T: Task>(task: &T, batches: u64) -> Self {
        Self {
            title: task.title(),
            unit: task.unit(),
            step_size: task.batch_size().max(1) as u64 * batches,
            epoch: task.epoch().max(1),
            parts: task.parts(),
            metrics: task.metrics(),
            agreement: task.agreement(),
            notes: task.notes(),
            decays: task.optimizer_decaying(1.0).is_some(),
            re_estimates: false,
        }
    }
}
