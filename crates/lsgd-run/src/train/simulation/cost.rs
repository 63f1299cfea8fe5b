//! Workers that do not train: a simulation of a run's costs.
//!
//! Step times and losses are drawn from the seed, and the exchanges are those of a training run.
//! Small vectors are exchanged in place of the model's, each of which counts as large as one of the
//! model's.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use burn::Tensor;
use burn::module::{Module, Param};
use burn::optim::{GradientsParams, SgdConfig};
use lsgd_core::{
    Command, Event, Factors, GradientStep, LeaderSgd, Loss, Mode, Next, Objective, SimDriver,
    Worker, WorkerId, WorkerTurn,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::durations::Durations;
use super::{check_interrupted, global_rank, worker_id};
use crate::error::RunError;
use crate::observer::{Observer, Stepped};
use crate::storage::{
    CheckpointsSummary, End, ExchangeSummary, HeldOut, Recorder, RunFolder, Summary,
};
use crate::train::mailbox::{MailExchange, Mailbox};
use crate::train::provenance;
use crate::train::requests::Requests;
use crate::train::setup::Setup;

/// Values per vector: enough that the additional weights of some methods hardly count.
const VALUES: usize = 512;

/// Replaces the model.
#[derive(Module, Debug)]
struct DummyModel {
    x: Param<Tensor<1>>,
}

/// Random losses and gradients: no two workers' vectors are equal, or they would have the same
/// digest.
struct RandomObjective(ChaCha8Rng);

impl Objective<DummyModel> for RandomObjective {
    type Error = Infallible;

    fn gradients(
        &mut self,
        at: &DummyModel,
        _: u64,
    ) -> Result<(Loss, GradientsParams), Infallible> {
        let mut gradients = GradientsParams::new();
        let gradient = Tensor::<1>::full([VALUES], self.0.random::<f32>(), &at.x.device());
        gradients.register(at.x.id, gradient);
        Ok((self.0.random::<f32>().into(), gradients))
    }

    fn probe(&mut self, _: &DummyModel) -> Result<Option<f64>, Infallible> {
        Ok(Some(self.0.random()))
    }

    fn learning_rate(&self, _: u64) -> f64 {
        1.0
    }
}

/// The workers of a cost simulation.
pub struct CostSimulation {
    setup: Arc<Setup>,
    per_node: usize,
    workers: Vec<(Worker<DummyModel, RandomObjective>, Mailbox)>,
    durations: Durations,
    recorder: Recorder,
    observer: Box<dyn Observer>,
    requests: Arc<Requests>,
    exchange: ExchangeSummary,
    /// Steps taken by each worker, and by all.
    steps: Vec<u64>,
    taken: u64,
    /// Workers that have finished, and when the last did.
    ended: Vec<usize>,
    end: Duration,
}

impl CostSimulation {
    /// All workers of `setup`, not started yet.
    ///
    /// # Errors
    ///
    /// [`RunError`] if the records cannot be opened.
    pub fn start(
        setup: &Arc<Setup>,
        per_node: usize,
        folder: &RunFolder,
        observer: Box<dyn Observer>,
        requests: Arc<Requests>,
    ) -> Result<Self, RunError> {
        let config = setup.settings();
        let count = setup.workers();
        let device = setup.devices.first().map(|first| first.device.clone());
        let device = device.unwrap_or_default().autodiff();
        let worker = |global_rank: usize| {
            let exchange = MailExchange::new(worker_id(global_rank, per_node), setup.plan.mode);
            let mailbox = exchange.mailbox();
            let inner = SgdConfig::new().init();
            // So that statuses have the size that they would have.
            let optimizer = LeaderSgd::new(inner, setup.method.clone(), exchange)
                .varying(Factors::ONE, setup.take_over());
            let model = DummyModel {
                x: Param::from_tensor(Tensor::zeros([VALUES], &device)),
            };
            let mut generator = ChaCha8Rng::seed_from_u64(config.run.seed);
            generator.set_stream(global_rank as u64);
            (
                Worker::new(model, optimizer, RandomObjective(generator)),
                mailbox,
            )
        };
        Ok(Self {
            workers: (0..count).map(worker).collect(),
            durations: Durations::new(&config.simulate, count, config.run.seed),
            recorder: Recorder::open(folder)?.recording(&config.record),
            exchange: ExchangeSummary::default(),
            steps: vec![0; count],
            taken: 0,
            ended: Vec::new(),
            end: Duration::ZERO,
            setup: setup.clone(),
            per_node,
            observer,
            requests,
        })
    }

    /// Bytes that a byte of a vector stands for.
    pub fn scale(setup: &Setup) -> f64 {
        let values = setup.layout.parameter_len() + setup.layout.buffer_len();
        values as f64 / VALUES as f64
    }

    /// The summary of the run, `real` after its start.
    ///
    /// # Errors
    ///
    /// [`RunError::NobodyLeft`].
    pub fn finish(mut self, real: Duration) -> Result<Summary, RunError> {
        if self.ended.is_empty() {
            return Err(RunError::NobodyLeft);
        }
        self.recorder.finish()?;
        self.observer.ended();
        let samples = self.setup.samples(self.taken);
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
            test: HeldOut::default(),
            best: None,
            exchange: self.exchange,
            data_wait_seconds: 0.0,
            checkpoints: CheckpointsSummary::default(),
            diverged_since: None,
            digests: Vec::new(),
            nodes: None,
            simulated: None,
            peak_memory_bytes: provenance::peak_memory(),
        })
    }

    fn global_rank(&self, id: WorkerId) -> usize {
        global_rank(id, self.per_node)
    }

    /// Lets a worker exchange, with these commands.
    fn turn(
        &mut self,
        global_rank: usize,
        commands: impl IntoIterator<Item = Command>,
    ) -> WorkerTurn {
        let Some((worker, mailbox)) = self.workers.get_mut(global_rank) else {
            let (messages, next) = (Vec::new(), Next::Stop);
            return WorkerTurn { messages, next };
        };
        mailbox.push(commands);
        let next = worker.exchange();
        let messages = mailbox.messages();
        WorkerTurn { messages, next }
    }
}

