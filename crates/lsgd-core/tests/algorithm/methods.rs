//! The methods beside Leader SGD: against `tests/reference/methods.py`, and in the limits where two
//! methods are one.

use burn::optim::{AdamWConfig, ModuleOptimizer, SgdConfig};
use lsgd_core::{
    Candidate, Event, ExchangeConfig, ExchangeOutcome, LeaderConfig, LeaderSgd, LocalLeader,
    Method, MethodError, Mode, Objective, OuterStep, Report, Snapshot, Source, VectorKind,
    WeightPer, WindowLoss, Worker, WorkerId, elect,
};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;

use crate::memory::{Node, QueueExchange};
use crate::setting::{Bowl, Halves, Place, Point, bits, config, exchanges, lsgd};
use crate::stored::{Run, read, with_momentum};

/// A case of the stored file.
#[derive(Debug, Deserialize)]
struct Case {
    method: String,
    #[serde(flatten)]
    run: Run,
    loss_window: usize,
    beta: f64,
    leader_weight: f64,
    outer_learning_rate: f64,
    outer_momentum: f64,
    local_pull: f64,
    global_pull: f64,
    local_prox: f64,
    global_prox: f64,
    push: f64,
    filter_margin: f64,
}

impl Case {
    fn method(&self) -> Method {
        let exchanges = ExchangeConfig {
            periods: self.run.periods(),
            loss_window: self.loss_window,
            ..exchanges(1)
        };
        let outer = |nesterov| OuterStep {
            learning_rate: self.outer_learning_rate,
            momentum: self.outer_momentum,
            nesterov,
        };
        let leader = LeaderConfig {
            local_pull: self.local_pull,
            global_pull: self.global_pull,
            local_period: self.run.periods().local,
            global_period: self.run.periods().global,
            local_prox: self.local_prox,
            global_prox: self.global_prox,
            loss_window: self.loss_window,
            ..config()
        };
        let grawa = |per| Method::grawa(exchanges, per, self.local_pull, self.global_pull);
        let method = match self.method.as_str() {
            "sgd" => Ok(Method::sgd(self.loss_window)),
            "data_parallel" => Method::data_parallel(self.loss_window, exchanges.batch_norm),
            "local_sgd" => Method::local_sgd(exchanges),
            "easgd" => Method::easgd(exchanges, self.beta),
            "diloco" => Method::diloco("diloco", exchanges, outer(true)),
            "slowmo" => Method::diloco("slowmo", exchanges, outer(false)),
            "leader_mean" => Method::leader_mean(exchanges, self.leader_weight),
            "leader_filter" => Method::leader_filter(exchanges, self.filter_margin),
            "grawa" => grawa(WeightPer::Model),
            "grawa_layers" => grawa(WeightPer::Layer),
            "dppf" => Method::dppf(exchanges, self.local_pull, self.global_pull, self.push),
            "lsgd_plus" => Method::lsgd_plus(&leader, self.leader_weight),
            other => panic!("no method {other}"),
        };
        let method = method.expect("valid");
        assert_eq!(method.name(), self.method);
        method
    }

    fn worker<M: Place>(&self, exchange: QueueExchange) -> Worker<M, Bowl>
    where
        Bowl: Objective<M>,
    {
        self.run.worker(self.method(), exchange, [1.0, 2.0])
    }

    fn compare<'a, M: Place + 'a>(
        &self,
        step: u64,
        workers: impl Iterator<Item = &'a Worker<M, Bowl>>,
    ) where
        Bowl: Objective<M>,
    {
        self.run.compare(&self.method, step, workers);
    }
}

fn cases(fits: impl Fn(&Case) -> bool) -> Vec<Case> {
    let mut all: Vec<Case> = read(include_str!("../reference/methods.json"));
    all.retain(fits);
    all
}

#[test]
fn one_node() {
    let cases = cases(|case| case.run.nodes == 1);
    assert_eq!(cases.len(), 21);
    for case in cases {
        match case.method.as_str() {
            "grawa_layers" => alone::<Halves>(&case),
            _ => alone::<Point>(&case),
        }
    }
}

