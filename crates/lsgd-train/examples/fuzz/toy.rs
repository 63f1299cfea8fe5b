//! A task of a few numbers, and runs of it whose files are the valid inputs of many decoders.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor};
use lsgd_run::config::{Config, TaskTable};
use lsgd_run::storage::CheckpointName;
use lsgd_run::train::{Context, Outcome};
use lsgd_run::{MakeTask, RunError, StepKey, Sums, Task};
use serde::{Deserialize, Serialize};

/// `[task]`, without keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Toy {}

/// A trained layer behind a frozen one.
#[derive(Module, Debug)]
pub struct Layers {
    frozen: Linear,
    trained: Linear,
}

/// The config of a run of the toy.
pub type ToyConfig = Config<TaskTable<Toy>>;

impl MakeTask for Toy {
    type Task = Self;

    fn make(self, _: Context) -> Result<Self, Infallible> {
        Ok(self)
    }
}

fn squares(layers: &Layers, number: u64, device: &Device) -> Tensor<1> {
    let input: Tensor<2> = Tensor::from_data([[number as f32 % 3.0, 1.0, -0.5]], device);
    let output = layers.trained.forward(layers.frozen.forward(input));
    (output - 1.0).square().mean()
}

impl Task for Toy {
    type Module = Layers;
    type Batch = u64;
    type Error = Infallible;

    fn module(&self, device: &Device) -> Result<Layers, Infallible> {
        Ok(Layers {
            frozen: LinearConfig::new(3, 2).init(device).no_grad(),
            trained: LinearConfig::new(2, 2).init(device),
        })
    }

    fn optimizer(&self) -> ModuleOptimizer {
        SgdConfig::new()
            .with_momentum(Some(MomentumConfig::new()))
            .init()
    }

    fn train_batch(&self, number: u64) -> Result<u64, Infallible> {
        Ok(number)
    }

    fn loss(&self, layers: &Layers, batch: u64, device: &Device, _: StepKey) -> Tensor<1> {
        squares(layers, batch, device)
    }

    fn batch_size(&self) -> usize {
        1
    }

    fn epoch(&self) -> u64 {
        8
    }

    fn score(&self, layers: &Layers, part: usize, device: &Device) -> Result<Sums, Infallible> {
        Ok(Sums::of_mean(
            squares(layers, part as u64, device).into_scalar::<f32>(),
            1,
        ))
    }
}

/// The config of a run of two workers in `folder`/run, with these overrides.
pub fn config(folder: &Path, set: &[&str]) -> ToyConfig {
    const TEXT: &str = "
        method = { local_period = 2, global_period = 2, loss_window = 2 }
        workers = { count = 2, threads = 1 }
        budget = { steps = 4 }
        evaluate = { every_steps = 4 }
        schedule = { learning_rate = 0.1 }
    ";
    let folder = toml::Value::from(folder.to_string_lossy().into_owned());
    let mut overrides = vec![format!("run.folder={folder}"), String::from("run.name=run")];
    overrides.extend(set.iter().map(|set| String::from(*set)));
    ToyConfig::from_toml(TEXT, "the toy's config", &overrides).expect("the config is valid")
}

/// Trains, or continues, as `config` says.
pub fn run(config: ToyConfig) -> Result<Outcome, RunError> {
    lsgd_run::resume(config, CheckpointName::Newest, Box::new(()), Arc::default())
}
