//! `sync`: whom a node waits for in a round, for how long, and whom it tells of its end. The others
//! are scripted.

use lsgd_core::{
    Action, Event, GlobalLeader, Method, Mode, NodeLoss, NodeUpdate, Snapshot, Source, Status,
};

use crate::script::{
    LIMIT, NOW, SECOND, actions, asked, at, begun, broadcasts, delivered, fail, fetch, joiner, of,
    proposals, recorded, says, training, update, vector, vector_ref,
};
use crate::setting::{PERIODS, local_sgd, lsgd};

/// Node 1 of three that have begun together, waiting in round 1 with a proposal that no other
/// betters.
fn waiting() -> GlobalLeader {
    let mut leader = training(Mode::Sync, lsgd());
    leader.propose(update(1, 0.1), NOW);
    assert_eq!(delivered(&actions(&mut leader)), []);
    leader
}

/// Node 1 of three, begun in round 8, where node 2 is at a round of its own.
fn in_round_8(method: Method, of_node_2: u64) -> GlobalLeader {
    let mut leader = joiner(Mode::Sync, method);
    let join_point = of(0, 8);
    leader.receive(at(2, of_node_2, (of_node_2, &of(2, of_node_2), 1.0)), NOW);
    leader.receive(at(0, 8, (8, &join_point, 1.0)), NOW);
    fetch(&mut leader, &of(2, of_node_2));
    fetch(&mut leader, &join_point);
    assert_eq!(begun(&mut leader).map(|(step, ..)| step), Some(64));
    leader
}

fn own(round: u64) -> Option<Source> {
    Some(of(1, round).source())
}

fn lost(actions: &[Action]) -> Vec<(u32, NodeLoss)> {
    let lost = |event| match event {
        Event::NodeLost { node, why, .. } => Some((node, why)),
        _ => None,
    };
    recorded(actions).into_iter().filter_map(lost).collect()
}

fn connected(actions: &[Action]) -> Vec<u32> {
    let connected = |event| match event {
        Event::NodeConnected { node, .. } => Some(node),
        _ => None,
    };
    recorded(actions)
        .into_iter()
        .filter_map(connected)
        .collect()
}

fn silent(seconds: f64) -> NodeLoss {
    NodeLoss::Stalled { seconds }
}

/// The times at which it is woken are not promised to be exact.
#[test]
fn a_node_that_looks_late_gives_up_the_silent_all_the_same() {
    let mut leader = waiting();
    leader.tick(NOW + LIMIT + SECOND);
    let done = actions(&mut leader);
    assert_eq!(lost(&done), [(0, silent(6.0)), (2, silent(6.0))]);
    assert_eq!(delivered(&done), [own(1)]);
}

/// Each is waited for the limit since it made progress, and only those that are still missing.
#[test]
fn patience_is_counted_from_the_progress_of_each() {
    let mut leader = waiting();
    leader.receive(says(2, 2), NOW + SECOND / 2);
    leader.tick(NOW + LIMIT);
    let done = actions(&mut leader);
    assert_eq!(lost(&done), [(0, silent(5.0))]);
    assert_eq!(delivered(&done), [], "node 2 is still waited for");
    // Before its next heartbeat.
    let patient_until = NOW + LIMIT + SECOND / 2;
    assert_eq!(leader.deadline(), patient_until);
    leader.tick(patient_until);
    let done = actions(&mut leader);
    assert_eq!(lost(&done), [(2, silent(5.0))]);
    assert_eq!(delivered(&done), [own(1)]);
}

#[test]
fn neither_a_heartbeat_alone_nor_an_old_status_earns_patience() {
    let mut leader = waiting();
    leader.receive(proposals(0, 1, 0.5), NOW);
    let mut heartbeat = says(2, 3);
    heartbeat.progress = 1;
    leader.receive(heartbeat, NOW + SECOND);
    let mut late = says(2, 2);
    late.progress = 9;
    leader.receive(late, NOW + SECOND);
    leader.tick(NOW + LIMIT);
    // Node 0 has been as silent, but has proposed.
    assert_eq!(lost(&actions(&mut leader)), [(2, silent(5.0))]);
}

