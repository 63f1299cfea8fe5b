//! The course of a run, read from its records.

use std::path::Path;

use lsgd_core::{Scope, Source, WorkerId};
use serde::Deserialize;

use super::estimate::mean;
use super::leadership::Leadership;
use crate::error::RunError;
use crate::storage::{
    End, Evaluation, MetricInfo, MetricRecord, RunFolder, Score, WorkerScore, read_lines,
};

/// An evaluation, with what had been spent by then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Steps of one worker.
    pub step: f64,
    /// Training examples seen by all workers.
    pub samples: f64,
    /// Payload of all exchanges.
    pub bytes: f64,
    /// Seconds of training.
    pub seconds: f64,
    /// The main metric on held-out examples: the leader's, the replica mean's, the mean over workers.
    /// NaN where there is none.
    pub values: [f64; 3],
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Its seed.
    pub seed: u64,
    /// The metric that its points have; nothing if its task has none.
    pub metric: Option<MetricInfo>,
    /// Its evaluations, in order.
    pub points: Vec<Point>,
    /// Its leaders.
    pub leadership: Leadership,
    /// How it ended.
    pub end: End,
}

/// The fields used of a line of `events.jsonl`.
#[derive(Debug, Deserialize)]
struct Line {
    event: String,
    scope: Option<Scope>,
    #[serde(default)]
    step: u64,
    seconds: f64,
    bytes: Option<u64>,
    leader: Option<WorkerId>,
    source: Option<Source>,
    #[serde(default)]
    recorded_by: u32,
}

impl Curve {
    /// Reads a run's folder.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`].
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        let run = RunFolder::open(folder)?;
        let (record, summary) = (run.record()?, run.summary()?);
        let (mut lines, mut evaluations) = (Vec::<Line>::new(), Vec::new());
        read_lines(&run.join("events.jsonl"), |line| lines.push(line))?;
        read_lines(&run.join("metrics.jsonl"), |line: MetricRecord| {
            if let MetricRecord::Evaluation(evaluation) = line {
                evaluations.push(evaluation);
            }
        })?;
        let metric = record.metrics.into_iter().next();
        if metric.is_none() && evaluations.iter().any(has_metrics) {
            let why = "does not say what the metrics of the run are; remove the run to have it made \
                       again";
            return Err(RunError::damaged(&run.join("run.json"), why));
        }
        let name = metric.as_ref().map_or("", |metric| &metric.name);
        let spent: Vec<(f64, u64)> = lines
            .iter()
            .filter(|line| line.event == "exchange" && line.source.is_some())
            .filter_map(|line| Some((line.seconds, line.bytes?)))
            .collect();
        let point = |evaluation: &Evaluation| point(evaluation, name, &spent);
        let mut points: Vec<Point> = evaluations.iter().map(point).collect();
        if points.is_empty() {
            // Without training there is only the cost.
            points.push(Point {
                step: summary.steps as f64,
                samples: summary.samples as f64,
                bytes: spent.iter().map(|(_, bytes)| *bytes as f64).sum(),
                seconds: summary.training_seconds,
                values: [f64::NAN; 3],
            });
        }
        Ok(Self {
            seed: record.seed,
            metric,
            points,
            leadership: leadership(&lines),
            end: summary.end,
        })
    }
}

/// Whether an evaluation has scored anything by a metric.
fn has_metrics(evaluation: &Evaluation) -> bool {
    let workers = evaluation.workers.iter();
    let mut scores = workers.filter_map(|worker| worker.test.as_ref());
    scores.any(|score| score.metrics().next().is_some())
}

/// An evaluation by the metric `name`, of a run whose exchanges were at these seconds and had these
/// bytes.
fn point(evaluation: &Evaluation, name: &str, exchanges: &[(f64, u64)]) -> Point {
    let before = exchanges
        .iter()
        .filter(|(seconds, _)| *seconds <= evaluation.seconds);
    let bytes = before.fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
    let value = |score: &Score| score.get(name);
    let of_worker = |worker: &WorkerScore| worker.test.as_ref().and_then(value);
    let workers: Option<Vec<f64>> = evaluation.workers.iter().map(of_worker).collect();
    let values = [
        evaluation.leader.as_ref().and_then(of_worker),
        evaluation.replica_mean.as_ref().and_then(value),
        workers.map(|values| mean(&values)),
    ];
    Point {
        step: evaluation.step as f64,
        samples: evaluation.samples as f64,
        bytes: bytes as f64,
        seconds: evaluation.seconds,
        values: values.map(|value| value.unwrap_or(f64::NAN)),
    }
}

fn leadership(lines: &[Line]) -> Leadership {
    let mut leadership = Leadership::default();
    for line in lines.iter().filter(|line| line.event == "election") {
        if let (Some(scope), Some(leader)) = (line.scope, line.leader) {
            leadership.add(scope, line.recorded_by, line.step, leader);
        }
    }
    leadership
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of a damaged record are no reason to panic.
    #[test]
    fn bytes_of_exchanges_are_added_without_overflow() {
        let evaluation = r#"{ "step": 1, "epoch": 1.0, "samples": 1, "seconds": 2.0, "examples": 1,
                              "leader": null, "replica_mean": null, "workers": [] }"#;
        let evaluation = serde_json::from_str(evaluation).unwrap();
        let point = point(&evaluation, "error", &[(1.0, 5), (2.0, u64::MAX), (3.0, 7)]);
        assert_eq!(point.bytes, u64::MAX as f64);
    }
}
