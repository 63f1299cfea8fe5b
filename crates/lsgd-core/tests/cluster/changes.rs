//! Changes in place of sums, of which the largest value of the three crosses: at node 1 of three, in `sync`.

use std::sync::Arc;

use lsgd_core::{
    Action, Event, ExchangeOutcome, GlobalLeader, GlobalLeaderState, Method, Mode, NodeConfig,
    NodeUpdate, OuterStep, Snapshot, Source, Status, VectorKind, VectorRef, WireFormat,
};

use crate::script::{
    NODE_CONFIG, NOW, actions, alone, asked, at, begun, fetch, proposals, recorded, says, update,
    vector, vector_ref,
};
use crate::setting::{MEETINGS, local_sgd};

/// Two workers of a node.
fn sum(values: [f32; 3]) -> Arc<Snapshot> {
    vector(Source::Sum { workers: 2 }, values)
}

fn change(since: &Snapshot, values: [f32; 3]) -> Arc<Snapshot> {
    let since = since.digest().into();
    vector(Source::Change { workers: 2, since }, values)
}

fn mean(values: [f32; 3]) -> Arc<Snapshot> {
    vector(Source::Mean { workers: 6 }, values)
}

/// What another node proposes for a round.
fn offers(node: u32, round: u64, sum: &Snapshot) -> Status {
    let mut status = proposals(node, round, 0.5);
    let proposal = status.proposals[0].as_mut().expect("its proposal");
    let vector = VectorRef {
        kind: VectorKind::Mean,
        ..vector_ref(sum, 0.0)
    };
    (proposal.leader, proposal.sum) = (None, Some(vector));
    status
}

/// Node 1 of three that have begun together.
fn begun_together() -> GlobalLeader {
    let node_config = NodeConfig {
        wire: WireFormat::Topk,
        ..NODE_CONFIG
    };
    let mut leader = alone(node_config, Mode::Sync, local_sgd());
    for node in [0, 2] {
        leader.connected(node, 1, NOW);
        leader.receive(says(node, 1), NOW);
    }
    actions(&mut leader);
    leader
}

/// Lets it propose the sum of its workers, and returns what it does.
fn propose(leader: &mut GlobalLeader, round: u64, values: [f32; 3]) -> Vec<Action> {
    let brought = NodeUpdate {
        leader: None,
        sum: Some((sum(values), 0.0)),
        ..update(round, 0.5)
    };
    leader.propose(brought, NOW);
    actions(leader)
}

/// What others can fetch of it.
fn published(actions: &[Action]) -> Arc<Snapshot> {
    let published = |action: &Action| match action {
        Action::Publish(vector) => Some(vector.clone()),
        _ => None,
    };
    actions.iter().find_map(published).expect("a proposal")
}

/// Lets nodes 0 and 2 propose these, of which those that it asks for arrive.
fn answer(leader: &mut GlobalLeader, round: u64, sums: [&Arc<Snapshot>; 2]) -> Vec<Action> {
    for (node, sum) in [0, 2].into_iter().zip(sums) {
        leader.receive(offers(node, round, sum), NOW);
    }
    let mut done = actions(leader);
    for (vector, _) in asked(&done) {
        let sum = sums.into_iter().find(|sum| sum.digest() == vector.digest);
        fetch(leader, sum.expect("one of theirs"));
    }
    done.extend(actions(leader));
    done
}

fn delivered(actions: &[Action]) -> Option<ExchangeOutcome> {
    let delivered = |action: &Action| match action {
        Action::Deliver(delivered) => Some(delivered.clone()),
        _ => None,
    };
    actions.iter().find_map(delivered)
}

fn mean_in(actions: &[Action]) -> Option<Vec<f32>> {
    let delivered = delivered(actions)?;
    Some(delivered.mean?.parameters().to_vec())
}

/// The bytes that an exchange took.
fn bytes(actions: &[Action]) -> u64 {
    let bytes = |event: Event| match event {
        Event::Exchange { bytes, .. } => Some(bytes),
        _ => None,
    };
    let mut took = recorded(actions).into_iter().filter_map(bytes);
    took.next().expect("an exchange")
}

