//! Workers that do not train: a simulation of what a run costs.
//!
//! Their steps and their losses are drawn from the seed, and their exchanges are those of a run that
//! trains. Instead of the model's vectors small ones pass, each of which counts as large as one of the
//! model.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use burn::Tensor;
use burn::module::{Module, Param};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::Device;
use lsgd_core::{Event, Fleet, LeaderSgd, Mode, Next, Objective, Order, Rank, Turn, Worker};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::durations::Durations;
use super::line::{Line, Post};
use super::{place, rank, unless};
use crate::error::TrainError;
use crate::progress::Progress;
use crate::run::{ExchangeSummary, Recorder, RunFolder, Summary, TestError};
use crate::train::pace::End;
use crate::train::provenance;
use crate::train::requests::Requests;
use crate::train::setup::Setup;

/// Values of the vectors that pass. Enough that weights which some methods add hardly count.
const VALUES: usize = 512;

/// What takes the model's place.
#[derive(Module, Debug)]
struct Blank {
    x: Param<Tensor<1>>,
}

/// Losses and gradients by chance: no two workers' vectors are alike, or one would pass for two.
struct Chance(ChaCha8Rng);

impl Objective<Blank> for Chance {
    type Error = Infallible;

    fn gradients(&mut self, at: &Blank, _: u64) -> Result<(f32, GradientsParams), Infallible> {
        let mut gradients = GradientsParams::new();
        let gradient = Tensor::<1>::full([VALUES], self.0.random::<f32>(), &Device::flex());
        gradients.register(at.x.id, gradient);
        Ok((self.0.random(), gradients))
    }

    fn probe(&mut self, _: &Blank) -> Result<Option<f64>, Infallible> {
        Ok(Some(self.0.random()))
    }

    fn learning_rate(&self, _: u64) -> f64 {
        1.0
    }
}

/// The workers of a run that is only counted.
pub struct Costs {
    setup: Arc<Setup>,
    per_node: usize,
    workers: Vec<(Worker<Blank, Chance>, Post)>,
    durations: Durations,
    recorder: Recorder,
    progress: Progress,
    requests: Arc<Requests>,
    exchange: ExchangeSummary,
    /// Steps taken by each worker, and by all.
    steps: Vec<u64>,
    taken: u64,
    /// Workers that have come to the end, and when the last did.
    ended: Vec<usize>,
    end: Duration,
}

impl Costs {
    /// All workers of `setup`, which have not begun.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the records cannot be opened.
    pub fn start(
        setup: &Arc<Setup>,
        per_node: usize,
        folder: &RunFolder,
        progress: Progress,
        requests: Arc<Requests>,
    ) -> Result<Self, TrainError> {
        let config = &setup.config;
        let count = setup.workers();
        let device = Device::flex().autodiff();
        let worker = |place: usize| {
            let line = Line::new(rank(place, per_node), setup.plan.mode);
            let post = line.post();
            let inner = SgdConfig::new().init();
            let optimizer = LeaderSgd::new(inner, setup.method.clone(), line);
            let blank = Blank {
                x: Param::from_tensor(Tensor::zeros([VALUES], &device)),
            };
            let mut chance = ChaCha8Rng::seed_from_u64(config.run.seed);
            chance.set_stream(place as u64);
            (Worker::new(blank, optimizer, Chance(chance)), post)
        };
        Ok(Self {
            workers: (0..count).map(worker).collect(),
            durations: Durations::new(&config.simulate, count, config.run.seed),
            recorder: Recorder::open(folder)?,
            exchange: ExchangeSummary::default(),
            steps: vec![0; count],
            taken: 0,
            ended: Vec::new(),
            end: Duration::ZERO,
            setup: setup.clone(),
            per_node,
            progress,
            requests,
        })
    }

    /// Bytes that a byte of a vector stands for.
    pub fn scale(setup: &Setup) -> f64 {
        let values = setup.layout.parameter_len() + setup.layout.buffer_len();
        values as f64 / VALUES as f64
    }