/// It is back with the first proposal, or round, that is not before the one in which it was given
/// up.
#[test]
fn one_that_was_given_up_is_back_once_it_has_caught_up() {
    for offers_late in [true, false] {
        let mut leader = waiting();
        leader.receive(proposals(0, 1, 0.5), NOW);
        leader.tick(NOW + LIMIT);
        assert_eq!(delivered(&actions(&mut leader)), [own(1)]);
        leader.receive(says(2, 2), NOW + LIMIT);
        let back = connected(&actions(&mut leader));
        assert!(back.is_empty(), "it is not through");
        let back = match offers_late {
            true => proposals(2, 1, 0.5),
            false => at(2, 1, (1, &of(1, 1), 0.1)),
        };
        leader.receive(
            Status {
                sequence: 15,
                ..back
            },
            NOW + LIMIT,
        );
        assert_eq!(connected(&actions(&mut leader)), [2]);
        leader.receive(proposals(0, 2, 0.5), NOW + LIMIT);
        leader.propose(update(2, 0.1), NOW + LIMIT);
        assert_eq!(delivered(&actions(&mut leader)), [], "it is waited for");
        leader.receive(proposals(2, 2, 0.5), NOW + LIMIT);
        let done = actions(&mut leader);
        assert_eq!((delivered(&done), connected(&done)), (vec![own(2)], vec![]));
    }
}

#[test]
fn a_node_rounds_behind_is_not_waited_for() {
    let mut leader = in_round_8(lsgd(), 7);
    leader.receive(proposals(0, 9, 0.5), NOW);
    leader.propose(update(9, 0.1), NOW);
    assert_eq!(delivered(&actions(&mut leader)), [own(9)]);
}

/// One that begins in the round that is under way has no proposal for it, and will make none.
#[test]
fn a_node_that_has_begun_in_the_round_is_not_waited_for() {
    let mut leader = in_round_8(lsgd(), 8);
    leader.receive(proposals(0, 9, 0.5), NOW);
    leader.propose(update(9, 0.1), NOW);
    assert_eq!(delivered(&actions(&mut leader)), [], "it may still offer");
    leader.receive(at(2, 9, (9, &of(0, 9), 0.5)), NOW);
    let done = actions(&mut leader);
    assert_eq!(delivered(&done), [own(9)]);
    assert_eq!(asked(&done), [], "it has not been left behind");
}

/// The connection was gone and is back: what the node said before holds, unless it was restarted.
#[test]
fn what_a_node_said_holds_for_its_life() {
    for (incarnation, waited_for) in [(1, true), (2, false)] {
        let mut leader = training(Mode::Sync, lsgd());
        leader.disconnected(2, 1, NOW);
        leader.connected(2, incarnation, NOW);
        leader.receive(proposals(0, 1, 0.5), NOW);
        leader.propose(update(1, 0.1), NOW);
        let waits = delivered(&actions(&mut leader)).is_empty();
        assert_eq!(waits, waited_for, "life {incarnation}");
    }
}

#[test]
fn the_dead_offer_nothing() {
    for anew in [false, true] {
        let mut leader = waiting();
        leader.disconnected(2, 1, NOW);
        if anew {
            leader.connected(2, 2, NOW);
        }
        leader.receive(proposals(2, 1, 0.01), NOW);
        leader.receive(proposals(0, 1, 0.5), NOW);
        let done = actions(&mut leader);
        assert_eq!(delivered(&done), [own(1)], "started anew: {anew}");
    }
}

/// Whether it says that the round is over as soon as it is.
fn tells_of_the_end(method: Method, of_node_2: u64) -> bool {
    let mut leader = in_round_8(method, of_node_2);
    leader.disconnected(0, 1, NOW);
    let sum = vector(Source::Sum { workers: 2 }, [1.0; 3]);
    let brought = NodeUpdate {
        sum: Some((sum, 0.0)),
        ..update(9, 0.1)
    };
    leader.propose(brought, NOW);
    leader.tick(NOW + LIMIT);
    let done = actions(&mut leader);
    let end = done.iter().position(|a| matches!(a, Action::Deliver(_)));
    !broadcasts(&done[end.expect("the round is over")..]).is_empty()
}

/// The participants learn of it with the next proposal. One that has reached the previous round can
/// still follow its leader; its mean would differ, as it would include its own part.
#[test]
fn those_that_would_be_late_are_told_at_once_that_a_round_is_over() {
    assert!(!tells_of_the_end(lsgd(), 8));
    assert!(tells_of_the_end(lsgd(), 7));
    assert!(tells_of_the_end(local_sgd(), 8));
    assert!(tells_of_the_end(local_sgd(), 7));
}

