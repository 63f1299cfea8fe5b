//! What stays with the worker: the inner optimizer, its momentum, its record, the autodiff tape.

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Module, Param};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor};
use lsgd_core::{
    InnerOptimizer, Layout, LeaderConfig, LeaderSgd, LocalLeader, Mode, Objective, Source,
    WorkerId, read,
};

use crate::memory::{Node, QueueExchange};
use crate::setting::{
    Bowl, Point, adopt, bits, bowl_worker, config, device, lsgd, snapshot, step_and_handle,
    worker_with_exchange,
};

fn with_momentum(momentum: f64) -> ModuleOptimizer {
    SgdConfig::new()
        .with_momentum(Some(MomentumConfig {
            momentum,
            dampening: 0.0,
            nesterov: false,
        }))
        .init()
}

fn inner_optimizers() -> [ModuleOptimizer; 3] {
    [
        SgdConfig::new().init(),
        with_momentum(0.9),
        AdamWConfig::new().init(),
    ]
}

/// Twenty plain steps of `inner` on batches of worker 0.
fn plain(mut inner: ModuleOptimizer) -> Vec<u32> {
    let mut at = Point::at(&[1.0, 2.0]);
    let mut bowl = Bowl::new(0);
    for step in 0..20 {
        let Ok((_, gradients)) = bowl.gradients(&at, step);
        at = inner.step(bowl.rate, at, gradients);
    }
    bits(&at.values())
}

/// `x <- inner optimizer(x, gradient)`: without an exchange there is nothing else.
#[test]
fn gradient_step_is_the_inner_optimizers() {
    for (inner, same) in inner_optimizers().into_iter().zip(inner_optimizers()) {
        let exchange = QueueExchange::new(WorkerId::new(0, 0), Mode::Async);
        let mut worker = bowl_worker(lsgd(config()), inner, exchange);
        for _ in 0..20 {
            let Ok(_) = worker.step();
        }
        assert_eq!(bits(&worker.module().values()), plain(same));
    }
}

/// A single worker leads itself: the inner optimizer's bits, in both modes, with every pull on.
#[test]
fn single_worker_leads_itself() {
    for mode in [Mode::Sync, Mode::Async] {
        for (inner, same) in inner_optimizers().into_iter().zip(inner_optimizers()) {
            let method = lsgd(LeaderConfig {
                local_pull: 1.0,
                local_prox: 1.0,
                local_period: 4,
                global_period: 4,
                ..config()
            });
            let leader = LocalLeader::new(0, 1, method.clone(), mode).expect("runs in both modes");
            let mut node = Node::new(leader, |exchange| {
                bowl_worker(method.clone(), inner.clone(), exchange)
            });
            assert_eq!(node.run(20), Ok(true));
            let end: Vec<_> = node.workers().map(|w| bits(&w.module().values())).collect();
            assert_eq!(end, [plain(same)]);
        }
    }
}

/// Momentum stays with its worker: a pull does not change it.
#[test]
fn momentum_survives_a_pull() {
    let exchange = QueueExchange::new(WorkerId::new(0, 0), Mode::Async);
    let method = lsgd(LeaderConfig {
        local_pull: 1.0,
        ..config()
    });
    let mut worker = LeaderSgd::new(with_momentum(0.5), method, exchange.clone());
    let at = Point::at(&[0.0]);
    exchange
        .queues()
        .commands
        .push_back(adopt(Some(snapshot(1, 1, &[10.0])), None));
    let gradients = at.gradients(&[1.0]);
    let at = worker.step(1.0, at, gradients);
    assert_eq!(at.values(), [10.0]);
    let at = {
        let gradients = at.gradients(&[0.0]);
        worker.step(1.0, at, gradients)
    };
    assert_eq!(at.values(), [9.5], "velocity 1, halved");
}

/// `inner_record` and `load_inner_record` carry the inner optimizer's state: resumed bits are the same.
#[test]
fn optimizer_record_round_trip() {
    for (inner, same) in inner_optimizers().into_iter().zip(inner_optimizers()) {
        let method = lsgd(config());
        let exchange = || QueueExchange::new(WorkerId::new(0, 0), Mode::Async);
        let mut through = LeaderSgd::new(inner.clone(), method.clone(), exchange());
        let mut at = Point::at(&[1.0, 2.0]);
        let mut bowl = Bowl::new(0);
        for step in 0..20 {
            if step == 7 {
                let record = through.inner_record();
                through = LeaderSgd::new(inner.clone(), method.clone(), exchange())
                    .load_inner_record(record);
            }
            let Ok((_, gradients)) = bowl.gradients(&at, step);
            at = through.step(bowl.rate, at, gradients);
        }
        assert_eq!(bits(&at.values()), plain(same));
    }
}

