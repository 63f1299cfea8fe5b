//! How long a worker waits for its data if it takes so many images a second: a task that trains nothing,
//! whose step lasts as long as a device of that speed would need, in the engine, with its loaders.
//!
//! ```text
//! cargo run --release -p lsgd-train --example data_wait -- IMAGES_A_SECOND [STEPS [FOLDER]]
//! ```
//!
//! Without a folder the images are generated, of CIFAR's size, in batches of 128; those of a folder are
//! 224 x 224, in batches of 64. Batches are bytes, as for a GPU. The waiting for the first batch, before which
//! nothing can be prepared ahead, is part of the result.

use std::error::Error;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use burn::nn::{Linear, LinearConfig};
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor};
use lsgd_run::config::Settings;
use lsgd_run::train::{self, Context, Job};
use lsgd_run::{RunError, StepKey, Sums, Task};
use lsgd_train::data::{ByteBatch, DataError, Dataset, Stream};
use lsgd_train::image_config::{Augment, DataConfig, DataName};

/// A worker's steps, each as long as its images take.
struct Paced {
    dataset: Dataset,
    stream: Stream,
    /// How long a step takes.
    step: Duration,
}

impl Task for Paced {
    type Module = Linear;
    type Batch = ByteBatch;
    type Error = DataError;

    fn module(&self, device: &Device) -> Result<Linear, DataError> {
        Ok(LinearConfig::new(1, 1).init(device))
    }

    fn optimizer(&self) -> ModuleOptimizer {
        SgdConfig::new().init()
    }

    fn train_batch(&self, number: u64) -> Result<ByteBatch, DataError> {
        self.dataset.byte_batch(&self.stream, number)
    }

    fn loss(&self, model: &Linear, batch: ByteBatch, device: &Device, _: StepKey) -> Tensor<1> {
        drop(batch);
        // The device is busy; the processor is the loaders'.
        thread::sleep(self.step);
        model.forward(Tensor::<2>::ones([1, 1], device)).mean()
    }

    fn batch_size(&self) -> usize {
        self.stream.batch_size()
    }

    fn epoch(&self) -> u64 {
        self.stream.epoch() as u64
    }

    fn score(&self, _: &Linear, _: usize, _: &Device) -> Result<Sums, DataError> {
        Ok(Sums::of_mean(0.0, 1))
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let usage =
        "give images a second, and perhaps a number of steps, and a folder with train/ and val/";
    let mut arguments = std::env::args_os().skip(1);
    let speed = arguments.next().ok_or(usage)?;
    let speed: f64 = speed.to_string_lossy().parse().map_err(|_| usage)?;
    let steps = arguments.next().unwrap_or_else(|| "100".into());
    let steps: u64 = steps.to_string_lossy().parse().map_err(|_| usage)?;
    let folder = arguments.next().map(PathBuf::from);
    if !(1.0..1e9).contains(&speed) || steps == 0 || arguments.next().is_some() {
        return Err(usage.into());
    }
    let (batch_size, name, augment) = match folder {
        Some(_) => (64, DataName::Folder, Augment::Paper),
        None => (128, DataName::Generated, Augment::PadCrop),
    };
    let config = DataConfig {
        name,
        folder,
        augment,
        ..DataConfig::default()
    };
    let open = move |_: Context| -> Result<Paced, DataError> {
        let dataset = Dataset::open(&config, 1)?;
        Ok(Paced {
            stream: Stream::new(dataset.train_len(), batch_size, 1)?,
            dataset,
            step: Duration::from_secs_f64(batch_size as f64 / speed),
        })
    };

    let folder = tempfile::tempdir()?;
    let mut settings = Settings::default();
    settings.run.name = String::from("data-wait");
    settings.run.folder = folder.path().to_owned();
    settings.workers.count = Some(1);
    settings.budget.steps = Some(steps);
    let make = |run: Context| open(run).map_err(RunError::task);
    let outcome = train::train(Job::new(settings)?, make, Box::new(()), Default::default())?;
    let summary = &outcome.summary;
    println!(
        "{:.0} images/s, {:.2} % of {:.1} s spent waiting for data",
        summary.samples_per_second,
        100.0 * summary.data_wait_seconds / summary.training_seconds,
        summary.training_seconds,
    );
    Ok(())
}
