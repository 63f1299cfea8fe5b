//! Whom a node waits for before it begins, and where it begins. The others are scripted.

use std::collections::BTreeSet;

use lsgd_core::{
    Action, BatchNorm, Event, GlobalLeader, Method, Mode, NodeConfig, NodePhase, Source, Status,
};

use crate::script::{
    NODE_CONFIG, NOW, SECOND, WAIT, actions, alone, asked, at, begun, broadcasts, fetch, joiner,
    of, recorded, says, update, vector,
};
use crate::setting::{PERIODS, downpour, lsgd};

/// The sets of nodes that it says it waits for, in order.
fn awaited(actions: &[Action]) -> Vec<Vec<u32>> {
    let awaited = |action: &Action| match action {
        Action::Await(nodes) => Some(nodes.iter().copied().collect()),
        _ => None,
    };
    actions.iter().filter_map(awaited).collect()
}

fn gave_up(actions: &[Action]) -> Option<BTreeSet<u32>> {
    actions.iter().find_map(|action| match action {
        Action::GiveUp(nodes) => Some(nodes.clone()),
        _ => None,
    })
}

fn is_turned_away(actions: &[Action]) -> bool {
    let turned = |action: &Action| matches!(action, Action::CannotJoin);
    actions.iter().any(turned)
}

/// It says for whom it waits whenever that changes, and that it waits no longer.
#[test]
fn it_says_for_whom_it_waits() {
    let mut leader = alone(NODE_CONFIG, Mode::Sync, lsgd());
    assert_eq!(awaited(&actions(&mut leader)), [vec![0, 2]]);
    leader.tick(NOW + SECOND);
    leader.connected(0, 1, NOW + SECOND);
    assert_eq!(awaited(&actions(&mut leader)).len(), 0, "no news");
    let joins = |node, sequence| Status {
        phase: NodePhase::Joining,
        ..says(node, sequence)
    };
    leader.receive(joins(0, 1), NOW + SECOND);
    assert_eq!(awaited(&actions(&mut leader)), [vec![2]]);
    leader.disconnected(0, 1, NOW + SECOND);
    assert_eq!(awaited(&actions(&mut leader)), [vec![0, 2]]);
    leader.connected(0, 1, NOW + SECOND);
    leader.connected(2, 1, NOW + SECOND);
    leader.receive(joins(2, 1), NOW + SECOND);
    let done = actions(&mut leader);
    assert_eq!(awaited(&done).last(), Some(&vec![]));
    let begins = |action: &Action| matches!(action, Action::Begin { step: 0, .. });
    assert!(done.iter().any(begins));
}

/// It is woken when its time is over, though that is between two heartbeats, and never again for
/// it.
#[test]
fn a_node_that_waits_gives_up_when_its_time_is_over() {
    let mut leader = alone(NODE_CONFIG, Mode::Sync, lsgd());
    leader.connected(0, 1, NOW);
    leader.receive(
        Status {
            phase: NodePhase::Joining,
            ..says(0, 1)
        },
        NOW,
    );
    leader.tick(NOW + SECOND / 2);
    assert_eq!(leader.deadline(), NOW + 3 * SECOND / 2, "its heartbeat");
    leader.tick(NOW + WAIT - SECOND / 2);
    assert_eq!(gave_up(&actions(&mut leader)), None);
    assert_eq!(leader.deadline(), NOW + WAIT);
    leader.tick(NOW + WAIT);
    assert_eq!(gave_up(&actions(&mut leader)), Some(BTreeSet::from([2])));
    leader.tick(NOW + WAIT + SECOND);
    assert_eq!(gave_up(&actions(&mut leader)), None);
}

/// Once it trains, the time that it would have waited at the start means nothing.
#[test]
fn a_node_that_trains_is_woken_for_its_heartbeats_alone() {
    let mut leader = joiner(Mode::Sync, lsgd());
    leader.receive(says(0, 1), NOW);
    leader.receive(says(2, 1), NOW);
    let late = NOW + WAIT - SECOND / 2;
    leader.tick(late);
    assert_eq!(leader.deadline(), late + SECOND);
}

/// A gradient is nothing to begin with. At the very start there is nothing to be missed.
#[test]
fn who_comes_late_to_a_run_that_shares_gradients_cannot_join() {
    let method = || Method::data_parallel(4, BatchNorm::Own).expect("a method");
    let mut leader = joiner(Mode::Sync, method());
    leader.receive(says(0, 1), NOW);
    let done = actions(&mut leader);
    assert!(!is_turned_away(&done));
    assert!(
        done.iter()
            .any(|a| matches!(a, Action::Begin { step: 0, .. }))
    );

    let mut leader = joiner(Mode::Sync, method());
    let mut later = says(0, 1);
    later.rounds = 1;
    leader.receive(later, NOW);
    assert!(is_turned_away(&actions(&mut leader)));
    assert_eq!(begun(&mut leader), None);
}

#[test]
fn it_begins_only_with_what_it_asked_for() {
    let mut leader = joiner(Mode::Sync, lsgd());
    leader.receive(at(2, 8, (8, &of(2, 8), 1.0)), NOW);
    actions(&mut leader);
    fetch(&mut leader, &of(0, 8));
    assert_eq!(begun(&mut leader), None);
    fetch(&mut leader, &of(2, 8));
    let values = of(2, 8).parameters().to_vec();
    assert_eq!(begun(&mut leader), Some((64, Some(values), 12)));
}