/// A pulled parameter can be trained on: on the tape, with its gradient and its
/// gradient-checkpointing strategy.
#[test]
fn pulled_parameter_is_as_trainable_as_before() {
    for pull in [0.25, 1.0] {
        for device in [device(), device().gradient_checkpointing()] {
            let (mut worker, exchange) = worker_with_exchange(lsgd(LeaderConfig {
                local_pull: pull,
                ..config()
            }));
            let at = Point::on(&[1.0, 2.0], &device);
            let (id, strategy) = (at.x.id, at.x.val().gradient_checkpointing_strategy());
            let command = adopt(Some(snapshot(1, 1, &[3.0, 4.0])), None);
            let at = step_and_handle(&mut worker, &exchange, at, command);
            let x = at.x.val();
            assert!(x.is_require_grad() && x.is_autodiff());
            assert_eq!(x.gradient_checkpointing_strategy(), strategy);
            assert_eq!(at.x.id, id, "the optimizer's state is keyed by it");
            let gradients = GradientsParams::from_grads((x.clone() * x).sum().backward(), &at);
            let gradient = gradients.get::<1>(id).map(crate::setting::floats);
            let expected: Vec<f32> = at.values().iter().map(|x| 2.0 * x).collect();
            assert_eq!(gradient, Some(expected));
        }
    }
}

#[derive(Module, Debug)]
struct HalfFrozen {
    frozen: Param<Tensor<1>>,
    free: Param<Tensor<1>>,
}

impl HalfFrozen {
    fn new(device: &Device) -> Self {
        Self {
            frozen: Param::from_data([1.0, 2.0, 3.0], device).set_require_grad(false),
            free: Param::from_data([4.0, 5.0], device),
        }
    }
}

/// Only trainable parameters are exchanged and pulled.
#[test]
fn frozen_parameter_is_in_no_snapshot_and_never_pulled() {
    let module = HalfFrozen::new(&device());
    let layout = Layout::of(&module);
    let paths: Vec<&str> = layout
        .parameters()
        .iter()
        .map(|e| e.path.as_str())
        .collect();
    assert_eq!(paths, ["free"]);
    let source = Source::Worker {
        id: WorkerId::new(0, 1),
        step: 1,
    };
    let own = read(&module, &layout, source).expect("of its own layout");
    assert_eq!(own.parameters(), [4.0, 5.0]);

    let leader = lsgd_core::Snapshot::new(layout, source, vec![8.0, 9.0], vec![])
        .expect("as long as its layout");
    let (mut worker, exchange) = worker_with_exchange(lsgd(LeaderConfig {
        local_pull: 1.0,
        local_prox: 1.0,
        ..config()
    }));
    let mut module = module;
    for _ in 0..2 {
        let command = adopt(Some(leader.clone().into()), None);
        exchange.queues().commands.push_back(command);
        module = worker.step(1.0, module, GradientsParams::new());
    }
    assert_eq!(crate::setting::floats(module.frozen.val()), [1.0, 2.0, 3.0]);
    assert!(!module.frozen.val().is_require_grad());
    assert_eq!(crate::setting::floats(module.free.val()), [8.0, 9.0]);
}

/// Steps its own module, and counts how often it was given another.
struct Keeper {
    inner: ModuleOptimizer,
    kept: Point,
    told: usize,
}

impl InnerOptimizer<Point> for Keeper {
    fn step(&mut self, lr: ModuleLearningRate, _: Point, gradients: GradientsParams) -> Point {
        self.kept = self.inner.step(lr, self.kept.clone(), gradients);
        self.kept.clone()
    }

    fn moved(&mut self, module: &Point) {
        self.told += 1;
        self.kept = module.clone();
    }
}

/// An inner optimizer that keeps the module itself is told of every pull, between exchanges too,
/// and of nothing else: the result has the same bits.
#[test]
fn who_keeps_the_module_is_told_where_it_went() {
    let method = lsgd(LeaderConfig {
        local_prox: 0.5,
        ..config()
    });
    let exchange = || QueueExchange::new(WorkerId::new(0, 0), Mode::Async);
    let (plain_line, kept_line) = (exchange(), exchange());
    let start = Point::at(&[1.0, 2.0]);
    let keeper = Keeper {
        inner: with_momentum(0.9),
        kept: start.clone(),
        told: 0,
    };
    let mut plain = LeaderSgd::new(with_momentum(0.9), method.clone(), plain_line.clone());
    let mut keeping = LeaderSgd::new(keeper, method, kept_line.clone());
    let (mut at, mut kept) = (start.clone(), start);
    let mut bowl = Bowl::new(0);
    for step in 0..6 {
        if step == 2 {
            for exchange in [&plain_line, &kept_line] {
                let command = adopt(Some(snapshot(1, 2, &[3.0, -4.0])), None);
                exchange.queues().commands.push_back(command);
            }
        }
        let Ok((_, gradients)) = bowl.gradients(&at, step);
        at = plain.step(bowl.rate, at, gradients);
        let Ok((_, gradients)) = bowl.gradients(&kept, step);
        kept = keeping.step(bowl.rate, kept, gradients);
        assert_eq!(bits(&kept.values()), bits(&at.values()), "step {step}");
        // At the exchange, then by the pulls of the steps after it.
        let pulls = (step as usize + 1).saturating_sub(2);
        assert_eq!(keeping.inner().told, pulls, "step {step}");
    }
}
