//! Parameters that are frozen, and one that is used in two places.

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Int, Tensor};
use lsgd_core::Layout;
use lsgd_run::train::{self, Context};
use lsgd_run::{Metric, RunError, StepKey, Sums, Task};
use std::convert::Infallible;
use std::sync::Arc;

use super::toy::{job, settings};

/// Letters, embedded and, by the same matrix, told again; between them something frozen.
#[derive(Module, Debug)]
struct Tied {
    letters: Embedding,
    /// A second reference to the matrix of `letters`, if there is one.
    again: Option<Embedding>,
    frozen: Linear,
    scale: Param<Tensor<1>>,
}

#[derive(Debug, Clone, Copy)]
struct Letters {
    twice: bool,
}

impl Task for Letters {
    type Module = Tied;
    type Batch = Vec<i32>;
    type Error = Infallible;

    fn module(&self, device: &Device) -> Result<Tied, Infallible> {
        let letters = EmbeddingConfig::new(5, 4).init(device);
        Ok(Tied {
            again: self.twice.then(|| letters.clone()),
            letters,
            frozen: LinearConfig::new(4, 4).init(device).no_grad(),
            scale: Param::from_tensor(Tensor::ones([1], device)),
        })
    }

    fn optimizer(&self) -> ModuleOptimizer {
        SgdConfig::new().init()
    }

    fn train_batch(&self, number: u64) -> Result<Vec<i32>, Infallible> {
        Ok((0..6).map(|place| ((number + place) % 5) as i32).collect())
    }

    fn loss(&self, tied: &Tied, batch: Vec<i32>, device: &Device, _: StepKey) -> Tensor<1> {
        let letters: Tensor<1, Int> = Tensor::from_data(batch.as_slice(), device);
        let inside = tied.letters.forward(letters.reshape([1, 6]));
        let inside = tied.frozen.forward(inside.reshape([6, 4]));
        let out = inside.matmul(tied.letters.weight.val().transpose());
        (out * tied.scale.val().unsqueeze()).square().mean()
    }

    fn batch_size(&self) -> usize {
        6
    }

    fn epoch(&self) -> u64 {
        60
    }

    fn parts(&self) -> usize {
        0
    }

    fn score(&self, _: &Tied, _: usize, _: &Device) -> Result<Sums, Infallible> {
        Ok(Sums::default())
    }

    fn metrics(&self) -> &'static [Metric] {
        &[]
    }

    fn title(&self) -> String {
        String::from("letters")
    }
}

fn run(task: Letters) -> Result<train::Outcome, RunError> {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), |_| {});
    train::train(
        job(settings),
        |_: Context| Ok(task),
        Box::new(()),
        Arc::default(),
    )
}

/// What is held once passes between workers once, and what is frozen not at all; nothing that is
/// scored is no reason to fail.
#[test]
fn a_snapshot_holds_shared_parameters_once_and_frozen_ones_not_at_all() {
    let task = Letters { twice: false };
    let module = task.module(&Device::flex().autodiff()).unwrap();
    let layout = Layout::of(&module);
    let names = layout.parameters().iter().map(|entry| entry.path.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["letters.weight", "scale"]);
    assert_eq!(layout.parameter_len(), 5 * 4 + 1);
    let outcome = run(task).unwrap();
    assert_eq!(outcome.summary.digests.len(), 2);
    assert_eq!(outcome.summary.test.leader, None);
}

/// Burn's optimizers give the gradient of a parameter that stands in a module twice to the first place
/// alone: the two would part at the first step.
#[test]
fn a_parameter_that_stands_in_a_module_twice_is_refused() {
    assert_eq!(
        run(Letters { twice: true }).unwrap_err().to_string(),
        "again.weight is the same parameter as letters.weight, and Burn's optimizers would train only \
         the first; keep it in one place of the module and use it from there"
    );
}
