//! What Leader SGD costs beside the training itself: images per second of two workers under `lsgd`
//! with period 16, over those of the same two models in a plain Burn loop.
//!
//!     cargo run --release -p lsgd-core --example wrapper_cost
//!
//! Both train in turn on one thread, in short rounds that alternate, so that whatever else the machine
//! does slows both. Prints the ratio of each round and their median; on Linux also the ratio of the CPU
//! time that both took in all rounds, which other programs disturb less.

#[path = "../simulated/memory.rs"]
mod memory;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Int, Tensor, activation};
use lsgd_core::{LeaderConfig, LeaderSgd, LocalLeader, Loss, Method, Mode, Objective, Worker};

use memory::Node;

const WORKERS: u32 = 2;
const BATCH: usize = 16;
const PERIOD: u64 = 16;
const ROUNDS: usize = 41;
/// Steps of each worker in a round.
const STEPS: u64 = PERIOD;
const RATE: f64 = 0.01;

/// A small network of the kind that the program trains.
#[derive(Module, Debug)]
struct Net {
    convolutions: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    last: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        let convolution = |(from, to)| {
            Conv2dConfig::new([from, to], [3, 3])
                .with_padding(PaddingConfig2d::Same)
                .init(device)
        };
        Self {
            convolutions: [(3, 8), (8, 8), (8, 8)].map(convolution).into(),
            norms: (0..3)
                .map(|_| BatchNormConfig::new(8).init(device))
                .collect(),
            last: LinearConfig::new(8, 10).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let layers = self.convolutions.iter().zip(&self.norms);
        let features = layers.fold(images, |x, (convolution, norm)| {
            activation::relu(norm.forward(convolution.forward(x)))
        });
        let means = features.mean_dim(3).mean_dim(2).flatten::<2>(1, 3);
        self.last.forward(means)
    }
}

/// Images of noise, drawn once.
struct Images {
    images: Tensor<4>,
    labels: Tensor<1, Int>,
    device: Device,
}

impl Images {
    fn new(device: &Device) -> Self {
        let noise = burn::tensor::Distribution::Default;
        Self {
            images: Tensor::random([BATCH, 3, 16, 16], noise, device),
            labels: Tensor::arange(0..BATCH as i64, device).remainder_scalar(10),
            device: device.clone(),
        }
    }

    fn loss(&self, net: &Net) -> Tensor<1> {
        let logits = net.forward(self.images.clone());
        let loss = CrossEntropyLossConfig::new().init(&self.device);
        loss.forward(logits, self.labels.clone())
    }
}

impl Objective<Net> for Images {
    type Error = Infallible;

    fn gradients(&mut self, net: &Net, _: u64) -> Result<(Loss, GradientsParams), Infallible> {
        let loss = self.loss(net);
        let gradients = GradientsParams::from_grads(loss.backward(), net);
        Ok((loss.into(), gradients))
    }

    fn learning_rate(&self, _: u64) -> f64 {
        RATE
    }
}

fn inner() -> ModuleOptimizer {
    let momentum = MomentumConfig::new().with_momentum(0.9);
    SgdConfig::new().with_momentum(Some(momentum)).init()
}

/// CPU time that this process has taken, in ticks of the system; `None` where there is no `/proc`.
fn cpu_ticks() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which is in parentheses: fields 14 and 15 of the line, user and system time.
    let (_, fields) = stat.rsplit_once(')')?;
    let times = fields.split_whitespace().skip(11).take(2);
    times.map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// A plain loop's model, optimizer and data.
struct Plain {
    net: Option<Net>,
    optimizer: ModuleOptimizer,
    images: Images,
}

impl Plain {
    fn step(&mut self) {
        if let Some(net) = self.net.take() {
            let loss = self.images.loss(&net);
            let gradients = GradientsParams::from_grads(loss.backward(), &net);
            self.net = Some(self.optimizer.step(RATE, net, gradients));
        }
    }
}

fn timed(act: impl FnOnce()) -> Duration {
    let began = Instant::now();
    act();
    began.elapsed()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::flex().autodiff();
    let method = Method::lsgd(&LeaderConfig {
        local_period: PERIOD,
        global_period: PERIOD,
        ..LeaderConfig::default()
    })?;
    let leader = LocalLeader::new(0, WORKERS, method.clone(), Mode::Sync)?;
    let mut node = Node::new(leader, |exchange| {
        let optimizer = LeaderSgd::new(inner(), method.clone(), exchange);
        Worker::new(Net::new(&device), optimizer, Images::new(&device))
    });
    let mut plain: Vec<Plain> = (0..WORKERS)
        .map(|_| Plain {
            net: Some(Net::new(&device)),
            optimizer: inner(),
            images: Images::new(&device),
        })
        .collect();

    let images = (STEPS * u64::from(WORKERS)) as f64 * BATCH as f64;
    let mut ratios = Vec::new();
    let mut ticks = [0, 0];
    for round in 0..=ROUNDS {
        let begun = cpu_ticks();
        let by_hand = timed(|| (0..STEPS).for_each(|_| plain.iter_mut().for_each(Plain::step)));
        let between = cpu_ticks();
        let until = (round as u64 + 1) * STEPS;
        let wrapped = timed(|| {
            let Ok(all_stepped) = node.run(until);
            assert!(all_stepped, "the workers wait for each other");
        });
        let [plain, lsgd] = [by_hand, wrapped].map(|time| images / time.as_secs_f64());
        // The first round warms up.
        if round > 0 {
            let ratio = lsgd / plain;
            println!("round {round}: plain {plain:.0} images/s, lsgd {lsgd:.0}, ratio {ratio:.3}");
            ratios.push(ratio);
            if let (Some(begun), Some(between), Some(ended)) = (begun, between, cpu_ticks()) {
                ticks[0] += between - begun;
                ticks[1] += ended - between;
            }
        }
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.3}", ratios[ratios.len() / 2]);
    if ticks[1] > 0 {
        let ratio = ticks[0] as f64 / ticks[1] as f64;
        println!("CPU time of plain over that of lsgd {ratio:.3}");
    }
    Ok(())
}
