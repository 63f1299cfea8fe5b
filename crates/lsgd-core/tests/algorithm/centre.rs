//! The centre variable, for asynchronous EASGD, local SGD and DOWNPOUR: against `tests/reference/centre.py`,
//! and what the local leader does with it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use lsgd_core::{
    Command, Event, Exchange, ExchangeConfig, ExchangeOutcome, Group, LocalLeader, Message, Method,
    Mode, Next, NodeUpdate, Snapshot, SnapshotError, Source, VectorKind, Worker,
};
use serde::Deserialize;

use crate::memory::Node;
use crate::setting::{Bowl, Point, exchanges, snapshot};
use crate::stored::{Run, read};

/// A case of the stored file.
#[derive(Debug, Deserialize)]
struct Case {
    method: String,
    #[serde(flatten)]
    run: Run,
    beta: f64,
    delay: u64,
}

impl Case {
    fn method(&self) -> Method {
        let exchanges = ExchangeConfig {
            periods: self.run.periods(),
            ..exchanges(1)
        };
        let method = match self.method.as_str() {
            "easgd" => Method::easgd_async(exchanges, self.beta, self.run.workers),
            "local_sgd" => Method::local_sgd_async(exchanges, self.run.workers),
            "downpour" => Method::downpour(exchanges),
            other => panic!("no method {other}"),
        };
        method.expect("valid")
    }

    fn leader(&self, node: u32) -> LocalLeader {
        let leader = LocalLeader::new(node, self.run.workers, self.method(), Mode::Async);
        leader.expect("runs in async")
    }

    fn worker(&self, exchange: impl Exchange + 'static) -> Worker<Point, Bowl> {
        self.run.worker(self.method(), exchange, [1.0, 2.0])
    }

    fn compare<'a>(&self, step: u64, workers: impl Iterator<Item = &'a Worker<Point, Bowl>>) {
        self.run.compare(&self.method, step, workers);
    }
}

fn cases(delay: u64) -> Vec<Case> {
    let mut all: Vec<Case> = read(include_str!("../reference/centre.json"));
    all.retain(|case| case.delay == delay);
    all
}

/// Workers that receive the centre immediately, as threads do; here they take turns.
#[test]
fn workers_come_to_the_centre_one_by_one() {
    let cases = cases(0);
    assert_eq!(cases.len(), 11);
    for case in cases {
        let mut workers = Vec::new();
        let mut groups = Vec::new();
        for node in 0..case.run.nodes {
            let leader = case.leader(node);
            let leader = if case.run.nodes > 1 {
                leader.among_nodes()
            } else {
                leader
            };
            let (group, members) = Group::form(leader, |_| {});
            let updates = Arc::new(Mutex::new(VecDeque::<NodeUpdate>::new()));
            let update = updates.clone();
            group.on_update(move |of_node| update.lock().expect("one thread").push_back(of_node));
            workers.extend(members.into_iter().map(|member| case.worker(member)));
            groups.push((group, updates));
        }
        for step in 1..=case.run.steps {
            for worker in &mut workers {
                assert_eq!(worker.step(), Ok(Next::Continue));
            }
            if case.run.nodes > 1 && step % case.run.periods().global == 0 {
                let newest = |(_, updates): &(_, Arc<Mutex<VecDeque<NodeUpdate>>>)| {
                    let update = updates.lock().expect("one thread").pop_back();
                    update.and_then(|update| update.leader).expect("a centre").0
                };
                let centres: Vec<Arc<Snapshot>> = groups.iter().map(newest).collect();
                for (node, (group, _)) in groups.iter().enumerate() {
                    let next = centres[(node + 1) % centres.len()].clone();
                    group.adopt_global(ExchangeOutcome::leader(next));
                }
            }
            case.compare(step, workers.iter());
        }
    }
}

/// Workers that take one more step before they receive it.
#[test]
fn workers_go_on_while_the_centre_is_on_its_way() {
    let cases = cases(1);
    assert_eq!(cases.len(), 3);
    for case in cases {
        let mut node = Node::new(case.leader(0), |exchange| case.worker(exchange));
        for step in 1..=case.run.steps {
            for worker in 0..case.run.workers as usize {
                assert_eq!(node.turn(worker), Ok(true));
            }
            case.compare(step, node.workers());
        }
    }
}

fn easgd() -> Method {
    Method::easgd_async(exchanges(1), 0.43, 2).expect("valid")
}

fn with_centre(start: &[f32]) -> LocalLeader {
    let mut leader = LocalLeader::new(0, 2, easgd(), Mode::Async).expect("runs in async");
    leader.receive(0, Message::Begin(snapshot(0, 0, start)));
    leader
}

fn add(worker: u32, addition: &[f32]) -> Message {
    Message::Publish(VectorKind::Centre, Ok(snapshot(worker, 1, addition)))
}

/// The next centre to be delivered, and to which worker.
fn next_centre(leader: &mut LocalLeader) -> Option<(u32, Arc<Snapshot>)> {
    match leader.next_command() {
        Some((worker, Command::Centre(centre))) => Some((worker, centre)),
        other => {
            assert!(other.is_none(), "{other:?}");
            None
        }
    }
}

#[test]
fn set_then_want() {
    let mut leader = with_centre(&[1.0, 2.0]);
    leader.receive(1, Message::WantCentre);
    let (worker, centre) = next_centre(&mut leader).expect("an answer");
    assert_eq!((worker, centre.parameters()), (1, &[1.0, 2.0][..]));
    assert_eq!(centre.source(), Source::Centre { version: 0 });
    assert!(next_centre(&mut leader).is_none(), "nobody else asked");
}

