//! The state of a run, read back from a checkpoint.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lsgd_core::{
    AverageState, Factors, GlobalLeaderState, Layout, LocalLeaderState, RuleState, Snapshot,
    Source, VectorKind, WorkerState,
};
use safetensors::tensor::{Dtype, SafeTensors};

use super::checkpoint::CheckpointState;
use super::resume_record::{RecordLengths, ResumeRecord, SavedTimes, SavedVector};
use super::run_state::{STATE, factors_of, optimizer_path};
use super::values::floats;
use super::which::Which;
use crate::error::RunError;

/// Room for the names and shapes in a file, in bytes for each tensor.
const HEADER: u64 = 512;

/// Most values of a loss window or a rule that are read.
const MAX_NUMBERS: u64 = 1 << 24;

/// Most vectors that a worker's rule has.
const MAX_VECTORS: u64 = 16;

/// The state of a run, read from a checkpoint.
#[derive(Debug)]
pub struct SavedRun {
    /// The checkpoint's state.
    pub state: CheckpointState,
    /// Its part about going on.
    pub record: ResumeRecord,
    /// The workers, by number.
    pub workers: BTreeMap<usize, LoadedWorker>,
    /// Their leader.
    pub leader: LocalLeaderState,
    /// What the node remembers of the exchange with others.
    pub cluster: GlobalLeaderState,
    /// The replica means of the last evaluations, each with its step, oldest first.
    pub window: Vec<(u64, Arc<Snapshot>)>,
}

/// A worker's state, read from a checkpoint.
#[derive(Debug, Clone)]
pub struct LoadedWorker {
    /// Its values.
    pub values: Arc<Snapshot>,
    /// Its optimizer's state.
    pub state: WorkerState,
    /// The inner optimizer's state, encoded; `None` if it starts afresh.
    pub optimizer: Option<Vec<u8>>,
    /// Its times so far.
    pub times: SavedTimes,
    /// Its moving average, if it kept one.
    pub average: Option<AverageState>,
}

impl SavedRun {
    /// The state of worker `worker`. A worker that the run did not have begins with the values and
    /// the rule of the leader, or of the first worker, and with nothing else.
    pub fn worker(&self, worker: usize) -> Option<LoadedWorker> {
        if let Some(own) = self.workers.get(&worker) {
            return Some(own.clone());
        }
        let leader = self
            .state
            .leader
            .and_then(|leader| self.workers.get(&leader));
        let model = leader.or(self.workers.values().next())?;
        Some(LoadedWorker {
            state: WorkerState {
                step: self.step_of(worker),
                losses: Vec::new(),
                probed: None,
                rule: model.state.rule.clone(),
                factors: None,
            },
            optimizer: None,
            times: SavedTimes::default(),
            average: None,
            values: model.values.clone(),
        })
    }

    /// Steps that worker `worker` has taken.
    pub fn step_of(&self, worker: usize) -> u64 {
        let own = self.workers.get(&worker);
        own.map_or(self.state.step, |own| own.state.step)
    }

    /// Whether the evaluation that was due at this step has yet to be done.
    pub fn owes_evaluation(&self) -> bool {
        self.record.evaluates && self.state.evaluation.is_none()
    }

    /// Forgets the evaluation of its step, which is to be done again.
    pub fn take_back_evaluation(&mut self) {
        self.state.evaluation = None;
        (self.record.evaluates, self.record.evaluated) = (true, None);
    }

    /// Lengths of the records to continue from. At the `end` of a run its evaluation is done again.
    pub fn lengths(&self, end: bool) -> RecordLengths {
        match self.record.evaluated.filter(|_| !end) {
            Some(evaluated) => evaluated,
            None => self.record.records,
        }
    }

    /// Reads the state of a checkpoint that has one, for a model of `layout`.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`], or [`RunError::Damaged`] with what is wrong.
    pub(super) fn read(
        checkpoint: &Path,
        state: CheckpointState,
        record: ResumeRecord,
        layout: &Arc<Layout>,
    ) -> Result<Self, RunError> {
        let path = checkpoint.join(STATE);
        let bytes = state.read_file(&path, most_bytes(&record, layout))?;
        let tensors = SavedTensors::of(&path, &bytes, layout)?;
        Self::of(checkpoint, state, record, tensors)
    }

