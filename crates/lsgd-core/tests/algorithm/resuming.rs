//! What workers and their leader remember between steps, saved and taken up again: the bits are
//! those of a run that was not interrupted, wherever it was.

use burn::optim::{AdamConfig, ModuleOptimizer};
use burn::tensor::{Bytes, DType};
use burn_pack::{Reader, Writer};
use lsgd_core::{
    Event, ExchangeConfig, FinalPull, LeaderConfig, LeaderSgd, LocalLeader, Method, Mode,
    Objective, OptimizerStateError, OuterStep, Periods, RuleState, StateError, WeightPer, Worker,
    WorkerId, WorkerState, decode_optimizer, encode_optimizer,
};

use crate::memory::{Node, QueueExchange};
use crate::setting::{Bowl, Point, bits, bowl_worker, config, exchanges, lsgd, sgd};

use crate::stored::with_momentum;

const WORKERS: u32 = 3;
const STEPS: u64 = 14;

/// Every method that runs in `sync`, with exchanges every three steps.
fn methods() -> Vec<Method> {
    let leader = LeaderConfig {
        local_period: 3,
        global_period: 3,
        local_prox: 0.5,
        loss_window: 4,
        final_pull: Some(FinalPull {
            strength: 0.5,
            steps: STEPS,
        }),
        ..config()
    };
    let exchanges = ExchangeConfig {
        loss_window: 4,
        ..exchanges(3)
    };
    let outer = |nesterov| OuterStep {
        learning_rate: 0.7,
        momentum: 0.9,
        nesterov,
    };
    let grawa = |per| Method::grawa(exchanges, per, 0.5, 0.5);
    [
        Ok(Method::sgd(4)),
        Method::data_parallel(4, lsgd_core::BatchNorm::Own),
        Method::local_sgd(exchanges),
        Method::easgd(exchanges, 0.4),
        Method::diloco("diloco", exchanges, outer(true)),
        Method::diloco("slowmo", exchanges, outer(false)),
        grawa(WeightPer::Model),
        grawa(WeightPer::Layer),
        Method::dppf(exchanges, 0.5, 0.5, 0.05),
        Method::lsgd(&leader).and_then(|method| method.with_margin(0.05)),
        Method::lsgd(&leader).map(Method::ranked_by_probe),
        Method::lsgd_plus(&leader, 0.5),
        Method::leader_mean(exchanges, 0.5),
    ]
    .map(|method| method.expect("valid"))
    .into()
}

fn leader(method: &Method, mode: Mode) -> LocalLeader {
    LocalLeader::new(0, WORKERS, method.clone(), mode).expect("runs in this mode")
}

type InMemory = Node<Point, Bowl>;

fn begun(method: &Method, mode: Mode, inner: &ModuleOptimizer) -> InMemory {
    Node::new(leader(method, mode), |exchange| {
        bowl_worker(method.clone(), inner.clone(), exchange)
    })
}

/// A node of new workers that takes up the state of `node`, by way of bytes where there are any.
fn resumed(node: &InMemory, method: &Method, mode: Mode, inner: &ModuleOptimizer) -> InMemory {
    let leader = leader(method, mode).resuming(node.leader().state());
    let mut before = node.workers();
    Node::new(leader, |exchange| {
        let worker = before.next().expect("as many as before");
        let optimizer = worker.optimizer();
        let layout = lsgd_core::Layout::of(worker.module());
        let bytes = encode_optimizer(optimizer.inner_record(), &layout).expect("it has stepped");
        // Another module of the same values: its parameters have other ids.
        let module = Point::at(&worker.module().values());
        let record = decode_optimizer(bytes, &module, &layout).expect("its own bytes");
        let number = lsgd_core::Exchange::id(&exchange).worker;
        let optimizer = LeaderSgd::new(inner.clone(), method.clone(), exchange)
            .load_inner_record(record)
            .resuming(&optimizer.state(), layout)
            .expect("its own state");
        Worker::new(module, optimizer, Bowl::new(number))
    })
}

fn ends(node: &InMemory) -> Vec<Vec<u32>> {
    let ends = node.workers().map(|worker| bits(&worker.module().values()));
    ends.collect()
}

fn inner_optimizers() -> [ModuleOptimizer; 3] {
    [sgd(), with_momentum(0.9), AdamConfig::new().init()]
}