fn alone<M: Place>(case: &Case)
where
    Bowl: Objective<M, Error = Infallible>,
{
    let leader = LocalLeader::new(0, case.run.workers, case.method(), Mode::Sync).expect("sync");
    let mut node = Node::new(leader, |exchange| case.worker::<M>(exchange));
    for step in 1..=case.run.steps {
        assert_eq!(node.run(step), Ok(true));
        case.compare(step, node.workers());
    }
}

/// Nodes whose updates are exchanged by hand.
#[test]
fn several_nodes() {
    let cases = cases(|case| case.run.nodes > 1);
    assert_eq!(cases.len(), 11);
    for case in cases {
        match case.method.as_str() {
            "grawa_layers" => together::<Halves>(&case),
            _ => together::<Point>(&case),
        }
    }
}

fn together<M: Place>(case: &Case)
where
    Bowl: Objective<M, Error = Infallible>,
{
    let node = |number| {
        let leader = LocalLeader::new(number, case.run.workers, case.method(), Mode::Sync);
        Node::new(leader.expect("sync").among_nodes(), |exchange| {
            case.worker::<M>(exchange)
        })
    };
    let mut nodes: Vec<_> = (0..case.run.nodes).map(node).collect();
    for step in 1..=case.run.steps {
        let global = case.method().periods().due(step).global;
        for node in &mut nodes {
            assert_eq!(node.run(step), Ok(!global));
        }
        if global {
            let delivered = on_exchange(case, &mut nodes);
            for node in &mut nodes {
                node.adopt_global(delivered.clone());
                assert_eq!(node.run(step), Ok(true));
            }
        }
        case.compare(step, nodes.iter().flat_map(Node::workers));
    }
}

fn on_exchange<M: Place>(case: &Case, nodes: &mut [Node<M, Bowl>]) -> ExchangeOutcome
where
    Bowl: Objective<M>,
{
    let updates: Vec<_> = nodes
        .iter_mut()
        .map(|node| node.next_update().expect("all are there"))
        .collect();
    let sums: Vec<_> = updates
        .iter()
        .map(|update| update.sum.as_ref().expect("finite"))
        .collect();
    let lowest = sums.iter().map(|(_, loss)| *loss).fold(f64::MAX, f64::min);
    let most = case
        .method()
        .filter_margin()
        .map_or(0.0, |margin| lowest * (1.0 + margin));
    let counted = sums.iter().filter(|(_, loss)| *loss <= most);
    let sums = counted.map(|(sum, _)| sum.as_ref());
    let mean = Snapshot::mean(sums).expect("finite").map(Arc::new);
    let candidates: Vec<Candidate> = updates
        .iter()
        .filter_map(|update| {
            let (snapshot, loss) = update.leader.as_ref()?;
            let Source::Worker { id, step } = snapshot.source() else {
                panic!("a leader is a worker");
            };
            let loss = WindowLoss::Mean(*loss);
            let joined = true;
            let report = Report {
                id,
                step,
                loss,
                joined,
            };
            Some(Candidate { report, age: 0 })
        })
        .collect();
    let all_lead = candidates.len() == case.run.nodes as usize;
    let first = elect(&candidates, 0).leader.filter(|_| all_lead);
    let of = |id: WorkerId| updates[id.node as usize].leader.clone();
    ExchangeOutcome {
        leader: first.and_then(of).map(|(leader, _)| leader),
        mean,
    }
}

/// Every worker's bits after `steps` steps of `method`.
fn ends(method: &Method, inner: &ModuleOptimizer, workers: u32, steps: u64) -> Vec<Vec<u32>> {
    let leader = LocalLeader::new(0, workers, method.clone(), Mode::Sync).expect("sync");
    let mut node = Node::new(leader, |exchange| {
        let number = lsgd_core::Exchange::id(&exchange).worker;
        let optimizer = LeaderSgd::new(inner.clone(), method.clone(), exchange);
        Worker::new(Point::at(&[1.0, 2.0]), optimizer, Bowl::new(number))
    });
    assert_eq!(node.run(steps), Ok(true));
    let end = |worker: &Worker<Point, Bowl>| bits(&worker.module().values());
    node.workers().map(end).collect()
}

fn inner_optimizers() -> [ModuleOptimizer; 3] {
    [
        SgdConfig::new().init(),
        with_momentum(0.9),
        AdamWConfig::new().init(),
    ]
}

