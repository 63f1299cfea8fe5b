//! What a node has done over all its lives.

use std::time::Duration;

use lsgd_core::{Event, Scope};
use serde::Deserialize;

use super::examination::Best;
use crate::error::TrainError;
use crate::run::{ExchangeSummary, Metric, RunFolder, read_lines};

/// What a node has done over all its lives: what its records say of those before, and what it counts
/// in this one.
#[derive(Debug, Default)]
pub struct Totals {
    /// Steps that its workers have taken together. Those that a killed process had not recorded, at
    /// most nine of each worker beyond its lines, are not among them.
    pub steps: u64,
    /// How long the run had been trained when it last recorded something.
    pub trained: Duration,
    /// Exchanges within the node: how many, and bytes published in them.
    pub exchange: ExchangeSummary,
    /// The lowest test error.
    pub best: Best,
}

/// What counts of a line of `events.jsonl`.
#[derive(Debug, Deserialize)]
struct Line {
    event: String,
    scope: Option<Scope>,
    bytes: Option<u64>,
    seconds: f64,
}

impl Totals {
    /// Those of the lives that have recorded in this folder.
    ///
    /// # Errors
    ///
    /// [`TrainError::Read`] or [`TrainError::Damaged`].
    pub fn read(folder: &RunFolder) -> Result<Self, TrainError> {
        let mut totals = Self::default();
        let mut seconds = 0.0_f64;
        read_lines(&folder.join("metrics.jsonl"), |metric| {
            seconds = seconds.max(match &metric {
                Metric::Interval(interval) => interval.seconds,
                Metric::Evaluation(evaluation) => evaluation.seconds,
            });
            match metric {
                Metric::Interval(interval) => {
                    totals.steps = totals.steps.saturating_add(interval.steps);
                }
                Metric::Evaluation(evaluation) => {
                    totals.best.improves(&evaluation);
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
            .map_err(|error| TrainError::damaged(&path, format!("{seconds} seconds: {error}")))?;
        Ok(totals)
    }

    /// Counts an event that came this long into the run's training. Returns when it is recorded: not
    /// before what was recorded before, whoever of several threads was the faster to tell.
    pub fn event(&mut self, event: &Event, seconds: f64) -> f64 {
        self.exchange.count(event);
        let at = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        self.trained = self.trained.max(at);
        self.trained.as_secs_f64()
    }
}
