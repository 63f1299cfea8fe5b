//! A trained model as PyTorch reads it: safetensors under torchvision's names.

use std::path::Path;

use lsgd_core::{Entry, Snapshot};
use lsgd_models::ModelKind;
use safetensors::tensor::{Dtype, TensorView};

use crate::cli;
use crate::error::TrainError;
use crate::inspect::Trained;
use crate::output::Output;
use crate::run::slices;

/// Writes the parameters that `arguments` ask for and returns where. Values that are not finite are
/// written only if that is asked for too.
///
/// The file's bytes depend on parameters and buffers alone.
///
/// # Errors
///
/// [`TrainError`] if the run is not there, is damaged or lacks what is asked for, or the file
/// cannot be written.
pub fn export(arguments: &cli::Export) -> Result<Output, TrainError> {
    let trained = Trained::open(&arguments.run, &[])?;
    let path = match &arguments.output {
        Some(path) => path.clone(),
        None => trained.folder.join("model.safetensors"),
    };
    let output = Output::new(&path, arguments.force)?;
    let snapshot = match arguments.force {
        true => trained.snapshot(arguments.which)?,
        false => trained.finite(arguments.which)?,
    };
    output.write(&encode(&path, trained.model.kind, &snapshot)?)?;
    Ok(output)
}

/// The bytes of the file; `path` is what an error names.
fn encode(path: &Path, kind: ModelKind, snapshot: &Snapshot) -> Result<Vec<u8>, TrainError> {
    let layout = snapshot.layout();
    let tensors = slices(layout.parameters(), snapshot.parameters())
        .chain(slices(layout.buffers(), snapshot.buffers()))
        .map(|(entry, values)| Named::new(kind, entry, values))
        .collect::<Result<Vec<_>, _>>()?;
    let views = tensors
        .iter()
        .map(|tensor| {
            let bytes = bytemuck::cast_slice(&tensor.values);
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes);
            view.map(|view| (tensor.name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TrainError::damaged(path, error))?;
    safetensors::serialize(views, None).map_err(|error| TrainError::damaged(path, error))
}

/// A tensor as PyTorch names and shapes it.
struct Named {
    name: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Named {
    fn new(kind: ModelKind, entry: &Entry, values: &[f32]) -> Result<Self, TrainError> {
        let torch = kind.torch_name(&entry.path)?;
        let named = match (torch.transpose, entry.shape.as_slice()) {
            (true, &[rows, columns]) => Self {
                name: torch.name,
                shape: vec![columns, rows],
                values: transposed(values, rows, columns),
            },
            _ => Self {
                name: torch.name,
                shape: entry.shape.clone(),
                values: values.to_vec(),
            },
        };
        Ok(named)
    }
}

fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| row * columns + column))
        .filter_map(|index| values.get(index).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_turns_rows_into_columns() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(transposed(&values, 2, 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
