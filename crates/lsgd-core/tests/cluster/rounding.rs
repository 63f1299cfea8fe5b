//! What crosses the network as bf16, at one node of two in `sync`: rounded once, by the node that
//! proposes it, and then the same for all.

use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{
    Action, Event, ExchangeOutcome, Fetched, GlobalLeader, Method, Mode, NodeConfig, NodePhase,
    NodeUpdate, Proposal, Snapshot, Source, Status, VectorKind, VectorRef, WireFormat, WorkerId,
};

use crate::setting::{PERIODS, local_sgd, lsgd, setting};

pub const NOW: Duration = Duration::from_secs(1);
/// From 1 to 2 numbers of bf16 are 1/128 apart.
const STEP: f32 = 1.0 / 128.0;

/// Three values of worker 0 of a node.
fn vector(node: u32, source: Option<Source>, values: [f32; 3]) -> Arc<Snapshot> {
    let layout = setting(2, Mode::Sync, lsgd(), 0).layout;
    let source = source.unwrap_or(Source::Worker {
        id: WorkerId::new(node, 0),
        step: PERIODS.global,
    });
    let made = Snapshot::new(layout, source, values.to_vec(), vec![]);
    Arc::new(made.expect("as long as its layout"))
}

/// Node 0 of two that have begun together.
pub fn node(wire: WireFormat, method: Method) -> GlobalLeader {
    let node_config = NodeConfig {
        node: 0,
        nodes: 2,
        workers: 1,
        incarnation: 1,
        wire,
        wait: Duration::from_secs(60),
        limit: Duration::from_secs(5),
    };
    let mut leader = GlobalLeader::new(node_config, method, Mode::Sync, NOW).expect("sync");
    leader.connected(1, 1, NOW);
    leader.receive(other(1, NodePhase::Joining, None), NOW);
    actions(&mut leader);
    leader
}

/// What the other node says.
pub fn other(sequence: u64, phase: NodePhase, proposal: Option<Proposal>) -> Status {
    Status {
        node: 1,
        incarnation: 1,
        sequence,
        heartbeat: false,
        phase,
        progress: sequence,
        rounds: 0,
        exchanged: 0,
        steps: 0,
        trained: 0,
        workers: 1,
        proposals: [proposal, None],
        join_point: None,
        result: None,
        checkpoints: Vec::new(),
    }
}

fn vector_ref(kind: VectorKind, vector: &Snapshot, loss: f64) -> VectorRef {
    VectorRef {
        kind,
        source: vector.source(),
        loss,
        digest: vector.digest(),
        factors: None,
    }
}

pub fn actions(leader: &mut GlobalLeader) -> Vec<Action> {
    std::iter::from_fn(|| leader.next_action()).collect()
}

fn published(actions: &[Action]) -> Vec<Vec<f32>> {
    let values = |action: &Action| match action {
        Action::Publish(vector) => Some(vector.parameters().to_vec()),
        _ => None,
    };
    actions.iter().filter_map(values).collect()
}

fn proposed(actions: &[Action]) -> Proposal {
    let proposal = |action: &Action| match action {
        Action::Broadcast(status) => status.proposals[0],
        _ => None,
    };
    actions.iter().find_map(proposal).expect("an offer")
}

fn delivered(actions: &[Action]) -> ExchangeOutcome {
    let delivered = |action: &Action| match action {
        Action::Deliver(delivered) => Some(delivered.clone()),
        _ => None,
    };
    actions.iter().find_map(delivered).expect("the round's end")
}

/// By how much what it proposed was rounded, and the bytes that its round took.
fn recorded(actions: &[Action]) -> (Option<f64>, u64) {
    let (mut rounding, mut bytes) = (None, 0);
    for action in actions {
        match action {
            Action::Record(Event::Proposed { rounding: by, .. }) => rounding = *by,
            Action::Record(Event::Exchange { bytes: took, .. }) => bytes = *took,
            _ => {}
        }
    }
    (rounding, bytes)
}

/// Brings to round 1 the leader's values, half a step above the even numbers.
fn bid_of_leader(leader: &mut GlobalLeader) -> Vec<Action> {
    let values = [1.0 + STEP / 2.0, 1.0, 1.0];
    let update = NodeUpdate {
        step: PERIODS.global,
        taken: PERIODS.global,
        workers: 1,
        leader: Some((vector(0, None, values), 0.5)),
        sum: None,
    };
    leader.propose(update, NOW);
    actions(leader)
}

