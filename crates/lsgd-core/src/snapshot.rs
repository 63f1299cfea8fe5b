//! A module's values at one moment, as flat vectors.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::values::{SnapshotDigest, Values};
use crate::{Factors, Layout, ShortDigest, SnapshotError, WorkerId};

/// The origin of a vector.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A worker's own parameters after `step` steps.
    Worker {
        /// The worker.
        id: WorkerId,
        /// Steps it had taken.
        step: u64,
    },
    /// The mean of several workers' vectors.
    Mean {
        /// How many.
        workers: usize,
    },
    /// The sum of the vectors of several workers of a node, not yet divided.
    Sum {
        /// How many.
        workers: usize,
    },
    /// A node's sum at the end of a run, from which the mean over all workers is evaluated.
    Final {
        /// How many.
        workers: usize,
    },
    /// The centre variable of asynchronous EASGD, asynchronous local SGD and DOWNPOUR.
    Centre {
        /// Number of updates so far.
        version: u64,
    },
    /// The sum of the changes of several workers of a node, since an exchange brought all of them to one
    /// vector. Running statistics are summed as they are.
    Change {
        /// How many.
        workers: usize,
        /// That vector.
        since: ShortDigest,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker { id, step } => write!(f, "worker {id} at step {step}"),
            Self::Mean { workers } => write!(f, "the mean of {workers} workers"),
            Self::Sum { workers } => write!(f, "the sum of {workers} workers"),
            Self::Final { workers } => write!(f, "the sum of {workers} workers at the end"),
            Self::Centre { version } => write!(f, "the centre, version {version}"),
            Self::Change { workers, since } => {
                write!(f, "the change of {workers} workers since {since}")
            }
        }
    }
}

/// A module's trainable parameters and, separately, its BatchNorm running statistics, in the order
/// of their [`Layout`]. The values of a snapshot never change, so workers of a process share it by
/// reference; a clone shares the values too.
#[derive(Debug, Clone)]
pub struct Snapshot {
    layout: Arc<Layout>,
    source: Source,
    /// Those of the worker that they come from, if others may take them over. No part of the values: the
    /// digest does not depend on them.
    factors: Option<Factors>,
    /// Parameters, buffers, and the weights that the parameters have been multiplied by: none, one
    /// for all, or one per layer.
    pub(crate) values: Arc<Values>,
}

impl Snapshot {
    /// A snapshot of given values.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Length`] when a vector is not as long as the layout says.
    pub fn new(
        layout: Arc<Layout>,
        source: Source,
        parameters: Vec<f32>,
        buffers: Vec<f32>,
    ) -> Result<Self, SnapshotError> {
        for (expected, found) in [
            (layout.parameter_len(), parameters.len()),
            (layout.buffer_len(), buffers.len()),
        ] {
            if expected != found {
                return Err(SnapshotError::Length { expected, found });
            }
        }
        Ok(Self {
            layout,
            source,
            factors: None,
            values: Arc::new(Values::new(parameters, buffers, Vec::new())),
        })
    }

