//! What it costs nodes to agree on a leader, as they become more: messages, bytes and time.
//!
//!     cargo run --release -p lsgd-core --example coordination > scripts/results/coordination.json
//!
//! Messages and bytes are counted in a run in memory (`sync`, a round of 8 steps of 50 ms, nothing
//! is lost), of all nodes up to 512, and at one node of 4096. With peers every status goes to every
//! other node over a link of its own; with a router a node sends it once, and the router passes it
//! on. Time is that of one node of the run, on this machine: to take in what all others say in a
//! round, and to elect. It is measured with others that are scripted. Vectors are not counted: each
//! node fetches one.

mod network;
mod trainer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use lsgd_core::{
    Action, Event, GlobalLeader, JoinPoint, Layout, LeaderConfig, Method, Mode, NodeConfig,
    NodePhase, NodeUpdate, Proposal, Scope, Snapshot, SnapshotDigest, Source, Status, VectorKind,
    VectorRef, WireFormat, WorkerId,
};
use network::{Harshness, LIMIT, Network, Setting};
use serde_json::{Value, json};

const NODES: [u32; 5] = [2, 8, 64, 512, 4096];
/// More are not run whole: 4096 nodes send each other 17 million statuses a round. What one of them
/// says is counted instead.
const MAX_WHOLE: u32 = 512;
const ROUNDS: u32 = 7;
const PERIOD: u64 = 8;

/// What is trained: one number.
#[derive(Module, Debug)]
struct Point {
    x: Param<Tensor<1>>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::flex().autodiff();
    let point = Point {
        x: Param::from_data(TensorData::new(vec![0.0f32], [1]), &device),
    };
    let layout = Layout::of(&point);
    let method = Method::lsgd(&LeaderConfig {
        local_period: PERIOD,
        global_period: PERIOD,
        ..LeaderConfig::default()
    })?;
    let mut rows = Vec::new();
    for nodes in NODES {
        let (seconds, of_one) = time_a_round(nodes, &method, &layout)?;
        let counted = match nodes <= MAX_WHOLE {
            true => count(nodes, &method, &layout),
            false => of_one,
        };
        eprintln!("{nodes} nodes: {seconds:?} s a round at one node");
        rows.push(row(nodes, counted, seconds));
    }
    println!("{}", serde_json::to_string_pretty(&rows)?);
    Ok(())
}

/// Statuses that a node tells in a round, and bytes of each, in the mean over a run.
struct Counted {
    broadcasts: f64,
    bytes: f64,
}

fn count(nodes: u32, method: &Method, layout: &Arc<Layout>) -> Counted {
    let mut network = Network::new(Setting {
        nodes,
        mode: Mode::Sync,
        method: method.clone(),
        wire: WireFormat::F32,
        layout: layout.clone(),
        seed: 1,
        loss: 0.0,
        delay: [Duration::from_millis(1); 2],
        step: Duration::from_millis(50),
        harshness: Harshness::default(),
    });
    network.run(Duration::from_secs(2));
    network.settle();
    let (before, recorded) = (network.sent, network.history.len());
    network.run(Duration::from_secs(match nodes {
        0..=64 => 20,
        _ => 8,
    }));
    let is_round = |event: &Event| {
        let scope = Scope::Global;
        matches!(event, Event::Exchange { scope: found, .. } if *found == scope)
    };
    let history = network.history[recorded..].iter();
    let rounds = history.filter(|(_, _, event)| is_round(event)).count();
    let statuses = network.sent.statuses - before.statuses;
    Counted {
        broadcasts: (network.sent.broadcasts - before.broadcasts) as f64 / rounds as f64,
        bytes: (network.sent.bytes - before.bytes) as f64 / statuses as f64,
    }
}

