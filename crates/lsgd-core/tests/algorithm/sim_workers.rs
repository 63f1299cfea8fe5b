//! Workers of a simulated run, in memory, for the tests under a virtual clock.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use burn::module::Module;
use burn::nn::BatchNorm as Norm;
use burn::optim::GradientsParams;
use lsgd_core::{
    Command, Event, LeaderSgd, Loss, Method, Mode, Objective, Scope, SimDriver, SimulatedLink,
    SimulatedTraffic, Simulation, SimulationConfig, WireFormat, Worker, WorkerId, WorkerTurn,
};

use crate::memory::QueueExchange;
use crate::setting::{Point, bits, config, lsgd, sgd};

pub const SECOND: Duration = Duration::from_secs(1);

/// More than happens in any of the tests.
const MAX_EVENTS: u32 = 20_000;

pub fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Workers in memory, and what they and their leaders said.
pub struct SimWorkers<M, O> {
    pub slots: BTreeMap<WorkerId, (Worker<M, O>, QueueExchange)>,
    /// Steps that each takes, but for those that take fewer.
    pub steps: u64,
    /// How many fewer.
    pub less: BTreeMap<WorkerId, u64>,
    /// How long a step takes.
    pub pace: fn(WorkerId) -> Duration,
    /// The time at which it fails.
    pub fails_at: Option<Duration>,
    /// What has happened so far.
    happened: Cell<u32>,
    /// When it was told that the run was aborted.
    pub aborted: Arc<OnceLock<Duration>>,
    pub events: Vec<(Duration, u32, Event)>,
}

impl<M: Module, O: Objective<M, Error = Infallible>> SimWorkers<M, O> {
    fn turn(&mut self, id: WorkerId, commands: Vec<Command>, steps: bool) -> WorkerTurn {
        let (worker, exchange) = self.slots.get_mut(&id).expect("one of the crew");
        exchange.queues().commands.extend(commands);
        if steps {
            let Ok(_) = worker.gradient_step();
        }
        let next = worker.exchange();
        let messages = exchange.queues().sent.drain(..).collect();
        WorkerTurn { messages, next }
    }
}

impl<M: Module, O: Objective<M, Error = Infallible>> SimDriver for SimWorkers<M, O> {
    type Error = &'static str;

    fn check_interrupted(&self) -> Result<(), Self::Error> {
        self.happened.set(self.happened.get() + 1);
        match self.happened.get() > MAX_EVENTS {
            true => Err("the run does not come to its end"),
            false => Ok(()),
        }
    }

    fn begin(&mut self, id: WorkerId) -> Duration {
        (self.pace)(id)
    }

    fn end(
        &mut self,
        id: WorkerId,
        at: Duration,
        commands: Vec<Command>,
    ) -> Result<WorkerTurn, Self::Error> {
        match self.fails_at.is_some_and(|fails| at >= fails) {
            true => Err("out of memory"),
            false => Ok(self.turn(id, commands, true)),
        }
    }

    fn handle(&mut self, id: WorkerId, command: Command) -> Result<WorkerTurn, Self::Error> {
        Ok(self.turn(id, vec![command], false))
    }

    fn boundary(&mut self, id: WorkerId, _at: Duration) -> Result<bool, Self::Error> {
        let less = self.less.get(&id).unwrap_or(&0);
        Ok(self.slots[&id].0.optimizer().steps() + less < self.steps)
    }

    fn record(&mut self, node: u32, event: Event, at: Duration) -> Result<(), Self::Error> {
        self.events.push((at, node, event));
        Ok(())
    }

    fn aborted(&mut self, at: Duration) {
        self.aborted.set(at).expect("it does so once");
    }
}

/// A worker that stays where it is, with the same loss always.
pub struct Still {
    pub loss: f32,
}

impl Objective<Point> for Still {
    type Error = Infallible;

    fn gradients(&mut self, at: &Point, _step: u64) -> Result<(Loss, GradientsParams), Infallible> {
        Ok((self.loss.into(), at.gradients(&[0.0, 0.0])))
    }

    fn learning_rate(&self, _step: u64) -> f64 {
        1.0
    }
}

/// Four parameters, and as many running statistics.
#[derive(Module, Debug)]
pub struct Net {
    pub norm: Norm,
}

impl Objective<Net> for Still {
    type Error = Infallible;