impl SimDriver for CostSimulation {
    type Error = RunError;

    fn check_interrupted(&self) -> Result<(), RunError> {
        check_interrupted(&self.requests)
    }

    fn begin(&mut self, id: WorkerId) -> Duration {
        let global_rank = self.global_rank(id);
        self.durations.draw(global_rank)
    }

    fn end(
        &mut self,
        id: WorkerId,
        at: Duration,
        commands: Vec<Command>,
    ) -> Result<WorkerTurn, RunError> {
        let global_rank = self.global_rank(id);
        let Some((worker, _)) = self.workers.get_mut(global_rank) else {
            return Ok(self.turn(global_rank, commands));
        };
        let Ok(GradientStep { loss, .. }) = worker.gradient_step();
        let step = worker.optimizer().steps();
        self.steps[global_rank] = step;
        self.taken += 1;
        let seconds = at.as_secs_f64();
        self.observer.stepped(Stepped {
            worker: global_rank,
            step,
            loss: loss.value(),
            seconds,
        });
        Ok(self.turn(global_rank, commands))
    }

    fn handle(&mut self, id: WorkerId, command: Command) -> Result<WorkerTurn, RunError> {
        let global_rank = self.global_rank(id);
        Ok(self.turn(global_rank, [command]))
    }

    fn boundary(&mut self, id: WorkerId, at: Duration) -> Result<bool, RunError> {
        let global_rank = self.global_rank(id);
        let position = match self.setup.plan.mode {
            Mode::Sync => self.steps.get(global_rank).copied().unwrap_or(0),
            Mode::Async => self.taken / self.steps.len().max(1) as u64,
        };
        let goes_on = self.setup.plan.steps.is_none_or(|steps| position < steps);
        if !goes_on {
            self.ended.push(global_rank);
            self.end = self.end.max(at);
        }
        Ok(goes_on)
    }

    fn record(&mut self, node: u32, event: Event, at: Duration) -> Result<(), RunError> {
        self.exchange.count(&event);
        let node = (self.setup.settings().simulate.nodes > 1).then_some(node);
        self.recorder.event_of(node, &event, at.as_secs_f64())
    }
}
