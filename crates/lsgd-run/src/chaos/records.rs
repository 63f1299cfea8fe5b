//! The runs of a chaos folder, and what their records say.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::ChaosError;
use super::fault::Fault;
use super::log::{Entry, read_log};
use super::plan::Plan;
use super::usage::{Sample, from_csv};
use crate::error::RunError;
use crate::storage::{MetricInfo, RunFolder, Summary, read_bounded, write_whole};

/// Largest list of runs and largest file of samples that are read, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// The file with the list of runs and their schedules.
const RUNS: &str = "schedule.json";

/// The runs of a chaos folder, as planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runs {
    /// Number of nodes.
    pub nodes: u32,
    /// Workers of each.
    pub workers: u32,
    /// Shortest time of a step, in milliseconds.
    pub pace_millis: u64,
    /// The runs without faults, one a seed, and then the one with faults.
    pub runs: Vec<Run>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its name, and that of its folder.
    pub name: String,
    /// The seed of its training.
    pub seed: u64,
    /// Its faults, in order of time.
    pub faults: Vec<Fault>,
}

impl Runs {
    /// The runs of a plan.
    pub fn planned(plan: &Plan) -> Self {
        let without = plan.seeds.iter().map(|seed| Run {
            name: format!("fault-free-{seed}"),
            seed: *seed,
            faults: Vec::new(),
        });
        let with = plan.seeds.first().map(|seed| Run {
            name: String::from("faults"),
            seed: *seed,
            faults: plan.faults(),
        });
        Self {
            nodes: plan.nodes,
            workers: plan.workers,
            pace_millis: plan.pace_millis,
            runs: without.chain(with).collect(),
        }
    }

    /// Writes the list to a chaos folder.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn write(&self, folder: &Path) -> Result<(), RunError> {
        let path = folder.join(RUNS);
        let text = serde_json::to_vec_pretty(self);
        let text = text.map_err(|why| RunError::write(&path)(why.into()))?;
        write_whole(&path, &text)
    }

    /// Reads the list of a chaos folder.
    ///
    /// # Errors
    ///
    /// [`ChaosError::NoRun`], or [`RunError::Damaged`] for a list that is not understood.
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join(RUNS);
        if !path.is_file() {
            let why = format!("there is no {RUNS}");
            let path = folder.to_owned();
            return Err(ChaosError::NoRun { path, why }.into());
        }
        let text = read_bounded(&path, MAX_FILE)?;
        serde_json::from_slice(&text).map_err(|why| RunError::damaged(&path, why))
    }
}

impl Run {
    /// Its log, in a chaos folder.
    pub fn log(&self, folder: &Path) -> PathBuf {
        folder.join("logs").join(format!("{}.jsonl", self.name))
    }

    /// The samples of what its processes used.
    pub fn usage(&self, folder: &Path) -> PathBuf {
        let name = format!("{}-usage.csv", self.name);
        folder.join("logs").join(name)
    }
}

/// What the records of a run say.
#[derive(Debug, Clone, PartialEq)]
pub struct Records {
    /// The run.
    pub run: Run,
    /// What chaos did and saw.
    pub log: Vec<Entry>,
    /// The summary of each node, if it has ended.
    pub summaries: Vec<Option<Summary>>,
    /// The main metric of the task, if it has one.
    pub metric: Option<MetricInfo>,
    /// What the processes used.
    pub samples: Vec<Sample>,
    /// Threads that the machine can run at once.
    pub threads: usize,
    /// `run.mode`.
    pub mode: String,
    /// Steps between two checkpoints, if they are counted in steps.
    pub checkpoint_steps: Option<u64>,
}

impl Records {
    /// Reads those of a run of `nodes` nodes.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`], and [`ChaosError::NoRun`] if no node has begun.
    pub fn read(folder: &Path, nodes: u32, run: &Run) -> Result<Self, RunError> {
        let mut summaries = Vec::new();
        let mut first = None;
        for node in 1..=nodes {
            let path = folder.join(&run.name).join(format!("node-{node}"));
            let is_over = path.join("summary.json").is_file();
            let node = path.is_dir().then(|| RunFolder::open(&path)).transpose()?;
            let summary = node.as_ref().filter(|_| is_over).map(RunFolder::summary);
            summaries.push(summary.transpose()?);
            first = first.or(node);
        }
        let Some(first) = first else {
            let why = format!("no node of {} has begun", run.name);
            let path = folder.to_owned();
            return Err(ChaosError::NoRun { path, why }.into());
        };
        let path = first.join("config.toml");
        let config = fs::read_to_string(&path).map_err(RunError::read(&path))?;
        let config: toml::Table = config
            .parse()
            .map_err(|why| RunError::damaged(&path, why))?;
        let key = |table: &str, key: &str| config.get(table)?.get(key);
        let path = run.usage(folder);
        let samples = String::from_utf8_lossy(&read_bounded(&path, MAX_FILE)?).into_owned();
        let samples = from_csv(&samples);
        let record = first.record()?;
        Ok(Self {
            run: run.clone(),
            threads: record.machine.threads,
            log: read_log(&run.log(folder))?,
            summaries,
            metric: record.metrics.first().cloned(),
            samples: samples
                .map_err(|line| RunError::damaged(&path, format!("line {line}: not a sample")))?,
            mode: key("run", "mode")
                .and_then(toml::Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            checkpoint_steps: key("checkpoint", "every_steps")
                .and_then(toml::Value::as_integer)
                .and_then(|steps| u64::try_from(steps).ok()),
        })
    }
}
