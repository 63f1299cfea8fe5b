//! A module's frozen parameters, which are in no [`Layout`](crate::Layout).

use std::fmt;

use burn::Tensor;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::kind::{Autodiff, Transaction};
use burn::tensor::{Bool, BoolStore, DType, Int, Shape, TensorData};

use crate::SnapshotError;
use crate::layout::{Path, is_buffer};
use crate::module::replace;
use crate::transfer::{Reading, upload};

/// The values of a module's frozen parameters: floats that require no gradient, integers and booleans.
///
/// They never change, so a [`Snapshot`](crate::Snapshot) leaves them out. But if they are initialized at
/// random, each new module has different ones until these are written into it.
///
/// A plain tensor, not in a [`Param`], is not included: Burn's visitors skip it.
#[derive(Debug, Clone, Default)]
pub struct Frozen {
    tensors: Vec<FrozenTensor>,
}

/// The values of one frozen parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct FrozenTensor {
    /// Path of field names from the module's root, joined by dots.
    pub path: String,
    /// Its values. Integers other than `u64` are stored as `i64`, booleans as `bool`.
    pub data: TensorData,
}

/// Identifies a [`Frozen`]: a hash of names, shapes and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrozenDigest([u8; 32]);

impl fmt::Display for FrozenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl Frozen {
    /// Reads the frozen parameters of a module in training (what requires a gradient is trainable).
    pub fn of<M: Module>(module: &M) -> Self {
        let mut reader = Reader {
            path: Path::default(),
            found: Vec::new(),
            reading: Reading::of("frozen"),
        };
        module.visit(&mut reader);
        Self {
            tensors: reader.read(),
        }
    }

    /// From values in the order in which the module is visited.
    pub fn new(tensors: Vec<FrozenTensor>) -> Self {
        Self { tensors }
    }

    /// Writes the values into a module of the same structure, on any device, in training or not.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Length`] when the module lacks one of these parameters. The module is then lost
    /// to the caller unless it was cloned.
    pub fn write<M: Module>(&self, module: M) -> Result<M, SnapshotError> {
        if self.is_empty() {
            return Ok(module);
        }
        let mut writer = Writer {
            path: Path::default(),
            left: &self.tensors,
        };
        let module = module.map(&mut writer);
        let count = |tensors: &[FrozenTensor]| tensors.iter().map(FrozenTensor::len).sum::<usize>();
        match writer.left {
            [] => Ok(module),
            left => Err(SnapshotError::Length {
                expected: count(&self.tensors),
                found: count(&self.tensors) - count(left),
            }),
        }
    }

    /// Identifies these values.
    pub fn digest(&self) -> FrozenDigest {
        let mut hasher = blake3::Hasher::new();
        for FrozenTensor { path, data } in &self.tensors {
            let head = format!("{path} {:?} {:?}\n", data.dtype(), data.shape().as_slice());
            hasher.update(head.as_bytes());
            hasher.update(data.as_bytes());
        }
        FrozenDigest(*hasher.finalize().as_bytes())
    }

    /// The parameters, in order.
    pub fn tensors(&self) -> &[FrozenTensor] {
        &self.tensors
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }
}

impl FrozenTensor {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.data.num_elements()
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How a tensor is stored.
enum Stored {
    AsRead,
    /// Backends keep integers in different types.
    Integers,
    /// And booleans.
    Booleans,
}

impl Stored {
    fn store(self, data: TensorData) -> TensorData {
        match self {
            Self::Integers if data.dtype() != DType::U64 => data.convert_dtype(DType::I64),
            Self::AsRead | Self::Integers => data,
            Self::Booleans => data.convert_dtype(DType::Bool(BoolStore::Native)),
        }
    }
}

struct Reader {
    path: Path,
    found: Vec<(String, Stored)>,
    reading: Reading,
}

impl Reader {
    fn add<const D: usize, K: Transaction + Autodiff>(
        &mut self,
        tensor: Tensor<D, K>,
        stored: Stored,
    ) {
        self.found.push((self.path.joined(), stored));
        self.reading.add(tensor);
    }

