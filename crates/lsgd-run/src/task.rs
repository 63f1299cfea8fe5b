//! The task of a run: everything about training that the engine does not know.

use std::collections::BTreeMap;
use std::error::Error;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Tensor};
use lsgd_core::GradientClip;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A module, its batches, its loss, and its evaluation.
///
/// One value is shared by all threads of a run. Every node makes its own, from the same config;
/// [`agreement`](Self::agreement) covers anything else that must be equal, such as the data.
///
/// Nothing in it may depend on time, on the thread or on earlier calls: the engine repeats calls
/// after a restart, and distributes them over threads and nodes as it sees fit.
pub trait Task: Send + Sync + 'static {
    /// The trained module. Clones may share state (as running statistics of Burn's BatchNorm do):
    /// the engine asks for a new one wherever it needs an independent one.
    type Module: Module + 'static;
    /// A training batch on the host, made on a loader's thread.
    type Batch: Send + 'static;
    /// Why a module or a batch could not be made: an error type, a `String` or a boxed error.
    type Error: Into<Box<dyn Error + Send + Sync>> + Send + 'static;

    /// A module on `device`, of the same structure every time. Its parameters may be initialized at
    /// random: the engine seeds the device for the first module, and writes that module's parameters,
    /// frozen ones included, into all others. A plain tensor, not in a
    /// [`Param`](burn::module::Param), must be the same every time: Burn's visitors skip it.
    ///
    /// # Errors
    ///
    /// Whatever prevents it.
    fn module(&self, device: &Device) -> Result<Self::Module, Self::Error>;

    /// A worker's inner optimizer.
    fn optimizer(&self) -> ModuleOptimizer;

    /// The same with its weight decay times `factor`, from 0, for `workers.vary` and `method.adopt`; it takes
    /// over the state of the one before. `None`, the default, if it has no weight decay.
    fn optimizer_decaying(&self, factor: f64) -> Option<ModuleOptimizer> {
        let _ = factor;
        None
    }

    /// A limit on the gradients of every step; none by default.
    fn gradient_clip(&self) -> Option<GradientClip> {
        None
    }

    /// Training batch number `number`, of [`batch_size`](Self::batch_size) examples: a pure function
    /// of the number. For random numbers, seed a [`generator`] with it. Worker `r` of `w` (over all nodes)
    /// takes batch `s * w + r` at step `s`; with `workers.accumulate` of `k`, batches `(s * k + i) * w + r`
    /// for `i` from 0 to `k - 1`.
    ///
    /// # Errors
    ///
    /// Whatever prevents it. The run then ends, and is saved.
    fn train_batch(&self, number: u64) -> Result<Self::Batch, Self::Error>;

    /// The mean loss over a batch, of shape `[1]`, on `device`. Randomness in it comes from the
    /// generator of `key`.
    fn loss(
        &self,
        module: &Self::Module,
        batch: Self::Batch,
        device: &Device,
        key: StepKey,
    ) -> Tensor<1>;

    /// Number of examples in a training batch.
    fn batch_size(&self) -> usize;

    /// Number of training examples in an epoch, for the config's `epochs`.
    fn epoch(&self) -> u64;

    /// Number of parts in which the held-out examples are scored, by default 1. The parts are
    /// distributed over the workers.
    fn parts(&self) -> usize {
        1
    }

    /// Scores part `part` (from 0) of the held-out examples. `module` and `device` are without
    /// autodiff.
    ///
    /// # Errors
    ///
    /// Whatever prevents the part from being scored.
    fn score(
        &self,
        module: &Self::Module,
        part: usize,
        device: &Device,
    ) -> Result<Sums, Self::Error>;

    /// The metrics that are computed from [`Sums`]: by default `loss`, the mean of the first sum. The first
    /// metric decides which evaluation of a run is the best.
    fn metrics(&self) -> &'static [Metric] {
        const { &[Metric::lower("loss", "")] }
    }

    /// The mean loss on examples shared by all workers of a run on which none trains, for
    /// `method.rank_by = "probe_loss"`. `module` and `device` are without autodiff. `None`, the
    /// default, if there are none.
    ///
    /// # Errors
    ///
    /// Whatever prevents it.
    fn probe(&self, module: &Self::Module, device: &Device) -> Result<Option<f64>, Self::Error> {
        let _ = (module, device);
        Ok(None)
    }

    /// A module whose running statistics are those of the last batch alone (BatchNorm with a
    /// momentum of 1), for re-estimating the statistics of a mean of workers. `None`, the default:
    /// a mean keeps the mean of its workers' statistics.
    ///
    /// # Errors
    ///
    /// Whatever prevents it.
    fn statistics_module(&self, device: &Device) -> Result<Option<Self::Module>, Self::Error> {
        let _ = device;
        Ok(None)
    }

    /// Values that must be equal on all nodes of a run, by name, such as a digest of the data. A
    /// node that differs is refused, with the name. The config is compared anyway.
    fn agreement(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Stored with every checkpoint, in its `state.json`: what a reader needs to know about the
    /// module besides its values.
    fn notes(&self) -> Map<String, Value> {
        Map::new()
    }

    /// A few words for the user: what is trained on what. By default the name of the task's type.
    fn title(&self) -> String {
        let name = std::any::type_name::<Self>();
        let (path, arguments) = name.split_at(name.find('<').unwrap_or(name.len()));
        let own = path.rsplit("::").next().unwrap_or(path);
        format!("{own}{arguments}")
    }

    /// The word for examples in rates shown to the user: `images`, `characters`.
    fn unit(&self) -> &'static str {
        "examples"
    }
}