#[test]
fn every_method_continues_with_the_same_bits_from_every_step() {
    for method in methods() {
        for inner in inner_optimizers() {
            let mut whole = begun(&method, Mode::Sync, &inner);
            assert_eq!(whole.run(STEPS), Ok(true));
            for step in 1..STEPS {
                let mut first = begun(&method, Mode::Sync, &inner);
                assert_eq!(first.run(step), Ok(true));
                let mut second = resumed(&first, &method, Mode::Sync, &inner);
                assert_eq!(second.run(STEPS), Ok(true));
                let name = method.name();
                assert_eq!(ends(&second), ends(&whole), "{name} from step {step}");
                let events: Vec<&Event> = first.events().iter().chain(second.events()).collect();
                let expected: Vec<&Event> = whole.events().iter().collect();
                assert_eq!(events, expected, "{name} from step {step}");
            }
        }
    }
}

/// An answer that was on its way is asked for again: no addition to the centre is lost, or made
/// twice, and no worker waits for ever.
#[test]
fn workers_with_a_centre_keep_what_they_had_brought() {
    for method in [
        Method::easgd_async(exchanges(3), 0.5, WORKERS).expect("valid"),
        Method::local_sgd_async(exchanges(3), WORKERS).expect("valid"),
        Method::downpour(exchanges(3)).expect("valid"),
    ] {
        let inner = with_momentum(0.9);
        let mut whole = begun(&method, Mode::Async, &inner);
        assert_eq!(whole.run(STEPS), Ok(true));
        let additions = |node: &InMemory| {
            let events = node.events().iter();
            let additions = events.filter(|event| matches!(event, Event::Exchange { .. }));
            additions.count()
        };
        assert!(additions(&whole) >= 4 * WORKERS as usize);
        for step in 1..STEPS {
            let mut first = begun(&method, Mode::Async, &inner);
            assert_eq!(first.run(step), Ok(true));
            let mut second = resumed(&first, &method, Mode::Async, &inner);
            assert_eq!(ends(&second), ends(&first));
            assert_eq!(second.run(STEPS), Ok(true));
            let both = additions(&first) + additions(&second);
            assert_eq!(both, additions(&whole), "{} from {step}", method.name());
        }
    }
}

/// Each state that a method needs is missed by name.
#[test]
fn a_state_without_what_the_method_needs_is_refused() {
    let outer = OuterStep {
        learning_rate: 0.7,
        momentum: 0.9,
        nesterov: true,
    };
    for (method, lacks) in [
        (Method::easgd(exchanges(1), 0.5), "centre.local"),
        (Method::diloco("diloco", exchanges(1), outer), "outer.local"),
        (Method::downpour(exchanges(1)), "base"),
        (Method::easgd_async(exchanges(1), 0.5, 1), "asked"),
        (Method::local_sgd_async(exchanges(1), 1), "asked"),
        (
            Method::grawa(exchanges(1), WeightPer::Model, 0.5, 0.5),
            "steps",
        ),
    ] {
        let method = method.expect("valid");
        let error = refused(&method, RuleState::default());
        assert!(
            matches!(&error, StateError::Missing { name, .. } if name == lacks),
            "{error}"
        );
    }
    let grawa = Method::grawa(exchanges(1), WeightPer::Model, 0.5, 0.5).expect("valid");
    for steps in [-1.0, 0.5, f64::NAN, f64::INFINITY, 1e300] {
        let mut rule = RuleState::default();
        rule.numbers.insert(String::from("steps"), vec![steps]);
        let error = refused(&grawa, rule);
        assert!(matches!(error, StateError::Value { .. }), "{steps}");
    }
}

fn refused(method: &Method, rule: RuleState) -> StateError {
    let exchange = QueueExchange::new(WorkerId::new(0, 0), Mode::Async);
    let state = WorkerState {
        rule,
        ..WorkerState::default()
    };
    let layout = lsgd_core::Layout::of(&Point::at(&[1.0]));
    let resumed = LeaderSgd::new(sgd(), method.clone(), exchange).resuming(&state, layout);
    resumed.err().expect("it lacks something")
}

/// A state saved in the middle of a period fires where it would have.
#[test]
fn periods_go_on() {
    let periods = Periods {
        local: 3,
        global: 3,
    };
    let method = lsgd(LeaderConfig {
        local_period: periods.local,
        global_period: periods.global,
        ..config()
    });
    let mut first = begun(&method, Mode::Async, &sgd());
    assert_eq!(first.run(2), Ok(true));
    let counters = first.leader().state().counters;
    assert_eq!((counters.trigger, counters.steps), (6, 6));
    let mut second = resumed(&first, &method, Mode::Async, &sgd());
    assert_eq!(second.run(3), Ok(true));
    let elections = second.events().iter();
    let elections = elections.filter(|event| matches!(event, Event::Election { .. }));
    assert_eq!(elections.count(), 1);
}

