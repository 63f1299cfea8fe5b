//! What a run's records say of how it went.

use std::path::Path;

use lsgd_core::{Rank, Scope, Source};
use serde::Deserialize;

use super::estimate::mean;
use super::leading::Leading;
use crate::error::TrainError;
use crate::run::{Metric, RunFolder, read_lines};
use crate::train::End;

/// An evaluation, with what had been spent by then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Steps of a worker.
    pub step: f64,
    /// Training examples seen by all workers.
    pub samples: f64,
    /// Payload of all exchanges.
    pub bytes: f64,
    /// Seconds of training.
    pub seconds: f64,
    /// Test errors in percent: the leader's, the replica mean's, the mean over workers. NaN where
    /// there is none.
    pub errors: [f64; 3],
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Its evaluations, in order.
    pub points: Vec<Point>,
    /// Who led.
    pub leading: Leading,
    /// How it ended.
    pub end: End,
}

/// What is read of a line of `events.jsonl`.
#[derive(Debug, Deserialize)]
struct Line {
    event: String,
    scope: Option<Scope>,
    #[serde(default)]
    step: u64,
    seconds: f64,
    bytes: Option<u64>,
    leader: Option<Rank>,
    source: Option<Source>,
    #[serde(default)]
    recorded_by: u32,
}

impl Curve {
    /// Reads a run's folder.
    ///
    /// # Errors
    ///
    /// [`TrainError::Read`] or [`TrainError::Damaged`].
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        let (mut lines, mut metrics) = (Vec::<Line>::new(), Vec::<Metric>::new());
        read_lines(&folder.join("events.jsonl"), |line| lines.push(line))?;
        read_lines(&folder.join("metrics.jsonl"), |metric| metrics.push(metric))?;
        let spent: Vec<(f64, u64)> = lines
            .iter()
            .filter(|line| line.event == "exchange" && line.source.is_some())
            .filter_map(|line| Some((line.seconds, line.bytes?)))
            .collect();
        let point = |metric: Metric| {
            let Metric::Evaluation(evaluation) = metric else {
                return None;
            };
            let before = |(seconds, _): &&(f64, u64)| *seconds <= evaluation.seconds;
            let bytes: u64 = spent.iter().filter(before).map(|(_, bytes)| bytes).sum();
            let workers: Option<Vec<f64>> = evaluation
                .workers
                .iter()
                .map(|worker| Some(worker.test?.error))
                .collect();
            let leader = evaluation.leader.as_ref().and_then(|leader| leader.test);
            Some(Point {
                step: evaluation.step as f64,
                samples: evaluation.samples as f64,
                bytes: bytes as f64,
                seconds: evaluation.seconds,
                errors: [
                    leader.map_or(f64::NAN, |score| score.error),
                    evaluation
                        .replica_mean
                        .map_or(f64::NAN, |score| score.error),
                    workers.map_or(f64::NAN, |errors| mean(&errors)),
                ],
            })
        };
        let mut points: Vec<Point> = metrics.into_iter().filter_map(point).collect();
        let summary = RunFolder::open(folder)?.summary()?;
        if points.is_empty() {
            // Nobody trained: there is what it cost.
            points.push(Point {
                step: summary.steps as f64,
                samples: summary.samples as f64,
                bytes: spent.iter().map(|(_, bytes)| *bytes as f64).sum(),
                seconds: summary.training_seconds,
                errors: [f64::NAN; 3],
            });
        }
        Ok(Self {
            points,
            leading: leading(&lines),
            end: summary.end,
        })
    }
}

fn leading(lines: &[Line]) -> Leading {
    let mut leading = Leading::default();
    for line in lines.iter().filter(|line| line.event == "election") {
        if let (Some(scope), Some(leader)) = (line.scope, line.leader) {
            leading.add(scope, line.recorded_by, line.step, leader);
        }
    }
    leading
}
