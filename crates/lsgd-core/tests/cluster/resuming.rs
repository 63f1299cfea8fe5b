//! Where a node begins that is to continue a run, and what it takes up there. The others are
//! scripted. A round is eight steps.

use lsgd_core::{
    Action, CheckpointRef, GlobalLeader, GlobalLeaderCounters, GlobalLeaderState, JoinPoint,
    Method, Mode, NodePhase, Status, VectorKind, VectorRef,
};

use crate::script::{
    NODE_CONFIG, NOW, actions, alone, asked, at, broadcasts, fetch, first, of, proposals, says,
    training, update,
};
use crate::setting::lsgd;

/// Checkpoints after these steps, of rounds that delivered the same to all.
fn checkpoints(steps: &[u64]) -> Vec<CheckpointRef> {
    let of = |&step: &u64| CheckpointRef {
        step,
        exchanged: step / 8,
    };
    steps.iter().map(of).collect()
}

/// Node 1 of three, which has these checkpoints; the others are connected.
fn continuing(mode: Mode, method: Method, checkpoints: &[u64]) -> GlobalLeader {
    let leader = alone(NODE_CONFIG, mode, method).continuing(self::checkpoints(checkpoints), NOW);
    let mut leader = leader;
    leader.connected(0, 1, NOW);
    leader.connected(2, 1, NOW);
    leader
}

/// A node that waits to begin, and has these checkpoints.
fn has(node: u32, checkpoints: &[u64]) -> Status {
    Status {
        phase: NodePhase::Joining,
        checkpoints: self::checkpoints(checkpoints),
        ..says(node, 1)
    }
}

/// Where it begins, and whether from its own checkpoint.
fn begins(leader: &mut GlobalLeader) -> Option<(u64, bool)> {
    first(leader, |action| match action {
        Action::Begin { step, resumes, .. } => Some((step, resumes)),
        _ => None,
    })
}

#[test]
fn it_says_what_it_has_until_it_begins() {
    // Two in each round, of which the newer counts.
    let many: Vec<u64> = (0..20)
        .flat_map(|round| [8 * round, 8 * round + 3])
        .collect();
    let mut leader = continuing(Mode::Sync, lsgd(), &many);
    let newest: Vec<u64> = (12..20).map(|round| 8 * round + 3).collect();
    let said = broadcasts(&actions(&mut leader));
    assert_eq!(said.last().unwrap().checkpoints, checkpoints(&newest));
    leader.receive(has(0, &[152]), NOW);
    leader.receive(has(2, &[152]), NOW);
    let said = broadcasts(&actions(&mut leader));
    let chosen = said.last().unwrap();
    // It cannot be joined before it has loaded its checkpoint.
    assert_eq!(chosen.phase, NodePhase::Joining);
    assert_eq!(chosen.checkpoints, checkpoints(&[155]));
    leader.resume(GlobalLeaderState::default(), NOW);
    let said = broadcasts(&actions(&mut leader));
    let said = said.last().unwrap();
    assert!(said.checkpoints.is_empty());
    assert_eq!(said.phase, NodePhase::Training);
}

/// Every node begins from the same round: the latest that all have a checkpoint of. Which step of it
/// each has does not matter.
#[test]
fn all_begin_from_the_latest_round_that_all_have() {
    let own: [&[u64]; 3] = [&[8, 17, 20, 24], &[8, 15, 19], &[16, 23, 31]];
    let begin = [20, 19, 23];
    for node in 0..3 {
        let others: Vec<u32> = (0..3).filter(|&other| other != node).collect();
        let config = lsgd_core::NodeConfig {
            node,
            ..NODE_CONFIG
        };
        let checkpoints = checkpoints(own[node as usize]);
        let mut leader = alone(config, Mode::Sync, lsgd()).continuing(checkpoints, NOW);
        for &other in &others {
            leader.connected(other, 1, NOW);
            assert_eq!(begins(&mut leader), None);
            leader.receive(has(other, own[other as usize]), NOW);
        }
        assert_eq!(begins(&mut leader), Some((begin[node as usize], true)));
    }
}

