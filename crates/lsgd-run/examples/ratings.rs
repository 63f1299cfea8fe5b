//! A recommender that learns generated ratings: embeddings, two metrics, and a probe that ranks the workers.
//!
//!     cargo run --release -p lsgd-run --example ratings -- --config crates/lsgd-run/examples/ratings.toml

use std::process::ExitCode;

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Initializer};
use burn::optim::{AdamConfig, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor};
use lsgd_run::train::Context;
use lsgd_run::{MakeTask, Metric, Reading, StepKey, Sums, Task, generator};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// Values that describe what a user likes, or what an item is like.
const TRAITS: usize = 4;
/// Every rating is off by up to so many stars.
const NOISE: f32 = 0.3;

/// `[task]`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ratings {
    /// People who rate.
    pub users: usize,
    /// What they rate.
    pub items: usize,
    /// Values of the vector that the model learns for each user and item.
    pub width: usize,
    /// Ratings in a batch.
    pub batch: usize,
}

impl Default for Ratings {
    fn default() -> Self {
        Self {
            users: 200,
            items: 100,
            width: 8,
            batch: 64,
        }
    }
}

/// A rating in stars is the product of two vectors, and a bias each of the user and the item.
#[derive(Module, Debug)]
pub struct Recommender {
    /// `[users, width + 1]`; the last value is the bias.
    users: Embedding,
    /// `[items, width + 1]`
    items: Embedding,
}

impl Recommender {
    /// Stars `[batch]`, by users `[batch, 1]` of items `[batch, 1]`.
    fn forward(&self, users: Tensor<2, Int>, items: Tensor<2, Int>) -> Tensor<1> {
        let (users, items) = (self.users.forward(users), self.items.forward(items));
        let [_, _, values] = users.dims();
        let width = values - 1;
        let product = users.clone().narrow(2, 0, width) * items.clone().narrow(2, 0, width);
        let biases = users.narrow(2, width, 1) + items.narrow(2, width, 1);
        (product.sum_dim(2) + biases).flatten(0, 2)
    }
}

/// A user, an item and the stars above or below the average.
type Rating = (i32, i32, f32);

/// Every user has rated every item; each rating is in one of these.
#[derive(Debug)]
pub struct RatingsTask {
    config: Ratings,
    seed: u64,
    training: Vec<Rating>,
    probe: Vec<Rating>,
    held_out: Vec<Rating>,
}

impl MakeTask for Ratings {
    type Task = RatingsTask;

    fn make(self, run: Context) -> Result<RatingsTask, String> {
        if self.width == 0 || self.batch == 0 {
            return Err(String::from("task.width and task.batch must be at least 1"));
        }
        let mut training = generated(&self);
        let mut held_out = training.split_off(training.len() / 5 * 4);
        let Some(scored) = held_out
            .len()
            .checked_sub(run.probe_examples())
            .filter(|&n| n > 0)
        else {
            let (users, items) = (self.users, self.items);
            return Err(format!(
                "{users} task.users x {items} task.items are too few ratings to hold any out"
            ));
        };
        let probe = held_out.split_off(scored);
        held_out.truncate(run.held_out_examples(scored));
        let seed = run.settings.run.seed;
        Ok(RatingsTask {
            config: self,
            seed,
            training,
            probe,
            held_out,
        })
    }
}

/// The ratings of all users, shuffled. They are the same whatever `run.seed` is.
fn generated(config: &Ratings) -> Vec<Rating> {
    let mut random = generator("lsgd-run examples: ratings", &[]);
    let mut traits = |count| -> Vec<[f32; TRAITS]> {
        let one = |_| [(); TRAITS].map(|()| random.random_range(-1.0..1.0));
        (0..count).map(one).collect()
    };
    let (users, items) = (traits(config.users), traits(config.items));
    let mut ratings = Vec::new();
    for (user, tastes) in (0..).zip(&users) {
        for (item, traits) in (0..).zip(&items) {
            let liking: f32 = tastes
                .iter()
                .zip(traits)
                .map(|(taste, value)| taste * value)
                .sum();
            let noise = NOISE * random.random_range(-1.0..1.0f32);
            ratings.push((user, item, liking + noise));
        }
    }
    ratings.shuffle(&mut random);
    ratings
}