#[test]
fn it_says_once_that_a_round_is_over_and_not_before() {
    let mut leader = in_round_8(lsgd(), 7);
    leader.propose(update(9, 0.1), NOW);
    assert_eq!(broadcasts(&actions(&mut leader)).len(), 1, "its offer");
    let mut waits = at(0, 8, (8, &of(0, 8), 1.0));
    waits.sequence = 9;
    leader.receive(waits, NOW);
    assert_eq!(broadcasts(&actions(&mut leader)), []);
    leader.receive(proposals(0, 9, 0.5), NOW);
    let rounds: Vec<u64> = broadcasts(&actions(&mut leader))
        .iter()
        .map(|s| s.rounds)
        .collect();
    assert_eq!(rounds, [9]);
    leader.tick(NOW);
    assert_eq!(broadcasts(&actions(&mut leader)), []);
}

/// The last proposal to come may come with its node's end of the round.
#[test]
fn others_may_be_through_with_a_round_that_this_node_has_offered_for() {
    let mut leader = in_round_8(lsgd(), 8);
    leader.propose(update(9, 0.1), NOW);
    leader.receive(proposals(0, 9, 0.5), NOW);
    let mut through = proposals(2, 9, 0.5);
    through.rounds = 9;
    leader.receive(through, NOW);
    let done = actions(&mut leader);
    assert_eq!(asked(&done), [], "it has not been left behind");
    assert_eq!(delivered(&done), [own(9)]);
}

/// Where the others are through with a round, one that has not proposed for it begins after it; one
/// that waits in it, once they are through with the next.
#[test]
fn a_node_that_others_have_gone_on_without_begins_where_they_are() {
    for has_offered in [false, true] {
        let mut leader = in_round_8(lsgd(), 8);
        // A round like any other comes before.
        leader.propose(update(9, 0.1), NOW);
        leader.receive(proposals(0, 9, 0.5), NOW);
        leader.receive(proposals(2, 9, 0.5), NOW);
        assert_eq!(delivered(&actions(&mut leader)), [own(9)]);
        let mut ahead = 10;
        if has_offered {
            leader.propose(update(10, 0.1), NOW);
            actions(&mut leader);
            ahead = 11;
        }
        let join_point = of(2, ahead);
        let mut gone_on = at(2, ahead, (ahead, &join_point, 0.5));
        gone_on.sequence = 1000;
        leader.receive(gone_on, NOW);
        let fetched = asked(&actions(&mut leader));
        assert_eq!(
            fetched,
            [(vector_ref(&join_point, 0.5), 2)],
            "{has_offered}"
        );
        fetch(&mut leader, &join_point);
        let begun = begun(&mut leader).map(|(step, ..)| step);
        assert_eq!(begun, Some(ahead * PERIODS.global));
    }
}

/// A node that is behind, with a fetch under way when its workers reach the exchange.
#[test]
fn a_late_bid_does_not_stop_a_node_that_catches_up() {
    let mut leader = in_round_8(lsgd(), 8);
    let join_point = of(2, 9);
    leader.receive(at(2, 9, (9, &join_point, 0.5)), NOW);
    leader.propose(update(9, 0.1), NOW);
    leader.tick(NOW + LIMIT);
    assert_eq!(delivered(&actions(&mut leader)), []);
    fetch(&mut leader, &join_point);
    assert_eq!(begun(&mut leader).map(|(step, ..)| step), Some(72));
}

/// The nodes ahead disconnect while their parameters are on their way. A node that has proposed
/// continues with the remaining ones; one that has not proposed is not yet at the exchange,
/// whatever they propose.
#[test]
fn a_node_that_cannot_catch_up_takes_part_as_before() {
    for has_offered in [true, false] {
        let mut leader = in_round_8(lsgd(), 8);
        let join_point = of(2, 10);
        if has_offered {
            leader.propose(update(9, 0.1), NOW);
        }
        leader.receive(at(2, 10, (10, &join_point, 0.5)), NOW);
        leader.disconnected(2, 1, NOW);
        fail(&mut leader, &join_point);
        let failed = Event::NotFetched {
            step: if has_offered { 72 } else { 64 },
            source: join_point.source(),
            why: String::from("gone"),
        };
        assert!(recorded(&actions(&mut leader)).contains(&failed));
        leader.receive(proposals(0, 9, 0.5), NOW);
        if !has_offered {
            let done = actions(&mut leader);
            let round = (delivered(&done), asked(&done));
            assert_eq!(round, (vec![], vec![]), "not without its own");
            leader.propose(update(9, 0.1), NOW);
        }
        assert_eq!(delivered(&actions(&mut leader)), [own(9)], "{has_offered}");
    }
}

/// Of a round before, say.
#[test]
fn what_comes_unasked_changes_nothing() {
    let mut leader = waiting();
    let stray: &Snapshot = &of(2, 1);
    fail(&mut leader, stray);
    fetch(&mut leader, &of(2, 1));
    assert!(actions(&mut leader).is_empty());
}