    fn of(
        checkpoint: &Path,
        state: CheckpointState,
        record: ResumeRecord,
        mut tensors: SavedTensors,
    ) -> Result<Self, RunError> {
        let layout = tensors.layout;
        let mut workers = BTreeMap::new();
        for worker in &record.workers {
            let number = worker.worker;
            let mut rule = RuleState::default();
            for (name, vector) in &worker.vectors {
                rule.vectors.insert(name.clone(), tensors.vector(vector)?);
            }
            for name in &worker.numbers {
                let numbers = tensors.doubles(&format!("worker-{number}.{name}"))?;
                rule.numbers.insert(name.clone(), numbers);
            }
            let probed = tensors.doubles(&format!("worker-{number}.probed"))?;
            let factors = tensors.factors(number)?;
            let losses = format!("worker-{number}.losses");
            let losses = floats(tensors.bytes(&losses, Dtype::F32)?);
            let path = optimizer_path(checkpoint, number);
            // At most a few tensors of the parameter's size for each, and their names.
            let entries = layout.parameters().len() as u64;
            let most = 16 * 8 * layout.parameter_len() as u64 + 16 * HEADER * (1 + entries);
            let average = worker.averaged.map(|steps| {
                let values = state.read(checkpoint, Which::WorkerEma(number), layout)?;
                let values = Arc::new(values);
                Ok::<_, RunError>(AverageState { steps, values })
            });
            let loaded = LoadedWorker {
                values: Arc::new(state.read_worker(checkpoint, number, layout)?),
                state: WorkerState {
                    step: worker.step,
                    losses,
                    probed: probed.first().copied(),
                    rule,
                    factors,
                },
                optimizer: Some(state.read_file(&path, most)?),
                times: worker.times,
                average: average.transpose()?,
            };
            workers.insert(number, loaded);
        }
        let centre = record.centre.as_ref().map(|centre| tensors.vector(centre));
        let leader = LocalLeaderState {
            counters: record.exchange.clone(),
            centre: centre.transpose()?,
        };
        let window = record.window.iter();
        let window = window.map(|entry| Ok((entry.step, tensors.vector(&entry.mean)?)));
        let window = window.collect::<Result<_, RunError>>()?;
        let cluster = record.cluster.as_ref();
        let delivered = cluster.and_then(|cluster| cluster.join_point.as_ref());
        let delivered = delivered.map(|point| tensors.vector(&point.delivered));
        let delivered = delivered.transpose()?;
        let unsent = cluster.and_then(|cluster| cluster.unsent.as_ref());
        let unsent = unsent.map(|unsent| tensors.finite(unsent)).transpose()?;
        let cluster = cluster.map(|cluster| cluster.state(delivered, unsent));
        Ok(Self {
            cluster: cluster.unwrap_or_default(),
            state,
            record,
            workers,
            leader,
            window,
        })
    }
}

/// Most bytes of a `state.safetensors`.
fn most_bytes(record: &ResumeRecord, layout: &Layout) -> u64 {
    let values = 4 * (layout.parameter_len() + layout.buffer_len()) as u64;
    let workers = record.workers.len() as u64;
    let vectors = 3 + workers * MAX_VECTORS + record.window.len() as u64;
    vectors * (values + 2 * HEADER) + workers * (8 * MAX_NUMBERS + HEADER)
}

impl CheckpointState {
    /// Whose parameters the last exchange with other nodes delivered to this one; `None` if there was none
    /// yet, or it delivered something else than one worker's parameters.
    pub fn delivered(&self) -> Option<Source> {
        let point = self
            .resume
            .as_ref()?
            .cluster
            .as_ref()?
            .join_point
            .as_ref()?;
        (point.kind == VectorKind::Parameters).then_some(point.delivered.source)
    }

