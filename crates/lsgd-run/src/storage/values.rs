//! A snapshot as a safetensors file, under the names of the module's own fields.
//!
//! The bytes depend only on names, shapes and values: there are no dates and no hash order.

use std::path::Path;
use std::sync::Arc;

use lsgd_core::{Entry, Layout, Snapshot, Source};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::RunError;

/// The file's bytes.
///
/// # Errors
///
/// [`RunError::Damaged`] if safetensors refuses a tensor; `path` is what the error names.
pub fn encode(path: &Path, snapshot: &Snapshot) -> Result<Vec<u8>, RunError> {
    let layout = snapshot.layout();
    let parameters = slices(layout.parameters(), snapshot.parameters());
    let buffers = slices(layout.buffers(), snapshot.buffers());
    let views = parameters
        .chain(buffers)
        .map(|(entry, values)| {
            let bytes = bytemuck::cast_slice(values);
            let view = TensorView::new(Dtype::F32, entry.shape.clone(), bytes);
            view.map(|view| (entry.path.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| RunError::damaged(path, error))?;
    safetensors::serialize(views, None).map_err(|error| RunError::damaged(path, error))
}

/// The values of each entry, in the layout's order.
pub fn slices<'a>(
    entries: &'a [Entry],
    mut values: &'a [f32],
) -> impl Iterator<Item = (&'a Entry, &'a [f32])> {
    entries.iter().map(move |entry| {
        let (own, rest) = values.split_at(entry.len().min(values.len()));
        values = rest;
        (entry, own)
    })
}

/// The values of little-endian bytes.
pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    let bytes = bytes.chunks_exact(4);
    bytes
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

/// Reads the file's bytes back into the order of `layout`.
///
/// # Errors
///
/// [`RunError::Damaged`] if a tensor is missing or of another shape or type.
pub fn decode(
    path: &Path,
    bytes: &[u8],
    layout: &Arc<Layout>,
    source: Source,
) -> Result<Snapshot, RunError> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| RunError::damaged(path, error))?;
    let gather = |entries: &[Entry]| {
        let mut values = Vec::new();
        for entry in entries {
            let view = file
                .tensor(&entry.path)
                .map_err(|error| RunError::damaged(path, error))?;
            if view.dtype() != Dtype::F32 || view.shape() != entry.shape {
                let why = format!(
                    "{} is {:?} {:?}, not F32 {:?}",
                    entry.path,
                    view.dtype(),
                    view.shape(),
                    entry.shape
                );
                return Err(RunError::damaged(path, why));
            }
            values.extend(floats(view.data()));
        }
        Ok(values)
    };
    let (parameters, buffers) = (gather(layout.parameters())?, gather(layout.buffers())?);
    Snapshot::new(layout.clone(), source, parameters, buffers)
        .map_err(|why| RunError::damaged(path, why))
}