fn outer(rate: f64, momentum: f64) -> OuterStep {
    OuterStep {
        learning_rate: rate,
        momentum,
        nesterov: true,
    }
}

/// A single worker has no peers to learn from.
#[test]
fn one_worker_is_its_inner_optimizer_to_the_bit() {
    let batch_norm = exchanges(1).batch_norm;
    let methods = [
        Method::data_parallel(1, batch_norm),
        Method::local_sgd(exchanges(3)),
        Method::diloco("diloco", exchanges(3), outer(1.0, 0.0)),
        Method::leader_mean(exchanges(3), 0.3),
        Method::lsgd(&config()),
    ];
    for inner in inner_optimizers() {
        let alone = ends(&Method::sgd(1), &inner, 1, 20);
        for method in &methods {
            let method = method.as_ref().expect("valid");
            assert_eq!(ends(method, &inner, 1, 20), alone, "{}", method.name());
        }
    }
}

#[test]
fn a_pull_of_nought_is_no_exchange_to_the_bit() {
    let zero = LeaderConfig {
        local_pull: 0.0,
        global_pull: 0.0,
        ..config()
    };
    let methods = [
        Method::lsgd(&zero),
        Method::lsgd_plus(&zero, 0.5),
        Method::easgd(exchanges(3), 0.0),
        Method::dppf(exchanges(3), 0.0, 0.0, 0.0),
    ];
    for inner in inner_optimizers() {
        let alone = ends(&Method::sgd(1), &inner, 3, 20);
        for method in &methods {
            let method = method.as_ref().expect("valid");
            assert_eq!(ends(method, &inner, 3, 20), alone, "{}", method.name());
        }
    }
}

#[test]
fn without_its_own_part_a_method_is_local_sgd_to_the_bit() {
    let methods = [
        Method::diloco("diloco", exchanges(3), outer(1.0, 0.0)),
        Method::leader_mean(exchanges(3), 0.0),
        Method::dppf(exchanges(3), 1.0, 1.0, 0.0),
        Method::leader_filter(exchanges(3), f64::INFINITY),
    ];
    for inner in inner_optimizers() {
        let averaged = ends(
            &Method::local_sgd(exchanges(3)).expect("valid"),
            &inner,
            3,
            20,
        );
        for method in &methods {
            let method = method.as_ref().expect("valid");
            assert_eq!(ends(method, &inner, 3, 20), averaged, "{}", method.name());
        }
    }
}

#[test]
fn a_leader_weight_of_one_or_a_margin_of_zero_copies_the_leader() {
    let copied = [
        Method::leader_mean(exchanges(3), 1.0),
        Method::leader_filter(exchanges(3), 0.0),
    ];
    let pulled = lsgd(LeaderConfig {
        local_pull: 1.0,
        local_period: 3,
        global_period: 3,
        ..config()
    });
    for inner in inner_optimizers() {
        for copied in &copied {
            let copied = copied.as_ref().expect("valid");
            assert_eq!(ends(copied, &inner, 3, 21), ends(&pulled, &inner, 3, 21));
        }
    }
}

/// Plain SGD is linear in the gradient: the mean of the steps is the step of the mean.
#[test]
fn local_sgd_of_period_one_is_data_parallel_within_rounding() {
    let batch_norm = exchanges(1).batch_norm;
    let shared = Method::data_parallel(1, batch_norm).expect("valid");
    let averaged = Method::local_sgd(exchanges(1)).expect("valid");
    for inner in [SgdConfig::new().init(), with_momentum(0.9)] {
        let all = [&shared, &averaged].map(|method| ends(method, &inner, 3, 20));
        for (a, b) in all[0].iter().flatten().zip(all[1].iter().flatten()) {
            let (a, b) = (f32::from_bits(*a), f32::from_bits(*b));
            assert!((a - b).abs() <= 2e-6 * a.abs().max(1.0), "{a} and {b}");
        }
    }
}

/// Whatever the optimizer, workers that share gradients stay alike.
#[test]
fn data_parallel_workers_are_alike_to_the_bit() {
    let method = Method::data_parallel(1, exchanges(1).batch_norm).expect("valid");
    for inner in inner_optimizers() {
        let ends = ends(&method, &inner, 3, 20);
        assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    }
}

