//! Workers whose hyperparameters differ, and followers that take over those of their leader.

use std::convert::Infallible;
use std::sync::Arc;

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use lsgd_core::{
    Event, Factors, LeaderConfig, LeaderSgd, Loss, Message, Method, Mode, Objective, Scope,
    Snapshot, StateError, TakeOver, Worker, WorkerId, WorkerState,
};

use crate::memory::QueueExchange;
use crate::setting::{
    Bowl, Point, adopt, bits, config, layout, lsgd, sgd, snapshot, step_and_handle,
};
use crate::sim_workers::{run, sim_workers, simulation};

/// The weight decay of a factor of 1.
const DECAY: f32 = 0.125;

fn factors(learning_rate: f64, weight_decay: f64) -> Factors {
    Factors {
        learning_rate,
        weight_decay,
    }
}

/// Momentum, and weight decay times a factor.
fn decaying_sgd(factor: f64) -> ModuleOptimizer {
    let momentum = MomentumConfig::new().with_dampening(0.0);
    SgdConfig::new()
        .with_weight_decay(Some(WeightDecayConfig::new(DECAY * factor as f32)))
        .with_momentum(Some(momentum))
        .init()
}

fn decaying_adamw(factor: f64) -> ModuleOptimizer {
    AdamWConfig::new()
        .with_weight_decay(DECAY * factor as f32)
        .init()
}

/// A bowl, with an optimizer whose weight decay has a factor.
struct Decaying {
    bowl: Bowl,
    inner: fn(f64) -> ModuleOptimizer,
}

impl Objective<Point> for Decaying {
    type Error = Infallible;

    fn gradients(&mut self, at: &Point, step: u64) -> Result<(Loss, GradientsParams), Infallible> {
        self.bowl.gradients(at, step)
    }

    fn learning_rate(&self, _step: u64) -> f64 {
        self.bowl.rate
    }

    fn decaying(&self, factor: f64) -> Option<ModuleOptimizer> {
        Some((self.inner)(factor))
    }
}

fn exchange() -> QueueExchange {
    QueueExchange::new(WorkerId::new(0, 0), Mode::Async)
}

/// Worker 0.0, and what it is connected to.
fn worker(
    inner: fn(f64) -> ModuleOptimizer,
    of: f64,
    varying: (Factors, Option<TakeOver>),
) -> (Worker<Point, Decaying>, QueueExchange) {
    let exchange = exchange();
    let optimizer = LeaderSgd::new(inner(of), lsgd(config()), exchange.clone());
    let optimizer = optimizer.varying(varying.0, varying.1);
    let objective = Decaying {
        bowl: Bowl::new(0),
        inner,
    };
    let worker = Worker::new(Point::at(&[1.0, 2.0]), optimizer, objective);
    (worker, exchange)
}

fn stepped(worker: &mut Worker<Point, Decaying>, steps: u64) -> Vec<u32> {
    for _ in 0..steps {
        let Ok(_) = worker.step();
    }
    bits(&worker.module().values())
}

/// A factor k for the weight decay: the steps of an optimizer with k times the decay. Likewise the rate.
#[test]
fn a_factor_is_that_of_the_whole_run() {
    for inner in [decaying_sgd, decaying_adamw] {
        let plain = stepped(&mut worker(inner, 1.0, (Factors::ONE, None)).0, 8);
        let (mut varied, _) = worker(inner, 1.0, (factors(1.0, 4.0), None));
        let (mut whole, _) = worker(inner, 4.0, (Factors::ONE, None));
        let ends = stepped(&mut varied, 8);
        assert_eq!(ends, stepped(&mut whole, 8));
        assert_ne!(ends, plain);

        let (mut varied, _) = worker(inner, 1.0, (factors(2.0, 1.0), None));
        let (mut whole, _) = worker(inner, 1.0, (Factors::ONE, None));
        whole.objective_mut().bowl.rate *= 2.0;
        let ends = stepped(&mut varied, 8);
        assert_eq!(ends, stepped(&mut whole, 8));
        assert_ne!(ends, plain);
    }
}