    /// The same snapshot, whose parameters have been multiplied by these weights: none, one for
    /// all, or one per [layer](Layout::layers).
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Length`] for any other number of weights.
    pub fn with_weights(mut self, weights: Vec<f32>) -> Result<Self, SnapshotError> {
        let layers = self.layout.layers().len();
        let found = weights.len();
        match found > 1 && found != layers {
            true => Err(SnapshotError::Length {
                expected: layers,
                found,
            }),
            false => {
                if weights != self.values.weights {
                    Values::edit(&mut self.values).weights = weights;
                }
                Ok(self)
            }
        }
    }

    /// The snapshot with its parameters multiplied by weights as in
    /// [`with_weights`](Self::with_weights); unchanged if their number is invalid.
    pub(crate) fn weighted(&self, weights: Vec<f32>) -> Self {
        let layout = self.layout.clone();
        let Ok(mut weighted) = self.clone().with_weights(weights) else {
            return self.clone();
        };
        let values = Values::edit(&mut weighted.values);
        let weights = layout.weighted(&values.weights);
        change(&mut values.parameters, weights, |value, weight| {
            value * weight
        });
        weighted
    }

    /// The order of the values.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The origin of the values.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The trainable parameters, in the layout's order.
    pub fn parameters(&self) -> &[f32] {
        &self.values.parameters
    }

    /// The BatchNorm running statistics, in the layout's order.
    pub fn buffers(&self) -> &[f32] {
        &self.values.buffers
    }

    /// The values of `this`, with origin `source`: the same `Arc`, if it has that origin already.
    pub(crate) fn of(this: &Arc<Self>, source: Source) -> Arc<Self> {
        match this.source == source {
            true => this.clone(),
            false => Arc::new(Self::clone(this).with_source(source)),
        }
    }

    /// What the run's hyperparameters are multiplied by for the worker that the values come from, if others
    /// may take them over.
    pub fn factors(&self) -> Option<Factors> {
        self.factors
    }

    /// The same values of a worker with these factors.
    pub fn with_factors(mut self, factors: Option<Factors>) -> Self {
        self.factors = factors;
        self
    }

    /// The same values with another origin.
    pub fn with_source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// The weights that the parameters have been multiplied by: none, one for all, or one per
    /// [layer](Layout::layers). A [mean](Self::mean) divides by their sum.
    pub fn weights(&self) -> &[f32] {
        &self.values.weights
    }

    /// The same parameters with other buffers.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Length`] when there are more or fewer buffers than the layout has.
    pub fn with_buffers(&self, buffers: Vec<f32>) -> Result<Self, SnapshotError> {
        Self::new(
            self.layout.clone(),
            self.source,
            self.parameters().to_vec(),
            buffers,
        )
    }

    /// The same buffers with other parameters, of the same number.
    pub(crate) fn with_parameters(&self, parameters: Vec<f32>) -> Self {
        Self {
            layout: self.layout.clone(),
            source: self.source,
            factors: None,
            values: Arc::new(Values::new(
                parameters,
                self.buffers().to_vec(),
                self.weights().to_vec(),
            )),
        }
    }

    /// The point `from + share (to - from)` of two snapshots of one layout: exactly `from` if
    /// `share` is 0, exactly `to` if it is 1. Its origin is that of `to`.
    pub(crate) fn interpolate(from: &Arc<Self>, to: &Arc<Self>, share: f64) -> Arc<Self> {
        if share == 0.0 {
            return from.clone();
        }
        if share == 1.0 {
            return to.clone();
        }
        let point = |from: &[f32], to: &[f32]| -> Vec<f32> {
            let pairs = from.iter().zip(to);
            let point = |(from, to): (&f32, &f32)| {
                let from = f64::from(*from);
                (from + share * (f64::from(*to) - from)) as f32
            };
            pairs.map(point).collect()
        };
        Arc::new(Self {
            layout: to.layout.clone(),
            source: to.source,
            factors: None,
            values: Arc::new(Values::new(
                point(from.parameters(), to.parameters()),
                point(from.buffers(), to.buffers()),
                Vec::new(),
            )),
        })
    }

    /// Combines each parameter with that of `other`, in `f64`.
    pub(crate) fn combined(&self, other: &Self, made: impl Fn(f64, f64) -> f64) -> Self {
        let pairs = self.parameters().iter().zip(other.parameters());
        let made = pairs.map(|(own, other)| made(f64::from(*own), f64::from(*other)) as f32);
        self.with_parameters(made.collect())
    }

    /// What this sum has moved from `base`, a vector of one worker, and what had not been sent of that before.
    pub(crate) fn change_since(
        &self,
        base: &Self,
        unsent: Option<&Self>,
    ) -> Result<Self, SnapshotError> {
        self.check(base.layout())?;
        let workers = self.workers();
        let count = workers as f64;
        let mut change = self.combined(base, |sum, base| sum - count * base);
        if let Some(unsent) = unsent {
            change = change.combined(unsent, |change, unsent| change + unsent);
        }
        let since = base.digest().into();
        Ok(change.with_source(Source::Change { workers, since }))
    }

    /// Number of values: parameters, buffers and weights.
    pub fn values(&self) -> usize {
        self.parameters().len() + self.buffers().len() + self.weights().len()
    }

    /// Size of the values in bytes, 4 each.
    pub fn bytes(&self) -> u64 {
        4 * self.values() as u64
    }

    /// A hash of the values and the layout: equal digests mean equal bits. Computed when it is first
    /// asked for, by whichever clone.
    pub fn digest(&self) -> SnapshotDigest {
        self.values.digest(self.layout.digest())
    }

    /// Checks that a module of `layout` may take these values, which are looked through only once.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Layout`] for another layout, [`SnapshotError::NotFinite`] for a NaN or
    /// infinity, [`SnapshotError::Weight`] for a weight that is no finite number above 0.
    pub fn check(&self, layout: &Layout) -> Result<(), SnapshotError> {
        if self.layout.digest() != layout.digest() {
            return Err(SnapshotError::Layout {
                expected: layout.digest().into(),
                found: self.layout.digest().into(),
            });
        }
        self.values.check()
    }

    /// The mean of several snapshots of one layout, parameters and buffers, summed in the order
    /// given and then divided: the same order gives the same bits. `None` for no snapshots.
    ///
    /// A [sum](Source::Sum), of values or of changes, counts as the workers in it. So a mean over nodes, of each node's sum
    /// in node order, has the same bits on all nodes. Snapshots with [weights](Self::weights) give
    /// the weighted mean of their parameters.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] if one does not match the first or is not finite, or their sum overflows.
    pub fn mean<'a>(
        snapshots: impl IntoIterator<Item = &'a Snapshot>,
    ) -> Result<Option<Self>, SnapshotError> {
        Ok(Self::sum(snapshots)?.map(Self::divided))
    }

    /// The mean, if this is a sum.
    pub(crate) fn divided(mut self) -> Self {
        if let Source::Sum { workers } = self.source {
            let values = Values::edit(&mut self.values);
            divide(&mut values.buffers, workers);
            let weights = std::mem::take(&mut values.weights);
            match weights.is_empty() {
                true => divide(&mut values.parameters, workers),
                false => {
                    let weights = self.layout.weighted(&weights);
                    change(&mut values.parameters, weights, |value, weight| {
                        value / weight
                    });
                }
            }
            self.source = Source::Mean { workers };
        }
        self
    }

    /// The sum of several snapshots, as in [`mean`](Self::mean) before the division.
    ///
    /// # Errors
    ///
    /// As [`mean`](Self::mean), and [`SnapshotError::Length`] if the numbers of weights differ.
    pub fn sum<'a>(
        snapshots: impl IntoIterator<Item = &'a Snapshot>,
    ) -> Result<Option<Self>, SnapshotError> {
        let mut snapshots = snapshots.into_iter();
        let Some(first) = snapshots.next() else {
            return Ok(None);
        };
        first.check(&first.layout)?;
        let mut sum = first.clone().with_factors(None);
        let mut workers = first.workers();
        for snapshot in snapshots {
            snapshot.check(&first.layout)?;
            let (expected, found) = (first.weights().len(), snapshot.weights().len());
            if expected != found {
                return Err(SnapshotError::Length { expected, found });
            }
            let values = Values::edit(&mut sum.values);
            add(&mut values.parameters, snapshot.parameters());
            add(&mut values.buffers, snapshot.buffers());
            add(&mut values.weights, snapshot.weights());
            workers = workers.saturating_add(snapshot.workers());
        }
        sum.source = Source::Sum { workers };
        sum.check(&first.layout)?;
        Ok(Some(sum))
    }

    /// The number of workers that it counts as in a sum.
    fn workers(&self) -> usize {
        match self.source {
            Source::Sum { workers }
            | Source::Final { workers }
            | Source::Change { workers, .. } => workers,
            Source::Worker { .. } | Source::Mean { .. } | Source::Centre { .. } => 1,
        }
    }
}

/// Applies `by` to the values of each layer, with the number given for it.
pub(crate) fn change(
    values: &mut [f32],
    layers: impl Iterator<Item = (Range<usize>, f32)>,
    by: impl Fn(f32, f32) -> f32,
) {
    for (layer, weight) in layers {
        for value in values.get_mut(layer).into_iter().flatten() {
            *value = by(*value, weight);
        }
    }
}

/// `sum += values`, elementwise over the shorter of the two.
pub(crate) fn add(sum: &mut [f32], values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}

/// `sum /= count`, elementwise.
pub(crate) fn divide(sum: &mut [f32], count: usize) {
    let count = count as f32;
    for value in sum {
        *value /= count;
    }
}
