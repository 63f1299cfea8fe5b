//! What a worker minimizes: the cross-entropy of its own batches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use lsgd_core::Objective;
use lsgd_models::{Model, Phase};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::setup::Setup;
use crate::data::{Batch, DataError, Loader};
use crate::learning_rate::LearningRate;

/// Batches prepared ahead of the worker.
const AHEAD: usize = 4;

/// A worker's batches, loss and learning rate.
#[derive(Debug)]
pub struct Learner {
    loader: Loader,
    device: Device,
    rate: LearningRate,
    seed: u64,
    /// Its place among the workers of all nodes.
    place: usize,
    waited: Duration,
    /// The held-out examples in batches; none where workers are not ranked by them.
    probe: Arc<[Batch]>,
}

impl Learner {
    /// Starts to prepare the batches of this node's worker `worker`, whose module is on `device`,
    /// from step `start` on.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the system gives no thread for it.
    pub fn start(
        setup: &Setup,
        worker: usize,
        device: Device,
        start: u64,
    ) -> Result<Self, DataError> {
        let place = setup.place(worker);
        let loader = Loader::start(
            setup.dataset.clone(),
            setup.stream.clone(),
            place,
            setup.all_workers(),
            start,
            AHEAD,
        )?;
        Ok(Self {
            probe: setup.probe.clone(),
            loader,
            device,
            rate: setup.rate.clone(),
            seed: setup.config.run.seed,
            place,
            waited: Duration::ZERO,
        })
    }

    /// Time spent waiting for batches.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl Objective<Model> for Learner {
    type Error = DataError;

    fn gradients(
        &mut self,
        module: &Model,
        step: u64,
    ) -> Result<(f32, GradientsParams), DataError> {
        let began = Instant::now();
        let batch = self.loader.next()?;
        self.waited += began.elapsed();

        let (images, labels) = tensors(batch, &self.device);
        let mut dropout = dropout_generator(self.seed, self.place, step);
        let logits = module.forward(images, Phase::Train(&mut dropout));
        let loss = CrossEntropyLossConfig::new()
            .init(&self.device)
            .forward(logits, labels);
        let value = loss.clone().into_scalar::<f32>();
        let gradients = GradientsParams::from_grads(loss.backward(), module);
        Ok((value, gradients))
    }

    fn probe(&mut self, module: &Model) -> Result<Option<f64>, DataError> {
        // Off the tape: nobody learns from it.
        let (module, device) = (module.valid(), self.device.clone().inner());
        let (mut sum, mut count) = (0.0, 0);
        for batch in self.probe.iter().cloned() {
            let examples = batch.labels.len();
            let (images, labels) = tensors(batch, &device);
            let logits = module.forward(images, Phase::Evaluate);
            let loss = CrossEntropyLossConfig::new()
                .init(&device)
                .forward(logits, labels);
            sum += f64::from(loss.into_scalar::<f32>()) * examples as f64;
            count += examples;
        }
        Ok((count > 0).then(|| sum / count as f64))
    }

    fn learning_rate(&self, step: u64) -> f64 {
        self.rate.at(step)
    }
}

/// A batch as tensors on `device`: images `[batch, channels, height, width]`, labels `[batch]`.
pub fn tensors(batch: Batch, device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
    let labels = TensorData::new(batch.labels, [batch.shape[0]]);
    let images = TensorData::new(batch.images, batch.shape);
    (
        Tensor::from_data(images, device),
        Tensor::from_data(labels, device),
    )
}

/// The dropout masks of one step: a function of seed, the worker's place among all and step alone,
/// so that they hold no state between steps.
fn dropout_generator(seed: u64, place: usize, step: u64) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key("lsgd-train v1 dropout");
    for part in [seed, place as u64, step] {
        hasher.update(&part.to_le_bytes());
    }
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}