fn row(nodes: u32, counted: Counted, seconds: [f64; ROUNDS as usize]) -> Value {
    let mut sorted = seconds;
    sorted.sort_by(f64::total_cmp);
    let others = f64::from(nodes - 1);
    let Counted { broadcasts, bytes } = counted;
    let traffic = json!({
        "statuses_told_by_a_node": broadcasts,
        "bytes_of_a_status": bytes,
        "with_peers": {
            "connections_of_a_node": nodes - 1,
            "messages_sent_by_a_node": broadcasts * others,
            "bytes_sent_by_a_node": broadcasts * others * bytes,
            "messages_of_all": broadcasts * others * f64::from(nodes),
        },
        "with_a_router": {
            "connections_of_a_node": 1,
            "messages_sent_by_a_node": broadcasts,
            "bytes_sent_by_a_node": broadcasts * bytes,
            "messages_sent_by_the_router": broadcasts * others * f64::from(nodes),
            "bytes_sent_by_the_router": broadcasts * others * f64::from(nodes) * bytes,
        },
        "bytes_received_by_a_node": broadcasts * others * bytes,
    });
    json!({
        "nodes": nodes,
        "a_round": traffic,
        "seconds_at_one_node": {
            "median": sorted[sorted.len() / 2], "least": sorted[0], "most": sorted[sorted.len() - 1],
        },
    })
}

/// Time that node 0, which leads, takes for all that the others say in a round, and what it says
/// itself.
fn time_a_round(
    nodes: u32,
    method: &Method,
    layout: &Arc<Layout>,
) -> Result<([f64; ROUNDS as usize], Counted), Box<dyn std::error::Error>> {
    let now = Duration::ZERO;
    let node_config = NodeConfig {
        node: 0,
        nodes,
        workers: 1,
        incarnation: 1,
        wire: WireFormat::F32,
        wait: LIMIT,
        limit: LIMIT,
    };
    let mut observed = GlobalLeader::new(node_config, method.clone(), Mode::Sync, now)?;
    for node in 1..nodes {
        observed.connected(node, 1, now);
        observed.receive(said(node, 0), now);
    }
    while observed.next_action().is_some() {}
    let mut broadcasts: Vec<usize> = Vec::new();
    let mut seconds = [0.0; ROUNDS as usize];
    for (round, seconds) in (1..).zip(&mut seconds) {
        let id = WorkerId::new(0, 0);
        let step = round * PERIOD;
        let source = Source::Worker { id, step };
        let snapshot = Arc::new(Snapshot::new(layout.clone(), source, vec![0.0], vec![])?);
        observed.propose(
            NodeUpdate {
                step,
                taken: PERIOD,
                workers: 1,
                leader: Some((snapshot, 0.5)),
                sum: None,
            },
            now,
        );
        let statuses: Vec<Vec<u8>> = (1..nodes).map(|node| said(node, round).encode()).collect();
        let said_itself = std::iter::from_fn(|| observed.next_action());
        broadcasts.extend(said_itself.filter_map(|action| match action {
            Action::Broadcast(status) => Some(status.encode().len()),
            _ => None,
        }));
        let began = Instant::now();
        for bytes in &statuses {
            observed.receive(Status::decode(bytes)?, now);
        }
        *seconds = began.elapsed().as_secs_f64();
        let mut actions = std::iter::from_fn(|| observed.next_action());
        let delivers =
            |action| matches!(action, Action::Deliver(delivered) if !delivered.is_empty());
        if !actions.any(delivers) {
            return Err("the round is not over".into());
        }
    }
    let bytes = broadcasts.iter().sum::<usize>() as f64 / broadcasts.len().max(1) as f64;
    let broadcasts = broadcasts.len() as f64 / f64::from(ROUNDS);
    Ok((seconds, Counted { broadcasts, bytes }))
}

/// What another node says once it has proposed for a round.
fn said(node: u32, round: u64) -> Status {
    let step = round * PERIOD;
    let id = WorkerId::new(node, 0);
    let vector = VectorRef {
        kind: VectorKind::Parameters,
        source: Source::Worker { id, step },
        loss: 1.0 + f64::from(node),
        digest: SnapshotDigest([0; 32]),
        factors: None,
    };
    let proposal = |round| {
        let leader = Some(vector);
        (round > 0).then_some(Proposal {
            round,
            leader,
            sum: None,
            followed: Some(id),
        })
    };
    let before = round.saturating_sub(1);
    let join_point = JoinPoint {
        round: before,
        vector,
    };
    Status {
        node,
        incarnation: 1,
        sequence: round + 1,
        heartbeat: false,
        phase: match round {
            0 => NodePhase::Joining,
            _ => NodePhase::Training,
        },
        progress: round,
        rounds: round.saturating_sub(1),
        exchanged: round,
        steps: step,
        trained: 1000 * step,
        workers: 1,
        proposals: [proposal(round), proposal(before)],
        join_point: (before > 0).then_some(join_point),
        result: None,
        checkpoints: Vec::new(),
    }
}