/// A node whose disk is new has none: the others continue, and it joins them.
#[test]
fn a_node_without_checkpoints_joins_those_that_continue() {
    let mut leader = continuing(Mode::Sync, lsgd(), &[]);
    leader.receive(has(0, &[16]), NOW);
    leader.receive(has(2, &[20]), NOW);
    assert_eq!(begins(&mut leader), None);
    leader.receive(at(0, 2, (2, &of(0, 2), 1.0)), NOW);
    let asked = asked(&actions(&mut leader));
    assert_eq!(asked[0].1, 0);
    fetch(&mut leader, &of(0, 2));
    assert_eq!(begins(&mut leader), Some((16, false)));
    // The others do not wait for it.
    let mut leader = continuing(Mode::Sync, lsgd(), &[20]);
    leader.receive(has(0, &[16]), NOW);
    leader.receive(has(2, &[]), NOW);
    assert_eq!(begins(&mut leader), Some((20, true)));
    // If nobody has any, all begin anew.
    let mut leader = continuing(Mode::Sync, lsgd(), &[]);
    leader.receive(has(0, &[]), NOW);
    leader.receive(has(2, &[]), NOW);
    assert_eq!(begins(&mut leader), Some((0, false)));
}

/// Where no round has a checkpoint of each node, that of most nodes counts.
#[test]
fn the_round_of_most_nodes_counts() {
    let mut leader = continuing(Mode::Sync, lsgd(), &[16, 40]);
    leader.receive(has(0, &[16, 33]), NOW);
    leader.receive(has(2, &[33]), NOW);
    // Of rounds 2 and 4 two nodes each have one: the later.
    assert_eq!(begins(&mut leader), None, "it has none of round 4");
    leader.receive(at(0, 4, (4, &of(2, 4), 1.0)), NOW);
    fetch(&mut leader, &of(2, 4));
    assert_eq!(begins(&mut leader), Some((32, false)));
}

/// The first to begin may come to the next round before the last has begun: it waits for one that
/// will continue there, and for no other.
#[test]
fn a_node_that_is_about_to_continue_is_waited_for() {
    let cases: [(&[u64], u64, bool); 3] =
        [(&[12, 19], 17, true), (&[12], 12, true), (&[], 17, false)];
    for (of_last, begin, is_waited_for) in cases {
        let mut leader = continuing(Mode::Sync, lsgd(), &[12, 17]);
        leader.receive(has(2, of_last), NOW);
        leader.receive(has(0, &[12, 17]), NOW);
        assert_eq!(begins(&mut leader), Some((begin, true)));
        let round = begin / 8 + 1;
        let delivers = |leader: &mut GlobalLeader| {
            let done = actions(leader);
            done.iter()
                .any(|action| matches!(action, Action::Deliver(_)))
        };
        leader.propose(update(round, 1.0), NOW);
        leader.receive(proposals(0, round, 2.0), NOW);
        assert_eq!(delivers(&mut leader), !is_waited_for, "{of_last:?}");
        if is_waited_for {
            leader.receive(proposals(2, round, 2.0), NOW);
            assert!(delivers(&mut leader));
        }
    }
}

/// A leader dies when some have its vector and others do not: they follow the next best, and no longer
/// have the history of those who have it. All begin from the round before.
#[test]
fn a_round_that_delivered_something_else_is_another_round() {
    let others = |exchanged| {
        let mut of_others = checkpoints(&[12, 17]);
        of_others[1].exchanged = exchanged;
        of_others
    };
    for (exchanged, begin) in [(2, 19), (5, 12)] {
        let mut leader = continuing(Mode::Sync, lsgd(), &[12, 19]);
        for node in [0, 2] {
            assert_eq!(begins(&mut leader), None);
            leader.receive(
                Status {
                    // One of them has the history of this node.
                    checkpoints: others(if node == 0 { exchanged } else { 2 }),
                    ..has(node, &[])
                },
                NOW,
            );
        }
        assert_eq!(begins(&mut leader), Some((begin, true)), "{exchanged}");
    }
    // It comes late, and its round delivered something else to the others: it joins them.
    let mut leader = continuing(Mode::Sync, lsgd(), &[12, 19]);
    let others = Status {
        exchanged: 5,
        ..at(0, 2, (2, &of(0, 2), 1.0))
    };
    leader.receive(others, NOW);
    assert_eq!(begins(&mut leader), None);
    fetch(&mut leader, &of(0, 2));
    assert_eq!(begins(&mut leader), Some((16, false)));
}

