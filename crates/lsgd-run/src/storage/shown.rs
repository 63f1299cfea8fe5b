//! Records in words: as progress shows a run while it trains, and whoever reads its folder later.

use super::records::{Evaluation, MetricInfo, Score};
use crate::task::with_unit;

/// Whose score stands for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headline {
    /// The leader's.
    Leader,
    /// The replica mean's: nobody leads.
    ReplicaMean,
}

impl Headline {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::ReplicaMean => "replica_mean",
        }
    }

    /// The leader's score, or if there is none the replica mean's.
    pub fn of<'a>(
        leader: Option<&'a Score>,
        replica_mean: Option<&'a Score>,
    ) -> Option<(Self, &'a Score)> {
        let leader = leader.map(|score| (Self::Leader, score));
        leader.or(replica_mean.map(|score| (Self::ReplicaMean, score)))
    }
}

impl MetricInfo {
    /// A value with its unit, as [`Metric::shown`](crate::Metric::shown).
    pub fn shown(&self, value: f64) -> String {
        with_unit(value, &self.unit)
    }

    /// All metrics of a score with their names; `none` for no score.
    pub fn shown_all(metrics: &[Self], score: Option<&Score>) -> String {
        let Some(score) = score else {
            return String::from("none");
        };
        let shown = metrics.iter().filter_map(|metric| {
            let value = score.get(&metric.name)?;
            Some(format!("{} {}", metric.name, metric.shown(value)))
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}

impl Evaluation {
    /// The score that stands for the run at this step.
    pub fn headline(&self) -> Option<(Headline, &Score)> {
        let leader = self.leader.as_ref().and_then(|leader| leader.test.as_ref());
        Headline::of(leader, self.replica_mean.as_ref())
    }

    /// Its line in the progress of a run whose task has these metrics.
    pub fn line(&self, metrics: &[MetricInfo]) -> String {
        let shown = |score: Option<&Score>| MetricInfo::shown_all(metrics, score);
        let averages = [("EMA", &self.ema), ("LAWA", &self.lawa)];
        let averages = averages.into_iter().filter(|(_, score)| score.is_some());
        let averages = averages.map(|(name, score)| format!("; {name} {}", shown(score.as_ref())));
        format!(
            "step {}, epoch {:.2}: leader {}; replica mean {}{}",
            self.step,
            self.epoch,
            shown(self.leader.as_ref().and_then(|leader| leader.test.as_ref())),
            shown(self.replica_mean.as_ref()),
            averages.collect::<String>(),
        )
    }
}