/// A gradient that is not finite is refused: no worker takes that step, and no worker hangs.
#[test]
fn a_broken_gradient_moves_nobody() {
    let method = Method::data_parallel(1, exchanges(1).batch_norm).expect("valid");
    let leader = LocalLeader::new(0, 2, method.clone(), Mode::Sync).expect("sync");
    let mut node = Node::new(leader, |exchange| {
        let number = lsgd_core::Exchange::id(&exchange).worker;
        let optimizer = LeaderSgd::new(SgdConfig::new().init(), method.clone(), exchange);
        let mut bowl = Bowl::new(number);
        bowl.breaks_at = (number == 1).then_some(5);
        Worker::new(Point::at(&[1.0, 2.0]), optimizer, bowl)
    });
    let places = |node: &Node<Point, Bowl>| -> Vec<Vec<u32>> {
        node.workers().map(|w| bits(&w.module().values())).collect()
    };
    assert_eq!(node.run(5), Ok(true));
    let before = places(&node);
    assert_eq!(node.run(8), Ok(true));
    assert_eq!(places(&node), before);
    let refused =
        |event: &&Event| matches!(event, Event::Refused { worker, .. } if worker.worker == 1);
    assert_eq!(node.events().iter().filter(refused).count(), 3);
}

/// What a method says that it sends is what its exchanges record.
#[test]
fn exchanges_are_of_the_vectors_that_a_method_declares() {
    for case in cases(|case| case.run.nodes == 1) {
        let leader =
            LocalLeader::new(0, case.run.workers, case.method(), Mode::Sync).expect("sync");
        let mut node = Node::new(leader, |exchange| case.worker::<Point>(exchange));
        assert_eq!(node.run(case.run.steps), Ok(true));
        let exchanges: Vec<(VectorKind, u64)> = node
            .events()
            .iter()
            .filter_map(|event| match event {
                Event::Exchange { vector, bytes, .. } => Some((*vector, *bytes)),
                _ => None,
            })
            .collect();
        let method = case.method();
        let expected = match method.averages() {
            Some(vector) => {
                let count = case.run.steps / method.periods().local;
                // Two values of 4 bytes, and a weight where workers count differently.
                let bytes = if case.method.starts_with("grawa") {
                    12
                } else {
                    8
                };
                vec![(vector, bytes * u64::from(case.run.workers)); count as usize]
            }
            None => Vec::new(),
        };
        assert_eq!(exchanges, expected, "{}", case.method);
    }
}

#[test]
fn refusals_say_what_to_do() {
    let said = |method: Result<Method, MethodError>| method.unwrap_err().to_string();
    assert_eq!(
        said(Method::easgd(exchanges(4), 1.5)),
        "beta 1.5 is not in [0, 1]"
    );
    assert_eq!(
        said(Method::leader_mean(exchanges(4), -0.5)),
        "leader_weight -0.5 is not in [0, 1]"
    );
    assert_eq!(
        said(Method::diloco("diloco", exchanges(4), outer(0.0, 0.9))),
        "outer_learning_rate 0 is not above 0"
    );
    assert_eq!(
        said(Method::diloco("slowmo", exchanges(4), outer(1.0, 1.0))),
        "outer_momentum 1 is not in [0, 1)"
    );
    for push in [-1.0, f64::INFINITY, f64::NAN] {
        assert_eq!(
            said(Method::dppf(exchanges(4), 0.1, 0.1, push)),
            format!("push {push} is not a finite number from 0")
        );
    }
    for margin in [-0.1, f64::NAN] {
        assert_eq!(
            said(Method::leader_filter(exchanges(4), margin)),
            format!("filter_margin {margin} is not a number from 0")
        );
    }
    assert_eq!(
        said(Method::local_sgd(exchanges(0))),
        "local_period is 0; it must be at least 1"
    );
    let mean = Method::easgd(exchanges(4), 0.43).expect("valid");
    assert_eq!(
        said(mean.check_mode(Mode::Async).map(|()| mean.clone())),
        "easgd cannot run in mode \"async\": a mean of all workers needs all to meet; use \"sync\""
    );
}
