//! What an exchange is made of, on ResNet-20 (269,722 parameters): reading a snapshot, a pull
//! toward it, an election.
//!
//! `scripts/bench_exchange.py` measures how much of a run's time exchanges take.

use std::hint::black_box;
use std::sync::Arc;

use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::Device;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lsgd_core::{
    Candidate, Command, Delivery, Exchange, ExchangeOutcome, Layout, LeaderConfig, LeaderSgd,
    Message, Method, Mode, Report, Snapshot, Source, WindowLoss, WorkerId, elect, read,
};
use lsgd_models::{Model, ModelConfig, ModelKind};

fn model() -> Model {
    let device = Device::flex().autodiff();
    device.seed(1);
    let config = ModelConfig::new(ModelKind::ResNet20, 10, [3, 32, 32]);
    config.init(&device).expect("a ResNet-20 takes 32 x 32")
}

fn worker(worker: u32) -> Source {
    Source::Worker {
        id: WorkerId::new(0, worker),
        step: 16,
    }
}

fn snapshot(criterion: &mut Criterion) {
    let model = model();
    let layout = Layout::of(&model);
    let mut group = criterion.benchmark_group("resnet20");
    group.throughput(Throughput::Elements(layout.parameter_len() as u64));
    group.bench_function("snapshot read", |bencher| {
        bencher.iter(|| read(&model, &layout, worker(0)));
    });
    group.finish();
}

/// Alternately an order to move toward the leader and the end of the worker's exchange.
struct Leader {
    snapshot: Arc<Snapshot>,
    ordered: bool,
}

impl Exchange for Leader {
    fn id(&self) -> WorkerId {
        WorkerId::new(0, 0)
    }

    fn mode(&self) -> Mode {
        Mode::Async
    }

    fn send(&mut self, _message: Message) {}

    fn receive(&mut self, _waiting: bool) -> Option<Command> {
        self.ordered = !self.ordered;
        self.ordered.then(|| {
            Command::Adopt(Delivery {
                local: ExchangeOutcome::leader(self.snapshot.clone()),
                ..Delivery::default()
            })
        })
    }
}

fn pull(criterion: &mut Criterion) {
    let model = model();
    let layout = Layout::of(&model);
    let leader = read(&model, &layout, worker(1)).expect("the model has its own layout");
    let method = Method::lsgd(&LeaderConfig::default()).expect("defaults are within bounds");
    let exchange = Leader {
        snapshot: Arc::new(leader),
        ordered: false,
    };
    let mut optimizer = LeaderSgd::new(SgdConfig::new().init(), method, exchange);
    // Only a worker that has taken a step exchanges; without gradients the step changes nothing.
    let mut model = Some(optimizer.gradient_step(0.1, model, GradientsParams::new()));

    let mut group = criterion.benchmark_group("resnet20");
    group.throughput(Throughput::Elements(layout.parameter_len() as u64));
    group.bench_function("pull", |bencher| {
        bencher.iter(|| model = model.take().map(|model| optimizer.exchange(model).0));
    });
    group.finish();
}

fn election(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("elect");
    for workers in [4, 1024] {
        let candidates: Vec<Candidate> = (0..workers)
            .map(|worker| Candidate {
                report: Report {
                    id: WorkerId::new(0, worker),
                    step: 16,
                    // Scattered, so that they are not already sorted.
                    loss: WindowLoss::Mean(f64::from(worker * 37 % 101)),
                    joined: true,
                },
                age: 0,
            })
            .collect();
        let id = BenchmarkId::from_parameter(workers);
        group.bench_with_input(id, &candidates, |bencher, candidates| {
            bencher.iter(|| elect(black_box(candidates), 32));
        });
    }
    group.finish();
}

criterion_group!(benches, snapshot, pull, election);
criterion_main!(benches);