/// Predicted and true stars of ratings, `[ratings]` each.
fn stars(model: &Recommender, ratings: &[Rating], device: &Device) -> [Tensor<1>; 2] {
    let numbers = |of: fn(&Rating) -> i32| {
        let numbers: Vec<i32> = ratings.iter().map(of).collect();
        Tensor::<1, Int>::from_data(numbers.as_slice(), device).unsqueeze_dim(1)
    };
    let predicted = model.forward(numbers(|rating| rating.0), numbers(|rating| rating.1));
    let truth: Vec<f32> = ratings.iter().map(|rating| rating.2).collect();
    [predicted, Tensor::from_data(truth.as_slice(), device)]
}

/// Their mean square error, `[1]`.
fn mean_square(model: &Recommender, ratings: &[Rating], device: &Device) -> Tensor<1> {
    let [predicted, truth] = stars(model, ratings, device);
    (predicted - truth).square().mean()
}

impl Task for RatingsTask {
    type Module = Recommender;
    type Batch = Vec<Rating>;
    type Error = String;

    fn module(&self, device: &Device) -> Result<Recommender, String> {
        let small = Initializer::Normal {
            mean: 0.0,
            std: 0.1,
        };
        let embedding = |count| {
            let config = EmbeddingConfig::new(count, self.config.width + 1);
            config.with_initializer(small.clone()).init(device)
        };
        Ok(Recommender {
            users: embedding(self.config.users),
            items: embedding(self.config.items),
        })
    }

    fn optimizer(&self) -> ModuleOptimizer {
        AdamConfig::new().init()
    }

    fn train_batch(&self, number: u64) -> Result<Vec<Rating>, String> {
        let mut random = generator("lsgd-run examples: ratings, batches", &[self.seed, number]);
        let rating = |_| self.training[random.random_range(0..self.training.len())];
        Ok((0..self.config.batch).map(rating).collect())
    }

    fn loss(&self, model: &Recommender, batch: Vec<Rating>, on: &Device, _: StepKey) -> Tensor<1> {
        mean_square(model, &batch, on)
    }

    fn batch_size(&self) -> usize {
        self.config.batch
    }

    fn epoch(&self) -> u64 {
        self.training.len() as u64
    }

    fn score(&self, model: &Recommender, _: usize, on: &Device) -> Result<Sums, String> {
        let [predicted, truth] = stars(model, &self.held_out, on);
        let same_sign = (predicted.clone() * truth.clone())
            .greater_elem(0.0)
            .int()
            .sum();
        let squares = (predicted - truth).square().sum();
        // Both at once: on a GPU each read waits.
        let mut reading = Reading::of("scores");
        reading.add(squares);
        reading.add(same_sign);
        let read = reading.read();
        Ok(Sums {
            examples: self.held_out.len() as u64,
            sums: read.iter().flat_map(|data| data.iter::<f64>()).collect(),
        })
    }

    fn metrics(&self) -> &'static [Metric] {
        const METRICS: &[Metric] = &[
            Metric::lower("rmse", "stars").of(|sums| sums.mean(0).sqrt()),
            Metric::higher("likes", "%").of(|sums| sums.percent(1)),
        ];
        METRICS
    }

    fn probe(&self, model: &Recommender, on: &Device) -> Result<Option<f64>, String> {
        let loss = mean_square(model, &self.probe, on);
        Ok(Some(loss.into_scalar::<f32>().into()))
    }

    fn unit(&self) -> &'static str {
        "ratings"
    }
}

fn main() -> ExitCode {
    lsgd_run::main::<Ratings>()
}
