//! Weights to start from in place of random ones: those of another run, or of a PyTorch state dict.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use lsgd_core::{Entry, Layout, Snapshot, Source, read, write};
use lsgd_models::{Model, ModelConfig, ModelKind};
use lsgd_run::storage::{CheckpointName, Which, read_bounded};
use safetensors::tensor::{Dtype, SafeTensors};

use crate::error::TrainError;
use crate::trained::Trained;
use crate::transpose::transposed;

/// Room for the name and shape of a tensor in a file, in bytes; a file may also have tensors that the
/// model does not.
const HEADER: u64 = 1024;

/// The values of a model's tensors, except those of a head of another size.
#[derive(Debug)]
pub struct InitialWeights {
    path: PathBuf,
    layout: Arc<Layout>,
    /// For each tensor of the layout, parameters first: its values, or `None` if it is drawn.
    values: Vec<Option<Vec<f32>>>,
}

impl InitialWeights {
    /// The weights at `path` for `model`: those of the leader (without one, the replica mean) if
    /// that is the folder of a run, otherwise a safetensors file with the names of a state dict, as
    /// `export` writes it and torchvision names it. A last layer of another size is left to be drawn,
    /// which a line to be told says.
    ///
    /// A replica mean that the run has not made, since its newest checkpoint was not evaluated, has the
    /// mean of the workers' running statistics: training goes on from there, so they are not estimated
    /// on data, which may no longer be there.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if they cannot be read, or are not those of such a model.
    pub fn open(path: &Path, model: &ModelConfig) -> Result<(Self, Option<String>), TrainError> {
        let layout = Layout::of(&model.init(&Device::default().autodiff())?);
        let values = match path.is_dir() {
            true => of_run(path, model.kind, &layout)?,
            false => of_file(path, model.kind, &layout)?,
        };
        let drawn = entries(&layout).zip(&values).find(|(_, v)| v.is_none());
        let line = drawn.map(|(entry, _)| {
            format!(
                "{}: its last layer has another size than {:?}; it is drawn anew",
                path.display(),
                entry.shape
            )
        });
        let weights = Self {
            path: path.to_owned(),
            layout,
            values,
        };
        Ok((weights, line))
    }

    /// The model with these weights.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if a value is not finite.
    pub fn write(&self, model: Model) -> Result<Model, TrainError> {
        let damaged = |why: lsgd_core::SnapshotError| TrainError::damaged(&self.path, why);
        let source = Source::Mean { workers: 1 };
        let drawn = read(&model, &self.layout, source).map_err(damaged)?;
        let count = self.layout.parameters().len();
        let (parameters, buffers) = self.values.split_at(count.min(self.values.len()));
        let parameters = merged(self.layout.parameters(), parameters, drawn.parameters());
        let buffers = merged(self.layout.buffers(), buffers, drawn.buffers());
        let snapshot = Snapshot::new(self.layout.clone(), source, parameters, buffers);
        write(model, &self.layout, &snapshot.map_err(damaged)?).map_err(damaged)
    }
}

/// The values given, and where there are none those drawn.
fn merged(entries: &[Entry], given: &[Option<Vec<f32>>], drawn: &[f32]) -> Vec<f32> {
    let mut merged = Vec::with_capacity(drawn.len());
    for (entry, given) in entries.iter().zip(given) {
        let own = merged.len()..merged.len() + entry.len();
        match given {
            Some(given) => merged.extend_from_slice(given),
            None => merged.extend_from_slice(drawn.get(own).unwrap_or_default()),
        }
    }
    merged
}

/// All tensors, parameters first.
fn entries(layout: &Layout) -> impl Iterator<Item = &Entry> {
    layout.parameters().iter().chain(layout.buffers())
}

/// Whether a tensor belongs to the last layer, whose size is the number of classes.
fn is_head(layout: &Layout, entry: &Entry) -> bool {
    let module = |entry: &Entry| {
        entry
            .path
            .rsplit_once('.')
            .map(|(module, _)| module.to_owned())
    };
    let last = layout.parameters().last();
    last.is_some_and(|last| module(last) == module(entry))
}