/// The state of the optimizer is carried over: here to one that is the same but for being new.
#[test]
fn another_weight_decay_leaves_momentum_alone() {
    let unmoved: [fn(f64) -> ModuleOptimizer; 2] = [|_| decaying_sgd(1.0), |_| decaying_adamw(1.0)];
    for inner in unmoved {
        let leader = |step| adopt(Some(led(1, step, factors(1.0, 1.0 + step as f64))), None);
        let end = |take_over: Option<TakeOver>| {
            let (mut worker, exchange) = worker(inner, 1.0, (Factors::ONE, take_over));
            for step in 1..8 {
                stepped(&mut worker, 1);
                exchange.queues().commands.push_back(leader(step));
            }
            (stepped(&mut worker, 1), worker.optimizer().factors())
        };
        let (plain, changed) = (end(None), end(Some(same())));
        assert_eq!(plain.0, changed.0);
        assert_eq!((plain.1, changed.1), (Factors::ONE, factors(1.0, 8.0)));
    }
}

/// A leader's parameters with its factors.
fn led(worker: u32, step: u64, factors: Factors) -> Arc<Snapshot> {
    let values = Snapshot::clone(&snapshot(worker, step, &[0.0, 0.0]));
    Arc::new(values.with_factors(Some(factors)))
}

/// Factors are copied.
fn same() -> TakeOver {
    Arc::new(|_, leaders| leaders)
}

/// A follower that copies factors, and has some of its own.
fn follower(method: Method) -> (LeaderSgd, QueueExchange) {
    let exchange = exchange();
    let optimizer = LeaderSgd::new(sgd(), method, exchange.clone());
    (optimizer.varying(factors(4.0, 4.0), Some(same())), exchange)
}

/// The factors in each adoption that it has reported.
fn reported(exchange: &QueueExchange) -> Vec<Option<Factors>> {
    let sent = exchange.queues().sent.drain(..).collect::<Vec<_>>();
    let reported = sent.into_iter().filter_map(|message| match message {
        Message::Adopted { factors, .. } => Some(factors),
        _ => None,
    });
    reported.collect()
}

#[test]
fn a_follower_takes_over_its_leaders_factors_and_a_leader_keeps_its_own() {
    let (mut worker, exchange) = follower(lsgd(config()));
    let (local, global) = (factors(0.5, 2.0), factors(0.25, 8.0));
    let mut at = Point::at(&[8.0, 8.0]);
    let mut handle = |local, global| {
        let command = adopt(local, global);
        let before = std::mem::replace(&mut at, Point::at(&[0.0, 0.0]));
        at = step_and_handle(&mut worker, &exchange, before, command);
        (worker.factors(), reported(&exchange))
    };
    // Its own, published before.
    let own = led(0, 1, factors(9.0, 9.0));
    assert_eq!(handle(Some(own.clone()), None), (factors(4.0, 4.0), vec![]));
    let taken = handle(Some(led(1, 2, local)), None);
    assert_eq!(taken, (local, vec![Some(local)]));
    // Of two leaders the global one's remain, since it pulls last.
    let taken = handle(Some(led(1, 3, local)), Some(led(2, 3, global)));
    assert_eq!(taken, (global, vec![Some(local), Some(global)]));
    // A leader that says nothing about its own.
    let silent = Arc::new(Snapshot::clone(&own).with_factors(None));
    let silent = Snapshot::clone(&silent).with_source(led(1, 4, local).source());
    let taken = handle(Some(Arc::new(silent)), None);
    assert_eq!(taken, (global, vec![None]));
}

#[test]
fn whoever_is_not_pulled_takes_over_nothing() {
    let method = lsgd(LeaderConfig {
        local_pull: 0.0,
        ..config()
    });
    let (mut worker, exchange) = follower(method);
    let command = adopt(Some(led(1, 1, Factors::ONE)), None);
    step_and_handle(&mut worker, &exchange, Point::at(&[8.0, 8.0]), command);
    let unfit = Arc::new(
        Snapshot::clone(&snapshot(1, 2, &[f32::NAN, 0.0])).with_factors(Some(Factors::ONE)),
    );
    let command = adopt(None, Some(unfit));
    step_and_handle(&mut worker, &exchange, Point::at(&[8.0, 8.0]), command);
    assert_eq!(worker.factors(), factors(4.0, 4.0));
    assert_eq!(reported(&exchange), [None]);
}

