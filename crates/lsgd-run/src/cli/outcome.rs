//! The line about a run that has ended.

use std::path::Path;

use crate::storage::{MetricInfo, Score, Summary};
use crate::words::count;

/// What came of the run in `folder`, by its task's first metric; `unit` is the task's word for examples.
pub(super) fn outcome_line(
    folder: &Path,
    summary: &Summary,
    metric: Option<&MetricInfo>,
    unit: &str,
) -> String {
    let shown = |score: &Option<Score>| {
        let shown = |metric: &MetricInfo| Some(metric.shown(score.as_ref()?.get(&metric.name)?));
        metric
            .and_then(shown)
            .unwrap_or_else(|| String::from("none"))
    };
    let averages = [("EMA", &summary.test.ema), ("LAWA", &summary.test.lawa)];
    let averages = averages.into_iter().filter(|(_, score)| score.is_some());
    let averages = averages.map(|(name, score)| format!(", {name} {}", shown(score)));
    let came = match (summary.digests.is_empty(), metric) {
        (true, _) => String::from("nothing was trained"),
        (false, None) => String::from("nothing was scored"),
        (false, Some(metric)) => format!(
            "{} of the leader {}, the replica mean {}, workers {}{}",
            metric.name,
            shown(&summary.test.leader),
            shown(&summary.test.replica_mean),
            shown(&summary.test.worker_mean),
            averages.collect::<String>(),
        ),
    };
    let pace = match summary.simulated {
        Some(_) => " a virtual second",
        None => "/s",
    };
    format!(
        "{}: {} of {}, {:.0} {unit}{pace}; {came}",
        folder.display(),
        count(summary.steps, "step"),
        count(summary.workers, "worker"),
        summary.samples_per_second,
    )
}
