//! What the records of one node tell of an `async` run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsgd_core::{Scope, ShortDigest, Source, VectorKind, WorkerId};
use serde::Deserialize;

use crate::error::RunError;
use crate::storage::{MetricRecord, RunFolder, WorkerScore, read_lines};

/// A line of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// From 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}", self.file.display(), self.line)
    }
}

impl Place {
    /// The error that the record cannot be replayed for what is said here.
    pub fn refuse(&self, why: impl fmt::Display) -> RunError {
        let path = PathBuf::from(&*self.file);
        let why = format!("line {}: {why}", self.line);
        RunError::NotReplayed { path, why }
    }
}

/// What a line of `events.jsonl` says that a replay depends on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Decision {
    Exchange {
        scope: Scope,
        vector: VectorKind,
        source: Source,
        #[serde(default)]
        added: Option<Source>,
        #[serde(default)]
        averaged: Option<Vec<(u32, u64)>>,
        #[serde(default)]
        digest: Option<ShortDigest>,
    },
    Adoption {
        step: u64,
        worker: WorkerId,
        scope: Scope,
        source: Source,
        strength: f64,
        #[serde(default)]
        digest: Option<ShortDigest>,
    },
    Led {
        step: u64,
        worker: WorkerId,
        source: Source,
    },
    Merged {
        source: Source,
        other: Source,
        digest: ShortDigest,
    },
    Proposed {
        source: Option<Source>,
        #[serde(default)]
        digest: Option<ShortDigest>,
    },
    Refused,
    Joined {
        step: u64,
        source: Option<Source>,
        #[serde(default)]
        digest: Option<ShortDigest>,
    },
    Restarted {
        step: u64,
        worker: WorkerId,
        #[serde(default)]
        source: Option<Source>,
        #[serde(default)]
        scope: Option<Scope>,
        #[serde(default)]
        digest: Option<ShortDigest>,
    },
    Resumed {
        #[serde(default)]
        changes: Option<Vec<String>>,
    },
    /// Elections, losses of nodes and the like: a replay only needs what came of them.
    #[serde(other)]
    Other,
}

/// A line of `events.jsonl`.
#[derive(Debug, Clone, Deserialize)]
struct Line {
    #[serde(flatten)]
    decision: Decision,
    seconds: f64,
    /// The node, in the records of a simulation of several.
    #[serde(default)]
    recorded_by: Option<u32>,
}

/// A decision, and where and when it was recorded.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub place: Place,
    /// The run's clock.
    pub seconds: f64,
    pub decision: Decision,
}

/// The digests of workers at one moment.
#[derive(Debug, Clone)]
pub struct Evaluated {
    pub place: Place,
    /// The run's clock.
    pub seconds: f64,
    pub workers: Vec<WorkerScore>,
}

/// The records of a node.
#[derive(Debug, Clone)]
pub struct NodeLog {
    /// The node, from 0.
    pub node: u32,
    pub decisions: Vec<Recorded>,
    pub evaluations: Vec<Evaluated>,
}

impl NodeLog {
    /// Reads the records of node `node` from its folder.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`], [`RunError::Damaged`], or [`RunError::NotReplayed`] for those of a
    /// simulation.
    pub fn read(node: u32, folder: &RunFolder) -> Result<Self, RunError> {
        let events: Arc<Path> = folder.join("events.jsonl").into();
        let metrics: Arc<Path> = folder.join("metrics.jsonl").into();
        let mut log = Self {
            node,
            decisions: Vec::new(),
            evaluations: Vec::new(),
        };
        let (mut line, mut simulated) = (0, None);
        read_lines(&events, |read: Line| {
            line += 1;
            let file = events.clone();
            let place = Place { file, line };
            if read.recorded_by.is_some() && simulated.is_none() {
                simulated = Some(place.clone());
            }
            if read.decision != Decision::Other {
                log.decisions.push(Recorded {
                    place,
                    seconds: read.seconds,
                    decision: read.decision,
                });
            }
        })?;
        if let Some(place) = simulated {
            return Err(place.refuse(
                "an event of a simulation, which the same config and seed repeat: lsgd-train simulate",
            ));
        }
        line = 0;
        read_lines(&metrics, |read: MetricRecord| {
            line += 1;
            if let MetricRecord::Evaluation(evaluation) = read {
                let file = metrics.clone();
                log.evaluations.push(Evaluated {
                    place: Place { file, line },
                    seconds: evaluation.seconds,
                    workers: evaluation.workers,
                });
            }
        })?;
        Ok(log)
    }
}
