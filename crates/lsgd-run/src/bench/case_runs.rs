//! The runs of a bench, case by case, and their means over seeds.

use super::curves::{Curve, Point};
use super::error::{BenchError, MetricDifference};
use super::estimate::{Estimate, estimate, mean};
use super::plan::{Case, Entry};
use crate::error::RunError;
use crate::storage::MetricInfo;

/// Whose values the three of a [`Point`] are.
pub const SCORED: [&str; 3] = ["leader", "replica_mean", "worker_mean"];

/// All runs of a bench.
pub struct Results {
    /// The metric that they are compared by; nothing if their task has none.
    pub metric: Option<MetricInfo>,
    /// In the order of the bench.
    pub cases: Vec<CaseRuns>,
}

/// A case and its runs, one per seed.
pub struct CaseRuns {
    /// The case.
    pub case: Case,
    /// Its runs.
    pub curves: Vec<Curve>,
}

impl Results {
    /// Reads the folders of all runs.
    ///
    /// # Errors
    ///
    /// [`RunError`] for a run that cannot be read, [`BenchError::OtherMetric`] if two cannot be
    /// compared.
    pub fn read<T>(entries: &[Entry<T>]) -> Result<Self, RunError> {
        let mut results = Self {
            metric: None,
            cases: Vec::new(),
        };
        for (index, entry) in entries.iter().enumerate() {
            let folder = entry.folder();
            let curve = Curve::read(&folder)?;
            if index == 0 {
                results.metric = curve.metric.clone();
            } else if results.metric != curve.metric {
                let difference = MetricDifference {
                    path: folder,
                    metric: curve.metric,
                    first: entries[0].folder(),
                    expected: results.metric,
                };
                return Err(BenchError::OtherMetric(Box::new(difference)).into());
            }
            results.add(&entry.case, curve);
        }
        Ok(results)
    }

    fn add(&mut self, case: &Case, curve: Curve) {
        match self.cases.iter_mut().find(|runs| runs.case == *case) {
            Some(runs) => runs.curves.push(curve),
            None => self.cases.push(CaseRuns {
                case: case.clone(),
                curves: vec![curve],
            }),
        }
    }

    /// Each run, with the case it belongs to.
    pub fn runs(&self) -> impl Iterator<Item = (&Case, &Curve)> {
        self.cases.iter().flat_map(|runs| {
            let curves = runs.curves.iter();
            curves.map(|curve| (&runs.case, curve))
        })
    }
}

/// The evaluations of a case: what had been spent, mean over seeds, and each value's estimate.
pub fn points(runs: &CaseRuns) -> Vec<(Point, [Estimate; 3])> {
    let shortest = runs.curves.iter().map(|curve| curve.points.len()).min();
    (0..shortest.unwrap_or(0))
        .map(|index| {
            let all: Vec<Point> = runs.curves.iter().map(|c| c.points[index]).collect();
            let of = |value: &dyn Fn(&Point) -> f64| all.iter().map(value).collect::<Vec<_>>();
            let values = [0, 1, 2].map(|which| estimate(&of(&|p| p.values[which])));
            let point = Point {
                step: mean(&of(&|p| p.step)),
                samples: mean(&of(&|p| p.samples)),
                bytes: mean(&of(&|p| p.bytes)),
                seconds: mean(&of(&|p| p.seconds)),
                values: values.map(|value| value.mean),
            };
            (point, values)
        })
        .collect()
}
