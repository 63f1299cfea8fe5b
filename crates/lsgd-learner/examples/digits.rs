//! A small convolutional network on the bundled handwritten digits, with burn-train's `Learner` and
//! two workers on the CPU: 97 % of the test images correct after 12 epochs, in a few seconds on two
//! cores.
//!
//!     cargo run --release -p lsgd-learner --example digits
//!
//! `strategy` is the only addition to training on one device. On two nodes, here two processes,
//! each with two workers and half of the data:
//!
//!     target/release/examples/digits --node 1 --connect tcp/127.0.0.1:7451,tcp/127.0.0.1:7452
//!     target/release/examples/digits --node 2 --connect tcp/127.0.0.1:7451,tcp/127.0.0.1:7452
//!
//! Kill one: the other continues. Start it again: it rejoins with the parameters of the other.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::data::dataloader::DataLoaderBuilder;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::data::dataset::transform::ShuffledDataset;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig, PaddingConfig2d, Relu};
use burn::optim::AdamWConfig;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_train::metric::{AccuracyMetric, LossMetric};
use burn_train::{
    ClassificationOutput, InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep,
};
use flate2::read::GzDecoder;
use lsgd_core::{Event, LeaderConfig, Method, Mode, Scope};
use lsgd_learner::{ClusterConfig, LeaderSgdStrategy};

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../datasets/digits/digits.csv.gz"
);
const EPOCHS: usize = 12;
const BATCH: usize = 32;

type Error = Box<dyn std::error::Error>;

/// 8 x 8 pixels with values 0 to 16, and the digit they show.
#[derive(Clone, Debug)]
struct Digit {
    pixels: Vec<f32>,
    label: i32,
}

/// The digits: every fifth is used for validation.
fn digits() -> Result<(Vec<Digit>, Vec<Digit>), Error> {
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    let lines = BufReader::new(GzDecoder::new(File::open(FILE)?)).lines();
    for (index, line) in lines.enumerate() {
        let line = line?;
        let (pixels, label) = line.rsplit_once(',').ok_or("a line without a comma")?;
        let pixels = pixels
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let label = label.parse()?;
        let split = match index % 5 {
            4 => &mut valid,
            _ => &mut train,
        };
        split.push(Digit { pixels, label });
    }
    Ok((train, valid))
}

#[derive(Clone, Debug)]
struct Batch {
    /// [batch, 1, 8, 8]
    images: Tensor<4>,
    /// [batch]
    labels: Tensor<1, Int>,
}

struct Batches;

impl Batcher<Digit, Batch> for Batches {
    fn batch(&self, digits: Vec<Digit>, device: &Device) -> Batch {
        let labels: Vec<i32> = digits.iter().map(|digit| digit.label).collect();
        let (count, pixels) = (digits.len(), digits.into_iter().flat_map(|d| d.pixels));
        let pixels = TensorData::new(pixels.collect::<Vec<f32>>(), [count, 1, 8, 8]);
        Batch {
            images: Tensor::from_data(pixels, device) / 8.0 - 1.0,
            labels: Tensor::from_data(TensorData::new(labels, [count]), device),
        }
    }
}

#[derive(Module, Debug)]
struct Network {
    first: Conv2d,
    second: Conv2d,
    classes: Linear,
    activation: Relu,
}

impl Network {
    fn new(device: &Device) -> Self {
        let conv = |channels| {
            Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        };
        Self {
            first: conv([1, 16]).init(device),
            second: conv([16, 32]).with_stride([2, 2]).init(device),
            classes: LinearConfig::new(32 * 4 * 4, 10).init(device),
            activation: Relu::new(),
        }
    }

    /// [batch, 1, 8, 8] to [batch, 10].
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.activation.forward(self.first.forward(images));
        let x = self.activation.forward(self.second.forward(x));
        self.classes.forward(x.flatten(1, 3))
    }

    fn classify(&self, Batch { images, labels }: Batch) -> ClassificationOutput {
        let output = self.forward(images);
        let loss = CrossEntropyLossConfig::new().init(&output.device());
        let loss = loss.forward(output.clone(), labels.clone());
        ClassificationOutput::new(loss, output, labels)
    }
}