/// `centre <- centre + addition`
#[test]
fn add_then_want() {
    let mut leader = with_centre(&[1.0, 2.0]);
    leader.receive(0, add(0, &[0.5, -4.0]));
    assert!(next_centre(&mut leader).is_none(), "nobody has asked");
    leader.receive(0, Message::WantCentre);
    let (worker, centre) = next_centre(&mut leader).expect("an answer");
    assert_eq!((worker, centre.parameters()), (0, &[1.5, -2.0][..]));
    leader.receive(1, add(1, &[0.5, 0.0]));
    leader.receive(1, Message::WantCentre);
    let (worker, centre) = next_centre(&mut leader).expect("an answer");
    assert_eq!((worker, centre.parameters()), (1, &[2.0, -2.0][..]));
    assert_eq!(centre.source(), Source::Centre { version: 2 });
    let counted = |event| match event {
        Event::Exchange {
            exchange,
            vector: VectorKind::Centre,
            workers: 1,
            bytes: 8,
            ..
        } => Some(exchange),
        _ => None,
    };
    let events = std::iter::from_fn(|| leader.next_event());
    let exchanges: Vec<u64> = events.filter_map(counted).collect();
    assert_eq!(exchanges, [1, 2]);
}

/// What is not finite, or makes the sum so, or is of another model leaves the centre as it is.
#[test]
fn unfit_addition_is_refused() {
    for unfit in [&[f32::NAN, 0.0][..], &[3e38, 0.0], &[1.0], &[1.0, 1.0, 1.0]] {
        let mut leader = with_centre(&[3e38, 2.0]);
        leader.receive(0, add(0, unfit));
        leader.receive(0, Message::WantCentre);
        let (_, centre) = next_centre(&mut leader).expect("an answer");
        assert_eq!(centre.parameters(), [3e38, 2.0], "{unfit:?}");
        let refused = |event: Event| matches!(event, Event::Refused { .. });
        assert!(
            std::iter::from_fn(|| leader.next_event()).any(refused),
            "{unfit:?}"
        );
    }
}

/// The first worker's start is where the centre begins; a start that is not finite is recorded.
#[test]
fn the_centre_begins_once() {
    let mut leader = LocalLeader::new(0, 2, easgd(), Mode::Async).expect("runs in async");
    leader.receive(0, Message::Begin(snapshot(0, 0, &[1.0, f32::NAN])));
    leader.receive(0, Message::WantCentre);
    assert!(next_centre(&mut leader).is_none(), "there is none yet");
    let why = SnapshotError::NotFinite { index: 1 };
    let refused = |event| matches!(event, Event::Refused { why: said, .. } if said == why);
    assert!(leader.next_event().is_some_and(refused));
    leader.receive(1, Message::Begin(snapshot(1, 0, &[1.0, 2.0])));
    leader.receive(0, Message::Begin(snapshot(0, 0, &[5.0, 5.0])));
    leader.receive(1, Message::WantCentre);
    let (_, centre) = next_centre(&mut leader).expect("an answer");
    assert_eq!(centre.parameters(), [1.0, 2.0]);
}

/// A node's centre moves half way to another's.
#[test]
fn centres_of_nodes_meet() {
    let mut leader = with_centre(&[1.0, 2.0]);
    leader.adopt_global(ExchangeOutcome::leader(snapshot(0, 0, &[3.0, -2.0])));
    leader.adopt_global(ExchangeOutcome::default());
    assert!(
        leader.next_command().is_none(),
        "workers come by themselves"
    );
    leader.receive(1, Message::WantCentre);
    let (_, centre) = next_centre(&mut leader).expect("an answer");
    assert_eq!(centre.parameters(), [2.0, 0.0]);
    assert_eq!(centre.source(), Source::Centre { version: 1 });
}

/// Among nodes, the centre is brought to the others once every worker has taken tau steps.
#[test]
fn the_centre_is_brought_to_other_nodes() {
    let case = &cases(0)[0];
    let mut node = Node::new(case.leader(0).among_nodes(), |exchange| {
        case.worker(exchange)
    });
    assert_eq!(node.run(2), Ok(true));
    assert!(node.next_update().is_none());
    assert_eq!(node.run(3), Ok(true));
    let update = node.next_update().expect("three steps of four workers");
    assert_eq!((update.step, update.taken, update.workers), (3, 12, 4));
    let (centre, _) = update.leader.expect("a centre");
    assert!(matches!(centre.source(), Source::Centre { .. }));
}

#[test]
fn a_method_with_a_centre_runs_in_async_alone() {
    let said = |method: Result<Method, lsgd_core::MethodError>| method.unwrap_err().to_string();
    let downpour = Method::downpour(exchanges(4)).expect("valid");
    assert_eq!(
        said(downpour.check_mode(Mode::Sync).map(|()| downpour.clone())),
        "downpour cannot run in mode \"sync\": its workers never meet; use \"async\""
    );
    let averaged = ExchangeConfig {
        batch_norm: lsgd_core::BatchNorm::Mean,
        ..exchanges(4)
    };
    assert_eq!(
        said(Method::downpour(averaged)),
        "workers of downpour follow no leader and never meet; set batch_norm to \"own\""
    );
    assert_eq!(
        said(Method::easgd_async(exchanges(4), -1.0, 2)),
        "beta -1 is not in [0, 1]"
    );
}
