//! One module's values at one moment, flat.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use half::bf16;
use serde::{Deserialize, Serialize};

use crate::{Layout, Rank, Refusal};

/// Where a vector comes from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A worker's own parameters after `step` steps.
    Worker {
        /// The worker.
        rank: Rank,
        /// Steps it had taken.
        step: u64,
    },
    /// The mean of several workers' vectors.
    Mean {
        /// How many.
        workers: usize,
    },
    /// The sum of the vectors of several workers of a node, which is yet to be divided.
    Sum {
        /// How many.
        workers: usize,
    },
    /// Such a sum at the end of a run, from which the mean of all nodes' workers is evaluated.
    Final {
        /// How many.
        workers: usize,
    },
    /// The centre variable of asynchronous EASGD and DOWNPOUR.
    Centre {
        /// How often it has moved.
        version: u64,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker { rank, step } => write!(f, "worker {rank} at step {step}"),
            Self::Mean { workers } => write!(f, "the mean of {workers} workers"),
            Self::Sum { workers } => write!(f, "the sum of {workers} workers"),
            Self::Final { workers } => write!(f, "the sum of {workers} workers at the end"),
            Self::Centre { version } => write!(f, "the centre, version {version}"),
        }
    }
}

/// The trainable parameters of a module and, apart from them, its BatchNorm running statistics, in
/// the order of their [`Layout`]. The values of a snapshot never change once it is made, so
/// workers of a process share it by reference.
#[derive(Debug, Clone)]
pub struct Snapshot {
    layout: Arc<Layout>,
    source: Source,
    parameters: Vec<f32>,
    buffers: Vec<f32>,
    /// By what the parameters are multiplied: none, one for all of them, or one for each layer.
    weights: Vec<f32>,
}

/// Identifies the values of a [`Snapshot`]: a hash of them and of their layout.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct SnapshotDigest(pub [u8; 32]);

impl fmt::Display for SnapshotDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for SnapshotDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotDigest({self})")
    }
}

impl Snapshot {
    /// A snapshot of given values.
    ///
    /// # Errors
    ///
    /// [`Refusal::Length`] when a vector is not as long as the layout says.
    pub fn new(
        layout: Arc<Layout>,
        source: Source,
        parameters: Vec<f32>,
        buffers: Vec<f32>,
    ) -> Result<Self, Refusal> {
        for (expected, found) in [
            (layout.parameter_len(), parameters.len()),
            (layout.buffer_len(), buffers.len()),
        ] {
            if expected != found {
                return Err(Refusal::Length { expected, found });
            }
        }
        Ok(Self {
            layout,
            source,
            parameters,
            buffers,
            weights: Vec::new(),
        })
    }

    /// The same, with parameters that have been multiplied by these weights: none, one for all, or
    /// one for each [layer](Layout::layers).
    ///
    /// # Errors
    ///
    /// [`Refusal::Length`] for any other number of weights.
    pub fn with_weights(mut self, weights: Vec<f32>) -> Result<Self, Refusal> {
        let layers = self.layout.layers().len();
        let found = weights.len();
        match found > 1 && found != layers {
            true => Err(Refusal::Length {
                expected: layers,
                found,
            }),
            false => {
                self.weights = weights;
                Ok(self)
            }
        }
    }

    /// This, its parameters multiplied by weights as in [`with_weights`](Self::with_weights); as it
    /// is if there are as many as make no sense.
    pub(crate) fn weighted(&self, weights: Vec<f32>) -> Self {
        let layout = self.layout.clone();
        let Ok(mut weighted) = self.clone().with_weights(weights) else {
            return self.clone();
        };
        let weights = layout.weighted(&weighted.weights);
        change(&mut weighted.parameters, weights, |value, weight| {
            value * weight
        });
        weighted
    }

    /// What the vectors hold.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Where the values come from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The trainable parameters, in the layout's order.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// The BatchNorm running statistics, in the layout's order.
    pub fn buffers(&self) -> &[f32] {
        &self.buffers
    }

