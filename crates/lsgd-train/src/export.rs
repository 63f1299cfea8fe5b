//! Writes a trained model for PyTorch: safetensors with the names of a state dict.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lsgd_core::{Entry, Snapshot};
use lsgd_models::ModelKind;
use safetensors::tensor::{Dtype, TensorView};

use crate::cli;
use crate::error::TrainError;
use crate::trained::Trained;
use crate::trained_task::made_mean;
use crate::transpose::transposed;
use lsgd_run::output::Output;
use lsgd_run::storage::slices;

/// Writes the parameters that `arguments` select and returns the path. Values that are not finite
/// are written only on request.
///
/// The file's bytes depend on parameters, buffers and class names only.
///
/// # Errors
///
/// [`TrainError`] if the run is not there, is damaged or lacks what is asked for, or the file
/// cannot be written.
pub fn export(arguments: &cli::Export) -> Result<Output, TrainError> {
    let trained = Trained::open(&arguments.run, arguments.checkpoint, &[])?;
    let path = match &arguments.output {
        Some(path) => path.clone(),
        None => trained.folder.join("model.safetensors"),
    };
    let output = Output::new(&path, arguments.force)?;
    let which = arguments.which;
    let snapshot = match trained.is_unmade(which)? {
        true => made_mean(&trained, which)?,
        false => match trained.finite(which) {
            Err(error) if arguments.force => {
                let snapshot = trained.snapshot(which)?;
                tracing::warn!("{error}; written as they are");
                Arc::new(snapshot)
            }
            finite => Arc::new(finite?),
        },
    };
    let file = encode(&path, trained.model.kind, &snapshot)?;
    let metadata = metadata(&path, &trained.notes.class_names)?;
    output.write(&with_metadata(&path, &file, &metadata)?)?;
    Ok(output)
}

/// `format`, which `transformers` and others ask for, and `class_names`: a JSON list of the names in
/// the order of the logits, if the run has them.
fn metadata(
    path: &Path,
    class_names: &[String],
) -> Result<BTreeMap<&'static str, String>, TrainError> {
    let mut metadata = BTreeMap::from([("format", String::from("pt"))]);
    if !class_names.is_empty() {
        let names = serde_json::to_string(class_names);
        let names = names.map_err(|error| TrainError::damaged(path, error))?;
        metadata.insert("class_names", names);
    }
    Ok(metadata)
}

/// Puts metadata into the header of a safetensors file (eight bytes of its length, the header in
/// JSON, the values). `safetensors` itself writes them in an order that changes from call to call.
fn with_metadata(
    path: &Path,
    file: &[u8],
    metadata: &BTreeMap<&str, String>,
) -> Result<Vec<u8>, TrainError> {
    let damaged = || TrainError::damaged(path, "the header of safetensors is not as expected");
    let (length, rest) = file.split_first_chunk().ok_or_else(damaged)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
    let (header, values) = rest.split_at_checked(length).ok_or_else(damaged)?;
    let tensors = header.strip_prefix(b"{").ok_or_else(damaged)?;
    let metadata = serde_json::to_vec(metadata);
    let metadata = metadata.map_err(|error| TrainError::damaged(path, error))?;
    let comma: &[u8] = match tensors.starts_with(b"}") {
        true => b"",
        false => b",",
    };
    let mut header = [b"{\"__metadata__\":", &metadata[..], comma, tensors].concat();
    // Values begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok([&(header.len() as u64).to_le_bytes()[..], &header, values].concat())
}

/// The bytes of the file; `path` is for errors.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_leaves_the_values_alone() {
        let path = Path::new("m.safetensors");
        let values = [1.0f32, -2.0, 3.5];
        let view = TensorView::new(Dtype::F32, vec![3], bytemuck::cast_slice(&values)).unwrap();
        let file = safetensors::serialize([("fc.bias", view)], None).unwrap();
        let names = [String::from("cat"), String::from("a \"dog\", ü")];
        let metadata = metadata(path, &names).unwrap();
        let file = with_metadata(path, &file, &metadata).unwrap();
        let (header, read) = safetensors::SafeTensors::read_metadata(&file).unwrap();
        assert_eq!(header % 8, 0);
        let read = read.metadata().as_ref().unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read["format"], "pt");
        let found: Vec<String> = serde_json::from_str(&read["class_names"]).unwrap();
        assert_eq!(found, names);
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        let found = tensors.tensor("fc.bias").unwrap();
        assert_eq!(found.data(), bytemuck::cast_slice::<f32, u8>(&values));
        assert!(with_metadata(path, b"short", &metadata).is_err());
    }

    #[test]
    fn transposing_turns_rows_into_columns() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(transposed(&values, 2, 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