/// Lets the other node propose a leader of this loss.
fn proposal(leader: &mut GlobalLeader, vector: &Snapshot, loss: f64) -> Vec<Action> {
    let proposal = Proposal {
        round: 1,
        leader: Some(vector_ref(VectorKind::Parameters, vector, loss)),
        sum: None,
        followed: None,
    };
    leader.receive(other(2, NodePhase::Training, Some(proposal)), NOW);
    actions(leader)
}

/// What others can fetch, what is announced to them, and what this node's own workers follow are
/// one and the same rounded vector: no worker has values that others cannot have.
#[test]
fn what_a_node_offers_is_rounded_for_all_and_for_itself() {
    for (wire, first) in [(WireFormat::F32, 1.0 + STEP / 2.0), (WireFormat::Bf16, 1.0)] {
        let mut leader = node(wire, lsgd());
        let brought = bid_of_leader(&mut leader);
        let expected = vector(0, None, [first, 1.0, 1.0]);
        assert_eq!(published(&brought), [expected.parameters()], "{wire:?}");
        let proposed = proposed(&brought).leader.expect("a leader's vector");
        assert_eq!(
            proposed,
            vector_ref(VectorKind::Parameters, &expected, 0.5),
            "{wire:?}"
        );
        let (rounding, _) = recorded(&brought);
        let moved = f64::from(STEP / 2.0);
        let squares = (1.0 + moved).powi(2) + 2.0;
        match wire {
            WireFormat::F32 => assert_eq!(rounding, None),
            _ => assert_eq!(rounding, Some(f64::sqrt(moved.powi(2) / squares))),
        }

        let theirs = vector(1, None, [2.0; 3]);
        let round = proposal(&mut leader, &theirs, 0.9);
        let followed = delivered(&round).leader.expect("this node leads");
        assert_eq!(followed.parameters(), expected.parameters(), "{wire:?}");
        assert_eq!(followed.source(), expected.source());
        assert_eq!(recorded(&round), (None, 0), "nothing crossed");
    }
}

/// What comes from another node was rounded there, and is counted in the bytes that it took.
#[test]
fn what_is_fetched_is_used_as_it_is() {
    for (wire, bytes) in [
        (WireFormat::F32, 12),
        (WireFormat::Bf16, 6),
        (WireFormat::Int8, 4),
    ] {
        let mut leader = node(wire, lsgd());
        bid_of_leader(&mut leader);
        let theirs = vector(1, None, [2.0, 1.0 + STEP, -1.0]);
        proposal(&mut leader, &theirs, 0.1);
        let fetched = Fetched {
            snapshot: theirs.clone(),
            crossed: true,
        };
        leader.fetched(theirs.digest(), Ok(fetched), NOW);
        let round = actions(&mut leader);
        let followed = delivered(&round).leader.expect("the other node leads");
        assert_eq!(followed.parameters(), theirs.parameters(), "{wire:?}");
        assert_eq!(recorded(&round), (None, bytes), "{wire:?}");
    }
}

/// Each node's sum is rounded where it is proposed, and their mean again, which a node that begins
/// may fetch: (1 + 1/256) and (1 + 3/128) become 1 and 1 + 3/128, and their mean of 1 + 3/256
/// becomes 1 + 2/128.
#[test]
fn a_mean_is_of_rounded_sums_and_rounded_itself() {
    let mut leader = node(WireFormat::Bf16, local_sgd());
    let sum = |node, first| vector(node, Some(Source::Sum { workers: 1 }), [first, 1.0, 1.0]);
    let update = NodeUpdate {
        step: PERIODS.global,
        taken: PERIODS.global,
        workers: 1,
        leader: None,
        sum: Some((sum(0, 1.0 + STEP / 2.0), 0.0)),
    };
    leader.propose(update, NOW);
    let brought = actions(&mut leader);
    assert_eq!(published(&brought), [vec![1.0; 3]]);

    let theirs = sum(1, 1.0 + 3.0 * STEP);
    let proposal = Proposal {
        round: 1,
        leader: None,
        sum: Some(vector_ref(VectorKind::Mean, &theirs, 0.0)),
        followed: None,
    };
    leader.receive(other(2, NodePhase::Training, Some(proposal)), NOW);
    let fetched = Fetched {
        snapshot: theirs.clone(),
        crossed: true,
    };
    leader.fetched(theirs.digest(), Ok(fetched), NOW);
    let round = actions(&mut leader);
    let mean = delivered(&round).mean.expect("of two nodes");
    assert_eq!(mean.parameters(), [1.0 + 2.0 * STEP, 1.0, 1.0]);
    assert_eq!(mean.source(), Source::Mean { workers: 2 });
    assert_eq!(published(&round), [mean.parameters()]);
    assert_eq!(recorded(&round), (None, 6));
}
