//! What the folder of one run says at a glance.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use super::config::{self, Budget};
use crate::error::RunError;
use crate::storage::{
    Evaluation, Headline, Held, MetricInfo, NewestCheckpoint, RunFolder, RunRecord, Score, State,
    Summary, held, last_lines, last_written, locked_at, node_folders,
};

/// How much of the end of `metrics.jsonl` is looked at for an evaluation, in bytes.
const MOST: u64 = 4 << 20;

/// How the line of an evaluation begins.
const EVALUATION: &[u8] = b"{\"kind\":\"evaluation\"";

/// A run, as far as it is seen at a glance.
#[derive(Debug, Clone)]
pub struct Glance {
    /// Name of its method; `-` before it has a config.
    pub method: String,
    /// Workers, of all nodes whose folders are here.
    pub workers: usize,
    /// Folders of nodes; 1 for a run of one node.
    pub nodes: usize,
    /// Steps of a worker, of the node that is furthest; `None` before any are on record.
    pub steps: Option<u64>,
    /// How long it is to train.
    pub budget: Budget,
    /// The share of that which is used up, from 0 to 1, if that can be told.
    pub used: Option<f64>,
    /// The last value of its task's first metric, of the first node that has one.
    pub metric: Option<LastMetric>,
    /// How it stands.
    pub state: State,
    /// How many of the nodes are in this state.
    pub in_state: usize,
    /// When its last record was written.
    pub last: SystemTime,
}

/// The last value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct LastMetric {
    /// The metric.
    pub metric: MetricInfo,
    /// Its value.
    pub value: f64,
    /// Whose it is.
    pub of: Headline,
}

impl LastMetric {
    /// The first of `metrics` in a score; of a run of a version that did not write them, the first by name.
    fn of(metrics: &[MetricInfo], headline: Option<(Headline, &Score)>) -> Option<Self> {
        let (of, score) = headline?;
        let unwritten = || {
            let (name, _) = score.metrics().next()?;
            Some(MetricInfo {
                name: name.to_owned(),
                unit: String::new(),
                better: crate::Better::Lower,
            })
        };
        let metric = metrics.first().cloned().or_else(unwritten)?;
        let value = score.get(&metric.name)?;
        Some(Self { metric, value, of })
    }

    /// With its name and unit, such as `error 1.94 %`.
    pub fn shown(&self) -> String {
        format!("{} {}", self.metric.name, self.metric.shown(self.value))
    }
}

impl Glance {
    /// The run in `folder`; that of several nodes is the folder that holds theirs. `None` if it holds no run.
    ///
    /// # Errors
    ///
    /// [`RunError`] if a file of it cannot be read.
    pub fn of(folder: &Path) -> Result<Option<Self>, RunError> {
        let folders = folders(folder)?;
        let mut glances = folders.iter().map(|folder| Self::of_node(folder));
        let Some(first) = glances.next() else {
            let claimed = claimed(folder);
            return Ok((!claimed.is_empty()).then(|| Self::starting(&claimed)));
        };
        let mut all = first?;
        for glance in glances {
            all.add(glance?);
        }
        Ok(Some(all))
    }