/// What a round delivers has a name, the same on every node to which it was delivered.
#[test]
fn a_round_is_known_by_what_it_delivers() {
    let delivered = |best: u32| {
        let mut leader = training(Mode::Sync, lsgd());
        leader.propose(update(1, 1.0), NOW);
        for node in [0, 2] {
            let loss = if node == best { 0.5 } else { 2.0 };
            leader.receive(proposals(node, 1, loss), NOW);
        }
        fetch(&mut leader, &of(best, 1));
        actions(&mut leader);
        leader.state().counters.exchanged
    };
    let (first, second) = (delivered(0), delivered(2));
    assert_eq!(first, delivered(0));
    assert!(first != second && first != 0 && second != 0);
}

/// One that comes late continues if it has a checkpoint of the others' round, and joins otherwise.
#[test]
fn among_nodes_that_train_their_round_decides() {
    let mut leader = continuing(Mode::Sync, lsgd(), &[12, 17, 19]);
    leader.receive(at(0, 2, (2, &of(0, 2), 1.0)), NOW);
    assert_eq!(begins(&mut leader), Some((19, true)));
    let mut leader = continuing(Mode::Sync, lsgd(), &[12, 17, 19]);
    leader.receive(at(0, 3, (3, &of(0, 3), 1.0)), NOW);
    assert_eq!(begins(&mut leader), None);
    fetch(&mut leader, &of(0, 3));
    assert_eq!(begins(&mut leader), Some((24, false)));
}

/// In `async` there are no rounds: each begins from its own newest, unless it is too far behind
/// those that train.
#[test]
fn in_async_each_begins_from_its_own() {
    let mut leader = continuing(Mode::Async, lsgd(), &[12, 19]);
    leader.receive(has(0, &[100]), NOW);
    leader.receive(has(2, &[]), NOW);
    assert_eq!(begins(&mut leader), Some((19, true)));
    let trains = |steps: u64| Status {
        // Of two workers.
        steps: 2 * steps,
        ..at(0, 7, (7, &of(0, 7), 1.0))
    };
    // Reports are too old after two periods.
    for (steps, continues) in [(10, true), (35, true), (36, false)] {
        let mut leader = continuing(Mode::Async, lsgd(), &[12, 19]);
        leader.receive(trains(steps), NOW);
        let began = begins(&mut leader);
        assert_eq!(began, continues.then_some((19, true)), "{steps}");
    }
}

/// Workers that exchange nothing need not agree on anything.
#[test]
fn without_exchanges_each_begins_from_its_own() {
    let mut leader = continuing(Mode::Sync, Method::sgd(4), &[12, 19]);
    leader.receive(has(0, &[100]), NOW);
    leader.receive(has(2, &[]), NOW);
    assert_eq!(begins(&mut leader), Some((19, true)));
}

/// It goes on counting where it was, names the same join point, and offers what that delivered.
#[test]
fn what_it_remembered_is_what_it_tells() {
    let mut leader = continuing(Mode::Sync, lsgd(), &[20]);
    leader.receive(has(0, &[20]), NOW);
    leader.receive(has(2, &[20]), NOW);
    assert_eq!(begins(&mut leader), Some((20, true)));
    let delivered = of(2, 2);
    let vector = VectorRef {
        kind: VectorKind::Parameters,
        source: delivered.source(),
        loss: 0.5,
        digest: delivered.digest(),
        factors: None,
    };
    let join_point = JoinPoint { round: 2, vector };
    let state = GlobalLeaderState {
        counters: GlobalLeaderCounters {
            rounds: 2,
            exchanged: 7,
            steps: 32,
            step: 16,
            trigger: 0,
        },
        join_point: Some((join_point, delivered.clone())),
        unsent: None,
    };
    leader.resume(state.clone(), NOW);
    let done = actions(&mut leader);
    let published = |action: &Action| matches!(action, Action::Publish(snapshot) if snapshot.digest() == delivered.digest());
    assert!(done.iter().any(published));
    let said = broadcasts(&done);
    let said = said.last().unwrap();
    assert_eq!((said.rounds, said.exchanged, said.steps), (2, 7, 32));
    assert_eq!(said.join_point, Some(join_point));
    assert_eq!(leader.state().counters, state.counters);
    // The next round is the third, by the leader that it followed.
    leader.propose(update(3, 1.0), NOW);
    let said = broadcasts(&actions(&mut leader));
    let proposal = said.last().unwrap().proposals[0].unwrap();
    assert_eq!(proposal.round, 3);
    assert_eq!(proposal.followed.map(|id| id.node), Some(2));
    assert_eq!(said.last().unwrap().steps, 48);
}
