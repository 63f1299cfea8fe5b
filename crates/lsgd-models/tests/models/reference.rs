//! What `torch/make.py` and the Rust tests have in common: starting values from a formula,
//! and modules seen by path.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use lsgd_models::{Model, ModelKind};

/// One tensor of a model as a visitor meets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub path: String,
    pub shape: Vec<usize>,
}

/// Every float tensor of the model, in the order visited.
pub fn tensors(model: &Model) -> Vec<Seen> {
    let mut visitor = Tensors::default();
    model.visit(&mut visitor);
    visitor.seen
}

#[derive(Default)]
struct Tensors {
    path: Vec<String>,
    seen: Vec<Seen>,
}

impl ModuleVisitor for Tensors {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.seen.push(Seen {
            path: self.path.join("."),
            shape: param.lazy_shape().to_vec(),
        });
    }
}

/// `count` numbers in [-1, 1): splitmix64 of the name's FNV-1a hash and the index.
pub fn values(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    (1..=count as u64).map(move |index| {
        let mut z = seed.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 / 4_503_599_627_370_496.0 - 1.0
    })
}

/// The start of a tensor that PyTorch knows under `name` with `shape`.
pub fn start(name: &str, shape: &[usize]) -> Vec<f32> {
    let scale = |u: f64| {
        if shape.len() > 1 {
            let fan_in: usize = shape[1..].iter().product();
            u * (6.0 / fan_in as f64).sqrt()
        } else if name.ends_with("running_var") {
            1.0 + 0.5 * u
        } else if name.ends_with("weight") {
            1.0 + 0.2 * u
        } else {
            0.1 * u
        }
    };
    values(name, shape.iter().product())
        .map(|u| scale(u) as f32)
        .collect()
}

/// Rows become columns.
pub fn transpose<T: Copy>(values: &[T], [rows, columns]: [usize; 2]) -> Vec<T> {
    (0..columns)
        .flat_map(|c| (0..rows).map(move |r| values[r * columns + c]))
        .collect()
}

/// The model with every tensor at its formula's start, stored as `dtype`. Must be without
/// autodiff.
pub fn at_start(model: Model, kind: ModelKind, dtype: DType) -> Model {
    model.map(&mut Start {
        kind,
        dtype,
        path: Vec::new(),
    })
}

struct Start {
    kind: ModelKind,
    dtype: DType,
    path: Vec<String>,
}

impl ModuleMapper for Start {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let torch = self
            .kind
            .torch_name(&self.path.join("."))
            .expect("a torch name");
        let shape = param.lazy_shape().to_vec();
        let values = if torch.transpose {
            let theirs = [shape[1], shape[0]];
            transpose(&start(&torch.name, &theirs), theirs)
        } else {
            start(&torch.name, &shape)
        };
        let data = TensorData::new(values, shape);
        param.map(|t| Tensor::from_data(data, (&t.device(), self.dtype)))
    }
}