/// In `async` there are no rounds: a node begins where the workers of the node that it asks are, on
/// average.
#[test]
fn in_async_it_begins_at_the_steps_of_the_one_it_asks() {
    let mut leader = joiner(Mode::Async, lsgd());
    let mut other = at(2, 8, (8, &of(2, 8), 1.0));
    (other.steps, other.workers) = (300, 3);
    leader.receive(other, NOW);
    fetch(&mut leader, &of(2, 8));
    assert_eq!(begun(&mut leader).map(|(step, ..)| step), Some(100));
}

/// Of the others only those that are there say where the run is: not one that was further and is
/// gone, but also not fewer than all that are left.
#[test]
fn it_begins_where_those_are_that_are_left() {
    for (of_node_0, expected) in [(8, 8), (11, 11)] {
        let mut leader = joiner(Mode::Sync, lsgd());
        leader.receive(at(0, 7, (7, &of(0, 7), 1.0)), NOW);
        leader.receive(at(0, of_node_0, (of_node_0, &of(0, of_node_0), 1.0)), NOW);
        leader.receive(at(2, 11, (11, &of(2, 11), 2.0)), NOW);
        leader.disconnected(2, 1, NOW);
        // What it asked for first is older by now than what node 0 has.
        fetch(&mut leader, &of(0, 7));
        let again = asked(&actions(&mut leader)).pop().expect("a fetch");
        assert_eq!(again.0.digest, of(0, of_node_0).digest());
        fetch(&mut leader, &of(0, of_node_0));
        let begun = begun(&mut leader).map(|(step, ..)| step);
        assert_eq!(begun, Some(expected * PERIODS.global));
    }
}

/// Even if all others are further ahead, a connected node that has yet to begin holds none of them
/// back.
#[test]
fn a_node_that_joins_counts_for_no_round() {
    let mut leader = joiner(Mode::Sync, lsgd());
    let mut joins = at(0, 11, (11, &of(0, 11), 1.0));
    joins.phase = NodePhase::Joining;
    leader.receive(joins, NOW);
    assert_eq!(begun(&mut leader), None, "nobody trains");
    leader.receive(at(2, 8, (8, &of(2, 8), 1.0)), NOW);
    fetch(&mut leader, &of(2, 8));
    assert_eq!(begun(&mut leader).map(|(step, ..)| step), Some(64));
}

/// Whatever others say of rounds, workers that exchange nothing are not stopped.
#[test]
fn a_method_without_exchanges_is_left_alone() {
    let mut leader = joiner(Mode::Sync, Method::sgd(4));
    leader.receive(says(0, 1), NOW);
    leader.receive(says(2, 1), NOW);
    assert_eq!(begun(&mut leader).map(|(step, ..)| step), Some(0));
    leader.receive(at(2, 8, (8, &of(2, 8), 1.0)), NOW);
    assert!(actions(&mut leader).is_empty());
}

/// What a node names as a beginning for others.
fn join_point(leader: &mut GlobalLeader) -> Option<(u64, Source)> {
    leader.tick(NOW + 10 * SECOND);
    let status = broadcasts(&actions(leader)).pop().expect("a heartbeat");
    let join_point = status.join_point?;
    Some((join_point.round, join_point.vector.source))
}

/// With a centre it is the node's own newest, whichever other it has visited; a mean gradient is
/// none.
#[test]
fn what_others_can_begin_with_is_named() {
    let nodes = 2;
    let node_config = NodeConfig {
        nodes,
        ..NODE_CONFIG
    };
    let two = |mode, method| {
        let mut leader = alone(node_config.clone(), mode, method);
        leader.connected(0, 1, NOW);
        leader.receive(says(0, 1), NOW);
        actions(&mut leader);
        leader
    };
    let centre = |version| vector(Source::Centre { version }, [version as f32; 3]);
    let mut leader = two(Mode::Async, downpour());
    let mut proposals = says(0, 2);
    let mut theirs = crate::script::proposal(1, &centre(7), 0.0);
    let kind = lsgd_core::VectorKind::Centre;
    theirs.leader.as_mut().expect("its centre").kind = kind;
    proposals.proposals[0] = Some(theirs);
    leader.receive(proposals, NOW);
    let mut brought = update(1, 0.0);
    (brought.leader, brought.taken) = (Some((centre(3), 0.0)), 4 * PERIODS.global);
    leader.propose(brought, NOW);
    fetch(&mut leader, &centre(7));
    let done = recorded(&actions(&mut leader));
    let exchanged = |event: &Event| matches!(event, Event::Exchange { .. });
    assert!(done.iter().any(exchanged), "{done:?}");
    assert_eq!(
        join_point(&mut leader),
        Some((1, Source::Centre { version: 3 }))
    );

    let method = Method::data_parallel(4, BatchNorm::Own).expect("a method");
    let mut leader = two(Mode::Sync, method);
    leader.disconnected(0, 1, NOW);
    let mut brought = update(1, 0.0);
    brought.step = 1;
    brought.leader = None;
    brought.sum = Some((vector(Source::Sum { workers: 2 }, [1.0; 3]), 0.0));
    leader.propose(brought, NOW);
    let done = recorded(&actions(&mut leader));
    assert!(done.iter().any(exchanged), "{done:?}");
    assert_eq!(join_point(&mut leader), None);
}
