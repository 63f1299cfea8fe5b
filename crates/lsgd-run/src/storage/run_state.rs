//! What a checkpoint holds beside the values, so that a run continues from it with the same bits.
//!
//! | file | what is in it |
//! |---|---|
//! | `worker-K.optimizer.bpk` | the inner optimizer's state, under parameter paths |
//! | `worker-K-ema.safetensors` | the moving average, if the worker keeps one |
//! | `state.safetensors` | loss windows, factors that are taken over, the vectors and numbers of the method's rule, the window's means |
//! | `state.json`, `resume` | counters, the names of those vectors, lengths of the records |
//!
//! A vector is stored once under its digest, however many workers keep it: all workers have the same
//! centre, and most the same last leader.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsgd_core::{AverageState, GlobalLeaderState, LocalLeaderState, Snapshot, WorkerState};
use safetensors::tensor::{Dtype, TensorView};

use super::digests::DigestedFiles;
use super::resume_record::{
    ClusterRecord, RecordLengths, ResumeRecord, SavedTimes, SavedVector, WindowRecord, WorkerRecord,
};
use crate::error::RunError;

/// The file of vectors and numbers.
pub(super) const STATE: &str = "state.safetensors";

/// The state of a run between two steps, to be written.
#[derive(Debug)]
pub struct RunState {
    /// The workers, each with its number.
    pub workers: Vec<(usize, SavedWorker)>,
    /// Their leader.
    pub leader: LocalLeaderState,
    /// What the node remembers of the exchange with others.
    pub cluster: Option<GlobalLeaderState>,
    /// The replica means of the last evaluations, each with its step, oldest first.
    pub window: Vec<(u64, Arc<Snapshot>)>,
    /// Whether an evaluation was due at this step.
    pub evaluates: bool,
    /// Seconds of training.
    pub seconds: f64,
    /// Lengths of the records when the workers paused.
    pub records: RecordLengths,
}

/// A worker's state, to be written.
#[derive(Debug)]
pub struct SavedWorker {
    /// The optimizer's state.
    pub state: WorkerState,
    /// The inner optimizer's state, encoded.
    pub optimizer: Arc<Vec<u8>>,
    /// Its times so far.
    pub times: SavedTimes,
    /// Its moving average, if it keeps one.
    pub average: Option<AverageState>,
}

impl RunState {
    /// What `state.json` says of it.
    pub fn record(&self) -> ResumeRecord {
        let worker = |(number, worker): &(usize, SavedWorker)| {
            let SavedWorker {
                state,
                times,
                average,
                ..
            } = worker;
            let vectors = state.rule.vectors.iter();
            WorkerRecord {
                worker: *number,
                step: state.step,
                vectors: vectors
                    .map(|(name, vector)| (name.clone(), SavedVector::of(vector)))
                    .collect(),
                numbers: state.rule.numbers.keys().cloned().collect(),
                times: *times,
                averaged: average.as_ref().map(|average| average.steps),
            }
        };
        let mean = |(step, mean): &(u64, Arc<Snapshot>)| WindowRecord {
            step: *step,
            mean: SavedVector::of(mean),
        };
        ResumeRecord {
            evaluates: self.evaluates,
            seconds: self.seconds,
            records: self.records,
            evaluated: None,
            exchange: self.leader.counters.clone(),
            cluster: self.cluster.as_ref().map(ClusterRecord::of),
            centre: self.leader.centre.as_deref().map(SavedVector::of),
            window: self.window.iter().map(mean).collect(),
            workers: self.workers.iter().map(worker).collect(),
        }
    }

    /// Writes its files.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub(super) fn write(&self, files: &mut DigestedFiles) -> Result<(), RunError> {
        for (number, worker) in &self.workers {
            files.write(&optimizer_path(files.folder, *number), &worker.optimizer)?;
        }
        let path = files.folder.join(STATE);
        files.write(&path, &self.tensors().encode(&path)?)
    }

    fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::default();
        if let Some(centre) = &self.leader.centre {
            tensors.vector(centre);
        }
        for (_, mean) in &self.window {
            tensors.vector(mean);
        }
        let join_point = self.cluster.as_ref().and_then(|c| c.join_point.as_ref());
        if let Some((_, delivered)) = join_point {
            tensors.vector(delivered);
        }
        if let Some(unsent) = self.cluster.as_ref().and_then(|c| c.unsent.as_ref()) {
            tensors.vector(unsent);
        }
        for (number, worker) in &self.workers {
            let SavedWorker { state, .. } = worker;
            tensors.singles(format!("worker-{number}.losses"), &state.losses);
            let probed: Vec<f64> = state.probed.into_iter().collect();
            tensors.doubles(format!("worker-{number}.probed"), &probed);
            if let Some(factors) = state.factors {
                let factors = [factors.learning_rate, factors.weight_decay];
                tensors.doubles(factors_of(*number), &factors);
            }
            for (name, numbers) in &state.rule.numbers {
                tensors.doubles(format!("worker-{number}.{name}"), numbers);
            }
            for vector in state.rule.vectors.values() {
                tensors.vector(vector);
            }
        }
        tensors
    }
}

/// The name of a worker's factors among the vectors and numbers.
pub(super) fn factors_of(worker: usize) -> String {
    format!("worker-{worker}.factors")
}

/// The file of a worker's inner optimizer.
pub(super) fn optimizer_path(checkpoint: &Path, worker: usize) -> PathBuf {
    checkpoint.join(format!("worker-{worker}.optimizer.bpk"))
}

/// Tensors of one dimension, by name.
#[derive(Default)]
struct Tensors(BTreeMap<String, (Dtype, Vec<u8>)>);

impl Tensors {
    fn singles(&mut self, name: String, values: &[f32]) {
        let bytes = bytemuck::cast_slice(values).to_vec();
        self.0.insert(name, (Dtype::F32, bytes));
    }

    fn doubles(&mut self, name: String, values: &[f64]) {
        let bytes = bytemuck::cast_slice(values).to_vec();
        self.0.insert(name, (Dtype::F64, bytes));
    }

    fn vector(&mut self, vector: &Snapshot) {
        let digest = vector.digest();
        self.singles(format!("{digest}.parameters"), vector.parameters());
        self.singles(format!("{digest}.buffers"), vector.buffers());
    }

    fn encode(&self, path: &Path) -> Result<Vec<u8>, RunError> {
        let views = self.0.iter().map(|(name, (dtype, bytes))| {
            let size = match dtype {
                Dtype::F64 => 8,
                _ => 4,
            };
            let view = TensorView::new(*dtype, vec![bytes.len() / size], bytes)?;
            Ok((name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        let bytes = views.and_then(|views| safetensors::serialize(views, None));
        bytes.map_err(|error| RunError::damaged(path, error))
    }
}
