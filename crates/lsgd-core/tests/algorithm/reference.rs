//! Whole runs against `tests/reference/lsgd.py`, which computes Algorithm 1 in numpy and float64.

use lsgd_core::{
    BatchNorm, Candidate, Command, Delivery, Election, Event, ExchangeConfig, ExchangeOutcome,
    FinalPull, LeaderConfig, LocalLeader, Message, Method, Mode, Next, Report, Snapshot, Worker,
    WorkerId, elect,
};
use serde::Deserialize;
use std::sync::Arc;

use crate::memory::{Node, QueueExchange};
use crate::setting::{Bowl, Point, exchanges};
use crate::stored::{Run, read};

/// A case of the stored file, and its leaders.
#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    method: String,
    #[serde(flatten)]
    run: Run,
    local_pull: f64,
    global_pull: f64,
    local_prox: f64,
    global_prox: f64,
    loss_window: usize,
    final_pull: Option<f64>,
    /// Step, leader of each node, leader of all; workers numbered over all nodes.
    leaders: Vec<(u64, Vec<Option<u32>>, Option<u32>)>,
}

fn cases() -> Vec<Case> {
    read(include_str!("../reference/lsgd.json"))
}

impl Case {
    fn method(&self) -> Method {
        if self.method == "local_sgd" {
            let exchanges = ExchangeConfig {
                loss_window: self.loss_window,
                ..exchanges(self.run.periods().local)
            };
            return Method::local_sgd(exchanges).expect("valid");
        }
        let config = LeaderConfig {
            local_pull: self.local_pull,
            global_pull: self.global_pull,
            final_pull: self.final_pull.map(|strength| FinalPull {
                strength,
                steps: self.run.steps,
            }),
            local_period: self.run.periods().local,
            global_period: self.run.periods().global,
            local_prox: self.local_prox,
            global_prox: self.global_prox,
            loss_window: self.loss_window,
            max_staleness: None,
            batch_norm: BatchNorm::Own,
        };
        Method::lsgd(&config).expect("valid")
    }

    fn worker(&self, exchange: QueueExchange) -> Worker<Point, Bowl> {
        let number = self.run.number(lsgd_core::Exchange::id(&exchange)) as f32;
        let start = [number + 1.0, 2.0 - number];
        self.run.worker(self.method(), exchange, start)
    }

    fn compare<'a>(&self, step: u64, workers: impl Iterator<Item = &'a Worker<Point, Bowl>>) {
        self.run.compare(&self.name, step, workers);
    }
}

/// One node, through [`LocalLeader`]: every x, and every election.
#[test]
fn one_node() {
    let cases: Vec<Case> = cases()
        .into_iter()
        .filter(|case| case.run.nodes == 1)
        .collect();
    assert!(cases.len() >= 8);
    for case in cases {
        let leader =
            LocalLeader::new(0, case.run.workers, case.method(), Mode::Sync).expect("sync");
        let mut node = Node::new(leader, |exchange| case.worker(exchange));
        for step in 1..=case.run.steps {
            assert_eq!(node.run(step), Ok(true));
            case.compare(step, node.workers());
        }
        let elections: Vec<_> = node
            .events()
            .iter()
            .filter_map(|event| match event {
                Event::Election { step, election, .. } => {
                    let leader = election.leader.map(|id| case.run.number(id));
                    Some((*step, vec![leader], None))
                }
                _ => None,
            })
            .collect();
        assert_eq!(elections, case.leaders, "{}", case.name);
    }
}

/// Several nodes: local and global elections and both pulls, with the exchange written out.
#[test]
fn several_nodes() {
    let cases: Vec<Case> = cases()
        .into_iter()
        .filter(|case| case.run.nodes > 1)
        .collect();
    assert!(cases.len() >= 3);
    for case in cases {
        let ids = (0..case.run.nodes)
            .flat_map(|n| (0..case.run.workers).map(move |w| WorkerId::new(n, w)));
        let lines: Vec<QueueExchange> = ids.map(|id| QueueExchange::new(id, Mode::Sync)).collect();
        let mut workers: Vec<_> = lines
            .iter()
            .map(|exchange| case.worker(exchange.clone()))
            .collect();
        let mut elections = Vec::new();
        for step in 1..=case.run.steps {
            let due = case.method().periods().due(step);
            for worker in &mut workers {
                let next = if due.any() {
                    Next::Wait
                } else {
                    Next::Continue
                };
                assert_eq!(worker.step(), Ok(next));
            }
            if due.any() {
                elections.push(on_exchange(&case, step, due.global, &mut workers, &lines));
            }
            case.compare(step, workers.iter());
        }
        assert_eq!(elections, case.leaders, "{}", case.name);
    }
}

/// A global exchange: each elects its leader, then, if due, the leaders elect one of them.
fn on_exchange(
    case: &Case,
    step: u64,
    global: bool,
    workers: &mut [Worker<Point, Bowl>],
    lines: &[QueueExchange],
) -> (u64, Vec<Option<u32>>, Option<u32>) {
    let reports: Vec<Report> = lines.iter().map(reported).collect();
    let node_size = case.run.workers as usize;
    let locals: Vec<Option<WorkerId>> = reports
        .chunks(node_size)
        .map(|node| vote(node).leader)
        .collect();
    let of_nodes: Option<Vec<Report>> = locals
        .iter()
        .map(|id| id.map(|id| reports[case.run.number(id) as usize]))
        .collect();
    let first = of_nodes
        .filter(|_| global)
        .and_then(|all| vote(&all).leader);

    let mut published: Vec<Option<Arc<Snapshot>>> = vec![None; lines.len()];
    for id in locals.iter().flatten() {
        let number = case.run.number(*id) as usize;
        lines[number].queues().commands.push_back(Command::Publish);
        assert_eq!(workers[number].exchange(), Next::Wait);
        let sent = lines[number].queues().sent.pop_front();
        let Some(Message::Publish(_, Ok(snapshot))) = sent else {
            panic!("worker {id} was to publish: {sent:?}");
        };
        published[number] = Some(snapshot);
    }
    let of = |id: Option<WorkerId>| published[case.run.number(id?) as usize].clone();
    for (number, worker) in workers.iter_mut().enumerate() {
        let leader = |leader| ExchangeOutcome { leader, mean: None };
        let delivery = Delivery {
            local: leader(of(locals[number / node_size])),
            global: leader(of(first)),
            buffers: None,
        };
        let mut queues = lines[number].queues();
        queues.commands.push_back(Command::Adopt(delivery));
        drop(queues);
        assert_eq!(worker.exchange(), Next::Continue);
        lines[number].queues().sent.clear();
    }
    let numbers = |id: &Option<WorkerId>| id.map(|id| case.run.number(id));
    (step, locals.iter().map(numbers).collect(), numbers(&first))
}

/// The report that a worker has sent at an exchange.
fn reported(exchange: &QueueExchange) -> Report {
    match exchange.queues().sent.pop_front() {
        Some(Message::Report { report, .. }) => report,
        other => panic!("a worker at a meeting reports first: {other:?}"),
    }
}

fn vote(reports: &[Report]) -> Election {
    let fresh = |&report: &Report| Candidate { report, age: 0 };
    elect(&reports.iter().map(fresh).collect::<Vec<_>>(), 0)
}