/// Where the mean is part of the target too, the leader is pulled, and still keeps its own.
#[test]
fn a_leader_that_is_pulled_keeps_its_own() {
    let method = Method::leader_mean(crate::setting::exchanges(2), 0.5).expect("valid");
    let config = simulation(1, 3, method.clone(), Mode::Sync);
    let run = run(
        &config,
        sim_workers(&config, 8, |id, exchange| varied(id, &method, exchange)),
    );
    let led = run.sim_workers.events.iter().filter(|(.., event)| {
        matches!(event, Event::Adoption { factors: None, strength, .. } if *strength > 0.0)
    });
    let followed = run.sim_workers.events.iter().filter(|(.., event)| {
        matches!(
            event,
            Event::Adoption {
                factors: Some(_),
                ..
            }
        )
    });
    assert_eq!((led.count(), followed.count()), (4, 8));
}

fn varied(id: WorkerId, method: &Method, exchange: QueueExchange) -> Worker<Point, Bowl> {
    let number = id.node * 2 + id.worker;
    let factor = f64::from(number + 1) / 4.0;
    let optimizer =
        LeaderSgd::new(sgd(), method.clone(), exchange).varying(factors(factor, 1.0), Some(same()));
    let start = [number as f32 + 1.0, 2.0 - number as f32];
    Worker::new(Point::at(&start), optimizer, Bowl::new(number))
}

/// Between nodes too: once a leader of all has been followed, every worker has its factors.
#[test]
fn factors_travel_between_nodes() {
    for mode in [Mode::Sync, Mode::Async] {
        let method = lsgd(LeaderConfig {
            local_pull: 0.5,
            local_period: 2,
            global_period: 2,
            loss_window: 2,
            ..config()
        });
        let config = simulation(3, 2, method.clone(), mode);
        let workers = sim_workers(&config, 12, |id, exchange| varied(id, &method, exchange));
        let run = run(&config, workers);
        let crossed = run.has(|event| {
            matches!(
                event,
                Event::Adoption {
                    scope: Scope::Global,
                    factors: Some(_),
                    ..
                }
            )
        });
        assert!(crossed, "{mode:?}");
        let workers = run.sim_workers.slots.values();
        let mut rates = workers.map(|(worker, _)| worker.optimizer().factors().learning_rate);
        let first = rates.next().expect("a worker");
        assert!(rates.all(|rate| rate == first), "{mode:?}");
    }
}

#[test]
fn what_is_taken_over_is_bounded() {
    for (wild, expected) in [(1e9, Factors::MOST), (1e-9, Factors::LEAST)] {
        let exchange = exchange();
        let take_over: TakeOver = Arc::new(move |_, _| factors(wild, wild));
        let optimizer = LeaderSgd::new(sgd(), lsgd(config()), exchange.clone());
        let mut worker = optimizer.varying(Factors::ONE, Some(take_over));
        let command = adopt(Some(led(1, 1, Factors::ONE)), None);
        step_and_handle(&mut worker, &exchange, Point::at(&[8.0, 8.0]), command);
        assert_eq!(worker.factors(), factors(expected, expected));
    }
}

#[test]
fn saved_factors_are_taken_up_where_they_are_taken_over() {
    let resumed = |take_over: Option<TakeOver>, saved: Option<Factors>| {
        let state = WorkerState {
            factors: saved,
            ..WorkerState::default()
        };
        LeaderSgd::new(sgd(), lsgd(config()), exchange())
            .varying(factors(4.0, 4.0), take_over)
            .resuming(&state, layout(1))
    };
    let own = |resumed: Result<LeaderSgd, StateError>| resumed.expect("its own").factors();
    let saved = factors(0.5, 2.0);
    assert_eq!(own(resumed(Some(same()), Some(saved))), saved);
    // A checkpoint of a run whose workers took over nothing, or from before they could.
    assert_eq!(own(resumed(Some(same()), None)), factors(4.0, 4.0));
    assert_eq!(own(resumed(None, Some(saved))), factors(4.0, 4.0));
    let state = |take_over| own_state(resumed(take_over, None));
    assert_eq!(state(Some(same())), Some(factors(4.0, 4.0)));
    assert_eq!(state(None), None);
    for wild in [0.0, -1.0, 1e4, f64::NAN, f64::INFINITY] {
        let refused = resumed(Some(same()), Some(factors(1.0, wild)));
        let why = refused.err().map(|error| error.to_string());
        let expected = format!("a factor is {wild}, which the method lsgd never saves");
        assert_eq!(why, Some(expected));
    }
}

fn own_state(resumed: Result<LeaderSgd, StateError>) -> Option<Factors> {
    resumed.expect("its own").state().factors
}