/// Two modules of one layout, one step of momentum, and the parameters' paths in the bytes.
#[test]
fn an_optimizer_state_is_under_paths_and_nothing_starts_afresh_silently() {
    let mut inner = with_momentum(0.9);
    let module = Point::at(&[1.0, 2.0]);
    let layout = lsgd_core::Layout::of(&module);
    let Ok((_, gradients)) = Bowl::new(0).gradients(&module, 0);
    let _ = inner.step(0.1, module, gradients);
    let bytes = encode_optimizer(inner.to_record(), &layout).expect("it has stepped");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.contains("x/__rank"), "{text}");
    let other = Point::at(&[0.0, 0.0]);
    decode_optimizer(bytes.clone(), &other, &layout).expect("the same layout");
    // A module that has other parameters.
    let norm = burn::nn::LayerNormConfig::new(2).init(&crate::setting::device());
    let of_norm = lsgd_core::Layout::of(&norm);
    let error = decode_optimizer(bytes.clone(), &norm, &of_norm);
    assert!(matches!(error, Err(OptimizerStateError::Unknown { .. })));
    // A parameter that the state does not have.
    let empty = encode_optimizer(sgd().to_record(), &lsgd_core::Layout::of(&Nothing {}));
    let error = decode_optimizer(empty.expect("nothing"), &other, &layout);
    let missing = |error: &OptimizerStateError| matches!(error, OptimizerStateError::Missing { path } if path == "x");
    assert!(error.as_ref().err().is_some_and(missing), "{error:?}");
    // One that never had a gradient has no state, then or now.
    let unused = encode_optimizer(sgd().to_record(), &layout).expect("nothing");
    decode_optimizer(unused, &other, &layout).expect("as it was");
    for damaged in [&bytes[..bytes.len() - 8], &bytes[1..], &[]] {
        assert!(decode_optimizer(damaged.to_vec(), &other, &layout).is_err());
    }
}

/// Burn takes a state as it is, and panics at the next step or when it makes room for a list.
#[test]
fn an_optimizer_state_that_does_not_fit_its_parameter_is_refused() {
    let mut inner = with_momentum(0.9);
    let module = Point::at(&[1.0, 2.0]);
    let layout = lsgd_core::Layout::of(&module);
    let Ok((_, gradients)) = Bowl::new(0).gradients(&module, 0);
    let module = inner.step(0.1, module, gradients);
    let bytes = encode_optimizer(inner.to_record(), &layout).expect("it has stepped");
    let with = |shape: &[usize], dtype: DType, scalar: (&str, u64)| {
        let reader =
            Reader::from_bytes(Bytes::from_bytes_vec(bytes.clone())).expect("its own bytes");
        let mut scalars = reader.scalars().clone();
        scalars.insert(scalar.0.to_owned(), scalar.1.into());
        let names = reader.into_tensors().expect("they are there");
        let length = dtype.size() * shape.iter().product::<usize>();
        let tensors = names.into_iter().map(|tensor| {
            let zeros = Bytes::from_bytes_vec(vec![0; length]);
            burn_pack::Tensor::new(tensor.name, dtype, shape.to_vec(), None, zeros)
        });
        let mut writer = Writer::new(tensors.collect());
        for (name, value) in scalars {
            writer = writer.with_scalar(&name, value);
        }
        let changed = writer.into_bytes().expect("memory can be written").to_vec();
        decode_optimizer(changed, &module, &layout).map(drop)
    };
    let rank = ("x/__rank", 1);
    with(&[2], DType::F32, rank).expect("as it was");
    with(&[1], DType::F32, rank).expect("one value for all, as of a sum");
    for unfit in [
        with(&[3], DType::F32, rank),
        with(&[0], DType::F32, rank),
        with(&[1, 2], DType::F32, rank),
        with(&[2], DType::I32, rank),
        with(&[2], DType::F64, rank),
        with(&[2], DType::F32, ("x/__rank", 2)),
        with(&[2], DType::F32, ("x/__rank", u64::MAX)),
        with(&[2], DType::F32, ("x/history.len", u64::MAX)),
    ] {
        let is_unfit = matches!(unfit, Err(OptimizerStateError::Unfit { .. }));
        assert!(is_unfit, "{unfit:?}");
    }
    let error = with(&[3], DType::F32, rank).unwrap_err().to_string();
    assert!(
        error.ends_with("is F32 [3], which does not fit the parameter of F32 [2]"),
        "{error}"
    );
}

/// A module without parameters.
#[derive(burn::module::Module, Debug)]
struct Nothing {}