impl TrainStep for Network {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let output = self.classify(batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }
}

impl InferenceStep for Network {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.classify(batch)
    }
}

/// How many exchanges each of two workers led.
type Led = Arc<[AtomicUsize; 2]>;

/// The only addition to training on one device: two workers that exchange every fourth step, where
/// the one with the higher loss is pulled a tenth of the way to the other.
fn strategy(
    device: Device,
    cluster: Option<ClusterConfig>,
    led: Led,
) -> Result<LeaderSgdStrategy, Error> {
    let method = Method::lsgd(&LeaderConfig {
        local_period: 4,
        global_period: 4,
        ..LeaderConfig::default()
    })?;
    let strategy = LeaderSgdStrategy::new(method, Mode::Sync, vec![device.clone(), device])?;
    let strategy = match cluster {
        Some(cluster) => strategy.with_cluster(cluster),
        None => strategy,
    };
    Ok(strategy.on_event(move |event| {
        if let Event::Election {
            scope: Scope::Local,
            election,
            ..
        } = event
            && let Some(leader) = election.leader
        {
            led[leader.worker as usize].fetch_add(1, Ordering::Relaxed);
        }
    }))
}

/// The other nodes, from `--node I --connect ENDPOINT,ENDPOINT,...`; `None` without.
fn cluster(arguments: impl IntoIterator<Item = String>) -> Result<Option<ClusterConfig>, Error> {
    let (mut node, mut endpoints) = (None, Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--node" => node = Some(value.parse::<u32>()?),
            "--connect" => endpoints = value.split(',').map(String::from).collect(),
            _ => return Err(format!("there is no {name}; there are --node and --connect").into()),
        }
    }
    let Some(node) = node else {
        return Ok(None);
    };
    let from_0 = node.checked_sub(1).ok_or("nodes are numbered from 1")?;
    Ok(Some(ClusterConfig::new(from_0, endpoints)))
}

fn main() -> Result<(), Error> {
    let cluster = cluster(std::env::args().skip(1))?;
    let device = Device::flex();
    device.seed(1);
    let (train, valid) = digits()?;
    let test = Batches.batch(valid.clone(), &device);
    let model = Network::new(&device.clone().autodiff());
    // A schedule counts the steps of a worker, which has its share of the images.
    let workers = 2 * cluster.as_ref().map_or(1, |c| c.nodes as usize);
    let steps = EPOCHS * train.len() / (workers * BATCH);
    let rate = CosineAnnealingLrSchedulerConfig::new(5e-3, steps).init()?;

    // Workers get consecutive parts, and these digits are ordered by writer.
    let train = ShuffledDataset::new(InMemDataset::new(train), 1_u64);

    let led = Led::default();
    let node = cluster.as_ref().map_or(0, |c| c.node);
    let loader = || DataLoaderBuilder::new(Batches).batch_size(BATCH);
    let result = SupervisedTraining::new(
        std::env::temp_dir().join(format!("lsgd-learner-digits-{node}")),
        loader().shuffle(1).build(train),
        loader().build(InMemDataset::new(valid)),
    )
    .metrics((AccuracyMetric::new(), LossMetric::new()))
    .num_epochs(EPOCHS)
    .summary()
    .with_training_strategy(strategy(device, cluster, led.clone())?.into())
    .launch(Learner::new(model, AdamWConfig::new().init(), rate));
    if let Some(error) = result.error {
        return Err(error.to_string().into());
    }

    let guesses = result.model.forward(test.images).argmax(1);
    let right = guesses.flatten::<1>(0, 1).equal(test.labels).float();
    let percent = 100.0 * right.mean().into_scalar::<f32>();
    println!("The leader has {percent:.1} % of the test images right.");
    for (worker, led) in led.iter().enumerate() {
        println!(
            "Worker {worker} led at {} meetings.",
            led.load(Ordering::Relaxed)
        );
    }
    Ok(())
}