fn of_run(
    path: &Path,
    kind: ModelKind,
    layout: &Layout,
) -> Result<Vec<Option<Vec<f32>>>, TrainError> {
    let trained = Trained::open(path, CheckpointName::Newest, &[])?;
    // A short run has no leader, but a mean.
    let snapshot = match trained.finite(Which::Leader) {
        Ok(leader) => Arc::new(leader),
        Err(error) => mean(&trained).map_err(|_| error)?,
    };
    let own = snapshot.layout();
    let values = snapshot.parameters().iter().chain(snapshot.buffers());
    let mut values = values.copied();
    let mut given: Vec<(&Entry, Vec<f32>)> = Vec::new();
    for entry in entries(own) {
        given.push((entry, values.by_ref().take(entry.len()).collect()));
    }
    let find = |entry: &Entry| {
        let found = given.iter().find(|(given, _)| given.path == entry.path);
        let lacks = || format!("its model lacks {}", named(kind, entry));
        let (given, values) = found.ok_or_else(lacks)?;
        fitting(layout, entry, &given.shape, || values.clone(), kind)
    };
    let all: Result<_, String> = entries(layout).map(find).collect();
    all.map_err(|why| TrainError::damaged(path, why))
}

fn of_file(
    path: &Path,
    kind: ModelKind,
    layout: &Layout,
) -> Result<Vec<Option<Vec<f32>>>, TrainError> {
    let tensors = entries(layout).count() as u64;
    let values: u64 = entries(layout).map(|entry| entry.len() as u64).sum();
    // Room for a head of ten thousand classes.
    let most = 8 * values + HEADER * (tensors + 1024) + (4 << 30) / 10;
    let bytes = read_bounded(path, most)?;
    let damaged = |why: String| TrainError::damaged(path, why);
    let file = SafeTensors::deserialize(&bytes).map_err(|why| damaged(why.to_string()))?;
    let find = |entry: &Entry| {
        let name = named(kind, entry);
        let lacks = |_| format!("it lacks {name}, which {kind} has");
        let tensor = file.tensor(&name).map_err(lacks)?;
        if tensor.dtype() != Dtype::F32 {
            return Err(format!("{name} is {:?}, not F32", tensor.dtype()));
        }
        let values = || -> Vec<f32> {
            let bytes = tensor.data().chunks_exact(4);
            bytes
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect()
        };
        let is_transposed = kind.torch_name(&entry.path).is_ok_and(|n| n.transpose);
        match (is_transposed, tensor.shape()) {
            (true, &[rows, columns]) => {
                let values = || transposed(&values(), rows, columns);
                fitting(layout, entry, &[columns, rows], values, kind)
            }
            (_, shape) => fitting(layout, entry, shape, values, kind),
        }
    };
    let all: Result<_, String> = entries(layout).map(find).collect();
    all.map_err(damaged)
}

/// The replica mean, made without data if it is not there.
fn mean(trained: &Trained) -> Result<Arc<Snapshot>, TrainError> {
    match trained.is_unmade(Which::Mean)? {
        true => trained.plain_mean(Which::Mean),
        false => Ok(Arc::new(trained.finite(Which::Mean)?)),
    }
}

/// The values, if they are for a tensor of this shape; `None` if they are of a head of another size. They
/// are made only if they fit: a shape that is not checked yet may have no values and 2^60 rows.
fn fitting(
    layout: &Layout,
    entry: &Entry,
    shape: &[usize],
    values: impl FnOnce() -> Vec<f32>,
    kind: ModelKind,
) -> Result<Option<Vec<f32>>, String> {
    match (shape == entry.shape, is_head(layout, entry)) {
        (true, _) => Ok(Some(values())),
        (false, true) => Ok(None),
        (false, false) => Err(format!(
            "{} is {shape:?}, not {:?}; is it a model of another width?",
            named(kind, entry),
            entry.shape
        )),
    }
}

/// A tensor's name in PyTorch.
fn named(kind: ModelKind, entry: &Entry) -> String {
    let name = kind.torch_name(&entry.path);
    name.map_or_else(|_| entry.path.clone(), |torch| torch.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A matrix of 2^60 columns without rows has no bytes: whatever goes through its columns takes years.
    #[test]
    fn a_matrix_of_very_many_columns_and_no_rows_is_no_work() {
        let model = ModelConfig::new(ModelKind::ResNet8, 3, [3, 8, 8]);
        let own = Layout::of(&model.init(&Device::flex().autodiff()).unwrap());
        let zeros = vec![0; 4 * entries(&own).map(Entry::len).max().unwrap()];
        let tensors = entries(&own).map(|entry| {
            let shape = match is_head(&own, entry) && entry.shape.len() == 2 {
                true => vec![0, 1 << 60],
                false => entry.shape.clone(),
            };
            let bytes = &zeros[..4 * shape.iter().product::<usize>()];
            let view = safetensors::tensor::TensorView::new(Dtype::F32, shape, bytes);
            (named(model.kind, entry), view.unwrap())
        });
        let file = safetensors::serialize(tensors, None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        std::fs::write(&path, file).unwrap();
        let (_, line) = InitialWeights::open(&path, &model).unwrap();
        assert!(line.unwrap().contains("its last layer has another size"));
    }
}
