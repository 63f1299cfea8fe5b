//! An inner optimizer's state under parameter paths.
//!
//! Burn keys an [`OptimizerRecord`] by parameter ids, which are drawn at random in every process, and
//! a parameter whose id it does not know starts afresh without a word. Under paths a state fits the
//! same model in any process, and what is missing is an error.

use std::collections::{BTreeMap, BTreeSet};

use burn::Tensor;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::OptimizerRecord;
use burn::store::RecordError;
use burn::tensor::Bytes;
use burn_pack::{Reader, Writer};

use crate::Layout;
use crate::layout::Path;

/// The entry that lists the trainable parameters without a state: those that never had a gradient.
const WITHOUT_STATE: &str = "without_state";

/// Why a saved optimizer state cannot be written or does not fit.
#[derive(Debug, thiserror::Error)]
pub enum OptimizerStateError {
    /// Burn refuses the bytes.
    #[error("{0}")]
    Record(#[from] RecordError),
    /// The container is damaged.
    #[error("{0}")]
    Pack(#[from] burn_pack::Error),
    /// The state names a parameter that the model does not have, or has no path.
    #[error("it has a state for {name}, which is no trainable parameter of the model")]
    Unknown {
        /// The name in the state.
        name: String,
    },
    /// A trainable parameter has no state.
    #[error("it has no state for the trainable parameter {path}")]
    Missing {
        /// The parameter.
        path: String,
    },
}

/// The bytes of an optimizer's state, for a model of `layout`: each tensor and scalar named
/// `path/field`, in order of name, so that the same state gives the same bytes. The container is
/// Burn's own, burnpack.
///
/// # Errors
///
/// [`OptimizerStateError::Unknown`] for a parameter whose path Burn does not know; after a step it
/// does.
pub fn encode_optimizer(
    record: OptimizerRecord,
    layout: &Layout,
) -> Result<Vec<u8>, OptimizerStateError> {
    let reader = Reader::from_bytes(record.into_bytes()?)?;
    let paths = reader.metadata().clone();
    let mut kept = BTreeSet::new();
    let writer = renamed(reader, '.', |id| {
        let path = paths.get(id)?;
        kept.insert(path.clone());
        Some((format!("{path}/"), None))
    })?;
    let trainable = layout.parameters().iter().map(|entry| entry.path.as_str());
    let without: Vec<&str> = trainable.filter(|path| !kept.contains(*path)).collect();
    let writer = writer.with_metadata(WITHOUT_STATE, &without.join("\n"));
    Ok(writer.into_bytes()?.to_vec())
}

/// Reads the state back for the parameters of `module`. Every trainable parameter of `layout` has a
/// state again, except those that had none when it was saved.
///
/// # Errors
///
/// [`OptimizerStateError`] if the bytes are damaged or do not fit the module.
pub fn decode_optimizer<M: Module>(
    bytes: Vec<u8>,
    module: &M,
    layout: &Layout,
) -> Result<OptimizerRecord, OptimizerStateError> {
    let ids = ids(module);
    let reader = Reader::from_bytes(Bytes::from_bytes_vec(bytes))?;
    let without = reader.metadata().get(WITHOUT_STATE).cloned();
    let mut restored: BTreeSet<String> = without
        .iter()
        .flat_map(|paths| paths.split('\n').map(str::to_owned))
        .collect();
    let mut paths = BTreeMap::new();
    let mut writer = renamed(reader, '/', |path| {
        let id = *ids.get(path)?;
        restored.insert(path.to_owned());
        paths.insert(id, path.to_owned());
        Some((format!("{id}."), Some(id)))
    })?;
    let trainable = layout.parameters().iter().map(|entry| &entry.path);
    if let Some(path) = trainable.into_iter().find(|path| !restored.contains(*path)) {
        let path = path.clone();
        return Err(OptimizerStateError::Missing { path });
    }
    for (id, path) in paths {
        writer = writer.with_metadata(&id.to_string(), &path);
    }
    Ok(OptimizerRecord::from_bytes(writer.into_bytes()?)?)
}

/// The same tensors and scalars in order of their new names: what comes before the first `separator`,
/// and the separator, is replaced by the prefix that `prefix` gives for it, with the parameter's id.
fn renamed(
    reader: Reader,
    separator: char,
    mut prefix: impl FnMut(&str) -> Option<(String, Option<u64>)>,
) -> Result<Writer, OptimizerStateError> {
    let mut rename = |name: &str| {
        let unknown = || OptimizerStateError::Unknown {
            name: name.to_owned(),
        };
        let (of, field) = name.split_once(separator).ok_or_else(unknown)?;
        let (prefix, id) = prefix(of).ok_or_else(unknown)?;
        Ok::<_, OptimizerStateError>((prefix + field, id))
    };
    let scalars = reader.scalars().clone();
    let mut tensors = Vec::new();
    for mut tensor in reader.into_tensors()? {
        (tensor.name, tensor.param_id) = rename(&tensor.name)?;
        tensors.push(tensor);
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let mut writer = Writer::new(tensors);
    for (name, value) in scalars {
        let (name, _) = rename(&name)?;
        writer = writer.with_scalar(&name, value);
    }
    Ok(writer)
}

/// The ids of a module's float parameters, by path.
fn ids<M: Module>(module: &M) -> BTreeMap<String, u64> {
    let mut ids = Ids::default();
    module.visit(&mut ids);
    ids.found
}

#[derive(Default)]
struct Ids {
    path: Path,
    found: BTreeMap<String, u64>,
}

impl ModuleVisitor for Ids {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.insert(self.path.joined(), param.id.val());
    }
}
