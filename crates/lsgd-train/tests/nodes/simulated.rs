//! A run of several nodes on one thread: the same workers, leaders and data as in processes of their
//! own, with messages that arrive at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{
    Action, Fetched, GlobalLeader, LeaderSgd, LocalLeader, Membership, Mode, Snapshot,
    SnapshotDigest, Source, Worker, read, write,
};
use lsgd_models::Model;
use lsgd_train::config::Config;
use lsgd_train::optimizer;
use lsgd_train::train::{Learner, Setup};

use super::memory::{Line, Node};
use super::program::workspace;

/// Nothing here waits, so no time passes.
const NOW: Duration = Duration::ZERO;

struct Simulated {
    setup: Setup,
    leader: GlobalLeader,
    workers: Option<Node<Model, Learner>>,
}

/// Trains `config` on `nodes` nodes, and returns the digests of all workers in rank order.
pub fn simulate(config: &str, set: &[&str], nodes: u32) -> Vec<String> {
    let mut all: Vec<_> = (0..nodes)
        .map(|node| start(config, set, node, nodes))
        .collect();
    for node in 0..nodes {
        for other in (0..nodes).filter(|other| *other != node) {
            all[node as usize].leader.appeared(other, life(other), NOW);
        }
    }
    let mut board: HashMap<SnapshotDigest, Arc<Snapshot>> = HashMap::new();
    let mut moved = true;
    while moved {
        moved = false;
        for index in 0..all.len() {
            while let Some(action) = all[index].leader.next_action() {
                moved = true;
                act(&mut all, index, action, &mut board);
            }
            let Simulated {
                setup,
                leader,
                workers: Some(workers),
            } = &mut all[index]
            else {
                continue;
            };
            // Whoever waits for other nodes goes on at its next turn.
            let budget = setup.plan.steps.expect("a budget of steps");
            workers.run(budget).expect("batches are there");
            while let Some(bid) = workers.next_bid() {
                moved = true;
                leader.bid(bid, NOW);
            }
        }
    }
    all.iter().flat_map(digests).collect()
}

fn life(node: u32) -> u64 {
    u64::from(node) + 1
}

fn start(config: &str, set: &[&str], node: u32, nodes: u32) -> Simulated {
    let endpoints: Vec<_> = (0..nodes)
        .map(|n| format!("tcp/127.0.0.1:{}", 20_000 + n))
        .collect();
    let place = [
        format!("cluster.node={}", node + 1),
        format!("cluster.nodes={nodes}"),
        format!("cluster.connect={endpoints:?}"),
    ];
    let set = set.iter().map(ToString::to_string).chain(place);
    let config = Config::load(&workspace().join(config), &set.collect::<Vec<_>>()).unwrap();
    let setup = Setup::new(config).unwrap();
    let membership = Membership {
        node,
        nodes,
        workers: setup.workers() as u32,
        life: life(node),
        wire: setup.config.cluster.wire,
        wait: Duration::MAX / 4,
        limit: Duration::MAX / 4,
    };
    let leader = GlobalLeader::new(membership, setup.method.clone(), Mode::Sync, NOW).unwrap();
    Simulated {
        setup,
        leader,
        workers: None,
    }
}

fn act(
    all: &mut [Simulated],
    index: usize,
    action: Action,
    board: &mut HashMap<SnapshotDigest, Arc<Snapshot>>,
) {
    match action {
        Action::Tell { status, .. } => {
            for (other, simulated) in all.iter_mut().enumerate() {
                if other != index {
                    simulated.leader.receive(status.clone(), NOW);
                }
            }
        }
        Action::Publish(snapshot) => {
            board.insert(snapshot.digest(), snapshot);
        }
        Action::Fetch { vector, .. } => {
            let snapshot = board[&vector.digest].clone();
            let fetched = Fetched {
                snapshot,
                crossed: true,
            };
            all[index].leader.fetched(vector.digest, Ok(fetched), NOW);
        }
        Action::Deliver(delivered) => {
            let workers = all[index].workers.as_mut().expect("workers that wait");
            workers.adopt_global(delivered);
        }
        Action::Begin { step, parameters } => {
            assert_eq!((step, parameters.is_some()), (0, false), "nobody is late");
            all[index].workers = Some(workers(&all[index].setup));
        }
        Action::Conclude(_) | Action::GiveUp(_) | Action::CannotJoin => {
            unreachable!("nobody ends or gives up")
        }
        Action::Await(_) | Action::Record(_) => {}
    }
}

fn workers(setup: &Setup) -> Node<Model, Learner> {
    let workers = setup.workers() as u32;
    let leader = LocalLeader::new(setup.node, workers, setup.method.clone(), Mode::Sync).unwrap();
    Node::new(leader.among_nodes(), |line: Line| {
        let worker = lsgd_core::Exchange::rank(&line).worker as usize;
        let device = setup.devices[worker].device.clone().autodiff();
        let model = setup.model.init(&device).unwrap();
        let model = write(model, &setup.layout, &setup.initial).unwrap();
        let learner = Learner::start(setup, worker, device, 0).unwrap();
        let inner = optimizer::inner(&setup.config.optimizer);
        Worker::new(
            model,
            LeaderSgd::new(inner, setup.method.clone(), line),
            learner,
        )
    })
}

fn digests(simulated: &Simulated) -> Vec<String> {
    let workers = simulated.workers.as_ref().expect("it began").workers();
    let digest = |worker: &Worker<Model, Learner>| {
        let report = worker.optimizer().report();
        let (rank, step) = (report.rank, report.step);
        let source = Source::Worker { rank, step };
        read(worker.module(), &simulated.setup.layout, source)
            .unwrap()
            .digest()
            .to_string()
    };
    workers.map(digest).collect()
}