/// By how much what it proposed was rounded.
fn rounding(actions: &[Action]) -> Option<f64> {
    let rounding = |event: Event| match event {
        Event::Proposed { rounding, .. } => rounding,
        _ => None,
    };
    recorded(actions).into_iter().find_map(rounding)
}

/// After a first exchange, of whole sums, which leads all to (1, 1, 1).
fn after_first() -> GlobalLeader {
    let mut leader = begun_together();
    let proposed = propose(&mut leader, 1, [2.0; 3]);
    assert_eq!(published(&proposed).source(), Source::Sum { workers: 2 });
    assert_eq!(rounding(&proposed), None);
    let theirs = [sum([4.0, 2.0, 2.0]), sum([0.0, 2.0, 2.0])];
    let done = answer(&mut leader, 1, [&theirs[0], &theirs[1]]);
    assert_eq!(mean_in(&done), Some(vec![1.0; 3]));
    assert_eq!(bytes(&done), 2 * 12, "two vectors of three f32");
    leader
}

/// Its change of (3, 0.5, -0.25), of which 3 crosses; in the next round there are (0, 0.5, 0.125) more.
#[test]
fn what_does_not_cross_is_added_to_the_next_change() {
    let mut leader = after_first();
    let proposed = propose(&mut leader, 2, [5.0, 2.5, 1.75]);
    let first = mean([1.0; 3]);
    let sent = published(&proposed);
    assert_eq!(sent.parameters(), [3.0, 0.0, 0.0]);
    assert_eq!(sent.source(), change(&first, [0.0; 3]).source());
    let (left, all) = (0.25 + 0.0625, 9.0 + 0.25 + 0.0625_f64);
    assert_eq!(rounding(&proposed), Some((left / all).sqrt()));

    let theirs = [[0.0, -6.0, 0.0], [0.0, 0.0, 1.5]].map(|values| change(&first, values));
    let done = answer(&mut leader, 2, [&theirs[0], &theirs[1]]);
    assert_eq!(mean_in(&done), Some(vec![1.5, 0.0, 1.25]));
    let source = delivered(&done).and_then(|delivered| Some(delivered.mean?.source()));
    assert_eq!(source, Some(Source::Mean { workers: 6 }));
    // An exponent, a number and a position each.
    assert_eq!(bytes(&done), 2 * 4);

    let proposed = propose(&mut leader, 3, [3.0, 0.5, 2.625]);
    let sent = published(&proposed);
    assert_eq!(sent.parameters(), [0.0, 1.0, 0.0]);
    let second = mean([1.5, 0.0, 1.25]);
    assert_eq!(sent.source(), change(&second, [0.0; 3]).source());
    assert_eq!(unsent(&leader.state()), Some(vec![0.0, 0.5, -0.25]));
}

fn unsent(state: &GlobalLeaderState) -> Option<Vec<f32>> {
    let unsent = state.unsent.as_ref()?;
    Some(unsent.parameters().to_vec())
}

#[test]
fn a_checkpoint_holds_what_has_not_been_sent() {
    let mut leader = after_first();
    propose(&mut leader, 2, [5.0, 2.5, 1.75]);
    assert_eq!(unsent(&leader.state()), None, "before the exchange is over");
    let first = mean([1.0; 3]);
    let theirs = [[0.0, -6.0, 0.0], [0.0, 0.0, 1.5]].map(|values| change(&first, values));
    answer(&mut leader, 2, [&theirs[0], &theirs[1]]);
    let saved = leader.state();

    let mut again = begun_together();
    again.resume(saved, NOW);
    actions(&mut again);
    let digests = [leader, again].map(|mut leader| {
        let proposed = propose(&mut leader, 3, [3.0, 0.5, 2.625]);
        published(&proposed).digest()
    });
    assert_eq!(digests[0], digests[1]);
}

