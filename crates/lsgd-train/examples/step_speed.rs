//! How fast training steps are on the CPU: forward, backward and SGD with momentum, without data,
//! exchange or evaluation. `scripts/bench_cpu.py` runs it beside PyTorch.
//!
//!     cargo run --release -p lsgd-train --example step_speed -- resnet20 2 10 own
//!     cargo run --release -p lsgd-train --example step_speed -- matmul
//!
//! Arguments: model; workers, one thread each; timed steps, after one that is not timed; kernels,
//! `own` (lsgd-cpu) or `burn`. Batches are 128 images of 32 x 32 (28 x 28 for cnn7). `matmul` times
//! the matrix product instead, on one thread. Prints one line of JSON.

use std::error::Error;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use lsgd_models::{ForwardMode, Model, ModelConfig, ModelKind};
use lsgd_train::image_config::{OptimizerConfig, OptimizerName};
use lsgd_train::optimizer;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const BATCH: usize = 128;
/// Side of the matrices.
const SIDE: usize = 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["matmul"] => json!({ "flops_per_second": matmul()? }),
        [model, workers, steps, kernels @ ("own" | "burn")] => {
            let (workers, steps) = (workers.parse()?, steps.parse()?);
            let seconds = train(model.parse()?, workers, steps, kernels == "own")?;
            json!({
                "images_per_second": (workers * steps * BATCH) as f64 / seconds,
                "peak_memory_bytes": peak_memory(),
            })
        }
        _ => return Err("give MODEL WORKERS STEPS own|burn, or matmul".into()),
    };
    println!("{result}");
    Ok(())
}

/// Seconds that the timed steps of all workers take.
fn train(kind: ModelKind, workers: usize, steps: usize, own: bool) -> Result<f64, Box<dyn Error>> {
    let side = side(kind);
    let config = ModelConfig {
        cpu_kernels: own,
        ..ModelConfig::new(kind, 10, [3, side, side])
    };
    let device = Device::flex().autodiff();
    device.seed(1);
    // Initial weights are drawn one model after another: the random generator is shared by the
    // process.
    let models: Result<Vec<Model>, _> = (0..workers).map(|_| config.init(&device)).collect();
    let start = Barrier::new(workers);
    let times = thread::scope(|scope| {
        let workers = models?.into_iter().map(|model| {
            let (device, start) = (&device, &start);
            scope.spawn(move || work(model, kind, steps, device, start))
        });
        let workers: Vec<_> = workers.collect();
        let join = |worker: thread::ScopedJoinHandle<Result<f64, String>>| {
            worker
                .join()
                .map_err(|_| String::from("a worker panicked"))?
        };
        let times: Result<Vec<f64>, String> = workers.into_iter().map(join).collect();
        Ok::<_, Box<dyn Error>>(times?)
    })?;
    Ok(times.into_iter().fold(0.0, f64::max))
}

/// Height and width of the images.
fn side(kind: ModelKind) -> usize {
    if kind == ModelKind::Cnn7 { 28 } else { 32 }
}

fn work(
    mut model: Model,
    kind: ModelKind,
    steps: usize,
    device: &Device,
    start: &Barrier,
) -> Result<f64, String> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|error| error.to_string())?;
    let config = OptimizerConfig {
        name: OptimizerName::Sgd,
        momentum: 0.9,
        weight_decay: 5e-4,
        ..OptimizerConfig::default()
    };
    let mut optimizer = optimizer::inner(&config, kind.head());
    let side = side(kind);
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    let mut step = |model: Model| {
        let count = BATCH * 3 * side * side;
        let values: Vec<f32> = (0..count).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
        let images = TensorData::new(values, [BATCH, 3, side, side]);
        let images = Tensor::<4>::from_data(images, device);
        let labels: Vec<i64> = (0..BATCH as i64).map(|i| i % 10).collect();
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [BATCH]), device);
        let logits = model.forward(images, ForwardMode::Train(&mut generator));
        let loss = CrossEntropyLossConfig::new()
            .init(device)
            .forward(logits, labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        optimizer.step(0.01, model, gradients)
    };
    pool.install(|| {
        model = step(model);
        start.wait();
        let began = Instant::now();
        for _ in 0..steps {
            model = step(model);
        }
        Ok(began.elapsed().as_secs_f64())
    })
}

/// Floating-point operations a second of a matrix product on one thread, the best of several.
fn matmul() -> Result<f64, Box<dyn Error>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let device = Device::flex();
    let a = Tensor::<2>::ones([SIDE, SIDE], &device);
    let seconds = pool.install(|| {
        let times = (0..9).map(|_| {
            let began = Instant::now();
            let _ = a.clone().matmul(a.clone()).into_data();
            began.elapsed().as_secs_f64()
        });
        times.fold(f64::INFINITY, f64::min)
    });
    Ok(2.0 * (SIDE * SIDE * SIDE) as f64 / seconds)
}

/// Only Linux reports it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kilobytes)
}