    /// What the run cost, `real` after its start.
    ///
    /// # Errors
    ///
    /// [`TrainError::NobodyLeft`].
    pub fn finish(mut self, real: Duration) -> Result<Summary, TrainError> {
        if self.ended.is_empty() {
            return Err(TrainError::NobodyLeft);
        }
        self.progress.ended();
        let samples = self.taken * self.setup.config.data.batch_size as u64;
        let seconds = self.end.as_secs_f64();
        self.exchange.wait_seconds = {
            let ended = self.ended.iter().copied();
            self.durations.waited(ended, seconds)
        };
        Ok(Summary {
            method: String::from(self.setup.method.name()),
            workers: self.ended.len(),
            end: End::Budget,
            steps: self.taken / self.steps.len().max(1) as u64,
            samples,
            epochs: self.setup.epochs(self.taken),
            seconds: real.as_secs_f64(),
            training_seconds: seconds,
            samples_per_second: samples as f64 / seconds.max(f64::MIN_POSITIVE),
            test_error: TestError {
                leader: None,
                replica_mean: None,
                mean_of_all_nodes: None,
                worker_mean: None,
            },
            best_test_error: None,
            best_step: None,
            exchange: self.exchange,
            data_wait_seconds: 0.0,
            diverged_since: None,
            digests: Vec::new(),
            nodes: None,
            simulated: None,
            peak_memory_bytes: provenance::peak_memory(),
        })
    }

    fn place(&self, rank: Rank) -> usize {
        place(rank, self.per_node)
    }

    /// Lets a worker exchange, with these orders.
    fn turn(&mut self, place: usize, orders: impl IntoIterator<Item = Order>) -> Turn {
        let Some((worker, post)) = self.workers.get_mut(place) else {
            let (said, next) = (Vec::new(), Next::Stop);
            return Turn { said, next };
        };
        post.order(orders);
        let next = worker.exchange();
        let said = post.said();
        Turn { said, next }
    }
}

impl Fleet for Costs {
    type Error = TrainError;

    fn goes_on(&self) -> Result<(), TrainError> {
        unless(&self.requests)
    }

    fn begin(&mut self, rank: Rank) -> Duration {
        let place = self.place(rank);
        self.durations.draw(place)
    }

    fn end(&mut self, rank: Rank, at: Duration, orders: Vec<Order>) -> Result<Turn, TrainError> {
        let place = self.place(rank);
        let Some((worker, _)) = self.workers.get_mut(place) else {
            return Ok(self.turn(place, orders));
        };
        let Ok(loss) = worker.gradient_step();
        let step = worker.optimizer().steps();
        self.steps[place] = step;
        self.taken += 1;
        let seconds = at.as_secs_f64();
        self.progress.stepped(place, step, loss, seconds);
        Ok(self.turn(place, orders))
    }

    fn obey(&mut self, rank: Rank, order: Order) -> Result<Turn, TrainError> {
        let place = self.place(rank);
        Ok(self.turn(place, [order]))
    }

    fn boundary(&mut self, rank: Rank, at: Duration) -> Result<bool, TrainError> {
        let place = self.place(rank);
        let position = match self.setup.plan.mode {
            Mode::Sync => self.steps.get(place).copied().unwrap_or(0),
            Mode::Async => self.taken / self.steps.len().max(1) as u64,
        };
        let goes_on = self.setup.plan.steps.is_none_or(|steps| position < steps);
        if !goes_on {
            self.ended.push(place);
            self.end = self.end.max(at);
        }
        Ok(goes_on)
    }

    fn record(&mut self, node: u32, event: Event, at: Duration) -> Result<(), TrainError> {
        self.exchange.count(&event);
        let node = (self.setup.config.simulate.nodes > 1).then_some(node);
        self.recorder.event_of(node, &event, at.as_secs_f64())
    }
}