/// Sums over held-out examples, which are added up over parts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sums {
    /// Number of examples.
    pub examples: u64,
    /// Sums over these examples, in an order known to the task's [`Metric`]s.
    pub sums: Vec<f64>,
}

impl Sums {
    /// A single sum, from its mean over `examples` examples.
    pub fn of_mean(mean: impl Into<f64>, examples: usize) -> Self {
        Self {
            examples: examples as u64,
            sums: vec![mean.into() * examples as f64],
        }
    }

    /// Adds the sums of another part.
    pub fn add(&mut self, other: &Self) {
        self.examples += other.examples;
        if self.sums.len() < other.sums.len() {
            self.sums.resize(other.sums.len(), 0.0);
        }
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            *sum += more;
        }
    }

    /// Sum number `index` per hundred examples. NaN if there are no examples, or no such sum.
    pub fn percent(&self, index: usize) -> f64 {
        let sum = self.sums.get(index).copied().unwrap_or(f64::NAN);
        100.0 * sum / self.examples as f64
    }

    /// Sum number `index` divided by the number of examples. NaN if there are no examples, or no
    /// such sum.
    pub fn mean(&self, index: usize) -> f64 {
        let sum = self.sums.get(index).copied().unwrap_or(f64::NAN);
        sum / self.examples as f64
    }
}

/// A metric of held-out examples.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name in records: `error`, `perplexity`.
    pub name: &'static str,
    /// The unit that is printed after its value: `%`, `nats`, or nothing.
    pub unit: &'static str,
    /// Which values are better.
    pub better: Better,
    /// Computes it from the sums.
    pub of: fn(&Sums) -> f64,
}

impl Metric {
    /// The mean of the first sum; lower is better.
    pub const fn lower(name: &'static str, unit: &'static str) -> Self {
        Self {
            name,
            unit,
            better: Better::Lower,
            of: |sums| sums.mean(0),
        }
    }

    /// The mean of the first sum; higher is better.
    pub const fn higher(name: &'static str, unit: &'static str) -> Self {
        Self {
            better: Better::Higher,
            ..Self::lower(name, unit)
        }
    }

