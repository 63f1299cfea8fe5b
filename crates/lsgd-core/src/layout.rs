//! The contents of a module's flat vectors: names, shapes, order.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use burn::Tensor;
use burn::module::{Module, ModuleVisitor, Param};

/// One tensor of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path of field names from the module's root, joined by dots.
    pub path: String,
    /// The tensor's shape.
    pub shape: Vec<usize>,
}

impl Entry {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The order of a module's trainable parameters, and separately of its BatchNorm running statistics
/// (the buffers), in flat vectors.
///
/// Frozen parameters are in neither: they never change, so they are not exchanged; see
/// [`Frozen`](crate::Frozen). Two modules whose layouts have the same [digest](Layout::digest) can
/// exchange [`Snapshot`]s.
///
/// [`Snapshot`]: crate::Snapshot
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    parameters: Vec<Entry>,
    buffers: Vec<Entry>,
    digest: LayoutDigest,
}

/// Identifies a [`Layout`]: a hash of names, shapes, kinds and their order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LayoutDigest(pub(crate) [u8; 32]);

impl fmt::Display for LayoutDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for LayoutDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LayoutDigest({self})")
    }
}

impl Layout {
    /// The layout of a module in training (parameters that require a gradient are trainable).
    pub fn of<M: Module>(module: &M) -> Arc<Self> {
        let mut collector = Collector::default();
        module.visit(&mut collector);
        Arc::new(Self::new(collector.parameters, collector.buffers))
    }

    fn new(parameters: Vec<Entry>, buffers: Vec<Entry>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for (kind, entries) in [("parameter", &parameters), ("buffer", &buffers)] {
            for entry in entries {
                hasher.update(format!("{kind} {} {:?}\n", entry.path, entry.shape).as_bytes());
            }
        }
        let digest = LayoutDigest(*hasher.finalize().as_bytes());
        Self {
            parameters,
            buffers,
            digest,
        }
    }

    /// The trainable parameters, in order.
    pub fn parameters(&self) -> &[Entry] {
        &self.parameters
    }

    /// The BatchNorm running statistics, in order.
    pub fn buffers(&self) -> &[Entry] {
        &self.buffers
    }

    /// Number of trainable values.
    pub fn parameter_len(&self) -> usize {
        self.parameters.iter().map(Entry::len).sum()
    }

    /// Number of values in the buffers.
    pub fn buffer_len(&self) -> usize {
        self.buffers.iter().map(Entry::len).sum()
    }

    /// The layers, as ranges of the parameters. Consecutive tensors that are fields of one module,
    /// such as a weight and its bias, form a layer.
    pub fn layers(&self) -> Vec<Range<usize>> {
        let mut layers: Vec<(&str, Range<usize>)> = Vec::new();
        let mut end = 0;
        for entry in &self.parameters {
            let module = entry.path.rsplit_once('.').map_or("", |(module, _)| module);
            let start = end;
            end += entry.len();
            match layers.last_mut().filter(|(last, _)| *last == module) {
                Some((_, layer)) => layer.end = end,
                None => layers.push((module, start..end)),
            }
        }
        layers.into_iter().map(|(_, layer)| layer).collect()
    }

    /// Each weight with the range of parameters that it applies to: all of them, or one layer.
    pub(crate) fn weighted<'a>(
        &self,
        weights: &'a [f32],
    ) -> impl Iterator<Item = (Range<usize>, f32)> + use<'a> {
        let all = 0..self.parameter_len();
        let parts = match weights {
            [_] => vec![all],
            _ => self.layers(),
        };
        parts.into_iter().zip(weights.iter().copied())
    }

    /// The digest that identifies this layout.
    pub fn digest(&self) -> LayoutDigest {
        self.digest
    }
}

/// Whether the tensor at `path` is a BatchNorm running statistic.
///
/// Burn visits running statistics like parameters, and outside training neither requires a
/// gradient, so only the name distinguishes them.
pub fn is_buffer(path: &str) -> bool {
    matches!(
        path.rsplit('.').next(),
        Some("running_mean" | "running_var")
    )
}

/// The path of the tensor a visitor or mapper is at.
#[derive(Debug, Default)]
pub(crate) struct Path(Vec<String>);

impl Path {
    pub(crate) fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.0.pop();
    }

    pub(crate) fn joined(&self) -> String {
        self.0.join(".")
    }
}

#[derive(Default)]
struct Collector {
    path: Path,
    parameters: Vec<Entry>,
    buffers: Vec<Entry>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.joined();
        let shape = param.lazy_shape().as_slice().to_vec();
        if is_buffer(&path) {
            self.buffers.push(Entry { path, shape });
        } else if param.is_require_grad() {
            self.parameters.push(Entry { path, shape });
        }
    }
}
