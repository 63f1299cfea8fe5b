//! What it costs nodes to agree on a leader, as they become more: messages, bytes and time.
//!
//!     cargo run --release -p lsgd-core --example coordination > scripts/results/coordination.json
//!
//! Messages and bytes are counted in a run in memory (`sync`, a round of 8 steps of 50 ms, nothing is
//! lost), of all nodes up to 512, and at one node of 4096. With peers every status goes to every other
//! node over a link of its own; with a router a node sends it once, and the router passes it on. Time is
//! that of one node of the run, on this machine: to take in what all others say in a round, and to
//! elect. It is measured with others that are scripted. Vectors are not counted: each node fetches one.

mod network;
mod trainer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use lsgd_core::{
    Action, Basis, Bid, Event, GlobalLeader, Layout, LeaderConfig, Membership, Method, Mode, Offer,
    Offered, Phase, Rank, Scope, Snapshot, SnapshotDigest, Source, Status, Vector, Wire,
};
use network::{LIMIT, Network, Setting};
use serde_json::{Value, json};

const NODES: [u32; 5] = [2, 8, 64, 512, 4096];
/// More are not run whole: 4096 nodes send each other 17 million statuses a round. What one of them
/// says is counted instead.
const MOST_WHOLE: u32 = 512;
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
        let counted = match nodes <= MOST_WHOLE {
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
    told: f64,
    bytes: f64,
}

fn count(nodes: u32, method: &Method, layout: &Arc<Layout>) -> Counted {
    let mut network = Network::new(Setting {
        nodes,
        mode: Mode::Sync,
        method: method.clone(),
        wire: Wire::F32,
        layout: layout.clone(),
        seed: 1,
        loss: 0.0,
        delay: [Duration::from_millis(1); 2],
        step: Duration::from_millis(50),
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
        told: (network.sent.tellings - before.tellings) as f64 / rounds as f64,
        bytes: (network.sent.bytes - before.bytes) as f64 / statuses as f64,
    }
}

fn row(nodes: u32, counted: Counted, seconds: [f64; ROUNDS as usize]) -> Value {
    let mut sorted = seconds;
    sorted.sort_by(f64::total_cmp);
    let others = f64::from(nodes - 1);
    let Counted { told, bytes } = counted;
    let traffic = json!({
        "statuses_told_by_a_node": told,
        "bytes_of_a_status": bytes,
        "with_peers": {
            "connections_of_a_node": nodes - 1,
            "messages_sent_by_a_node": told * others,
            "bytes_sent_by_a_node": told * others * bytes,
            "messages_of_all": told * others * f64::from(nodes),
        },
        "with_a_router": {
            "connections_of_a_node": 1,
            "messages_sent_by_a_node": told,
            "bytes_sent_by_a_node": told * bytes,
            "messages_sent_by_the_router": told * others * f64::from(nodes),
            "bytes_sent_by_the_router": told * others * f64::from(nodes) * bytes,
        },
        "bytes_received_by_a_node": told * others * bytes,
    });
    json!({
        "nodes": nodes,
        "a_round": traffic,
        "seconds_at_one_node": {
            "median": sorted[sorted.len() / 2], "least": sorted[0], "most": sorted[sorted.len() - 1],
        },
    })
}

/// Time that node 0, which leads, takes for all that the others say in a round, and what it says itself.
fn time_a_round(
    nodes: u32,
    method: &Method,
    layout: &Arc<Layout>,
) -> Result<([f64; ROUNDS as usize], Counted), Box<dyn std::error::Error>> {
    let now = Duration::ZERO;
    let membership = Membership {
        node: 0,
        nodes,
        workers: 1,
        life: 1,
        wire: Wire::F32,
        wait: LIMIT,
        limit: LIMIT,
    };
    let mut observed = GlobalLeader::new(membership, method.clone(), Mode::Sync, now)?;
    for node in 1..nodes {
        observed.appeared(node, 1, now);
        observed.receive(said(node, 0), now);
    }
    while observed.next_action().is_some() {}
    let mut told: Vec<usize> = Vec::new();
    let mut seconds = [0.0; ROUNDS as usize];
    for (round, seconds) in (1..).zip(&mut seconds) {
        let rank = Rank::new(0, 0);
        let step = round * PERIOD;
        let source = Source::Worker { rank, step };
        let snapshot = Arc::new(Snapshot::new(layout.clone(), source, vec![0.0], vec![])?);
        observed.bid(
            Bid {
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
        told.extend(said_itself.filter_map(|action| match action {
            Action::Tell { status, .. } => Some(status.encode().len()),
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
    let bytes = told.iter().sum::<usize>() as f64 / told.len().max(1) as f64;
    let told = told.len() as f64 / f64::from(ROUNDS);
    Ok((seconds, Counted { told, bytes }))
}

/// What another node says once it has offered for a round.
fn said(node: u32, round: u64) -> Status {
    let step = round * PERIOD;
    let rank = Rank::new(node, 0);
    let vector = Offered {
        kind: Vector::Snapshot,
        source: Source::Worker { rank, step },
        loss: 1.0 + f64::from(node),
        digest: SnapshotDigest([0; 32]),
    };
    let offer = |round| {
        let leader = Some(vector);
        (round > 0).then_some(Offer {
            round,
            leader,
            sum: None,
            followed: Some(rank),
        })
    };
    let before = round.saturating_sub(1);
    let basis = Basis {
        round: before,
        vector,
    };
    Status {
        node,
        life: 1,
        sequence: round + 1,
        phase: match round {
            0 => Phase::Joining,
            _ => Phase::Training,
        },
        progress: round,
        rounds: round.saturating_sub(1),
        steps: step,
        trained: 1000 * step,
        workers: 1,
        offers: [offer(round), offer(before)],
        delivered: (before > 0).then_some(basis),
        result: None,
    }
}
