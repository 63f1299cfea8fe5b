//! `async`: when a node follows a leader, which, and how old that is. The others are scripted.

use lsgd_core::{
    Action, Event, Exclusion, GlobalLeader, Mode, NodePhase, NodeUpdate, Scope, Source, Status,
    WorkerId,
};

use crate::script::{
    NOW, actions, asked, broadcasts, delivered, fail, fetch, of, proposal, recorded, says,
    training, update,
};
use crate::setting::lsgd;

/// A node whose workers have taken so many steps together, without a proposal.
fn steps(node: u32, sequence: u64, workers: u32, steps: u64) -> Status {
    Status {
        steps,
        workers,
        ..says(node, sequence)
    }
}

/// Node 1's two workers have taken so many steps since, together.
fn takes(leader: &mut GlobalLeader, taken: u64) {
    let brought = NodeUpdate {
        taken,
        ..update(1, 0.1)
    };
    leader.propose(brought, NOW);
}

fn elections(leader: &mut GlobalLeader) -> usize {
    let global = |event: &Event| {
        let scope = Scope::Global;
        matches!(event, Event::Election { scope: of, .. } if *of == scope)
    };
    recorded(&actions(leader))
        .iter()
        .filter(|e| global(e))
        .count()
}

/// `n l tau_G`: seven live workers take 7 * 8 steps, however they are distributed. Without those
/// that have disconnected, finished, or have yet to begin, fewer are needed.
#[test]
fn it_elects_after_a_period_of_all_live_workers() {
    let mut leader = training(Mode::Async, lsgd());
    leader.receive(steps(0, 2, 3, 0), NOW);
    leader.receive(steps(0, 3, 3, 50), NOW);
    takes(&mut leader, 5);
    assert_eq!(elections(&mut leader), 0, "55 of 56");
    takes(&mut leader, 1);
    assert_eq!(elections(&mut leader), 1);

    // 2 + 2 are left.
    leader.disconnected(0, 1, NOW);
    leader.receive(steps(2, 2, 2, 31), NOW);
    assert_eq!(elections(&mut leader), 0, "31 of 32");
    takes(&mut leader, 1);
    assert_eq!(elections(&mut leader), 1);

    // Another is connected: 2 + 2 + 1.
    leader.connected(0, 2, NOW);
    let mut anew = steps(0, 1, 1, 1000);
    anew.incarnation = 2;
    leader.receive(anew.clone(), NOW);
    takes(&mut leader, 39);
    assert_eq!(elections(&mut leader), 0, "39 of 40");
    takes(&mut leader, 1);
    assert_eq!(elections(&mut leader), 1);

    // Only its own.
    let (mut ended, mut joins) = (steps(2, 3, 2, 31), anew);
    ended.phase = NodePhase::Done;
    (joins.phase, joins.sequence) = (NodePhase::Joining, 2);
    leader.receive(ended, NOW);
    leader.receive(joins, NOW);
    takes(&mut leader, 15);
    assert_eq!(elections(&mut leader), 0, "15 of 16");
    takes(&mut leader, 1);
    assert_eq!(elections(&mut leader), 1);
}

/// The `count`-th period: nodes 1 and 2 take the steps of all three.
fn period(leader: &mut GlobalLeader, count: u64) -> Vec<Action> {
    leader.receive(steps(2, 1 + count, 2, 32 * count), NOW);
    takes(leader, 16);
    actions(leader)
}

/// Node 0 proposes its leader of a round, for the first time or again.
fn proposals(sequence: u64, round: u64, loss: f64) -> Status {
    let mut status = says(0, sequence);
    status.proposals[0] = Some(proposal(round, &of(0, round), loss));
    status
}

/// The number of each exchange, whom it followed, and how old that was.
fn exchanges(actions: &[Action]) -> Vec<(u64, Source, u64)> {
    let exchange = |event| match event {
        Event::Exchange {
            exchange,
            source,
            staleness,
            ..
        } => Some((exchange, source, staleness)),
        _ => None,
    };
    recorded(actions).into_iter().filter_map(exchange).collect()
}

/// Exchanges are counted from 1, for all leaders together. A report's age is in this node's own
/// steps, per worker, since it arrived: repeating a report does not make it younger.
#[test]
fn exchanges_are_numbered_and_their_age_is_known() {
    let mut leader = training(Mode::Async, lsgd());
    let (own, theirs) = (of(1, 1).source(), of(0, 1).source());
    assert_eq!(exchanges(&period(&mut leader, 1)), [(1, own, 0)]);
    assert_eq!(exchanges(&period(&mut leader, 2)), [(2, own, 0)]);

    leader.receive(proposals(2, 1, 0.01), NOW);
    takes(&mut leader, 4);
    leader.receive(proposals(3, 1, 0.01), NOW);
    assert_eq!(asked(&period(&mut leader, 3)).len(), 1);
    fetch(&mut leader, &of(0, 1));
    let done = actions(&mut leader);
    assert_eq!(exchanges(&done), [(3, theirs, 10)], "20 steps of two");
    assert_eq!(delivered(&done), [Some(theirs)]);

    leader.receive(proposals(4, 2, 0.01), NOW);
    takes(&mut leader, 43);
    assert_eq!(elections(&mut leader), 0);
    takes(&mut leader, 1);
    let done = actions(&mut leader);
    assert_eq!(exchanges(&done), [(4, own, 0)]);
    let excluded = recorded(&done).into_iter().find_map(|event| match event {
        Event::Election { election, .. } => Some(election.excluded),
        _ => None,
    });
    let stale = (WorkerId::new(0, 0), Exclusion::Stale { age: 22 });
    assert_eq!(excluded, Some(vec![stale]), "too old to lead");
}

/// A vector that cannot be had ends its exchange and no other.
#[test]
fn it_goes_on_after_a_fetch_that_failed() {
    let mut leader = training(Mode::Async, lsgd());
    leader.receive(proposals(2, 1, 0.01), NOW);
    assert_eq!(asked(&period(&mut leader, 1)).len(), 1);
    fail(&mut leader, &of(0, 1));
    let failed = Event::NotFetched {
        step: 8,
        source: of(0, 1).source(),
        why: String::from("gone"),
    };
    let done = actions(&mut leader);
    assert!(recorded(&done).contains(&failed), "{done:?}");
    assert_eq!(delivered(&done), []);
    assert_eq!(asked(&period(&mut leader, 2)).len(), 1, "it tries again");
    fetch(&mut leader, &of(0, 1));
    assert_eq!(exchanges(&actions(&mut leader))[0].0, 1);
}

/// In `async` a proposal's number is the node's own count.
#[test]
fn offers_are_counted() {
    let mut leader = training(Mode::Async, lsgd());
    for round in 1..4 {
        takes(&mut leader, 1);
        let status = broadcasts(&actions(&mut leader)).remove(0);
        let rounds = status
            .proposals
            .map(|proposal| proposal.map(|proposal| proposal.round));
        assert_eq!(rounds, [Some(round), Some(round - 1).filter(|r| *r > 0)]);
        assert_eq!((status.steps, status.progress), (round, round));
    }
}
