//! What the tests train: models small enough to check by hand.

use std::convert::Infallible;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use lsgd_core::{
    BatchNorm, Command, Delivery, ExchangeConfig, ExchangeOutcome, Layout, LeaderConfig, LeaderSgd,
    Loss, LossWindow, Message, Method, Mode, Objective, Periods, Report, Snapshot, Source,
    WindowLoss, Worker, WorkerId, read,
};

use crate::memory::QueueExchange;

pub fn device() -> Device {
    Device::flex().autodiff()
}

/// A bare vector: the x of the paper.
#[derive(Module, Debug)]
pub struct Point {
    pub x: Param<Tensor<1>>,
}

impl Point {
    pub fn at(x: &[f32]) -> Self {
        Self::on(x, &device())
    }

    pub fn on(x: &[f32], device: &Device) -> Self {
        let data = TensorData::new(x.to_vec(), [x.len()]);
        Self {
            x: Param::from_data(data, device),
        }
    }

    pub fn values(&self) -> Vec<f32> {
        floats(self.x.val())
    }

    /// Gradients as a backward pass would give them.
    pub fn gradients(&self, gradient: &[f32]) -> GradientsParams {
        let plain = Device::flex();
        let mut gradients = GradientsParams::new();
        let data = TensorData::new(gradient.to_vec(), [gradient.len()]);
        gradients.register(self.x.id, Tensor::<1>::from_data(data, &plain));
        gradients
    }
}

/// Two numbers, each a layer of its own.
#[derive(Module, Debug)]
pub struct Halves {
    pub first: Point,
    pub second: Point,
}

/// What a [`Bowl`] is over.
pub trait Place: Module {
    fn place(x: &[f32]) -> Self;
    fn values(&self) -> Vec<f32>;
}

impl Place for Point {
    fn place(x: &[f32]) -> Self {
        Self::at(x)
    }

    fn values(&self) -> Vec<f32> {
        self.values()
    }
}

impl Place for Halves {
    fn place(x: &[f32]) -> Self {
        let (first, second) = x.split_at(1);
        Self {
            first: Point::at(first),
            second: Point::at(second),
        }
    }

    fn values(&self) -> Vec<f32> {
        [self.first.values(), self.second.values()].concat()
    }
}

pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

pub fn layout(len: usize) -> Arc<Layout> {
    Layout::of(&Point::at(&vec![0.0; len]))
}

/// What worker `worker` of node 0 publishes after `step` steps.
pub fn snapshot(worker: u32, step: u64, x: &[f32]) -> Arc<Snapshot> {
    snapshot_of(WorkerId::new(0, worker), step, x)
}

pub fn snapshot_of(id: WorkerId, step: u64, x: &[f32]) -> Arc<Snapshot> {
    let source = Source::Worker { id, step };
    let made = Snapshot::new(layout(x.len()), source, x.to_vec(), vec![]);
    Arc::new(made.expect("as long as its layout"))
}

/// Leaders to adopt.
pub fn adopt(local: Option<Arc<Snapshot>>, global: Option<Arc<Snapshot>>) -> Command {
    let leader = |leader| ExchangeOutcome { leader, mean: None };
    Command::Adopt(Delivery {
        local: leader(local),
        global: leader(global),
        buffers: None,
    })
}

/// Strengths that are powers of two, so that sums are exact.
pub fn config() -> LeaderConfig {
    LeaderConfig {
        local_pull: 0.25,
        global_pull: 0.5,
        local_period: 1,
        global_period: 1,
        loss_window: 1,
        ..LeaderConfig::default()
    }
}

/// Meetings every `period` steps.
pub fn exchanges(period: u64) -> ExchangeConfig {
    ExchangeConfig {
        periods: Periods {
            local: period,
            global: period,
        },
        loss_window: 1,
        batch_norm: BatchNorm::Own,
    }
}

pub fn lsgd(config: LeaderConfig) -> Method {
    Method::lsgd(&config).expect("a valid config")
}

pub fn sgd() -> ModuleOptimizer {
    SgdConfig::new().init()
}

/// Worker 0.0 on a connection the test puts commands into. It takes commands whenever there are
/// any.
pub fn worker_with_exchange(method: Method) -> (LeaderSgd, QueueExchange) {
    let exchange = QueueExchange::new(WorkerId::new(0, 0), Mode::Async);
    (LeaderSgd::new(sgd(), method, exchange.clone()), exchange)
}