/// A node that was not there for an exchange has other values, and its change is one of those.
#[test]
fn changes_of_another_vector_are_left_out() {
    let mut leader = after_first();
    propose(&mut leader, 2, [5.0, 2.0, 2.0]);
    let theirs = [
        change(&mean([1.0; 3]), [0.0, -8.0, 0.0]),
        change(&mean([7.0; 3]), [0.0, 0.0, 1.5]),
    ];
    let done = answer(&mut leader, 2, [&theirs[0], &theirs[1]]);
    assert!(!asked(&done).iter().any(|(_, of)| *of == 2), "of no use");
    assert_eq!(mean_in(&done), Some(vec![1.75, -1.0, 1.0]));
}

/// If it is this node that has other values than most, it begins again where they are.
#[test]
fn a_node_with_other_values_than_most_begins_again_with_theirs() {
    let mut leader = after_first();
    propose(&mut leader, 2, [5.0, 2.0, 2.0]);
    let theirs = mean([7.0; 3]);
    let offered = [[0.0, -6.0, 0.0], [0.0, 0.0, 1.5]].map(|values| change(&theirs, values));
    let done = answer(&mut leader, 2, [&offered[0], &offered[1]]);
    assert!(asked(&done).is_empty(), "{:?}", asked(&done));
    assert!(delivered(&done).is_none());

    let outcome = mean([7.0, 5.5, 7.375]);
    let mut status = at(0, 2, (2, &outcome, 0.0));
    (status.sequence, status.proposals) = (21, offers(0, 2, &offered[0]).proposals);
    leader.receive(status, NOW);
    let asked = asked(&actions(&mut leader));
    assert_eq!(
        asked.last().map(|(vector, _)| vector.digest),
        Some(outcome.digest())
    );
    fetch(&mut leader, &outcome);
    let began = begun(&mut leader).expect("it begins");
    // The parameters that nodes begin from cross as they are.
    assert_eq!(began, (16, Some(vec![7.0, 5.5, 7.375]), 12));

    // What it had not sent was part of what it has left behind.
    let proposed = propose(&mut leader, 3, [14.5, 11.0, 14.75]);
    assert_eq!(published(&proposed).parameters(), [0.5, 0.0, 0.0]);
    assert_eq!(unsent(&leader.state()), None);
}

/// A worker that is pulled elsewhere than to the mean, or goes on with momentum, begins somewhere else.
#[test]
fn methods_that_do_not_begin_at_the_mean_are_refused() {
    let outer = |learning_rate, momentum| {
        let step = OuterStep {
            learning_rate,
            momentum,
            nesterov: true,
        };
        Method::diloco("diloco", MEETINGS, step).expect("a method")
    };
    let check = |method: Method| {
        method
            .check_wire(WireFormat::Topk)
            .map_err(|e| e.to_string())
    };
    assert_eq!(check(local_sgd()), Ok(()));
    for learning_rate in [0.5, 0.7, 1.0, 1.5] {
        assert_eq!(check(outer(learning_rate, 0.0)), Ok(()));
    }
    for method in [
        outer(0.7, 0.9),
        outer(0.4, 0.0),
        outer(1.6, 0.0),
        Method::easgd(MEETINGS, 0.5).expect("a method"),
        Method::leader_filter(MEETINGS, 0.5).expect("a method"),
        crate::setting::leader_mean(),
        crate::setting::lsgd(),
        crate::setting::downpour(),
    ] {
        let name = method.name();
        let refused = format!(
            "wire \"topk\" sends changes since the last mean, and workers of {name} do not begin there; \
             use it with local_sgd, or with diloco or slowmo, outer_momentum 0 and outer_learning_rate from \
             0.5 to 1.5"
        );
        assert_eq!(check(method.clone()), Err(refused.clone()));
        assert_eq!(method.check_wire(WireFormat::Int8), Ok(()));
        let node_config = NodeConfig {
            wire: WireFormat::Topk,
            ..NODE_CONFIG
        };
        let mode = match method.check_mode(Mode::Sync) {
            Ok(()) => Mode::Sync,
            Err(_) => Mode::Async,
        };
        let made = GlobalLeader::new(node_config, method, mode, NOW);
        assert_eq!(made.map_err(|error| error.to_string()).err(), Some(refused));
    }
}