    /// Reads the tensors that were found, together.
    fn read(self) -> Vec<FrozenTensor> {
        let found = self.found.into_iter().zip(self.reading.read());
        found
            .map(|((path, stored), data)| FrozenTensor {
                path,
                data: stored.store(data),
            })
            .collect()
    }
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() && !is_buffer(&self.path.joined()) {
            self.add(param.base(), Stored::AsRead);
        }
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.add(param.base(), Stored::Integers);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.add(param.base(), Stored::Booleans);
    }
}

struct Writer<'a> {
    path: Path,
    /// Parameters that have not been visited yet.
    left: &'a [FrozenTensor],
}

impl Writer<'_> {
    /// The values for the parameter at the current path, if it is the next one.
    fn take(&mut self, shape: Shape) -> Option<TensorData> {
        let (first, rest) = self.left.split_first()?;
        if first.path != self.path.joined() || *first.data.shape() != shape {
            return None;
        }
        self.left = rest;
        Some(first.data.clone())
    }
}

impl ModuleMapper for Writer<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.take(param.lazy_shape()) {
            Some(data) => replace(param, |value| {
                upload("frozen", data, (&value.device(), value.dtype()))
            }),
            None => param,
        }
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        match self.take(param.shape()) {
            Some(data) => {
                param.map(|value| upload("frozen", data, (&value.device(), value.dtype())))
            }
            None => param,
        }
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        match self.take(param.shape()) {
            Some(data) => param.map(|value| upload("frozen", data, &value.device())),
            None => param,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::{Layout, Source, read, write};

    /// Frozen parameters of every kind around a trainable one.
    #[derive(Module, Debug)]
    struct Mixed {
        projection: Linear,
        order: Param<Tensor<1, Int>>,
        trained: Linear,
        mask: Param<Tensor<1, Bool>>,
        half: Param<Tensor<1>>,
    }

    fn mixed(device: &Device) -> Mixed {
        let random = || Tensor::<1>::random([8], Distribution::Uniform(0.0, 1.0), device);
        Mixed {
            projection: LinearConfig::new(3, 2).init(device).no_grad(),
            order: Param::initialized(Default::default(), random().argsort(0)),
            trained: LinearConfig::new(2, 2).init(device),
            mask: Param::initialized(Default::default(), random().lower_elem(0.5)),
            half: Param::from_tensor(random().cast(burn::tensor::FloatDType::BF16)).no_grad(),
        }
    }

    #[test]
    fn a_module_takes_the_frozen_values_of_another_and_nothing_else() {
        let device = Device::flex().autodiff();
        let (first, second) = (mixed(&device), mixed(&device));
        let frozen = Frozen::of(&first);
        let paths: Vec<&str> = frozen.tensors().iter().map(|t| t.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "projection.weight",
                "projection.bias",
                "order",
                "mask",
                "half"
            ]
        );
        assert_ne!(Frozen::of(&second).digest(), frozen.digest());
        let layout = Layout::of(&second);
        let source = Source::Mean { workers: 1 };
        let trained = read(&second, &layout, source).unwrap();

        let second = frozen.write(second).unwrap();
        assert_eq!(Frozen::of(&second).digest(), frozen.digest());
        assert_eq!(Layout::of(&second), layout);
        let still = read(&second, &layout, source).unwrap();
        assert_eq!(still.digest(), trained.digest());

        // Without autodiff nothing requires a gradient.
        let scoring = frozen.write(mixed(&device.clone().inner())).unwrap();
        let scoring = write(scoring, &layout, &trained).unwrap();
        assert_eq!(
            scoring.projection.weight.val().into_data(),
            first.projection.weight.val().into_data()
        );
        assert_eq!(
            scoring.order.val().into_data(),
            first.order.val().into_data()
        );
        assert_eq!(scoring.half.val().into_data(), first.half.val().into_data());
        assert_eq!(
            scoring.trained.weight.val().into_data(),
            second.trained.weight.val().into_data()
        );
    }

    #[test]
    fn a_module_without_these_parameters_is_refused() {
        let device = Device::flex().autodiff();
        let frozen = Frozen::of(&mixed(&device));
        let other = LinearConfig::new(3, 2).init(&device);
        assert_eq!(
            frozen.write(other).unwrap_err(),
            SnapshotError::Length {
                expected: 32,
                found: 0
            }
        );
    }
}
