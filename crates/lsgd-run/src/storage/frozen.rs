//! Frozen parameters as a safetensors file, each in its own type.

use std::path::Path;

use burn::tensor::{BoolStore, DType, TensorData};
use lsgd_core::{Frozen, FrozenTensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::RunError;

/// The file's bytes.
///
/// # Errors
///
/// [`RunError::Damaged`] if safetensors refuses a tensor; `path` is what the error names.
pub fn encode_frozen(path: &Path, frozen: &Frozen) -> Result<Vec<u8>, RunError> {
    let views = frozen
        .tensors()
        .iter()
        .map(|tensor| {
            let (dtype, shape) = stored(&tensor.data);
            let view = TensorView::new(dtype, shape, tensor.data.as_bytes());
            view.map(|view| (tensor.path.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| RunError::damaged(path, error))?;
    safetensors::serialize(views, None).map_err(|error| RunError::damaged(path, error))
}

/// Reads the file's bytes back, for a model that has the parameters of `like`.
///
/// # Errors
///
/// [`RunError::Damaged`] if a tensor is missing or of another shape or type.
pub fn decode_frozen(path: &Path, bytes: &[u8], like: &Frozen) -> Result<Frozen, RunError> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| RunError::damaged(path, error))?;
    let read = |expected: &FrozenTensor| {
        let name = &expected.path;
        let view = file
            .tensor(name)
            .map_err(|error| RunError::damaged(path, error))?;
        let (dtype, shape) = stored(&expected.data);
        if (view.dtype(), view.shape()) != (dtype, shape.as_slice()) {
            let (found, found_shape) = (view.dtype(), view.shape());
            let why = format!("{name} is {found:?} {found_shape:?}, not {dtype:?} {shape:?}");
            return Err(RunError::damaged(path, why));
        }
        if dtype == Dtype::BOOL && view.data().iter().any(|byte| *byte > 1) {
            let why = format!("{name} has a value that is neither true nor false");
            return Err(RunError::damaged(path, why));
        }
        let (shape, dtype) = (expected.data.shape().clone(), expected.data.dtype());
        let data = TensorData::try_from_bytes_vec(view.data().to_vec(), shape, dtype)
            .map_err(|error| RunError::damaged(path, format!("{name}: {error}")))?;
        Ok(FrozenTensor {
            path: name.clone(),
            data,
        })
    };
    like.tensors()
        .iter()
        .map(read)
        .collect::<Result<_, _>>()
        .map(Frozen::new)
}

/// The type and shape of the values in the file. Quantized values are stored as bytes: safetensors has no
/// type for them.
fn stored(data: &TensorData) -> (Dtype, Vec<usize>) {
    let dtype = match data.dtype() {
        DType::F64 => Dtype::F64,
        DType::F32 | DType::Flex32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 | DType::Bool(BoolStore::U32) => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 | DType::Bool(BoolStore::U8) => Dtype::U8,
        DType::Bool(BoolStore::Native) => Dtype::BOOL,
        DType::QFloat(_) => return (Dtype::U8, vec![data.as_bytes().len()]),
    };
    (dtype, data.shape().as_slice().to_vec())
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;

    fn tensor(path: &str, data: TensorData) -> FrozenTensor {
        let path = path.to_owned();
        FrozenTensor { path, data }
    }

    #[test]
    fn values_of_every_kind_are_read_as_they_were_written() {
        let half = TensorData::from([1.5f32, -2.0]).convert_dtype(DType::BF16);
        let frozen = Frozen::new(vec![
            tensor("projection", TensorData::from([[0.1f32, f32::NAN]])),
            tensor("half", half),
            tensor("order", TensorData::from([3i64, -1, 0])),
            tensor("mask", TensorData::from([true, false])),
        ]);
        let path = Path::new("frozen.safetensors");
        let bytes = encode_frozen(path, &frozen).unwrap();
        let read = decode_frozen(path, &bytes, &frozen).unwrap();
        assert_eq!(read.digest(), frozen.digest());
    }

    #[test]
    fn a_file_that_does_not_fit_is_refused() {
        let path = Path::new("frozen.safetensors");
        let of = |data: TensorData| Frozen::new(vec![tensor("mask", data)]);
        let mask = of(TensorData::from([true, false]));
        let refused = |bytes: &[u8], like: &Frozen| {
            let error = decode_frozen(path, bytes, like).unwrap_err();
            error.to_string().replace("frozen.safetensors: ", "")
        };
        let mut bytes = encode_frozen(path, &mask).unwrap();
        let ints = of(TensorData::from([1i64, 0]));
        assert_eq!(refused(&bytes, &ints), "mask is BOOL [2], not I64 [2]");
        let longer = of(TensorData::from([true, false, true]));
        assert_eq!(refused(&bytes, &longer), "mask is BOOL [2], not BOOL [3]");
        let other = Frozen::new(vec![tensor("order", TensorData::from([1i64]))]);
        assert!(refused(&bytes, &other).contains("order"));
        *bytes.last_mut().unwrap() = 2;
        let why = "mask has a value that is neither true nor false";
        assert_eq!(refused(&bytes, &mask), why);
    }
}