    /// The same, computed by `of` instead of as the mean of the first sum.
    #[must_use]
    pub const fn of(self, of: fn(&Sums) -> f64) -> Self {
        Self { of, ..self }
    }

    /// A value with its unit, such as `1.94 %`. It has two decimals, or three without a unit; from 100 on
    /// one.
    pub fn shown(&self, value: f64) -> String {
        with_unit(value, self.unit)
    }
}

/// A value of a metric with its unit, as [`Metric::shown`].
pub(crate) fn with_unit(value: f64, unit: &str) -> String {
    let digits = match unit {
        _ if value.abs() >= 100.0 => 1,
        "" => 3,
        _ => 2,
    };
    let gap = if unit.is_empty() { "" } else { " " };
    format!("{value:.digits$}{gap}{unit}")
}

/// Which values of a [`Metric`] are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Lower ones: a loss, an error.
    Lower,
    /// Higher ones: an accuracy.
    Higher,
}

impl Better {
    /// Whether `value` is better than `other`; a NaN never is.
    pub fn is_better(self, value: f64, other: f64) -> bool {
        match self {
            Self::Lower => value < other,
            Self::Higher => value > other,
        }
    }

    /// Whether `value` is as good as `target`, or better; a NaN never is.
    pub fn reaches(self, value: f64, target: f64) -> bool {
        match self {
            Self::Lower => value <= target,
            Self::Higher => value >= target,
        }
    }
}

/// The worker of a loss and the place of its batch: the seed of its randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepKey {
    /// `run.seed`.
    pub seed: u64,
    /// The worker's index among those of all nodes.
    pub worker: u64,
    /// Batches that it has taken before: its steps, times `workers.accumulate`, and those of this step.
    pub step: u64,
}

impl StepKey {
    /// A generator that depends only on the key and on `purpose`: there is no state to carry from
    /// step to step. Different purposes get independent generators.
    pub fn generator(self, purpose: &str) -> ChaCha8Rng {
        generator(purpose, &[self.seed, self.worker, self.step])
    }
}

/// A random generator that depends on `purpose` and `key` alone. A key is a seed and the number of a batch,
/// for example.
pub fn generator(purpose: &str, key: &[u64]) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    for part in key {
        hasher.update(&part.to_le_bytes());
    }
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_mean_of_the_first_sum_unless_told_otherwise() {
        const METRICS: &[Metric] = &[
            Metric::lower("loss", "nats"),
            Metric::lower("perplexity", "").of(|sums| sums.mean(0).exp()),
            Metric::higher("accuracy", "%").of(|sums| sums.percent(1)),
        ];
        let mut sums = Sums::of_mean(0.5f32, 3);
        sums.sums.push(2.0);
        sums.add(&Sums {
            examples: 1,
            sums: vec![2.5, 1.0],
        });
        let shown = |metric: &Metric| metric.shown((metric.of)(&sums));
        let shown: Vec<String> = METRICS.iter().map(shown).collect();
        assert_eq!(shown, ["1.00 nats", "2.718", "75.00 %"]);
        assert!(METRICS[0].better.is_better(1.0, 2.0));
        assert!(METRICS[2].better.is_better(2.0, 1.0));
    }

    #[test]
    fn a_generator_is_a_function_of_its_purpose_and_key() {
        use rand::RngExt;
        let first = |purpose, key: &[u64]| generator(purpose, key).random::<u64>();
        assert_eq!(first("a", &[1, 2]), first("a", &[1, 2]));
        for (purpose, key) in [("b", &[1, 2][..]), ("a", &[2, 1]), ("a", &[1])] {
            assert_ne!(first(purpose, key), first("a", &[1, 2]));
        }
        let key = StepKey {
            seed: 1,
            worker: 2,
            step: 3,
        };
        let of_key = key.generator("a").random::<u64>();
        assert_eq!(of_key, first("a", &[1, 2, 3]));
    }
}