    fn gradients(&mut self, _at: &Net, _step: u64) -> Result<(Loss, GradientsParams), Infallible> {
        Ok((self.loss.into(), GradientsParams::new()))
    }

    fn learning_rate(&self, _step: u64) -> f64 {
        1.0
    }
}

/// Nodes of so many workers, over links on which everything passes at once.
pub fn simulation(nodes: u32, workers: u32, method: Method, mode: Mode) -> SimulationConfig {
    SimulationConfig {
        nodes,
        workers,
        method,
        mode,
        wire: WireFormat::F32,
        local: SimulatedLink::INSTANT,
        global: SimulatedLink::INSTANT,
        lease: SECOND,
        scale: 1.0,
        deaths: Vec::new(),
    }
}

/// Ten milliseconds, and as many for eight bytes: two parameters.
pub const LINK: SimulatedLink = SimulatedLink {
    latency: Duration::from_millis(10),
    bandwidth: 800.0,
};

/// Ten milliseconds, whatever passes.
pub const LATENCY: SimulatedLink = SimulatedLink {
    latency: Duration::from_millis(10),
    bandwidth: f64::INFINITY,
};

pub fn sim_workers<M: Module, O: Objective<M>>(
    config: &SimulationConfig,
    steps: u64,
    make: impl Fn(WorkerId, QueueExchange) -> Worker<M, O>,
) -> SimWorkers<M, O> {
    let ids = (0..config.nodes)
        .flat_map(|node| (0..config.workers).map(move |worker| WorkerId::new(node, worker)));
    let slots = ids.map(|id| {
        let exchange = QueueExchange::new(id, config.mode);
        (id, (make(id, exchange.clone()), exchange))
    });
    SimWorkers {
        slots: slots.collect(),
        steps,
        less: BTreeMap::new(),
        pace: |_| SECOND,
        fails_at: None,
        happened: Cell::new(0),
        aborted: Arc::default(),
        events: Vec::new(),
    }
}

/// Workers whose loss is their number: worker 0.0 leads while it is connected.
pub fn still(config: &SimulationConfig, steps: u64) -> SimWorkers<Point, Still> {
    sim_workers(config, steps, |id, exchange| {
        let number = id.node * config.workers + id.worker;
        let optimizer = LeaderSgd::new(sgd(), config.method.clone(), exchange);
        let loss = number as f32;
        Worker::new(Point::at(&[loss, 1.0]), optimizer, Still { loss })
    })
}

/// A run, when it ended, and what passed between its nodes.
pub struct Run<M, O> {
    pub sim_workers: SimWorkers<M, O>,
    pub end: Duration,
    pub traffic: SimulatedTraffic,
}

pub fn run<M, O>(config: &SimulationConfig, sim_workers: SimWorkers<M, O>) -> Run<M, O>
where
    M: Module,
    O: Objective<M, Error = Infallible>,
{
    let simulation = Simulation::new(config, sim_workers).expect("a method of this mode");
    let (sim_workers, end, traffic) = match simulation.run() {
        Ok(ended) => ended,
        Err(why) => panic!("{why}"),
    };
    Run {
        sim_workers,
        end,
        traffic,
    }
}

impl<M, O> Run<M, O> {
    /// When each global exchange was over at a node, and the bytes that came for it.
    pub fn exchanges(&self, of: u32) -> Vec<(Duration, u64)> {
        let exchange = |(at, node, event): &(Duration, u32, Event)| match event {
            Event::Exchange { scope, bytes, .. } if *scope == Scope::Global && *node == of => {
                Some((*at, *bytes))
            }
            _ => None,
        };
        self.sim_workers
            .events
            .iter()
            .filter_map(exchange)
            .collect()
    }

    pub fn has(&self, what: impl Fn(&Event) -> bool) -> bool {
        self.sim_workers
            .events
            .iter()
            .any(|(.., event)| what(event))
    }
}

/// Where the workers' `Point`s are, in order of id.
pub fn ends<O: Objective<Point>>(sim_workers: &SimWorkers<Point, O>) -> Vec<Vec<u32>> {
    let workers = sim_workers.slots.values();
    workers
        .map(|(worker, _)| bits(&worker.module().values()))
        .collect()
}

pub fn every_step() -> Method {
    lsgd(config())
}