    /// A run that has no record yet, by the folders of its nodes.
    fn starting(claimed: &[PathBuf]) -> Self {
        let locked = claimed.iter().filter_map(|folder| locked_at(folder)).max();
        Self {
            method: String::from("-"),
            workers: 0,
            nodes: claimed.len(),
            steps: None,
            budget: Budget::default(),
            used: None,
            metric: None,
            state: State::Starting,
            in_state: claimed.len(),
            last: locked.unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }

    /// The run of one node.
    fn of_node(folder: &Path) -> Result<Self, RunError> {
        // First of all: a process that ends writes what it has left before it lets go.
        let held = held(folder);
        let run = RunFolder::look(folder);
        let record = run.record()?;
        let config = config::read(folder)?;
        let summary = run.summary_if_any()?;
        let state = State::of(folder, held, summary.as_ref())?;
        let progress = match &summary {
            Some(summary) => Progress::of_summary(summary, &record),
            None => Progress::read(folder, &record)?,
        };
        let Progress {
            workers,
            steps,
            epochs,
            seconds,
            metric,
        } = progress;
        Ok(Self {
            method: match summary {
                Some(summary) => summary.method,
                None if config.method.name.is_empty() => String::from("-"),
                None => config.method.name,
            },
            workers,
            nodes: 1,
            steps,
            budget: config.budget,
            used: config.budget.used(steps, epochs, seconds),
            metric,
            state,
            in_state: 1,
            last: last_record(folder, &record, state),
        })
    }

    /// Adds another node of the run.
    fn add(&mut self, other: Self) {
        self.workers += other.workers;
        self.nodes += other.nodes;
        if other.steps > self.steps {
            (self.steps, self.used) = (other.steps, other.used);
        }
        if self.metric.is_none() {
            self.metric = other.metric;
        }
        self.last = self.last.max(other.last);
        if other.state == self.state {
            self.in_state += 1;
        } else if other.state < self.state {
            (self.state, self.in_state) = (other.state, 1);
        }
    }

    /// Its workers, and nodes if it has several.
    pub fn crew(&self) -> String {
        let workers = crate::words::count(self.workers, "worker");
        match self.nodes {
            1 => workers,
            nodes => format!("{workers} on {nodes} nodes"),
        }
    }
}

/// The folders that hold the records of a run: its own, or those of its nodes; none if it is no run.
pub fn folders(run: &Path) -> Result<Vec<PathBuf>, RunError> {
    let has_record = |folder: &Path| folder.join("run.json").is_file();
    if has_record(run) {
        return Ok(vec![run.to_owned()]);
    }
    let nodes = node_folders(run)?.into_iter().map(|(_, folder)| folder);
    Ok(nodes.filter(|folder| has_record(folder)).collect())
}

/// The folders of a run, or of nodes of one, that a process has open, as far as locks tell. It may be about
/// to begin the run: it has no record before it has loaded its data.
pub fn claimed(run: &Path) -> Vec<PathBuf> {
    let nodes = node_folders(run).unwrap_or_default();
    let folders = nodes.into_iter().map(|(_, folder)| folder);
    let folders = folders.chain([run.to_owned()]);
    folders.filter(|folder| held(folder) == Held::Yes).collect()
}

/// How far a run has come.
struct Progress {
    workers: usize,
    steps: Option<u64>,
    epochs: Option<f64>,
    seconds: Option<f64>,
    metric: Option<LastMetric>,
}

/// The fields that lines of both kinds have.
#[derive(Deserialize)]
struct Moment {
    step: u64,
    seconds: f64,
}

impl Progress {
    fn of_summary(summary: &Summary, record: &RunRecord) -> Self {
        let test = &summary.test;
        let headline = Headline::of(test.leader.as_ref(), test.replica_mean.as_ref());
        Self {
            workers: summary.workers,
            steps: Some(summary.steps),
            epochs: Some(summary.epochs),
            seconds: Some(summary.training_seconds),
            metric: LastMetric::of(&record.metrics, headline),
        }
    }

    /// By the end of its records.
    fn read(folder: &Path, record: &RunRecord) -> Result<Self, RunError> {
        let path = folder.join("metrics.jsonl");
        let damaged = |why: serde_json::Error| RunError::damaged(&path, why);
        let (mut last, mut evaluation) = (None, None);
        if path.exists() {
            last_lines(&path, MOST, |line| {
                last.get_or_insert_with(|| serde_json::from_slice::<Moment>(line));
                if line.starts_with(EVALUATION) {
                    evaluation = Some(serde_json::from_slice::<Evaluation>(line));
                }
                evaluation.is_none()
            })?;
        }
        let last = last.transpose().map_err(damaged)?;
        let evaluation = match evaluation.transpose().map_err(damaged)? {
            Some(evaluation) => Some(evaluation),
            // Further back than anyone looks; a checkpoint has the one of its step.
            None => NewestCheckpoint::of(folder)?.and_then(|newest| newest.evaluation),
        };
        let steps = last.as_ref().map(|last| last.step);
        let epochs = evaluation.as_ref().zip(steps).map(|(evaluation, steps)| {
            // Epochs pass with steps.
            evaluation.epoch * steps as f64 / evaluation.step as f64
        });
        Ok(Self {
            workers: match &evaluation {
                Some(evaluation) if !evaluation.workers.is_empty() => evaluation.workers.len(),
                _ => record.devices.len(),
            },
            steps,
            epochs,
            seconds: last.map(|last| last.seconds),
            metric: evaluation
                .and_then(|evaluation| LastMetric::of(&record.metrics, evaluation.headline())),
        })
    }
}

/// When the last record was written: of a run that has ended, when it says that it did.
fn last_record(folder: &Path, record: &RunRecord, state: State) -> SystemTime {
    let end = record
        .end
        .as_ref()
        .filter(|_| matches!(state, State::Ended | State::Stopped | State::Diverged));
    let end = end.and_then(|end| humantime::parse_rfc3339(end).ok());
    end.unwrap_or_else(|| {
        let locked = locked_at(folder).filter(|_| state == State::Starting);
        last_written(folder)
            .max(locked)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    })
}
