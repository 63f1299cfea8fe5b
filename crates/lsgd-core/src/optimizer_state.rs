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
use burn::tensor::{Bytes, DType};
use burn_pack::{Reader, Scalar, Tensor as Packed, Writer};

use crate::Layout;
use crate::layout::Path;

/// The entry that lists the trainable parameters without a state: those that never had a gradient.
const WITHOUT_STATE: &str = "without_state";

/// The scalar that has the number of dimensions of a parameter.
const RANK: &str = "__rank";

/// The end of the name of a scalar that has the length of a list of tensors.
const LENGTH: &str = ".len";

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
    /// A part of the state is not one of the parameter that it names.
    #[error("{name} is {found}, which does not fit the parameter of {expected}")]
    Unfit {
        /// The part's name in the state.
        name: String,
        /// What it is.
        found: String,
        /// What the parameter is.
        expected: String,
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
    let scalars = reader.scalars().clone();
    let writer = renamed(reader.into_tensors()?, scalars, '.', |id| {
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
    let known = trainable(module, layout);
    let reader = Reader::from_bytes(Bytes::from_bytes_vec(bytes))?;
    let without = reader.metadata().get(WITHOUT_STATE).cloned();
    let mut restored: BTreeSet<String> = without
        .iter()
        .flat_map(|paths| paths.split('\n').map(str::to_owned))
        .collect();
    let mut paths = BTreeMap::new();
    let scalars = reader.scalars().clone();
    let tensors = reader.into_tensors()?;
    check(&tensors, &scalars, &known)?;
    let mut writer = renamed(tensors, scalars, '/', |path| {
        let id = known.get(path)?.id;
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
    tensors: Vec<Packed>,
    scalars: BTreeMap<String, Scalar>,
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
    let rename_tensor = |mut tensor: Packed| {
        (tensor.name, tensor.param_id) = rename(&tensor.name)?;
        Ok::<_, OptimizerStateError>(tensor)
    };
    let tensors = tensors.into_iter().map(rename_tensor);
    let mut tensors = tensors.collect::<Result<Vec<_>, _>>()?;
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let mut writer = Writer::new(tensors);
    for (name, value) in scalars {
        let (name, _) = rename(&name)?;
        writer = writer.with_scalar(&name, value);
    }
    Ok(writer)
}

/// Checks what Burn does not: it takes a state as it is, and panics at the next step if a tensor has another
/// type or shape than its parameter, or at once if a list is too long for memory.
///
/// A tensor has the parameter's dimensions, of which some may be one, as in Adafactor's sums over rows.
fn check(
    tensors: &[Packed],
    scalars: &BTreeMap<String, Scalar>,
    known: &BTreeMap<String, Trainable>,
) -> Result<(), OptimizerStateError> {
    let parameter = |name: &str| {
        let unknown = || OptimizerStateError::Unknown {
            name: name.to_owned(),
        };
        let path = name.split_once('/').map(|(path, _)| path);
        path.and_then(|path| known.get(path)).ok_or_else(unknown)
    };
    for tensor in tensors {
        let parameter = parameter(&tensor.name)?;
        let shape = tensor.shape.as_slice();
        let fits = |(found, own): (&usize, &usize)| found == own || *found == 1;
        let is_fit = tensor.dtype == parameter.dtype
            && shape.len() == parameter.shape.len()
            && shape.iter().zip(&parameter.shape).all(fits);
        if !is_fit {
            return Err(parameter.refuse(&tensor.name, format!("{:?} {shape:?}", tensor.dtype)));
        }
    }
    for (name, value) in scalars {
        let parameter = parameter(name)?;
        let rank = parameter.shape.len();
        let allowed = match name.rsplit('/').next() {
            Some(RANK) => rank..=rank,
            Some(field) if field.ends_with(LENGTH) => 0..=tensors.len(),
            _ => continue,
        };
        if !usize::try_from(*value).is_ok_and(|value| allowed.contains(&value)) {
            return Err(parameter.refuse(name, format!("{value:?}")));
        }
    }
    Ok(())
}

/// A trainable parameter of a module.
struct Trainable {
    id: u64,
    dtype: DType,
    shape: Vec<usize>,
}

impl Trainable {
    fn refuse(&self, name: &str, found: String) -> OptimizerStateError {
        OptimizerStateError::Unfit {
            name: name.to_owned(),
            found,
            expected: format!("{:?} {:?}", self.dtype, self.shape),
        }
    }
}

/// The trainable parameters of a module, by path.
fn trainable<M: Module>(module: &M, layout: &Layout) -> BTreeMap<String, Trainable> {
    let mut floats = Floats::default();
    module.visit(&mut floats);
    let mut found = floats.found;
    let paths: BTreeSet<&String> = layout
        .parameters()
        .iter()
        .map(|entry| &entry.path)
        .collect();
    found.retain(|path, _| paths.contains(path));
    found
}

#[derive(Default)]
struct Floats {
    path: Path,
    found: BTreeMap<String, Trainable>,
}

impl ModuleVisitor for Floats {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let parameter = Trainable {
            id: param.id.val(),
            dtype: value.dtype(),
            shape: value.dims().to_vec(),
        };
        self.found.insert(self.path.joined(), parameter);
    }
}