    /// The values of `this`, from `source`: the same ones, if they already are.
    pub(crate) fn of(this: &Arc<Self>, source: Source) -> Arc<Self> {
        match this.source == source {
            true => this.clone(),
            false => Arc::new(Self::clone(this).with_source(source)),
        }
    }

    /// The same values from elsewhere.
    pub fn with_source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// By what the parameters are multiplied: nothing, all by one weight, or each
    /// [layer](Layout::layers) by one. A [mean](Self::mean) divides by their sum.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The same parameters with other buffers.
    ///
    /// # Errors
    ///
    /// [`Refusal::Length`] when there are more or fewer buffers than the layout has.
    pub fn with_buffers(&self, buffers: Vec<f32>) -> Result<Self, Refusal> {
        Self::new(
            self.layout.clone(),
            self.source,
            self.parameters.clone(),
            buffers,
        )
    }

    /// The same buffers with other parameters, as many as there were.
    pub(crate) fn with_parameters(&self, parameters: Vec<f32>) -> Self {
        Self {
            layout: self.layout.clone(),
            source: self.source,
            parameters,
            buffers: self.buffers.clone(),
            weights: self.weights.clone(),
        }
    }

    /// The point `from + share (to - from)` of two snapshots of one layout: exactly `from` where
    /// `share` is 0, exactly `to` where it is 1. It counts as from where `to` is.
    pub(crate) fn between(from: &Arc<Self>, to: &Arc<Self>, share: f64) -> Arc<Self> {
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
            parameters: point(&from.parameters, &to.parameters),
            buffers: point(&from.buffers, &to.buffers),
            weights: Vec::new(),
        })
    }

    /// This, each parameter made of it and of `other`'s, in `f64`.
    pub(crate) fn combined(&self, other: &Self, made: impl Fn(f64, f64) -> f64) -> Self {
        let pairs = self.parameters.iter().zip(&other.parameters);
        let made = pairs.map(|(own, other)| made(f64::from(*own), f64::from(*other)) as f32);
        self.with_parameters(made.collect())
    }

    /// Number of values: parameters, buffers and weights.
    pub fn values(&self) -> usize {
        self.parameters.len() + self.buffers.len() + self.weights.len()
    }

    /// Size of the values in bytes, 4 each.
    pub fn bytes(&self) -> u64 {
        4 * self.values() as u64
    }

    /// A hash of the values and the layout: equal digests mean equal bits.
    pub fn digest(&self) -> SnapshotDigest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.layout.digest().0);
        hasher.update(bytemuck::cast_slice(&self.parameters));
        hasher.update(bytemuck::cast_slice(&self.buffers));
        hasher.update(bytemuck::cast_slice(&self.weights));
        SnapshotDigest(*hasher.finalize().as_bytes())
    }

    /// Whether a module of `layout` may take these values.
    ///
    /// # Errors
    ///
    /// [`Refusal::Layout`] for another layout, [`Refusal::NotFinite`] for a NaN or infinity,
    /// [`Refusal::Weight`] for a weight that is no finite number above 0.
    pub fn check(&self, layout: &Layout) -> Result<(), Refusal> {
        if self.layout.digest() != layout.digest() {
            return Err(Refusal::Layout {
                expected: layout.digest().into(),
                found: self.layout.digest().into(),
            });
        }
        let values = self.parameters.iter().chain(&self.buffers);
        if let Some((index, _)) = values.enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Refusal::NotFinite { index });
        }
        let unfit = |weight: &f32| !(weight.is_finite() && *weight > 0.0);
        match self.weights.iter().position(unfit) {
            Some(index) => Err(Refusal::Weight { index }),
            None => Ok(()),
        }
    }

    /// The mean of several snapshots of one layout, parameters and buffers, summed in the order
    /// given and then divided: the same order gives the same bits. `None` for no snapshots.
    ///
    /// A [sum](Source::Sum) counts as the workers in it. So a mean over nodes, of each node's sum in
    /// node order, has the same bits wherever the nodes are. Snapshots with
    /// [weights](Self::weights) give the weighted mean of their parameters.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when one does not fit the first, is not finite, or their sum is not.
    pub fn mean<'a>(
        snapshots: impl IntoIterator<Item = &'a Snapshot>,
    ) -> Result<Option<Self>, Refusal> {
        Ok(Self::sum(snapshots)?.map(Self::divided))
    }

    /// The mean whose sum this is.
    pub(crate) fn divided(mut self) -> Self {
        if let Source::Sum { workers } = self.source {
            divide(&mut self.buffers, workers);
            let weights = std::mem::take(&mut self.weights);
            match weights.is_empty() {
                true => divide(&mut self.parameters, workers),
                false => {
                    let weights = self.layout.weighted(&weights);
                    change(&mut self.parameters, weights, |value, weight| {
                        value / weight
                    });
                }
            }
            self.source = Source::Mean { workers };
        }
        self
    }

    /// The sum of several snapshots, as in [`mean`](Self::mean), not divided.
    ///
    /// # Errors
    ///
    /// As [`mean`](Self::mean), and [`Refusal::Length`] for other numbers of weights.
    pub fn sum<'a>(
        snapshots: impl IntoIterator<Item = &'a Snapshot>,
    ) -> Result<Option<Self>, Refusal> {
        let mut snapshots = snapshots.into_iter();
        let Some(first) = snapshots.next() else {
            return Ok(None);
        };
        first.check(&first.layout)?;
        let mut sum = first.clone();
        let mut workers = first.workers();
        for snapshot in snapshots {
            snapshot.check(&first.layout)?;
            let (expected, found) = (first.weights.len(), snapshot.weights.len());
            if expected != found {
                return Err(Refusal::Length { expected, found });
            }
            add(&mut sum.parameters, &snapshot.parameters);
            add(&mut sum.buffers, &snapshot.buffers);
            add(&mut sum.weights, &snapshot.weights);
            workers = workers.saturating_add(snapshot.workers());
        }
        sum.source = Source::Sum { workers };
        sum.check(&first.layout)?;
        Ok(Some(sum))
    }

    /// How many workers' vectors it counts as in a sum.
    fn workers(&self) -> usize {
        match self.source {
            Source::Sum { workers } | Source::Final { workers } => workers,
            Source::Worker { .. } | Source::Mean { .. } | Source::Centre { .. } => 1,
        }
    }

    /// The values rounded to the nearest bf16 (ties to even), and by how much they moved: the norm
    /// of the difference over the norm of the values, parameters and buffers together. Where there
    /// are weights the parameters are first multiplied by what their weight is rounded by, so that
    /// the quotient of the two keeps its scale.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFinite`] for a value too large for a finite bf16.
    pub fn rounded_to_bf16(&self) -> Result<(Self, f64), Refusal> {
        let mut rounded = self.clone();
        for weight in &mut rounded.weights {
            *weight = bf16::from_f32(*weight).to_f32();
        }
        let before = self.layout.weighted(&self.weights).zip(&rounded.weights);
        let moves = before.map(|((layer, from), to)| (layer, to / from));
        change(&mut rounded.parameters, moves, |value, by| value * by);
        let (mut moved, mut length) = (0.0, 0.0);
        let values = rounded.parameters.iter_mut().chain(&mut rounded.buffers);
        for value in values {
            let nearest = bf16::from_f32(*value).to_f32();
            moved += f64::from(nearest - *value).powi(2);
            length += f64::from(*value).powi(2);
            *value = nearest;
        }
        rounded.check(&self.layout)?;
        let error = if length > 0.0 {
            (moved / length).sqrt()
        } else {
            0.0
        };
        Ok((rounded, error))
    }
}

/// Changes the values of each layer by what is given for it.
fn change(
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