/// A step without a gradient, then what `command` says.
pub fn step_and_handle(
    worker: &mut LeaderSgd,
    exchange: &QueueExchange,
    at: Point,
    command: Command,
) -> Point {
    exchange.queues().commands.push_back(command);
    let gradients = at.gradients(&vec![0.0; at.values().len()]);
    worker.step(1.0, at, gradients)
}

pub fn report(worker: u32, step: u64, loss: f64) -> Message {
    Message::Report {
        report: Report {
            id: WorkerId::new(0, worker),
            step,
            loss: WindowLoss::Mean(loss),
            joined: true,
        },
        behind: 0,
        buffers: None,
    }
}

/// `1/2 sum a (x - b)^2`, where b moves with the worker and the step like a batch does.
#[derive(Debug, Clone)]
pub struct Bowl {
    pub worker: u64,
    pub rate: f64,
    /// From this step on the gradient is not finite.
    pub breaks_at: Option<u64>,
}

pub const CURVATURE: [f32; 2] = [1.0, 0.25];

impl Bowl {
    pub fn new(worker: u32) -> Self {
        Self {
            worker: u64::from(worker),
            rate: 0.25,
            breaks_at: None,
        }
    }

    /// The bottom of batch `step`: small numbers that look random.
    fn bottom(&self, step: u64) -> [f32; 2] {
        let number = step * 37 + self.worker * 11;
        [
            (number * 7 % 19) as f32 / 16.0 - 0.5,
            (number * 5 % 23) as f32 / 16.0 - 0.75,
        ]
    }
}

impl Bowl {
    fn slope(&self, at: Vec<f32>, step: u64) -> (f32, [f32; 2]) {
        let (mut loss, mut gradient) = (0.0, [0.0; 2]);
        let bottom = self.bottom(step);
        for (i, x) in at.into_iter().enumerate() {
            gradient[i] = CURVATURE[i] * (x - bottom[i]);
            loss += 0.5 * gradient[i] * (x - bottom[i]);
        }
        if self.breaks_at.is_some_and(|broken| step >= broken) {
            gradient = [f32::NAN; 2];
        }
        (loss, gradient)
    }
}

impl Objective<Point> for Bowl {
    type Error = Infallible;

    fn gradients(&mut self, at: &Point, step: u64) -> Result<(Loss, GradientsParams), Infallible> {
        let (loss, gradient) = self.slope(at.values(), step);
        Ok((loss.into(), at.gradients(&gradient)))
    }

    fn learning_rate(&self, _step: u64) -> f64 {
        self.rate
    }
}

impl Objective<Halves> for Bowl {
    type Error = Infallible;

    fn gradients(&mut self, at: &Halves, step: u64) -> Result<(Loss, GradientsParams), Infallible> {
        let (loss, [first, second]) = self.slope(at.values(), step);
        let mut gradients = at.first.gradients(&[first]);
        let of_second = Tensor::<1>::from_data([second], &Device::flex());
        gradients.register(at.second.x.id, of_second);
        Ok((loss.into(), gradients))
    }

    fn learning_rate(&self, _step: u64) -> f64 {
        self.rate
    }
}

/// A worker on [`Bowl`], starting where no other worker starts.
pub fn bowl_worker(
    method: Method,
    inner: ModuleOptimizer,
    exchange: impl lsgd_core::Exchange + 'static,
) -> Worker<Point, Bowl> {
    let worker = exchange.id().worker;
    let start = [worker as f32 + 1.0, 2.0 - worker as f32];
    let optimizer = LeaderSgd::new(inner, method, exchange);
    Worker::new(Point::at(&start), optimizer, Bowl::new(worker))
}

/// A digest of a module's values.
pub fn digest<M: Module>(module: &M) -> String {
    let source = Source::Mean { workers: 1 };
    let values = read(module, &Layout::of(module), source).expect("of its own layout");
    values.digest().to_string()
}

/// A window's loss after `losses`.
pub fn window_loss(size: usize, losses: &[f32]) -> WindowLoss {
    let mut window = LossWindow::new(size);
    losses.iter().for_each(|&loss| window.push(loss));
    window.loss()
}
