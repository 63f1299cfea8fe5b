//! A node's totals over all its incarnations.

use std::time::Duration;

use lsgd_core::{Event, Scope};
use serde::Deserialize;

use super::best::Best;
use crate::error::RunError;
use crate::storage::{ExchangeSummary, MetricRecord, RunFolder, read_lines};
use crate::task::Metric;

/// A node's totals over all its incarnations: those of earlier ones from its records, and those of
/// the current one.
#[derive(Debug, Default)]
pub struct Totals {
    /// Steps that its workers have taken together. Steps that a killed process had not recorded, at
    /// most nine per worker, are missing.
    pub steps: u64,
    /// How long the run had been trained at the last record.
    pub trained: Duration,
    /// Exchanges within the node: how many, and bytes published in them.
    pub exchange: ExchangeSummary,
    /// The best evaluation, by the task's first metric.
    pub best: Best,
}

/// The relevant fields of a line of `events.jsonl`.
#[derive(Debug, Deserialize)]
struct Line {
    event: String,
    scope: Option<Scope>,
    bytes: Option<u64>,
    seconds: f64,
}

impl Totals {
    /// The totals of the records in this folder; the best evaluation is by `metric`.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`].
    pub fn read(folder: &RunFolder, metric: Option<&Metric>) -> Result<Self, RunError> {
        let mut totals = Self::default();
        let mut seconds = 0.0_f64;
        read_lines(&folder.join("metrics.jsonl"), |record| {
            seconds = seconds.max(match &record {
                MetricRecord::Interval(interval) => interval.seconds,
                MetricRecord::Evaluation(evaluation) => evaluation.seconds,
            });
            match record {
                MetricRecord::Interval(interval) => {
                    totals.steps = totals.steps.saturating_add(interval.steps);
                }
                MetricRecord::Evaluation(evaluation) => {
                    totals.best.improves(&evaluation, metric);
                }
            }
        })?;
        let path = folder.join("events.jsonl");
        read_lines(&path, |line: Line| {
            seconds = seconds.max(line.seconds);
            if line.event == "exchange" && line.scope == Some(Scope::Local) {
                totals.exchange.add(line.bytes.unwrap_or(0));
            }
        })?;
        totals.trained = Duration::try_from_secs_f64(seconds)
            .map_err(|error| RunError::damaged(&path, format!("{seconds} seconds: {error}")))?;
        Ok(totals)
    }

    /// Counts an event at this training time. Returns the time to record: not before the last
    /// recorded one, whichever thread was faster.
    pub fn event(&mut self, event: &Event, seconds: f64) -> f64 {
        self.exchange.count(event);
        self.record(seconds)
    }

    /// The time to record for something that occurred at this training time: not before the last
    /// recorded one.
    pub fn record(&mut self, seconds: f64) -> f64 {
        let at = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        self.trained = self.trained.max(at);
        self.trained.as_secs_f64()
    }
}
