//! The smallest task there is, and a run of it from `main`.
//!
//!     cargo run --release -p lsgd-run --example regression

use std::convert::Infallible;

use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor};
use lsgd_run::config::Settings;
use lsgd_run::storage::Evaluation;
use lsgd_run::train::{self, Job};
use lsgd_run::{Observer, RunError, StepKey, Sums, Task, generator};
use rand::RngExt;

/// Points in a batch.
const BATCH: usize = 16;

/// A linear model learns `y = x1 - 2 x2 + 3 x3 + 1`.
struct Regression;

impl Task for Regression {
    type Module = Linear;
    /// Points: three inputs and a target each.
    type Batch = Vec<[f32; 4]>;
    type Error = Infallible;

    fn module(&self, device: &Device) -> Result<Linear, Infallible> {
        Ok(LinearConfig::new(3, 1).init(device))
    }

    fn optimizer(&self) -> ModuleOptimizer {
        SgdConfig::new().init()
    }

    // A function of the number alone: it may be asked for again, here or on another node.
    fn train_batch(&self, number: u64) -> Result<Self::Batch, Infallible> {
        let mut random = generator("lsgd-run examples: regression", &[number]);
        let point = |_| {
            let [x1, x2, x3] = random.random::<[f32; 3]>();
            [x1, x2, x3, x1 - 2.0 * x2 + 3.0 * x3 + 1.0]
        };
        Ok((0..BATCH).map(point).collect())
    }

    fn loss(&self, model: &Linear, batch: Self::Batch, on: &Device, _: StepKey) -> Tensor<1> {
        mean_square(model, &batch, on)
    }

    fn batch_size(&self) -> usize {
        BATCH
    }

    fn epoch(&self) -> u64 {
        100 * BATCH as u64
    }

    fn score(&self, model: &Linear, _: usize, on: &Device) -> Result<Sums, Infallible> {
        // No worker trains on these.
        let held_out = self.train_batch(u64::MAX)?;
        let mean = mean_square(model, &held_out, on).into_scalar::<f32>();
        Ok(Sums::of_mean(mean, BATCH))
    }
}

fn mean_square(model: &Linear, points: &[[f32; 4]], device: &Device) -> Tensor<1> {
    let points = Tensor::<1>::from_data(points.as_flattened(), device).reshape([-1, 4]);
    let outputs = model.forward(points.clone().narrow(1, 0, 3));
    MseLoss::new().forward(outputs, points.narrow(1, 3, 1), Reduction::Mean)
}

/// Prints what it receives.
struct Printer;

impl Observer for Printer {
    fn evaluated(&mut self, evaluation: &Evaluation) {
        let loss = evaluation.leader_metric("loss");
        println!(
            "step {:3}: {:.6}",
            evaluation.step,
            loss.unwrap_or(f64::NAN)
        );
    }
}

/// Two workers take 200 steps each, and are pulled toward the better one every fourth. Without a device
/// named, each takes a GPU if there is one.
fn main() -> Result<(), RunError> {
    let mut settings = Settings::default();
    settings.run.name = String::from("regression");
    settings.run.overwrite = true;
    settings.workers.count = Some(2);
    settings.budget.steps = Some(200);
    settings.evaluate.every_steps = Some(50);
    settings.method.local_period = 4;
    settings.method.loss_window = 8;

    let make = |_: train::Context| Ok(Regression);
    let job = Job::new(settings)?;
    let outcome = train::train(job, make, Box::new(Printer), Default::default())?;
    let loss = outcome.leader("loss").unwrap_or(f64::NAN);
    let folder = outcome.folder.path().display();
    println!("the leader's mean square error is {loss:.6}");
    println!("all that happened is in {folder}");
    Ok(())
}
