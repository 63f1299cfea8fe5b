//! A node whose others are scripted: what they say to it, and what it does.

use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{
    Action, Event, Fetched, GlobalLeader, JoinPoint, Layout, MeanRef, Method, Mode, NodeConfig,
    NodePhase, NodeUpdate, Proposal, Snapshot, Source, Status, VectorKind, VectorRef, WireFormat,
    WorkerId,
};

use crate::setting::{PERIODS, lsgd, setting};

pub const SECOND: Duration = Duration::from_secs(1);
/// When a script begins.
pub const NOW: Duration = SECOND;
/// How long a node waits for the others at the start.
pub const WAIT: Duration = Duration::from_secs(60);
/// `sync`: how long it waits for one that makes no progress.
pub const LIMIT: Duration = Duration::from_secs(5);

/// Node 1 of three, with two workers.
pub const NODE_CONFIG: NodeConfig = NodeConfig {
    node: 1,
    nodes: 3,
    workers: 2,
    incarnation: 9,
    wire: WireFormat::F32,
    wait: WAIT,
    limit: LIMIT,
};

fn layout() -> Arc<Layout> {
    setting(3, Mode::Sync, lsgd(), 0).layout
}

/// A node with no connections yet.
pub fn alone(node_config: NodeConfig, mode: Mode, method: Method) -> GlobalLeader {
    GlobalLeader::new(node_config, method, mode, NOW).expect("a method of this mode")
}

/// Node 1 of three, of which the others are connected.
pub fn joiner(mode: Mode, method: Method) -> GlobalLeader {
    let mut leader = alone(NODE_CONFIG, mode, method);
    leader.connected(0, 1, NOW);
    leader.connected(2, 1, NOW);
    actions(&mut leader);
    leader
}

/// Node 1 of three that have begun together.
pub fn training(mode: Mode, method: Method) -> GlobalLeader {
    let mut leader = joiner(mode, method);
    for node in [0, 2] {
        leader.receive(says(node, 1), NOW);
    }
    actions(&mut leader);
    leader
}

/// A node that has begun and come no further.
pub fn says(node: u32, sequence: u64) -> Status {
    Status {
        node,
        incarnation: 1,
        sequence,
        heartbeat: false,
        phase: NodePhase::Training,
        progress: sequence,
        rounds: 0,
        exchanged: 0,
        steps: 0,
        trained: 0,
        workers: 2,
        proposals: [None, None],
        join_point: None,
        result: None,
        checkpoints: Vec::new(),
    }
}

/// A node that is at a round, and was delivered `join_point`.
pub fn at(node: u32, round: u64, join_point: (u64, &Snapshot, f64)) -> Status {
    let (of_round, snapshot, loss) = join_point;
    Status {
        rounds: round,
        exchanged: round,
        steps: 2 * round * PERIODS.global,
        trained: 1000 * round,
        join_point: Some(JoinPoint {
            round: of_round,
            vector: vector_ref(snapshot, loss),
        }),
        ..says(node, round)
    }
}

/// A node that proposes its leader for a round.
pub fn proposals(node: u32, round: u64, loss: f64) -> Status {
    let mut status = says(node, 10 * round);
    status.rounds = round - 1;
    status.steps = 2 * round * PERIODS.global;
    status.proposals[0] = Some(proposal(round, &of(node, round), loss));
    status
}

pub fn proposal(round: u64, leader: &Snapshot, loss: f64) -> Proposal {
    Proposal {
        round,
        leader: Some(vector_ref(leader, loss)),
        sum: None,
        followed: None,
    }
}

pub fn vector_ref(snapshot: &Snapshot, loss: f64) -> VectorRef {
    VectorRef {
        kind: VectorKind::Parameters,
        source: snapshot.source(),
        loss,
        digest: snapshot.digest(),
        factors: None,
    }
}

/// Any three values.
pub fn vector(source: Source, values: [f32; 3]) -> Arc<Snapshot> {
    let made = Snapshot::new(layout(), source, values.to_vec(), vec![]);
    Arc::new(made.expect("as long as its layout"))
}

/// The state of a node's worker 0 in a round.
pub fn of(node: u32, round: u64) -> Arc<Snapshot> {
    let source = Source::Worker {
        id: WorkerId::new(node, 0),
        step: round * PERIODS.global,
    };
    vector(source, [node as f32, round as f32, 0.0])
}

/// What node 1 brings to a round.
pub fn update(round: u64, loss: f64) -> NodeUpdate {
    NodeUpdate {
        step: round * PERIODS.global,
        taken: 2 * PERIODS.global,
        workers: 2,
        leader: Some((of(1, round), loss)),
        sum: None,
    }
}

pub fn actions(leader: &mut GlobalLeader) -> Vec<Action> {
    std::iter::from_fn(|| leader.next_action()).collect()
}

/// What the first of its actions to have it says.
pub fn first<T>(leader: &mut GlobalLeader, says: impl FnMut(Action) -> Option<T>) -> Option<T> {
    actions(leader).into_iter().find_map(says)
}

/// What it has recorded.
pub fn recorded(actions: &[Action]) -> Vec<Event> {
    let event = |action: &Action| match action {
        Action::Record(event) => Some(event.clone()),
        _ => None,
    };
    actions.iter().filter_map(event).collect()
}

/// What it has told the others.
pub fn broadcasts(actions: &[Action]) -> Vec<Status> {
    let status = |action: &Action| match action {
        Action::Broadcast(status) => Some(status.clone()),
        _ => None,
    };
    actions.iter().filter_map(status).collect()
}

/// The vectors it asks for, each with whom it asks first.
pub fn asked(actions: &[Action]) -> Vec<(VectorRef, u32)> {
    let fetch = |action: &Action| match action {
        Action::Fetch { vector, holders } => Some((*vector, holders[0])),
        _ => None,
    };
    actions.iter().filter_map(fetch).collect()
}

/// The means that it asks for.
pub fn means(actions: &[Action]) -> Vec<MeanRef> {
    let mean = |action: &Action| match action {
        Action::Average(mean) => Some(mean.clone()),
        _ => None,
    };
    actions.iter().filter_map(mean).collect()
}

/// Whose leaders' vectors its workers were given, by step; nothing for an exchange without one.
pub fn delivered(actions: &[Action]) -> Vec<Option<Source>> {
    let leader = |action: &Action| match action {
        Action::Deliver(delivered) => Some(delivered.leader.as_ref().map(|v| v.source())),
        _ => None,
    };
    actions.iter().filter_map(leader).collect()
}

/// Where it begins, with what, and how many bytes came for it.
pub fn begun(leader: &mut GlobalLeader) -> Option<(u64, Option<Vec<f32>>, u64)> {
    let mut came = None;
    first(leader, |action| match action {
        Action::Record(Event::Joined { bytes, .. }) => {
            came = Some(bytes);
            None
        }
        Action::Begin {
            step, parameters, ..
        } => {
            let values = |snapshot: Arc<Snapshot>| snapshot.parameters().to_vec();
            Some((step, parameters.map(values), came?))
        }
        _ => None,
    })
}

pub fn fetch(leader: &mut GlobalLeader, snapshot: &Arc<Snapshot>) {
    let fetched = Fetched {
        snapshot: snapshot.clone(),
        crossed: true,
    };
    leader.fetched(snapshot.digest(), Ok(fetched), NOW);
}

pub fn fail(leader: &mut GlobalLeader, snapshot: &Snapshot) {
    leader.fetched(snapshot.digest(), Err(String::from("gone")), NOW);
}
