//! What the tests train: a small classifier with batch normalisation, on made-up points.

use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, Relu};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_train::{
    ClassificationOutput, InferenceStep, Learner, LearningResult, SupervisedTraining, TrainOutput,
    TrainStep, TrainingStrategy,
};
use lsgd_core::{BatchNorm as Statistics, LeaderConfig, Method, Periods};
use lsgd_core::{ExchangeConfig, Layout, Source, WorkerId, read};

pub const BATCH: usize = 8;
pub const EPOCHS: usize = 3;

/// A point of the plane, and on which side of a curve it lies.
#[derive(Clone, Debug)]
pub struct Point {
    pub x: [f32; 2],
    /// Training on it panics.
    pub is_poison: bool,
}

/// `count` points that look random.
pub fn points(count: usize) -> Vec<Point> {
    let at = |i: usize| (i as f32 * 0.618).fract() * 2.0 - 1.0;
    let point = |i: usize| Point {
        x: [at(2 * i), at(7 * i + 3)],
        is_poison: false,
    };
    (0..count).map(point).collect()
}

#[derive(Clone, Debug)]
pub struct Batch {
    pub x: Tensor<2>,
    pub side: Tensor<1, Int>,
    pub has_poison: bool,
}

pub struct Points;

impl Batcher<Point, Batch> for Points {
    fn batch(&self, points: Vec<Point>, device: &Device) -> Batch {
        let count = points.len();
        let side = |p: &Point| i32::from(p.x[1] > (3.0 * p.x[0]).sin());
        let sides: Vec<i32> = points.iter().map(side).collect();
        let x: Vec<f32> = points.iter().flat_map(|p| p.x).collect();
        Batch {
            x: Tensor::from_data(TensorData::new(x, [count, 2]), device),
            side: Tensor::from_data(TensorData::new(sides, [count]), device),
            has_poison: points.iter().any(|p| p.is_poison),
        }
    }
}

pub type Loader = Arc<dyn DataLoader<Batch>>;

pub fn loader(points: Vec<Point>) -> Loader {
    let loader = DataLoaderBuilder::new(Points).batch_size(BATCH);
    loader.build(InMemDataset::new(points))
}

pub fn shuffled(points: Vec<Point>) -> Loader {
    let loader = DataLoaderBuilder::new(Points).batch_size(BATCH).shuffle(5);
    loader.build(InMemDataset::new(points))
}

#[derive(Module, Debug)]
pub struct Net {
    first: Linear,
    norm: BatchNorm,
    second: Linear,
}

impl Net {
    /// The same weights every time.
    pub fn new() -> Self {
        let device = Device::flex();
        let device = device.autodiff();
        let mut drawn = 0;
        let mut linear = |from: usize, to: usize| {
            let mut layer = LinearConfig::new(from, to).init(&device);
            let weights: Vec<f32> = (0..from * to)
                .map(|i| ((drawn + i) as f32 * 0.618).fract() - 0.5)
                .collect();
            drawn += from * to;
            let weights = Tensor::from_data(TensorData::new(weights, [from, to]), &device);
            layer.weight = burn::module::Param::from_tensor(weights);
            layer.bias = layer.bias.map(|_| {
                let zeros = Tensor::zeros([to], &device);
                burn::module::Param::from_tensor(zeros)
            });
            layer
        };
        let first = linear(2, 6);
        let second = linear(6, 2);
        Self {
            first,
            norm: BatchNormConfig::new(6).init(&device),
            second,
        }
    }

    pub fn classify(&self, batch: Batch) -> ClassificationOutput {
        let hidden = self.norm.forward(self.first.forward(batch.x));
        let output = self.second.forward(Relu::new().forward(hidden));
        let loss = CrossEntropyLossConfig::new().init(&output.device());
        let loss = loss.forward(output.clone(), batch.side.clone());
        ClassificationOutput::new(loss, output, batch.side)
    }

    /// Bits of the parameters, then of the running statistics.
    pub fn bits(&self) -> Vec<u32> {
        let training = self.clone().train();
        let id = WorkerId::new(0, 0);
        let source = Source::Worker { id, step: 0 };
        let read = read(&training, &Layout::of(&training), source).expect("finite values");
        let values = read.parameters().iter().chain(read.buffers());
        values.map(|value| value.to_bits()).collect()
    }
}

impl TrainStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        assert!(!batch.has_poison, "this batch is poison");
        let output = self.classify(batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }
}

impl InferenceStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.classify(batch)
    }
}

pub fn momentum() -> ModuleOptimizer {
    let momentum = MomentumConfig::new().with_momentum(0.9);
    SgdConfig::new().with_momentum(Some(momentum)).init()
}

/// A learning rate that falls with every step.
pub fn falling() -> ModuleLrScheduler {
    let rate = LinearLrSchedulerConfig::new(0.1, 0.01, 40);
    rate.init().expect("a valid schedule")
}

pub fn learner(model: &Net) -> Learner<Net> {
    // Running statistics of its own: a training changes them.
    Learner::new(model.valid().train(), momentum(), falling())
}

/// A training of [`EPOCHS`] epochs into `folder`.
pub fn training(
    folder: &tempfile::TempDir,
    train: Loader,
    strategy: impl Into<TrainingStrategy<Net>>,
) -> SupervisedTraining<Net> {
    SupervisedTraining::new(folder.path(), train, loader(points(40)))
        .metrics((burn_train::metric::LossMetric::new(),))
        .num_epochs(EPOCHS)
        .with_application_logger(None)
        .with_training_strategy(strategy.into())
}

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder for the test")
}

/// How a training ended, in one line; empty if it finished.
pub fn end(result: &LearningResult<Net>) -> Option<String> {
    result.error.as_ref().map(|error| error.to_string())
}

pub fn devices(workers: usize) -> Vec<Device> {
    vec![Device::flex(); workers]
}

/// Strong pulls, between exchanges too.
pub fn lsgd(period: u64) -> Method {
    let config = LeaderConfig {
        local_pull: 0.3,
        local_prox: 0.2,
        local_period: period,
        global_period: period,
        loss_window: 2,
        batch_norm: Statistics::Leader,
        ..LeaderConfig::default()
    };
    Method::lsgd(&config).expect("a valid method")
}

/// Meetings every `period` steps.
pub fn exchanges(period: u64) -> ExchangeConfig {
    ExchangeConfig {
        periods: Periods {
            local: period,
            global: period,
        },
        loss_window: 2,
        batch_norm: Statistics::Own,
    }
}