    /// Reads the parameters that [`delivered`](Self::delivered) names.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`].
    pub fn read_delivered(
        &self,
        checkpoint: &Path,
        layout: &Arc<Layout>,
    ) -> Result<Option<Arc<Snapshot>>, RunError> {
        let record = self.resume.as_ref().filter(|_| self.delivered().is_some());
        let cluster = record.and_then(|record| record.cluster.as_ref());
        let point = cluster.and_then(|cluster| cluster.join_point.as_ref());
        let Some((record, point)) = record.zip(point) else {
            return Ok(None);
        };
        let path = checkpoint.join(STATE);
        let bytes = self.read_file(&path, most_bytes(record, layout))?;
        let mut tensors = SavedTensors::of(&path, &bytes, layout)?;
        tensors.vector(&point.delivered).map(Some)
    }
}

/// `state.safetensors`, being read.
struct SavedTensors<'a> {
    path: &'a Path,
    file: SafeTensors<'a>,
    layout: &'a Arc<Layout>,
    /// The vectors read so far, by digest.
    vectors: BTreeMap<String, Arc<Snapshot>>,
}

impl<'a> SavedTensors<'a> {
    /// Those of a file that was read.
    fn of(path: &'a Path, bytes: &'a [u8], layout: &'a Arc<Layout>) -> Result<Self, RunError> {
        let file = SafeTensors::deserialize(bytes);
        Ok(Self {
            path,
            file: file.map_err(|error| RunError::damaged(path, error))?,
            layout,
            vectors: BTreeMap::new(),
        })
    }
}

impl SavedTensors<'_> {
    fn bytes(&self, name: &str, dtype: Dtype) -> Result<&[u8], RunError> {
        let tensor = self.file.tensor(name);
        let tensor = tensor.map_err(|error| RunError::damaged(self.path, error))?;
        match tensor.dtype() == dtype {
            true => Ok(tensor.data()),
            false => {
                let why = format!("{name} is {:?}, not {dtype:?}", tensor.dtype());
                Err(RunError::damaged(self.path, why))
            }
        }
    }

    fn doubles(&self, name: &str) -> Result<Vec<f64>, RunError> {
        let bytes = self.bytes(name, Dtype::F64)?.chunks_exact(8);
        let value = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().unwrap_or_default());
        Ok(bytes.map(value).collect())
    }

    /// A worker's factors, if it has saved any.
    fn factors(&self, worker: usize) -> Result<Option<Factors>, RunError> {
        let name = factors_of(worker);
        if !self.file.names().contains(&name.as_str()) {
            return Ok(None);
        }
        match self.doubles(&name)?[..] {
            [learning_rate, weight_decay] => Ok(Some(Factors {
                learning_rate,
                weight_decay,
            })),
            ref other => {
                let why = format!("{name} has {} numbers, not 2", other.len());
                Err(RunError::damaged(self.path, why))
            }
        }
    }

    /// A vector of finite values. One that is not would spoil every later exchange.
    fn finite(&mut self, saved: &SavedVector) -> Result<Arc<Snapshot>, RunError> {
        let vector = self.vector(saved)?;
        let sound = vector.check(self.layout);
        sound.map_err(|why| RunError::damaged(self.path, why))?;
        Ok(vector)
    }

    /// A vector, whose values have the digest that it is named by.
    fn vector(&mut self, saved: &SavedVector) -> Result<Arc<Snapshot>, RunError> {
        let SavedVector { digest, source } = saved;
        if let Some(known) = self.vectors.get(digest) {
            return Ok(match known.source() == *source {
                true => known.clone(),
                false => Arc::new(Snapshot::clone(known).with_source(*source)),
            });
        }
        let part = |part: &str| {
            let bytes = self.bytes(&format!("{digest}.{part}"), Dtype::F32)?;
            Ok::<_, RunError>(floats(bytes))
        };
        let (parameters, buffers) = (part("parameters")?, part("buffers")?);
        let vector = Snapshot::new(self.layout.clone(), *source, parameters, buffers)
            .map_err(|why| RunError::damaged(self.path, why))?;
        if vector.digest().to_string() != *digest {
            let why = format!("the values named {digest} have another digest");
            return Err(RunError::damaged(self.path, why));
        }
        let vector = Arc::new(vector);
        self.vectors.insert(digest.clone(), vector.clone());
        Ok(vector)
    }
}
